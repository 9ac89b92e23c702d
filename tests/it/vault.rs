//! The vault through the real binary: a secret is set, used and misused, and its value is nowhere but with the host it is for.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::http_server::HttpServer;
use crate::support::{Ran, Toolgate, files};

const PHRASE: &str = "correct horse battery";
pub const CANARY: &str = "kanarie/7+Zq\"9w~veilig";

/// A verb with the operator's passphrase on descriptor 3 and a file's passphrase on 4: this one, or the operator's own where it is empty.
#[expect(clippy::disallowed_methods, reason = "a test is a user, and a user's shell opens descriptors")]
pub fn operator(toolgate: &Toolgate, args: &[&str], of_file: &str) -> Command {
    let (phrase, other) = (toolgate.home().join("phrase"), toolgate.home().join("phrase-of-file"));
    std::fs::write(&phrase, format!("{PHRASE}\n")).unwrap();
    std::fs::write(&other, format!("{}\n", if of_file.is_empty() { PHRASE } else { of_file })).unwrap();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec 3<\"$0\" 4<\"$1\"; shift; exec \"$@\""])
        .args([&phrase, &other])
        .arg(env!("CARGO_BIN_EXE_toolgate"))
        .args(args)
        .args(["--passphrase-fd", "3"])
        .env_clear()
        .env("HOME", toolgate.home())
        .env("TOOLGATE_HOME", toolgate.data())
        .env("TOOLGATE_PYTHON_CACHE_DIR", crate::support::python_cache());
    command
}

/// Runs a verb as the operator with this on standard input.
pub fn as_operator(toolgate: &Toolgate, args: &[&str], input: &str) -> Ran {
    let mut command = operator(toolgate, args, "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

/// The value as it could be hidden in bytes.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![value.as_bytes().to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
    let quoted = serde_json::to_string(value).unwrap();
    all.push(quoted.trim_matches('"').as_bytes().to_vec());
    all.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>().into_bytes());
    // What base64 of a text around it holds in common, whatever stands before.
    for before in 0..3 {
        for engine in [base64::engine::general_purpose::STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD] {
            let text = engine.encode(format!("{}{value}", "x".repeat(before)));
            all.push(text.as_bytes()[4..text.len() - 2].to_vec());
        }
    }
    all
}

pub fn assert_nowhere(what: &str, bytes: &[u8]) {
    for spelling in spellings(CANARY) {
        let found = bytes.windows(spelling.len()).position(|window| window == spelling);
        assert!(found.is_none(), "{what} holds the value as {}: {}", String::from_utf8_lossy(&spelling), {
            let at = found.unwrap();
            String::from_utf8_lossy(&bytes[at.saturating_sub(120)..(at + 120).min(bytes.len())]).into_owned()
        });
    }
}

struct Scene {
    toolgate: Toolgate,
    server: HttpServer,
    said: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let (toolgate, server) = (Toolgate::new(), HttpServer::start());
        as_operator(&toolgate, &["init"], "").exits(0);
        let host = server.base();
        let ran = as_operator(&toolgate, &["vault", "set", "CANARY", "--hosts", &host, "--describe", "for tests"], &format!("{CANARY}\n"))
            .exits(0);
        let said = vec![ran.stdout, ran.stderr];
        Self { toolgate, server, said }
    }

    fn python(&mut self, arguments: &Value) -> Value {
        let mut command = self.toolgate.command(&["tools", "call", "python.run", &arguments.to_string(), "--json"]);
        command.env("TOOLGATE_EGRESS_PRIVATE", format!("python=127.0.0.1:{}", self.server.port)).env("TOOLGATE_LOG", "trace");
        let ran = Ran::of(command.output().unwrap());
        let answer = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
        self.said.extend([ran.stdout, ran.stderr]);
        answer
    }

    fn program(&self, code: &str) -> Value {
        json!({
            "code": code, "args": [self.server.base()], "allow_network": true,
            "allowed_hosts": [format!("127.0.0.1:{}", self.server.port)], "secrets": ["CANARY"],
        })
    }
}

const USES: &str = r#"
import sys, json, base64, urllib.request, urllib.error
base = sys.argv[1]
def ask(path, headers={}, data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers)) as answer:
            return [answer.status, dict(answer.headers), answer.read().decode("latin-1")]
    except Exception as error:
        return [repr(error), str(getattr(error, "reason", "")), str(getattr(error, "toolgate_code", ""))]
place = "{{secret:CANARY}}"
basic = "Basic " + base64.b64encode(("me:" + place).encode()).decode()
result = {
    "header": ask("/echo", {"X-Key": "Bearer " + place}),
    "basic": ask("/echo", {"Authorization": basic}),
    "json": ask("/echo", {"Content-Type": "application/json"}, json.dumps({"key": place}).encode()),
    "form": ask("/echo", {}, b"key=%7B%7Bsecret%3ACANARY%7D%7D"),
    "error": ask("/status/500", {"X-Key": place}),
    "url": ask("/echo?key=" + place),
    "away": ask("/away", {"X-Key": place}),
    "other": ask("/echo", {"X-Key": "{{secret:OTHER}}"}),
}
print(result)
print(result, file=sys.stderr)
open("/out/all.txt", "w").write(repr(result))
"#;

#[test]
fn a_secret_reaches_its_host_and_nothing_else() {
    let mut scene = Scene::new();
    let answer = scene.python(&scene.program(USES));
    let output = &answer["output"];
    assert_eq!(output["return_code"], 0, "{answer}");
    let result = &output["result"];
    for used in ["header", "basic", "json", "form"] {
        let text = result[used].to_string();
        let is_hidden = text.contains("REDACTED") || text.contains("********");
        assert!(result[used][0] == 200 && is_hidden && !text.contains("{{secret"), "{used}: {text}");
    }
    // Nothing is put into a URL; what is not lent and where a redirect leads is refused.
    assert!(result["other"].to_string().contains("may not use secret"), "{}", result["other"]);
    assert!(
        !scene.server.heard().iter().any(|heard| heard.starts_with("GET /echo?key=") && heard.lines().next().unwrap().contains("kanarie"))
    );
    let heard = scene.server.heard().join("\n");
    let form: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    for arrived in [format!("Bearer {CANARY}"), base64::engine::general_purpose::STANDARD.encode(format!("me:{CANARY}")), form] {
        assert!(heard.to_lowercase().contains(&arrived.to_lowercase()), "{arrived} did not arrive: {heard}");
    }

    // By mistake: in arguments, in code, in an error, in a panic of the program.
    let mistaken =
        json!({"code": format!("import sys; print({CANARY:?}); raise SystemExit({CANARY:?})"), "args": [CANARY], "stdin": CANARY});
    scene.python(&mistaken);
    scene.python(&json!({"code": format!("raise ValueError({CANARY:?})")}));
    scene.python(&json!({"code": "pass", "requirements": [CANARY]}));
    scene.python(&json!({"code": "pass", "allow_network": true, "allowed_hosts": [CANARY]}));
    scene.python(&json!({"code": "pass", CANARY: 1}));
    for args in [
        &["vault", "list"] as &[&str],
        &["vault", "list", "--json"],
        &["runs", "list", "--all", "--json"],
        &["tools", "call", "secret.list", "{}"],
    ] {
        let ran = scene.toolgate.run(args).exits(0);
        scene.said.extend([ran.stdout, ran.stderr]);
    }
    for run in scene.toolgate.json(0, &["runs", "list", "--all", "--json"]).as_array().unwrap() {
        let ran = scene.toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0);
        scene.said.extend([ran.stdout, ran.stderr]);
    }
    let stray = as_operator(&scene.toolgate, &["vault", "set", "OTHER", CANARY], "");
    assert_eq!(stray.code, 2, "{}", stray.stderr);
    scene.said.extend([stray.stdout, stray.stderr]);

    for text in &scene.said {
        assert_nowhere("what was printed", text.as_bytes());
    }
    let kept = files(&scene.toolgate.data());
    assert!(kept.iter().any(|path| path.ends_with("toolgate.db")));
    for path in kept {
        assert_nowhere(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

#[test]
fn the_scan_would_see_the_value_in_every_spelling() {
    for spelling in spellings(CANARY) {
        let text = [b"some bytes ".as_slice(), &spelling, b" and more"].concat();
        assert!(std::panic::catch_unwind(|| assert_nowhere("it", &text)).is_err());
    }
    assert_nowhere("it", b"nothing");
}

#[test]
fn verbs_need_the_operator_and_take_no_value_from_arguments() {
    let scene = Scene::new();
    let toolgate = &scene.toolgate;
    for args in [&["vault", "set", "X"] as &[&str], &["vault", "rm", "CANARY"], &["vault", "rotate"]] {
        assert_eq!(toolgate.run(args).code, 3, "{args:?}");
    }
    let listed = toolgate.json(0, &["vault", "list", "--json"]);
    assert_eq!((listed[0]["name"].as_str(), listed[0]["version"].as_u64()), (Some("CANARY"), Some(1)));
    assert_eq!(listed[0]["hosts"][0], scene.server.base());
    let before = listed[0]["key"].clone();
    as_operator(toolgate, &["vault", "rotate"], "").exits(0);
    let after = toolgate.json(0, &["vault", "list", "--json"]);
    assert!(after[0]["key"] != before && after[0]["version"] == 2);
    let file = toolgate.home().join("out.age");
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudpdqklsqnr7dm";
    let _unknown = as_operator(toolgate, &["vault", "export", file.to_str().unwrap(), "--recipient", recipient], "");
    as_operator(toolgate, &["vault", "rm", "CANARY"], "").exits(0);
    assert_eq!(as_operator(toolgate, &["vault", "rm", "CANARY"], "").code, 2);
    let run = "run_00000000000070008000007661756c74";
    let events = toolgate.run(&["runs", "events", run, "--json"]).exits(0).stdout;
    for word in ["vault_secret_set", "vault_secret_rewrapped", "vault_key_retired", "vault_secret_removed"] {
        assert!(events.contains(word), "{word}: {events}");
    }
    assert_eq!(toolgate.run(&["audit", "verify"]).code, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_leaves_no_core_and_its_memory_is_closed() {
    let toolgate = Toolgate::new();
    let mut serving = toolgate.command(&["serve"]);
    let mut child = serving.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{ask}").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
    // What is not dumpable belongs to the superuser in /proc, whoever runs it.
    let status = std::fs::metadata(format!("/proc/{}/environ", child.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), 0);
    drop(input);
    child.wait().unwrap();
}
