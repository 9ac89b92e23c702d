//! `drive login`, `status` and `logout` through the real binary, against a sign-in service that checks what OAuth asks for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use url::Url;

use crate::support::google::{CLIENT_SECRET, FILE_SCOPE, Google, fetch};
use crate::support::{Ran, Toolgate, files};
use crate::vault::{as_operator, operator};

/// A home that knows the program's secret.
pub fn prepared(google: &Google) -> Toolgate {
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    let set = ["vault", "set", "GOOGLE_CLIENT", "--hosts", &google.server.base(), "--tools", "drive.search,drive.get,drive.upload"];
    as_operator(&toolgate, &set, &format!("{CLIENT_SECRET}\n")).exits(0);
    toolgate
}

/// A verb that has begun, and what it says.
struct Verb {
    child: Child,
    said: Vec<String>,
}

impl Verb {
    /// Begins it, and waits for the line that asks the person to go somewhere.
    fn begin(toolgate: &Toolgate, google: &Google, args: &[&str]) -> (Self, String) {
        let mut command = operator(toolgate, args, "");
        google.settings(&mut command);
        let mut child =
            command.env("TOOLGATE_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("it ended without asking for anything: {said:?} {:?}", child.wait_with_output())
            };
            said.push(line.clone());
            let wanted =
                if args.contains(&"--device") { line.trim().len() == 9 && line.contains('-') } else { line.trim().starts_with("http") };
            if wanted {
                // The rest is read so that the verb never waits for us.
                std::thread::spawn(move || lines.for_each(drop));
                return (Self { child, said }, line.trim().to_owned());
            }
        }
    }

    fn ends(self, code: i32) -> Ran {
        let ran = Ran::of(self.child.wait_with_output().unwrap());
        assert_eq!(ran.code, code, "{}\n{:?}", ran.stdout, self.said);
        ran
    }
}

/// Logs in as a person does.
pub fn log_in(toolgate: &Toolgate, google: &Google) -> Ran {
    let (verb, url) = Verb::begin(toolgate, google, &["drive", "login"]);
    assert_eq!(Google::browse(&url).0, 200);
    verb.ends(0)
}

fn run(toolgate: &Toolgate, google: &Google, args: &[&str]) -> Ran {
    let mut command = toolgate.command(args);
    google.settings(&mut command);
    Ran::of(command.output().unwrap())
}

fn by_operator(toolgate: &Toolgate, google: &Google, args: &[&str]) -> Ran {
    let mut command = operator(toolgate, args, "");
    google.settings(&mut command);
    Ran::of(command.stdin(Stdio::null()).output().unwrap())
}

fn status(toolgate: &Toolgate, google: &Google) -> Value {
    let ran = run(toolgate, google, &["drive", "status", "--json"]).exits(0);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()[0].clone()
}

/// No token, code or secret of the service is in any file, nor in what was said.
fn nothing_told(toolgate: &Toolgate, said: &[&str]) {
    let canaries = ["-canary", "the-program's-secret"];
    for text in said {
        assert!(canaries.iter().all(|canary| !text.contains(canary)), "{text}");
    }
    for file in files(&toolgate.data()) {
        let bytes = std::fs::read(&file).unwrap();
        for canary in canaries {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{} holds {canary}", file.display());
        }
    }
}

/// Every request that any run tells of.
fn recorded(toolgate: &Toolgate) -> String {
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let events =
        runs.as_array().unwrap().iter().map(|run| toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout);
    events.flat_map(|text| text.lines().filter(|line| line.contains("http_request")).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_person_logs_in_by_a_browser_and_out_again() {
    let google = Google::start();
    let toolgate = prepared(&google);
    assert_eq!(status(&toolgate, &google)["state"], "login_required");
    let ran = log_in(&toolgate, &google);
    assert!(ran.stdout.contains("ann@example.org") && ran.stdout.contains("drive.file"), "{}", ran.stdout);
    let stands = status(&toolgate, &google);
    assert_eq!(
        (&stands["state"], &stands["account"], &stands["limit"]),
        (&json!("ready"), &json!("ann@example.org"), &json!(1_048_576_000))
    );
    // The login is for the sign-in service and the drive's tools alone.
    let listed = toolgate.json(0, &["vault", "list", "--json"]);
    let login = listed.as_array().unwrap().iter().find(|secret| secret["name"] == "DRIVE_GOOGLE_LOGIN").unwrap();
    assert_eq!(login["hosts"], json!([google.server.base()]));
    assert_eq!(login["tools"], json!(["drive.get", "drive.search", "drive.upload"]));
    let used = json!({ "code": "print(1)", "allow_network": true, "allowed_hosts": [format!("127.0.0.1:{}", google.server.port)], "secrets": ["DRIVE_GOOGLE_LOGIN"] });
    let taken = run(&toolgate, &google, &["tools", "call", "python.run", &used.to_string(), "--json"]);
    assert!(format!("{taken:?}").contains("UNKNOWN_SECRET"), "no program gets the login: {taken:?}");
    nothing_told(&toolgate, &[&ran.stdout, &ran.stderr]);
    // What was asked of the service is on record.
    let told = recorded(&toolgate);
    assert!(told.contains(r#""path":"/token""#) && told.contains(r#""path":"/drive/v3/about""#), "{told}");

    by_operator(&toolgate, &google, &["drive", "logout"]).exits(0);
    assert_eq!(google.state.lock().unwrap().revoked.len(), 1);
    assert_eq!(status(&toolgate, &google)["state"], "login_required");
    let refused = run(&toolgate, &google, &["tools", "call", "drive.search", r#"{"query":"x"}"#, "--json"]).exits(1);
    assert!(format!("{refused:?}").contains("DRIVE_LOGIN_REQUIRED"), "{refused:?}");
    let nobody = by_operator(&toolgate, &google, &["drive", "logout"]).exits(1);
    assert!(nobody.stderr.contains("nobody is logged in"), "{nobody:?}");
}

#[test]
fn the_page_hears_the_one_answer_alone() {
    let google = Google::start();
    let toolgate = prepared(&google);
    let (verb, url) = Verb::begin(&toolgate, &google, &["drive", "login"]);
    let back = Url::parse(&Google::leads_to(&url)).unwrap();
    assert_eq!((back.host_str(), back.scheme()), (Some("127.0.0.1"), "http"));
    let asked = Url::parse(&url).unwrap();
    let asked: std::collections::BTreeMap<_, _> = asked.query_pairs().into_owned().collect();
    assert_eq!((asked["scope"].as_str(), asked["code_challenge_method"].as_str()), (FILE_SCOPE, "S256"));
    // What another page could send: no state, another one, one that was of another login, another name for this machine.
    for (target, host, status) in [
        (back.as_str().replace(&asked["state"], "stolen-state-of-another"), "127.0.0.1", 403),
        (format!("{}?code=injected", &back[..url::Position::AfterPath]), "127.0.0.1", 403),
        (back.as_str().replace("/drive/callback", "/"), "127.0.0.1", 404),
        (back.to_string(), "evil.example", 421),
    ] {
        assert_eq!(fetch(&target, host).0, status, "{target}");
    }
    let (status, page) = fetch(back.as_str(), "127.0.0.1");
    assert!(status == 200 && !page.contains("canary"), "{page}");
    verb.ends(0);
    // It is gone: the same answer cannot be given again.
    let gone = std::net::TcpStream::connect(("127.0.0.1", back.port().unwrap()));
    assert!(gone.and_then(|mut stream| stream.write_all(b"x")).is_err(), "somebody listens still");
}

#[test]
fn a_code_that_was_stolen_is_worth_nothing_without_the_verifier() {
    let google = Google::start();
    let toolgate = prepared(&google);
    let (mut verb, url) = Verb::begin(&toolgate, &google, &["drive", "login"]);
    let back = Url::parse(&Google::leads_to(&url)).unwrap();
    let stolen = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    // A second login of the same program gets another one's code: its verifier is another.
    let (other, other_url) = Verb::begin(&toolgate, &google, &["drive", "login"]);
    let other_back = Google::leads_to(&other_url);
    let own = Url::parse(&other_back).unwrap().query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let injected = other_back.replace(
        &url::form_urlencoded::byte_serialize(own.as_bytes()).collect::<String>(),
        &url::form_urlencoded::byte_serialize(stolen.as_bytes()).collect::<String>(),
    );
    assert_eq!(fetch(&injected, "127.0.0.1").0, 200);
    other.ends(1);
    assert!(toolgate.json(0, &["vault", "list", "--json"]).as_array().unwrap().iter().all(|secret| secret["name"] != "DRIVE_GOOGLE_LOGIN"));
    verb.child.kill().unwrap();
    verb.child.wait().unwrap();
}

#[test]
fn a_person_without_a_browser_types_a_code() {
    let google = Google::start();
    let toolgate = prepared(&google);
    let (verb, code) = Verb::begin(&toolgate, &google, &["drive", "login", "--device"]);
    assert_eq!(code, "GQVQ-JKEC");
    assert!(verb.said.iter().any(|line| line.contains("https://www.google.example/device")), "{:?}", verb.said);
    let ran = verb.ends(0);
    nothing_told(&toolgate, &[&ran.stdout]);
    assert_eq!(status(&toolgate, &google)["state"], "ready");
}

#[test]
fn whoever_says_no_or_gives_other_rights_logs_nobody_in() {
    let google = Google::start();
    let toolgate = prepared(&google);
    google.set(|state| state.says_no = true);
    let (verb, url) = Verb::begin(&toolgate, &google, &["drive", "login"]);
    assert_eq!(Google::browse(&url).0, 200);
    verb.ends(1);
    let (verb, _) = Verb::begin(&toolgate, &google, &["drive", "login", "--device"]);
    verb.ends(1);
    // More than was asked for, and something else: given back at once.
    for grants in [
        format!("{FILE_SCOPE} https://www.googleapis.com/auth/drive"),
        "https://www.googleapis.com/auth/drive.readonly".to_owned(),
        "openid".to_owned(),
    ] {
        google.set(|state| (state.says_no, state.grants) = (false, Some(grants.clone())));
        let (verb, url) = Verb::begin(&toolgate, &google, &["drive", "login"]);
        assert_eq!(Google::browse(&url).0, 200);
        verb.ends(1);
        let state = google.state.lock().unwrap();
        assert!(state.logins.is_empty(), "{grants}: the login stands still");
    }
    assert_eq!(google.state.lock().unwrap().revoked.len(), 3);
    assert_eq!(status(&toolgate, &google)["state"], "login_required");
    nothing_told(&toolgate, &[]);
}

#[test]
fn a_wider_login_is_asked_for_by_the_settings_alone() {
    let google = Google::start();
    let toolgate = prepared(&google);
    let mut command = operator(&toolgate, &["drive", "login"], "");
    google.settings(&mut command);
    let wrong = Ran::of(command.env("TOOLGATE_DRIVE_GOOGLE_SCOPE", "everything").stdin(Stdio::null()).output().unwrap()).exits(2);
    assert!(wrong.stderr.contains("drive.file"), "{wrong:?}");
    google.set(|state| state.grants = Some("https://www.googleapis.com/auth/drive.readonly".into()));
    let mut command = operator(&toolgate, &["drive", "login"], "");
    google.settings(&mut command);
    let mut child = command
        .env("TOOLGATE_DRIVE_GOOGLE_SCOPE", "drive.readonly")
        .env("TOOLGATE_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let url =
        BufReader::new(child.stderr.as_mut().unwrap()).lines().map(Result::unwrap).find(|line| line.trim().starts_with("http")).unwrap();
    assert!(url.contains("drive.readonly"), "{url}");
    assert_eq!(Google::browse(url.trim()).0, 200);
    assert!(child.wait().unwrap().success());
}
