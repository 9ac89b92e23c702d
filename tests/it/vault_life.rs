//! The vault as people live with it: its key in a real keyring, carried to another home, killed in the middle, looked at by `doctor`,
//! and used from the libraries that programs use.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::python_packages::{call, installers};
use crate::support::http_server::HttpServer;
use crate::support::{Ran, Toolgate, files, root};
use crate::vault::{CANARY, as_operator, assert_nowhere, operator};

fn set(toolgate: &Toolgate, name: &str, value: &str, hosts: &str) {
    as_operator(toolgate, &["vault", "set", name, "--hosts", hosts], value).exits(0);
}

/// What `doctor` says of the vault.
fn checked(toolgate: &Toolgate) -> Value {
    let ran = toolgate.run(&["doctor", "--json"]);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
    told["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vault").unwrap_or_else(|| panic!("{told}")).clone()
}

fn assert_told(check: &Value, is_ok: bool, words: &[&str]) {
    let text = check.to_string();
    assert_eq!(check["ok"], is_ok, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
}

#[test]
fn placeholders_work_in_the_libraries_that_programs_use() {
    let Some((pip, _)) = installers() else { return };
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    as_operator(&toolgate, &["init"], "").exits(0);
    set(&toolgate, "CANARY", CANARY, &server.base());
    let host = format!("127.0.0.1:{}", server.port);
    let code = std::fs::read_to_string(root().join("tests/python/net/secrets.py")).unwrap();
    let arguments = json!({
        "code": code, "args": [server.base()], "allow_network": true, "allowed_hosts": [host, format!("localhost:{}", server.port)],
        "secrets": ["CANARY"], "requirements": ["requests==2.34.2", "httpx==0.28.1"],
    });
    let private = format!("[egress]\nprivate = [\"python={host}\", \"python=localhost:{}\"]\n", server.port);
    std::fs::write(toolgate.data().join("toolgate.toml"), private).unwrap();
    let answer = call(&toolgate, &pip, &arguments);
    let result = &answer["output"]["result"];
    for used in
        ["raw", "requests_json", "requests_session", "requests_cookie", "requests_parts", "httpx_json", "httpx_basic", "httpx_async"]
    {
        let text = result[used].to_string();
        let is_hidden = text.contains("REDACTED") || text.contains("********");
        assert!(result[used][0] == 200 && is_hidden && !text.contains("{{secret"), "{used}: {text}\n{answer}");
    }
    // The library's own error holds the host's sentence.
    for other in ["requests_other_host", "httpx_other_host"] {
        assert!(result[other].to_string().contains("may not go to `http://localhost"), "{other}: {}", result[other]);
    }
    let heard = server.heard();
    let with_value = heard.iter().filter(|heard| heard.contains(&format!("Bearer {CANARY}"))).count();
    assert_eq!(with_value, 7, "one each, and three at once: {heard:#?}");
    assert!(heard.iter().any(|heard| heard.contains(&format!("hello {CANARY}"))), "{heard:#?}");
    assert!(heard.iter().any(|heard| heard.contains(&format!("sid={CANARY}"))), "{heard:#?}");
    assert!(!heard.iter().any(|heard| heard.lines().next().unwrap().contains("kanarie")), "nothing is put into a URL: {heard:#?}");
    assert_nowhere("the answer", answer.to_string().as_bytes());
    for path in files(&toolgate.data()) {
        assert_nowhere(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

#[test]
fn secrets_are_carried_to_another_home_and_used_there() {
    let (from, to, server) = (Toolgate::new(), Toolgate::new(), HttpServer::start());
    for toolgate in [&from, &to] {
        as_operator(toolgate, &["init"], "").exits(0);
    }
    set(&from, "CANARY", CANARY, &server.base());
    set(&from, "OTHER", "another value of mine", "api.example.com");
    let file = from.home().join("secrets.age");
    let path = file.to_str().unwrap();
    as_operator(&from, &["vault", "export", path, "--file-passphrase-fd", "4"], "").exits(0);
    assert_nowhere("the export", &std::fs::read(&file).unwrap());
    // Never over a file that is there.
    assert_eq!(as_operator(&from, &["vault", "export", path, "--file-passphrase-fd", "4"], "").code, 2);

    let import = ["vault", "import", path, "--file-passphrase-fd", "4"];
    let mut wrong = operator(&to, &import, "not the passphrase at all");
    let wrong = Ran::of(wrong.stdin(Stdio::null()).output().unwrap());
    assert!(wrong.code != 0 && wrong.stderr.contains("error[VAULT_BROKEN]") && wrong.stderr.contains("hint"), "{}", wrong.stderr);
    assert_eq!(to.json(0, &["vault", "list", "--json"]), json!([]));
    as_operator(&to, &import, "").exits(0);
    let listed = to.json(0, &["vault", "list", "--json"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["CANARY", "OTHER"]);
    // What is there is not replaced by the way.
    assert_eq!(as_operator(&to, &import, "").code, 2);
    as_operator(&to, &[&import as &[&str], &["--replace"]].concat(), "").exits(0);

    let code = "import sys, urllib.request as u\nu.urlopen(u.Request(sys.argv[1] + '/echo', headers={'X-Key': '{{secret:CANARY}}'}))";
    let host = format!("127.0.0.1:{}", server.port);
    let arguments =
        json!({ "code": code, "args": [server.base()], "allow_network": true, "allowed_hosts": [host], "secrets": ["CANARY"] }).to_string();
    let mut used = to.command(&["tools", "call", "python.run", &arguments, "--json"]);
    let used = Ran::of(used.env("TOOLGATE_EGRESS_PRIVATE", format!("python={host}")).output().unwrap()).exits(0);
    assert!(server.heard().iter().any(|heard| heard.contains(CANARY)), "{}{}", used.stdout, used.stderr);
    for toolgate in [&from, &to] {
        for path in files(&toolgate.data()) {
            assert_nowhere(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

#[cfg(unix)]
#[test]
fn doctor_tells_where_the_key_lies_and_what_is_wrong_with_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    assert_told(&checked(&toolgate), true, &["empty"]);
    set(&toolgate, "TOKEN", "a value of mine", "api.example.com");
    let key = toolgate.data().join("vault/key");
    let right = std::fs::read(&key).unwrap();
    assert_told(&checked(&toolgate), true, &["1 secrets open", key.to_str().unwrap(), "its owner alone", "made 0 days ago"]);

    let broken = |words: &[&str]| {
        let all = [&["VAULT_LOCKED"] as &[&str], words].concat();
        let check = checked(&toolgate);
        assert_told(&check, false, &all);
        let ran = as_operator(&toolgate, &["vault", "rotate"], "");
        assert!(ran.code != 0 && ran.stderr.contains("error[VAULT_LOCKED]") && ran.stderr.contains("hint"), "{}", ran.stderr);
        for text in [check.to_string(), ran.stderr] {
            assert!(!text.contains(String::from_utf8_lossy(&right).trim()), "nothing of the key is told");
        }
    };
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    broken(&["chmod 600"]);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let other = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [9_u8; 32]);
    std::fs::write(&key, other).unwrap();
    broken(&["not the one", "put the right key back"]);
    std::fs::remove_file(&key).unwrap();
    broken(&["not there", "backup"]);
    std::fs::write(&key, &right).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_told(&checked(&toolgate), true, &["1 secrets open"]);
}

/// Every secret and its value, by an export for a key of the test's own.
fn values(toolgate: &Toolgate) -> BTreeMap<String, String> {
    let identity = age::x25519::Identity::generate();
    let file = toolgate.home().join("all.age");
    as_operator(toolgate, &["vault", "export", file.to_str().unwrap(), "--recipient", &identity.to_public().to_string()], "").exits(0);
    let mut text = String::new();
    let sealed = std::fs::read(&file).unwrap();
    let decryptor = age::Decryptor::new(sealed.as_slice()).unwrap();
    decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap().read_to_string(&mut text).unwrap();
    std::fs::remove_file(file).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let one = |secret: &Value| (secret["name"].as_str().unwrap().to_owned(), secret["value"].as_str().unwrap().to_owned());
    all["secrets"].as_array().unwrap().iter().map(one).collect()
}

/// Starts a verb and kills it once its process wrote to the home so many times; whether it was still going.
fn kill_at_write(toolgate: &Toolgate, args: &[&str], input: &str, writes: usize) -> bool {
    let watched: [PathBuf; 2] = [toolgate.data().join("toolgate.db-wal"), toolgate.data().join("vault/key")];
    let state = || watched.each_ref().map(|path| std::fs::metadata(path).ok().map(|file| (file.len(), file.modified().unwrap())));
    let mut command = operator(toolgate, args, "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let (mut last, mut seen) = (state(), 0);
    while seen < writes && child.try_wait().unwrap().is_none() {
        let now = state();
        seen += usize::from(now != last);
        last = now;
    }
    let was_going = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_going
}

#[test]
fn a_killed_process_loses_no_secret_and_the_next_one_goes_on() {
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    let mut expected = BTreeMap::new();
    for n in 0..8 {
        let (name, value) = (format!("SECRET_{n}"), format!("the value of number {n}"));
        set(&toolgate, &name, &value, "api.example.com");
        expected.insert(name, value);
    }
    let (mut killed, mut halfway) = (0, 0);
    for writes in [1, 2, 3, 5, 7, 9] {
        killed += usize::from(kill_at_write(&toolgate, &["vault", "rotate"], "", writes));
        let keys = std::fs::read_to_string(toolgate.data().join("vault/key")).unwrap().lines().count();
        halfway += usize::from(keys == 2);
        assert!(keys <= 2, "a rotation that was broken off is finished and not begun anew: {keys} keys");
        assert_eq!(values(&toolgate), expected, "killed in a rotation after {writes} writes, with {keys} keys");
    }
    assert!(killed >= 3 && halfway >= 1, "{killed} kills, {halfway} of them between the first key and the last secret");
    for (n, writes) in [1, 2, 3, 4].into_iter().enumerate() {
        let (name, value) = (format!("SECRET_{n}"), format!("a newer value after {writes}"));
        kill_at_write(&toolgate, &["vault", "set", &name, "--hosts", "api.example.com"], &value, writes);
        let now = values(&toolgate);
        assert!(now[&name] == expected[&name] || now[&name] == value, "neither the old value nor the new one");
        expected.insert(name.clone(), now[&name].clone());
        assert_eq!(now, expected);
    }
    as_operator(&toolgate, &["vault", "rotate"], "").exits(0);
    assert_eq!(values(&toolgate), expected);
    assert_eq!(std::fs::read_to_string(toolgate.data().join("vault/key")).unwrap().lines().count(), 1);
    assert_told(&checked(&toolgate), true, &["8 secrets open"]);
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

/// A session with a keyring that is open; what runs in it is `$@`.
const SESSION: &str =
    r#"printf 'a passphrase of the session' | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null && exec "$@""#;

/// Runs a verb in a session with a keyring.
#[expect(clippy::disallowed_methods, reason = "a test is a user, and a user's desktop runs a keyring")]
fn in_session(toolgate: &Toolgate, verb: &Command) -> Ran {
    let runtime = toolgate.home().join("runtime");
    std::fs::create_dir_all(&runtime).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "/bin/sh", "-c", SESSION, "session"]).arg(verb.get_program()).args(verb.get_args()).env_clear();
    command.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", "/usr/bin:/bin");
    command.env("XDG_RUNTIME_DIR", runtime).env("XDG_DATA_HOME", toolgate.home().join("share"));
    command.env("TOOLGATE_VAULT_KEY_PLACE", "keyring");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a value of mine\n").unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "told by a variable what the machine has, it says what it skips")]
#[test]
fn the_key_lies_in_a_real_keyring() {
    if !["gnome-keyring-daemon", "dbus-run-session"].iter().all(|name| Path::new("/usr/bin").join(name).exists()) {
        assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_KEYRING").is_none(), "gnome-keyring or dbus is not installed");
        eprintln!("skipped: gnome-keyring and dbus are not installed");
        return;
    }
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    let verb = |args: &[&str]| in_session(&toolgate, &operator(&toolgate, args, ""));
    let said = verb(&["vault", "set", "TOKEN", "--hosts", "api.example.com"]);
    assert!(said.code == 0 && said.stderr.contains("lies in the keyring"), "{}{}", said.stdout, said.stderr);
    assert!(!toolgate.data().join("vault/key").exists());
    let before = toolgate.json(0, &["vault", "list", "--json"])[0]["key"].clone();
    // Another process, in another session of the same user, finds it, changes it, and a third one finds that.
    let rotated = verb(&["vault", "rotate"]);
    assert!(rotated.code == 0 && rotated.stdout.contains("1 secrets sealed anew"), "{}{}", rotated.stdout, rotated.stderr);
    assert_ne!(toolgate.json(0, &["vault", "list", "--json"])[0]["key"], before);
    let doctor = in_session(&toolgate, &toolgate.command(&["doctor", "--json"]));
    assert!(doctor.stdout.contains("1 secrets open; key in the keyring"), "{}{}", doctor.stdout, doctor.stderr);
    // Without the session there is no key, and nothing else takes its place.
    let mut outside = operator(&toolgate, &["vault", "rotate"], "");
    let outside = Ran::of(outside.env("TOOLGATE_VAULT_KEY_PLACE", "keyring").stdin(Stdio::null()).output().unwrap());
    let told = &outside.stderr;
    assert!(outside.code != 0 && told.contains("error[VAULT_LOCKED]") && told.contains("keyring") && told.contains("hint"), "{told}");
    assert!(!toolgate.data().join("vault/key").exists());
    // Nor does a home that has no key yet get one elsewhere.
    let bare = Toolgate::new();
    as_operator(&bare, &["init"], "").exits(0);
    let mut first = operator(&bare, &["vault", "set", "TOKEN", "--hosts", "api.example.com"], "");
    first.env("TOOLGATE_VAULT_KEY_PLACE", "keyring").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    first.stdin.take().unwrap().write_all(b"a value of mine\n").unwrap();
    let first = Ran::of(first.wait_with_output().unwrap());
    assert!(first.code != 0 && first.stderr.contains("error[VAULT_LOCKED]") && first.stderr.contains("keyring"), "{}", first.stderr);
    assert!(!bare.data().join("vault/key").exists());
}
