//! S3, WebDAV, OneDrive and Dropbox through the real binary: the first two against servers of others where a Python has them, and all four against
//! ones of ours that speak the documented requests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::clients::{or_skip, python};
use crate::support::web_server::{Asked, Reply, WebServer};
use crate::support::{Ran, Toolgate, files, root};
use crate::vault::{CANARY, as_operator, assert_nowhere};

/// A home with these settings and secrets; each secret may go to these hosts.
struct Home {
    toolgate: Toolgate,
    settings: Vec<(String, String)>,
}

impl Home {
    fn new(port: u16, provider: &str, options: &[&str], secrets: &[(&str, &str)], hosts: &str) -> Self {
        let toolgate = Toolgate::new();
        as_operator(&toolgate, &["init"], "").exits(0);
        for (name, value) in secrets {
            as_operator(&toolgate, &["vault", "set", name, "--hosts", hosts], &format!("{value}\n")).exits(0);
        }
        let key = format!("TOOLGATE_DRIVE_{}", provider.to_uppercase());
        let settings = [
            ("TOOLGATE_DRIVE_PROVIDERS".to_owned(), format!("{provider},local")),
            (key, options.join(",")),
            ("TOOLGATE_EGRESS_PRIVATE".to_owned(), format!("drive=127.0.0.1:{port}")),
            ("TOOLGATE_EGRESS_PER_HOST_PER_SECOND".to_owned(), "0".to_owned()),
            ("TOOLGATE_LOG".to_owned(), "debug".to_owned()),
        ];
        Self { toolgate, settings: settings.to_vec() }
    }

    fn call(&self, tool: &str, arguments: &Value) -> Ran {
        let mut command = self.toolgate.command(&["tools", "call", tool, &arguments.to_string(), "--json"]);
        command.envs(self.settings.iter().cloned());
        Ran::of(command.output().unwrap())
    }

    fn value(&self, tool: &str, arguments: &Value) -> Value {
        let ran = self.call(tool, arguments).exits(0);
        serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}", ran.stdout))["output"].clone()
    }

    /// Writes the file of a workspace that is sent; the run that it belongs to.
    fn write(&self, text: &str) -> String {
        let input = self.toolgate.home().join("input.json");
        std::fs::write(&input, json!({ "files": [{ "path": "note.md", "content": text }] }).to_string()).unwrap();
        let told = self.toolgate.json(0, &["tools", "call", "workspace.write", &format!("@{}", input.display()), "--json"]);
        told["run"].as_str().unwrap().to_owned()
    }

    fn refused(&self, tool: &str, arguments: &Value, code: &str) {
        let ran = self.call(tool, arguments);
        assert!(ran.code != 0 && format!("{ran:?}").contains(code), "wanted {code}: {ran:?}");
    }

    /// What every drive with paths has to do.
    fn keeps_the_contract(&self, provider: &str) {
        let upload = |run: &str| json!({ "path": "note.md", "name": "plans/first note.md", "run_id": run });
        self.refused("drive.get", &json!({ "path": "plans/first note.md" }), "NOT_FOUND");
        let run = self.write("first");
        let sent = self.value("drive.upload", &upload(&run));
        assert_eq!((&sent["id"], &sent["unchanged"]), (&json!(format!("{provider}/plans/first note.md")), &json!(false)));
        assert_eq!(self.value("drive.upload", &upload(&run))["unchanged"], true);
        let run = self.write("second");
        let sent = self.value("drive.upload", &upload(&run));
        let before = self.value("drive.get", &json!({ "id": sent["previous"]["id"] }));
        assert_eq!((&before["text"], &self.value("drive.get", &json!({ "id": sent["id"] }))["text"]), (&json!("first"), &json!("second")));
        self.value("drive.upload", &json!({ "path": "note.md", "name": "other.bin", "run_id": run }));
        let found = self.value("drive.search", &json!({ "query": "note first" }));
        let ids: Vec<&str> = found["results"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [format!("{provider}/plans/first note.md")], "earlier versions are not found");
        assert_eq!((&found["complete"], &found["results"][0]["size"]), (&json!(true), &json!(6)));
        let within = self.value("drive.search", &json!({ "query": "bin", "folder": "plans" }));
        assert_eq!(within["results"], json!([]));
        let got = self.value("drive.download", &json!({ "id": sent["id"], "to": "in/note.md", "run_id": run }));
        assert_eq!(got["size"], 6);
        self.refused("drive.upload", &json!({ "path": "note.md", "name": "../out.md", "run_id": run }), "PATH_REFUSED");
        self.refused("drive.get", &json!({ "id": format!("{provider}/../out.md") }), "PATH_REFUSED");
    }
}

/// A server of others, ended with the test.
struct Other {
    child: Child,
    told: Value,
}

impl Other {
    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    fn start(python: &str, script: &str, args: &[&str]) -> Self {
        let mut child = Command::new(python)
            .arg(root().join("tests/clients").join(script))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, told: serde_json::from_str(&line).unwrap_or_else(|error| panic!("{script}: {error}: {line}")) }
    }

    fn text(&self, field: &str) -> String {
        self.told[field].as_str().unwrap().to_owned()
    }

    fn port(&self) -> u16 {
        url::Url::parse(&self.text("base")).unwrap().port().unwrap()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_s3_of_others_keeps_the_contract_and_checks_the_signatures() {
    let Some(python) = or_skip(python("import moto.server, boto3")) else { return };
    let s3 = Other::start(&python, "s3_server.py", &[]);
    let base = s3.text("base");
    let endpoint = format!("endpoint={base}");
    let options =
        ["bucket=docs", "region=eu-central-1", "root=/team", &endpoint, "access_key_id=secret:S3_ID", "secret_access_key=secret:S3_KEY"];
    let home = Home::new(s3.port(), "s3", &options, &[("S3_ID", &s3.text("id")), ("S3_KEY", &s3.text("key"))], &base);
    home.keeps_the_contract("s3");
    // A key of somebody else's.
    let wrong =
        Home::new(s3.port(), "s3", &options, &[("S3_ID", &s3.text("id")), ("S3_KEY", "not-the-key-of-this-id-at-all-000000000")], &base);
    wrong.refused("drive.search", &json!({ "query": "note" }), "DRIVE_REFUSED");
    // A key that may go elsewhere only is not sent.
    let elsewhere = Home::new(
        s3.port(),
        "s3",
        &options,
        &[("S3_ID", &s3.text("id")), ("S3_KEY", &s3.text("key"))],
        "https://s3.eu-central-1.amazonaws.com",
    );
    elsewhere.refused("drive.search", &json!({ "query": "note" }), "SECRET_REFUSED");
    let missing = Home::new(
        s3.port(),
        "s3",
        &["bucket=none", "region=eu-central-1", &endpoint, "access_key_id=secret:S3_ID", "secret_access_key=secret:S3_KEY"],
        &[("S3_ID", &s3.text("id")), ("S3_KEY", &s3.text("key"))],
        &base,
    );
    missing.refused("drive.get", &json!({ "path": "a.md" }), "NOT_FOUND");
}

#[test]
fn a_webdav_of_others_keeps_the_contract() {
    let Some(python) = or_skip(python("import wsgidav, cheroot")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let dav = Other::start(&python, "webdav_server.py", &[folder.path().to_str().unwrap(), "the-password-of-ann"]);
    let endpoint = format!("endpoint={}", dav.text("base"));
    let options = [endpoint.as_str(), "username=ann", "password=secret:DAV"];
    let home = Home::new(dav.port(), "webdav", &options, &[("DAV", "the-password-of-ann")], &format!("http://127.0.0.1:{}", dav.port()));
    home.keeps_the_contract("webdav");
    assert_eq!(std::fs::read_to_string(folder.path().join("plans/first note.md")).unwrap(), "second");
    let wrong = Home::new(dav.port(), "webdav", &options, &[("DAV", "another-password")], &format!("http://127.0.0.1:{}", dav.port()));
    wrong.refused("drive.get", &json!({ "path": "plans/first note.md" }), "DRIVE_LOGIN_REQUIRED");
}

/// Files by their paths, as a server of ours keeps them.
type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Dropbox's interface 2 and its token's place.
fn dropbox(kept: Kept) -> WebServer {
    WebServer::start(move |asked: &Asked| {
        let mut kept = kept.lock().unwrap();
        if asked.path() == "/oauth2/token" {
            let form = String::from_utf8(asked.body.clone()).unwrap();
            let known =
                form.contains("grant_type=refresh_token") && form.contains("client_id=app") && form.contains("client_secret=app-secret-1");
            return if known {
                Reply::json(&json!({ "access_token": "sl.access-canary-1", "expires_in": 14400, "token_type": "bearer" }))
            } else {
                Reply::new(400, "application/json", r#"{"error":"invalid_grant"}"#)
            };
        }
        if asked.header("authorization") != Some("Bearer sl.access-canary-1") {
            return Reply::new(
                401,
                "application/json",
                json!({ "error_summary": "invalid_access_token/..", "error": { ".tag": "invalid_access_token" } }).to_string(),
            );
        }
        let argument: Value = asked
            .header("dropbox-api-arg")
            .map_or_else(|| serde_json::from_slice(&asked.body).unwrap_or_default(), |text| serde_json::from_str(text).unwrap());
        let path = argument["path"].as_str().unwrap_or_default().to_owned();
        let about = |path: &str, size: usize| json!({ ".tag": "file", "name": path.rsplit('/').next(), "id": "id:1", "path_display": path, "path_lower": path.to_lowercase(), "size": size, "client_modified": "2026-11-30T10:00:00Z", "server_modified": "2026-11-30T10:00:00Z", "rev": "015f", "is_downloadable": true });
        let missing = || {
            Reply::new(
                409,
                "application/json",
                json!({ "error_summary": "path/not_found/..", "error": { ".tag": "path", "path": { ".tag": "not_found" } } }).to_string(),
            )
        };
        match asked.path() {
            "/2/files/upload" => {
                kept.insert(path.clone(), asked.body.clone());
                Reply::json(&about(&path, asked.body.len()))
            }
            "/2/files/get_metadata" => kept.get(&path).map_or_else(missing, |bytes| Reply::json(&about(&path, bytes.len()))),
            "/2/files/download" => kept.get(&path).map_or_else(missing, |bytes| {
                Reply::new(200, "application/octet-stream", bytes.clone()).header("Dropbox-API-Result", "{}")
            }),
            "/2/files/list_folder" => {
                assert_eq!(argument["recursive"], false);
                let from = format!("{}/", path.trim_end_matches('/'));
                let mut entries = BTreeMap::new();
                for (known, bytes) in kept.iter().filter(|(known, _)| known.starts_with(&from)) {
                    match known[from.len()..].split_once('/') {
                        Some((folder, _)) => drop(entries.insert(folder.to_owned(), json!({ ".tag": "folder", "name": folder, "id": "id:2", "path_display": format!("{from}{folder}"), "path_lower": "x" }))),
                        None => drop(entries.insert(known.clone(), about(known, bytes.len()))),
                    }
                }
                let entries: Vec<Value> = entries.into_values().collect();
                Reply::json(&json!({ "entries": entries, "cursor": "c", "has_more": false }))
            }
            _ => Reply::new(404, "text/plain", ""),
        }
    })
}

#[test]
fn dropbox_keeps_the_contract_and_no_key_is_told() {
    let kept = Kept::default();
    let server = dropbox(kept.clone());
    let endpoint = format!("endpoint={}", server.base());
    let options = [endpoint.as_str(), "client_id=app", "refresh_token=secret:DROPBOX", "client_secret=secret:DROPBOX_APP"];
    let home = Home::new(server.port, "dropbox", &options, &[("DROPBOX", CANARY), ("DROPBOX_APP", "app-secret-1")], &server.base());
    home.keeps_the_contract("dropbox");
    for file in files(&home.toolgate.data()) {
        let bytes = std::fs::read(&file).unwrap();
        assert_nowhere(&file.display().to_string(), &bytes);
        assert!(!bytes.windows(16).any(|window| window == b"access-canary-1"), "{}", file.display());
    }
    // A path that a drive names is data: one that leads elsewhere is left out, and it is said that not all was looked at.
    kept.lock().unwrap().insert("/../../evil note.md".into(), b"x".to_vec());
    let found = home.value("drive.search", &json!({ "query": "evil" }));
    assert_eq!((&found["results"], &found["complete"]), (&json!([]), &json!(false)));
}

/// OneDrive by Microsoft Graph, with content that lies elsewhere and a login that is another after each use.
fn onedrive(kept: Kept, logins: Arc<Mutex<String>>) -> WebServer {
    WebServer::start(move |asked: &Asked| {
        let mut kept = kept.lock().unwrap();
        if asked.path() == "/common/oauth2/v2.0/token" {
            let form = String::from_utf8(asked.body.clone()).unwrap();
            let mut login = logins.lock().unwrap();
            if !form.contains(&format!("refresh_token={}", *login)) {
                return Reply::new(400, "application/json", r#"{"error":"invalid_grant"}"#);
            }
            *login = format!("{}n", *login);
            return Reply::json(
                &json!({ "access_token": "graph-access-1", "refresh_token": *login, "expires_in": 3600, "token_type": "Bearer" }),
            );
        }
        if let Some(path) = asked.path().strip_prefix("/content-elsewhere/") {
            return kept
                .get(&percent_decoded(path))
                .map_or_else(|| Reply::new(404, "text/plain", ""), |bytes| Reply::new(200, "application/octet-stream", bytes.clone()));
        }
        // Parts go to the session's own address, which is its key; the last one makes the document.
        if let Some(path) = asked.path().strip_prefix("/session/") {
            assert!(asked.header("authorization").is_none(), "no key goes with a part");
            let (path, range) = (percent_decoded(path), asked.header("content-range").unwrap().to_owned());
            let (from, rest) = range.strip_prefix("bytes ").unwrap().split_once('-').unwrap();
            let (end, total) = rest.split_once('/').unwrap();
            let sending = format!(".session {path}");
            let mut bytes = if from == "0" { Vec::new() } else { kept.remove(&sending).unwrap() };
            assert_eq!(bytes.len().to_string(), from);
            bytes.extend_from_slice(&asked.body);
            if end.parse::<usize>().unwrap() + 1 < total.parse().unwrap() {
                kept.insert(sending, bytes);
                return Reply::new(202, "application/json", r#"{"nextExpectedRanges":["0-"]}"#);
            }
            let (size, name) = (bytes.len(), path.rsplit('/').next().unwrap().to_owned());
            let was_there = kept.insert(path, bytes).is_some();
            let told = json!({ "id": "i", "name": name, "size": size, "lastModifiedDateTime": "2026-11-30T10:00:00Z", "eTag": "e", "file": { "mimeType": "text/plain" }, "parentReference": { "driveId": "d", "id": "p", "path": "/drive/root:" } });
            return Reply::new(if was_there { 200 } else { 201 }, "application/json", told.to_string());
        }
        if asked.header("authorization") != Some("Bearer graph-access-1") {
            return Reply::new(401, "application/json", r#"{"error":{"code":"InvalidAuthenticationToken"}}"#);
        }
        let missing = || Reply::new(404, "application/json", r#"{"error":{"code":"itemNotFound"}}"#);
        let item = |path: &str, size: Option<usize>| {
            let name = path.rsplit('/').next().unwrap();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let mut told = json!({ "id": path, "name": name, "lastModifiedDateTime": "2026-11-30T10:00:00Z", "eTag": "e", "size": size.unwrap_or(0), "parentReference": { "driveId": "d", "id": "p", "path": format!("/drive/root:/{parent}").trim_end_matches('/') } });
            match size {
                Some(_) => told["file"] = json!({ "mimeType": "text/plain" }),
                None => told["folder"] = json!({ "childCount": 1 }),
            }
            told
        };
        let Some(rest) = asked.path().strip_prefix("/v1.0/me/drive/root") else { return missing() };
        let rest = percent_decoded(rest);
        let (path, deed) = match rest.strip_prefix(":/") {
            Some(named) => named.split_once(":/").unwrap_or_else(|| (named.trim_end_matches(':'), "")),
            None => ("", rest.trim_start_matches('/')),
        };
        let path = path.trim_end_matches('/').to_owned();
        let is_folder = |kept: &BTreeMap<String, Vec<u8>>, path: &str| {
            path.is_empty() || kept.keys().any(|known| known.starts_with(&format!("{path}/")))
        };
        match (asked.method.as_str(), deed) {
            ("GET", "") => match kept.get(&path) {
                Some(bytes) => Reply::json(&item(&path, Some(bytes.len()))),
                None if is_folder(&kept, &path) => Reply::json(&item(&path, None)),
                None => missing(),
            },
            ("GET", "content") => match kept.contains_key(&path) {
                true => Reply::new(302, "text/plain", "").header(
                    "Location",
                    &format!("http://{}/content-elsewhere/{}", asked.header("host").unwrap(), path.replace(' ', "%20")),
                ),
                false => missing(),
            },
            ("PUT", "content") => {
                kept.insert(path.clone(), asked.body.clone());
                Reply::new(201, "application/json", item(&path, Some(asked.body.len())).to_string())
            }
            ("POST", "createUploadSession") => {
                let place = format!("http://{}/session/{}", asked.header("host").unwrap(), path.replace(' ', "%20"));
                Reply::json(&json!({ "uploadUrl": place, "expirationDateTime": "2026-12-30T10:00:00Z" }))
            }
            ("POST", "children") => Reply::new(201, "application/json", item(&path, None).to_string()),
            ("GET", "children") => {
                let from = if path.is_empty() { String::new() } else { format!("{path}/") };
                let mut all = BTreeMap::new();
                for (known, bytes) in kept.iter().filter(|(known, _)| known.starts_with(&from)) {
                    let name = &known[from.len()..];
                    match name.split_once('/') {
                        Some((folder, _)) => drop(all.insert(format!("{from}{folder}"), None)),
                        None => drop(all.insert(known.clone(), Some(bytes.len()))),
                    }
                }
                let value: Vec<Value> = all.iter().map(|(path, size)| item(path, *size)).collect();
                Reply::json(&json!({ "value": value }))
            }
            _ => missing(),
        }
    })
}

#[test]
fn onedrive_keeps_the_contract_and_the_vault_keeps_the_newest_login() {
    let (kept, logins) = (Kept::default(), Arc::new(Mutex::new("login-of-ann-1".to_owned())));
    let server = onedrive(kept, logins.clone());
    let endpoint = format!("endpoint={}", server.base());
    let options = [endpoint.as_str(), "client_id=app", "refresh_token=secret:ONEDRIVE"];
    let home = Home::new(server.port, "onedrive", &options, &[("ONEDRIVE", "login-of-ann-1")], &server.base());
    home.keeps_the_contract("onedrive");
    // Above 4 MB it comes in parts: of a new document, and of one that is replaced, which is said by another status.
    for (word, is_new) in [("one", true), ("two", false)] {
        let run = home.write(&format!("{word} ").repeat(1_500_000));
        let sent = home.value("drive.upload", &json!({ "path": "note.md", "name": "large.md", "run_id": run }));
        assert_eq!((&sent["size"], sent["previous"].is_null()), (&json!(6_000_000), is_new), "{sent}");
        let got = home.value("drive.download", &json!({ "id": "onedrive/large.md" }));
        assert_eq!((&got["sha256"], &got["size"]), (&sent["sha256"], &json!(6_000_000)), "{got}");
    }
    assert!(logins.lock().unwrap().ends_with("nn"), "each process had to use the login of the one before");
    assert!(server.asked().iter().filter(|asked| asked.path().starts_with("/content-elsewhere/")).count() > 0);
}

#[test]
fn what_a_service_refuses_has_its_meaning() {
    let answers = Arc::new(Mutex::new((500_u16, None::<&str>)));
    let ours = answers.clone();
    let server = WebServer::start(move |_: &Asked| {
        let (status, after) = *ours.lock().unwrap();
        let reply = Reply::new(status, "text/plain", "words of the service");
        after.map_or_else(|| Reply::new(status, "text/plain", "words of the service"), |after| reply.header("Retry-After", after))
    });
    let endpoint = format!("endpoint={}", server.base());
    let home = Home::new(server.port, "webdav", &[&endpoint, "username=ann", "password=secret:DAV"], &[("DAV", CANARY)], &server.base());
    for (status, after, code) in [
        (401, None, "DRIVE_LOGIN_REQUIRED"),
        (403, None, "DRIVE_REFUSED"),
        (404, None, "NOT_FOUND"),
        (429, Some("3600"), "DRIVE_LIMITED"),
        (507, None, "DRIVE_LIMITED"),
        (500, None, "DRIVE_UNAVAILABLE"),
    ] {
        *answers.lock().unwrap() = (status, after);
        let ran = home.call("drive.get", &json!({ "path": "a.md" }));
        assert!(ran.code != 0 && ran.stdout.contains(code), "{status} is {code}: {ran:?}");
        assert!(!format!("{ran:?}").contains("words of the service"), "{ran:?}");
        assert_nowhere("the answer", format!("{ran:?}").as_bytes());
    }
}
