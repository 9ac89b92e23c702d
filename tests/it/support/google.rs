//! Google's sign-in service and Google Drive as far as their documentation says what we use of them, on a port of this machine: it keeps files,
//! reads queries in their own language and refuses what is not, and takes uploads in parts by their rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use toolgate::domain::Digest;

use super::web_server::{Asked, Reply, WebServer};

/// The id and the secret of the program.
pub const CLIENT: &str = "client-1.apps.example";
pub const CLIENT_SECRET: &str = "GOCSPX-the-program's-secret";
/// Parts come in multiples of this.
pub const STEP: usize = 256 << 10;
pub const FILE_SCOPE: &str = "https://www.googleapis.com/auth/drive.file";

#[derive(Clone, Debug, Default)]
pub struct File {
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
    pub parents: Vec<String>,
    /// What the drive says the sum is, where that is a lie.
    pub told_sum: Option<String>,
    pub told_size: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub file: String,
    pub total: usize,
    pub kept: Vec<u8>,
    /// The parts as they came: where each began and ended.
    pub parts: Vec<(usize, usize)>,
    about: Value,
}

/// The beginning of a path, and the status, body and headers that it is answered with.
pub type Instead = (&'static str, u16, Value, Vec<(&'static str, String)>);

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, File>,
    pub sessions: BTreeMap<String, Session>,
    codes: BTreeMap<String, (String, String)>,
    pub logins: BTreeSet<String>,
    pub access: BTreeSet<String>,
    device: Option<(String, u32)>,
    made: u32,
    pub revoked: Vec<String>,
    pub refreshes: u32,
    /// What comes instead of the next answers, by the beginning of the path.
    pub instead: VecDeque<Instead>,
    /// What is granted, where that is not what was asked for.
    pub grants: Option<String>,
    /// Gives another login with each refresh.
    pub rotates: bool,
    pub says_no: bool,
    pub page: usize,
    /// Parts after which the drive says nothing more, and whether it kept the last one.
    pub silent_after: Option<(usize, bool)>,
    /// Bytes of a part that are kept, where not all are.
    pub keeps_of_a_part: Option<usize>,
}

pub struct Google {
    pub server: WebServer,
    pub state: Arc<Mutex<State>>,
    went_silent: Arc<(Mutex<u32>, Condvar)>,
}

impl Google {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State { page: 100, ..State::default() }));
        let went_silent = Arc::new((Mutex::new(0), Condvar::new()));
        let (ours, silent) = (state.clone(), went_silent.clone());
        Self { server: WebServer::start(move |asked| answer(asked, &ours, &silent)), state, went_silent }
    }

    /// The settings that lead here.
    pub fn settings(&self, command: &mut std::process::Command) {
        let base = self.server.base();
        let places = ["auth", "token", "device", "revoke"].map(|place| format!("{place}={base}/{place}")).join(",");
        command
            .env("TOOLGATE_EGRESS_PRIVATE", format!("drive=127.0.0.1:{}", self.server.port))
            .env("TOOLGATE_EGRESS_PER_HOST_PER_SECOND", "0")
            .env("TOOLGATE_DRIVE_PROVIDERS", "google,local")
            .env("TOOLGATE_DRIVE_GOOGLE_CLIENT_ID", CLIENT)
            .env("TOOLGATE_DRIVE_GOOGLE_CLIENT_SECRET", "secret:GOOGLE_CLIENT")
            .env("TOOLGATE_DRIVE_GOOGLE_CHUNK_BYTES", STEP.to_string())
            .env("TOOLGATE_DRIVE_GOOGLE_ENDPOINTS", format!("{places},api={base}"))
            .env("TOOLGATE_LOG", "debug");
    }

    pub fn put(&self, id: &str, name: &str, mime: &str, bytes: &[u8]) {
        let file = File { name: name.into(), mime: mime.into(), bytes: bytes.into(), parents: vec!["root".into()], ..File::default() };
        self.state.lock().unwrap().files.insert(id.into(), file);
    }

    /// A login without a person.
    pub fn login(&self) -> String {
        let mut state = self.state.lock().unwrap();
        let login = state.next("1//login");
        state.logins.insert(login.clone());
        login
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// Waits until the drive has gone silent so often.
    pub fn wait_silent(&self, times: u32) {
        let (count, told) = &*self.went_silent;
        let (count, late) = told.wait_timeout_while(count.lock().unwrap(), Duration::from_secs(120), |count| *count < times).unwrap();
        assert!(!late.timed_out(), "the drive was asked for {} of {times} parts", *count);
    }

    /// What a person's browser does with an address: goes there, and where it is led on this machine.
    pub fn browse(url: &str) -> (u16, String) {
        let (status, head) = fetch(url, "127.0.0.1");
        let place = head.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned);
        match place {
            Some(place) => fetch(&place, "127.0.0.1"),
            None => (status, head),
        }
    }

    /// Where the sign-in service leads to.
    pub fn leads_to(url: &str) -> String {
        let (_, head) = fetch(url, "127.0.0.1");
        head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_else(|| panic!("{url}: {head}")).to_owned()
    }
}

/// One request as a browser makes it: status, head and body.
pub fn fetch(url: &str, host: &str) -> (u16, String) {
    let url = url::Url::parse(url).unwrap();
    let port = url.port().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let target = &url[url::Position::BeforePath..];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    (all.split(' ').nth(1).unwrap().parse().unwrap(), all)
}

type Pairs = BTreeMap<String, String>;

fn pairs(text: &str) -> Pairs {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn refused(status: u16, reason: &str) -> Reply {
    Reply::new(
        status,
        "application/json",
        json!({ "error": { "code": status, "message": "no", "errors": [{ "domain": "global", "reason": reason, "message": "no" }] } })
            .to_string(),
    )
}

fn oauth_refused(status: u16, error: &str) -> Reply {
    Reply::new(status, "application/json", json!({ "error": error, "error_description": "no" }).to_string())
}

fn answer(asked: &Asked, state: &Mutex<State>, silent: &(Mutex<u32>, Condvar)) -> Reply {
    let query = pairs(asked.target.split_once('?').map_or("", |(_, query)| query));
    let path = asked.path().to_owned();
    let goes_silent = {
        let mut state = state.lock().unwrap();
        if let Some((at, ..)) = state.instead.front()
            && path.starts_with(at)
        {
            let (_, status, body, headers) = state.instead.pop_front().unwrap();
            return headers
                .iter()
                .fold(Reply::new(status, "application/json", body.to_string()), |reply, (name, value)| reply.header(name, value));
        }
        match (asked.method.as_str(), path.as_str()) {
            ("GET", "/auth") => return state.authorize(&query),
            ("POST", "/token") => return state.token(&pairs(std::str::from_utf8(&asked.body).unwrap())),
            ("POST", "/device") => return state.device_code(&pairs(std::str::from_utf8(&asked.body).unwrap())),
            ("POST", "/revoke") => return state.revoke(&pairs(std::str::from_utf8(&asked.body).unwrap())),
            _ => {}
        }
        let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !state.access.contains(token) {
            return refused(401, "authError");
        }
        if asked.method == "PUT" && path == "/upload/drive/v3/files" {
            match state.part(asked, &query) {
                Ok(reply) => return reply,
                Err(()) => true,
            }
        } else {
            return state.drive(asked, &path, &query);
        }
    };
    assert!(goes_silent);
    *silent.0.lock().unwrap() += 1;
    silent.1.notify_all();
    // Whoever sent the part is killed meanwhile.
    std::thread::sleep(Duration::from_secs(600));
    refused(503, "backendError")
}

impl State {
    fn next(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{:04}-canary", self.made)
    }

    fn authorize(&mut self, query: &Pairs) -> Reply {
        let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let back = get("redirect_uri").to_owned();
        let good = get("client_id") == CLIENT
            && get("response_type") == "code"
            && get("code_challenge_method") == "S256"
            && get("code_challenge").len() == 43
            && get("state").len() >= 16
            && get("access_type") == "offline"
            && get("scope").starts_with("https://www.googleapis.com/auth/drive")
            && back.starts_with("http://127.0.0.1:");
        if !good {
            return Reply::new(400, "text/plain", format!("not a request of OAuth with PKCE: {query:?}"));
        }
        let mut place = url::Url::parse(&back).unwrap();
        if self.says_no {
            place.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", get("state"));
        } else {
            let code = self.next("4/code");
            self.codes.insert(code.clone(), (get("code_challenge").to_owned(), back));
            self.grants.get_or_insert_with(|| get("scope").to_owned());
            place.query_pairs_mut().append_pair("state", get("state")).append_pair("code", &code);
        }
        Reply::new(302, "text/plain", "").header("Location", place.as_str())
    }

    fn granted(&mut self, with_login: bool) -> Reply {
        let access = self.next("ya29.access");
        self.access.insert(access.clone());
        let mut body = json!({ "access_token": access, "expires_in": 3599, "token_type": "Bearer", "scope": self.grants.clone().unwrap_or_else(|| FILE_SCOPE.into()) });
        if with_login {
            let login = self.next("1//login");
            self.logins.insert(login.clone());
            body["refresh_token"] = json!(login);
        }
        Reply::json(&body)
    }

    fn token(&mut self, form: &Pairs) -> Reply {
        let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if get("client_id") != CLIENT || get("client_secret") != CLIENT_SECRET {
            return oauth_refused(401, "invalid_client");
        }
        match get("grant_type") {
            "authorization_code" => {
                // A code is good once.
                let Some((challenge, back)) = self.codes.remove(get("code")) else { return oauth_refused(400, "invalid_grant") };
                let proves = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier").as_bytes())) == challenge;
                if !proves || get("redirect_uri") != back {
                    return oauth_refused(400, "invalid_grant");
                }
                self.granted(true)
            }
            "refresh_token" => {
                self.refreshes += 1;
                if !self.logins.contains(get("refresh_token")) {
                    return oauth_refused(400, "invalid_grant");
                }
                if self.rotates {
                    self.logins.remove(get("refresh_token"));
                }
                self.granted(self.rotates)
            }
            "urn:ietf:params:oauth:grant-type:device_code" => match &mut self.device {
                Some((code, left)) if code == get("device_code") => {
                    if *left > 0 {
                        *left -= 1;
                        return oauth_refused(428, "authorization_pending");
                    }
                    self.device = None;
                    if self.says_no { oauth_refused(403, "access_denied") } else { self.granted(true) }
                }
                _ => oauth_refused(400, "invalid_grant"),
            },
            _ => oauth_refused(400, "unsupported_grant_type"),
        }
    }

    fn device_code(&mut self, form: &Pairs) -> Reply {
        if form.get("client_id").map(String::as_str) != Some(CLIENT) || !form.contains_key("scope") {
            return oauth_refused(401, "invalid_client");
        }
        let code = self.next("device");
        self.device = Some((code.clone(), 1));
        // As Google has it: not the field of the standard.
        Reply::json(
            &json!({ "device_code": code, "user_code": "GQVQ-JKEC", "verification_url": "https://www.google.example/device", "expires_in": 1800, "interval": 1 }),
        )
    }

    fn revoke(&mut self, form: &Pairs) -> Reply {
        let token = form.get("token").cloned().unwrap_or_default();
        if !self.logins.remove(&token) {
            return oauth_refused(400, "invalid_token");
        }
        self.access.clear();
        self.revoked.push(token);
        Reply::json(&json!({}))
    }

    fn describe(&self, id: &str) -> Value {
        let file = &self.files[id];
        let mut told =
            json!({ "id": id, "name": file.name, "mimeType": file.mime, "modifiedTime": "2026-11-30T10:00:00.000Z", "trashed": false });
        if !file.mime.starts_with("application/vnd.google-apps.") {
            told["size"] = json!(file.told_size.unwrap_or(file.bytes.len()).to_string());
            told["sha256Checksum"] = json!(file.told_sum.clone().unwrap_or_else(|| Digest::of(&file.bytes).to_string()));
        }
        if let Some(target) = file.mime.strip_prefix("application/vnd.google-apps.shortcut:") {
            told["mimeType"] = json!("application/vnd.google-apps.shortcut");
            told["shortcutDetails"] = json!({ "targetId": target, "targetMimeType": "text/plain" });
        }
        told
    }

    fn drive(&mut self, asked: &Asked, path: &str, query: &Pairs) -> Reply {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["drive", "v3", "about"]) => Reply::json(
                &json!({ "user": { "emailAddress": "ann@example.org" }, "storageQuota": { "limit": "1048576000", "usage": "1048576" } }),
            ),
            ("GET", ["drive", "v3", "files"]) => self.list(query),
            ("GET", ["drive", "v3", "files", "generateIds"]) => {
                let id = self.next("new").replace('.', "_");
                Reply::json(&json!({ "ids": [id], "space": "drive" }))
            }
            ("GET", ["drive", "v3", "files", id, "export"]) => match self.files.get(*id) {
                Some(file) if file.bytes.len() > 10 << 20 => refused(403, "exportSizeLimitExceeded"),
                Some(file) => Reply::new(200, &query["mimeType"], file.bytes.clone()),
                None => refused(404, "notFound"),
            },
            ("GET", ["drive", "v3", "files", id]) => match self.files.get(*id) {
                Some(file) if query.get("alt").is_some_and(|alt| alt == "media") => {
                    Reply::new(200, "application/octet-stream", file.bytes.clone())
                }
                Some(_) => Reply::json(&self.describe(id)),
                None => refused(404, "notFound"),
            },
            ("POST", ["upload", "drive", "v3", "files"]) => self.begin(asked, query),
            _ => refused(404, "notFound"),
        }
    }

    fn list(&self, query: &Pairs) -> Reply {
        let Some(terms) = terms(&query["q"]) else { return refused(400, "invalid") };
        let both = query.get("supportsAllDrives").map(String::as_str) == Some("true");
        if query["corpora"] == "allDrives" && !(both && query.get("includeItemsFromAllDrives").map(String::as_str) == Some("true")) {
            return refused(403, "teamDrivesParameterRequired");
        }
        let fits = |file: &File| {
            terms.iter().all(|term| match term {
                Term::Contains(word) => file.name.contains(word.as_str()) || String::from_utf8_lossy(&file.bytes).contains(word.as_str()),
                Term::Within(folder) => file.parents.contains(folder),
                Term::NotKind(kind) => file.mime != *kind,
                Term::NotTrashed => true,
            })
        };
        let all: Vec<&String> = self.files.iter().filter(|(_, file)| fits(file)).map(|(id, _)| id).collect();
        let from: usize = query.get("pageToken").map_or(0, |token| token.strip_prefix("page-").unwrap().parse().unwrap());
        let size = query["pageSize"].parse::<usize>().unwrap().min(self.page);
        let page: Vec<Value> = all.iter().skip(from).take(size).map(|id| self.describe(id)).collect();
        let mut body = json!({ "incompleteSearch": false, "files": page });
        if from + size < all.len() {
            body["nextPageToken"] = json!(format!("page-{}", from + size));
        }
        Reply::json(&body)
    }

    fn begin(&mut self, asked: &Asked, query: &Pairs) -> Reply {
        let about: Value = serde_json::from_slice(&asked.body).unwrap();
        let id = about["id"].as_str().unwrap().to_owned();
        if query["uploadType"] != "resumable" || self.files.contains_key(&id) {
            return refused(409, "fileIdInUse");
        }
        let total = asked.header("x-upload-content-length").unwrap().parse().unwrap();
        let session = self.next("session");
        self.sessions.insert(session.clone(), Session { file: id, total, kept: Vec::new(), parts: Vec::new(), about });
        let host = asked.header("host").unwrap();
        Reply::new(200, "text/plain", "")
            .header("Location", &format!("http://{host}/upload/drive/v3/files?uploadType=resumable&upload_id={session}"))
    }

    /// A part, or the question how far it is. `Err` where the drive says nothing more.
    fn part(&mut self, asked: &Asked, query: &Pairs) -> Result<Reply, ()> {
        let Some(mut session) = self.sessions.get(&query["upload_id"]).cloned() else { return Ok(refused(404, "notFound")) };
        let range = asked.header("content-range").unwrap().strip_prefix("bytes ").unwrap().to_owned();
        let (span, total) = range.split_once('/').unwrap();
        assert_eq!(total.parse::<usize>().unwrap(), session.total, "the whole length stays");
        let mut lost = false;
        if span != "*" {
            let (first, last) = span.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(asked.body.len(), last + 1 - first, "the part is as long as its range");
            if first != session.kept.len() || last >= session.total || ((last + 1 - first) % STEP != 0 && last + 1 != session.total) {
                return Ok(refused(400, "badRequest"));
            }
            let kept = self.keeps_of_a_part.take().unwrap_or(asked.body.len());
            let keeps_last = self.silent_after.is_none_or(|(parts, keeps)| session.parts.len() + 1 < parts || keeps);
            lost = self.silent_after.is_some_and(|(parts, _)| session.parts.len() + 1 == parts);
            if keeps_last {
                session.kept.extend_from_slice(&asked.body[..kept]);
                session.parts.push((first, first + kept));
            }
        }
        let done = session.kept.len() == session.total;
        if done {
            let text = |field: &str| session.about[field].as_str().unwrap_or_default().to_owned();
            let parents = session.about["parents"]
                .as_array()
                .map_or_else(Vec::new, |all| all.iter().map(|id| id.as_str().unwrap().to_owned()).collect());
            let file = File { name: text("name"), mime: text("mimeType"), bytes: session.kept.clone(), parents, ..File::default() };
            self.files.entry(session.file.clone()).or_insert(file);
        }
        let (id, reached) = (session.file.clone(), session.kept.len());
        self.sessions.insert(query["upload_id"].clone(), session);
        if lost {
            self.silent_after = None;
            return Err(());
        }
        if done {
            return Ok(Reply::json(&self.describe(&id)));
        }
        let reply = Reply::new(308, "text/plain", "");
        Ok(if reached == 0 { reply } else { reply.header("Range", &format!("bytes=0-{}", reached - 1)) })
    }
}

/// What a query asks for.
#[derive(Debug)]
enum Term {
    NotTrashed,
    NotKind(String),
    Contains(String),
    Within(String),
}

/// Reads a query as it is documented: terms joined by `and`; literals with `\'` and `\\`. Anything else is no query.
fn terms(query: &str) -> Option<Vec<Term>> {
    let (mut rest, mut all) = (query, Vec::new());
    loop {
        let (term, after) = if let Some(after) = rest.strip_prefix("trashed = false") {
            (Term::NotTrashed, after)
        } else if let Some(after) = rest.strip_prefix("mimeType != ") {
            let (kind, after) = literal(after)?;
            (Term::NotKind(kind), after)
        } else if let Some(after) = rest.strip_prefix("fullText contains ") {
            let (word, after) = literal(after)?;
            (Term::Contains(word), after)
        } else {
            let (folder, after) = literal(rest)?;
            (Term::Within(folder), after.strip_prefix(" in parents")?)
        };
        all.push(term);
        if after.is_empty() {
            return Some(all);
        }
        rest = after.strip_prefix(" and ")?;
    }
}

fn literal(text: &str) -> Option<(String, &str)> {
    let (mut out, mut chars) = (String::new(), text.strip_prefix('\'')?.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, &text[at + 2..])),
            '\\' => out.push(chars.next().filter(|(_, c)| matches!(c, '\'' | '\\'))?.1),
            c => out.push(c),
        }
    }
    None
}
