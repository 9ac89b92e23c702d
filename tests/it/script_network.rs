//! A tool made of a manifest and a script that reaches the network with a secret, through the real binary: the example of `docs/tools.md`,
//! and what such a tool may not do.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::http_server::HttpServer;
use crate::support::{Ran, Toolgate, files, root};
use crate::vault::{CANARY, as_operator, assert_nowhere};

const NAME: &str = "TICKETS_TOKEN";

/// The files of the page's example: each stands behind a line that names it.
fn example() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join("docs/tools.md")).unwrap();
    let fenced: Vec<&str> = page.split("```").collect();
    let blocks = fenced.chunks(2).filter_map(|pair| Some((pair[0], pair.get(1)?)));
    let named = blocks.filter_map(|(before, block)| {
        let name = before.trim_end().strip_suffix("`:")?.rsplit_once('`')?.1;
        Some((name.to_owned(), block.split_once('\n').unwrap().1.to_owned()))
    });
    let found: Vec<(String, String)> = named.collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tickets.list.yaml", "tickets.py", "tickets.input.json", "tickets.output.json"]);
    found
}

struct Scene {
    toolgate: Toolgate,
    server: HttpServer,
    said: Vec<String>,
}

impl Scene {
    /// The example in a home, with a server of ours in the place of its service.
    fn new() -> Self {
        let (toolgate, server) = (Toolgate::new(), HttpServer::start());
        let said = vec![as_operator(&toolgate, &["init"], "").exits(0).stderr];
        let scene = Self { toolgate, server, said };
        for (name, text) in example() {
            scene.put(&name, &text);
        }
        scene
    }

    /// A file beside the manifest.
    fn put(&self, name: &str, text: &str) {
        let here = self.server.base();
        let text = text.replace("https://tickets.example.com", &here).replace("tickets.example.com", here.trim_start_matches("http://"));
        let folder = self.toolgate.data().join("tool-manifests");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    fn change(&self, name: &str, from: &str, to: &str) {
        let text = example().into_iter().find(|(file, _)| file == name).unwrap().1;
        assert!(text.contains(from), "{name} has no {from}");
        self.put(name, &text.replace(from, to));
    }

    fn set_secret(&mut self, name: &str, hosts: &str, tools: &[&str]) {
        let mut args = vec!["vault", "set", name, "--hosts", hosts];
        for tool in tools {
            args.extend(["--tools", tool]);
        }
        let ran = as_operator(&self.toolgate, &args, &format!("{CANARY}\n")).exits(0);
        self.said.extend([ran.stdout, ran.stderr]);
    }

    fn run(&mut self, args: &[&str]) -> Ran {
        let mut command = self.toolgate.command(args);
        command
            .env("TOOLGATE_EGRESS_PRIVATE", format!("python=127.0.0.1:{}", self.server.port))
            .env("TOOLGATE_APPROVALS_WAIT_SEC", "0")
            .env("TOOLGATE_LOG", "trace");
        let ran = Ran::of(command.stdin(Stdio::null()).output().unwrap());
        self.said.extend([ran.stdout.clone(), ran.stderr.clone()]);
        ran
    }

    fn json(&mut self, args: &[&str]) -> Value {
        let ran = self.run(args);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}\n{}", ran.stdout, ran.stderr))
    }

    fn call(&mut self, arguments: &str) -> Value {
        self.json(&["tools", "call", "tickets.list", arguments, "--json"])
    }

    /// Code and message of a call that fails.
    fn fails(&mut self) -> (String, String) {
        let answer = self.call("{}");
        let error = &answer["error"];
        let word = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (word("code"), format!("{} {}", word("message"), error["hint"]))
    }

    /// All events of all runs.
    fn events(&mut self) -> Vec<Value> {
        let runs = self.json(&["runs", "list", "--all", "--json"]);
        let mut all = Vec::new();
        for run in runs.as_array().unwrap() {
            let text = self.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
            all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        all
    }

    fn assert_value_is_nowhere(&self) {
        for text in &self.said {
            assert_nowhere("what was printed", text.as_bytes());
        }
        for path in files(&self.toolgate.data()) {
            assert_nowhere(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn the_example_of_the_page_works_and_nobody_but_its_host_sees_the_secret() {
    let mut scene = Scene::new();
    let here = format!("127.0.0.1:{}", scene.server.port);
    scene.set_secret(NAME, &scene.server.base(), &["tickets.list"]);
    let file = scene.toolgate.data().join("tool-manifests/tickets.list.yaml").display().to_string();
    scene.run(&["tools", "check", &file]).exits(0);
    let shown = scene.run(&["tools", "show", "tickets.list"]).exits(0).stdout;
    assert!(shown.contains(&format!("hosts       {here}")) && shown.contains(&format!("secrets     {NAME}")), "{shown}");

    let answer = scene.call(r#"{"state": "closed"}"#);
    let tickets = &answer["output"]["tickets"];
    let title = tickets[0]["title"].as_str().unwrap_or_else(|| panic!("{answer}"));
    // The careless service gave the value back, and the script did not get it.
    assert!(tickets[0]["id"] == 7 && title.starts_with("asked with Bearer ") && !title.contains("{{secret"), "{answer}");
    let heard = scene.server.heard();
    assert!(heard.len() == 1 && heard[0].starts_with("GET /tickets?state=closed&"), "{heard:?}");
    assert!(heard[0].to_lowercase().contains(&format!("authorization: bearer {}", CANARY.to_lowercase())), "{heard:?}");

    let events = scene.events();
    let intent = events.iter().find(|event| event["kind"] == "tool_call" && event["payload"]["tool"] == "tickets.list").unwrap();
    assert_eq!((&intent["payload"]["effects"], &intent["payload"]["hosts"]), (&json!(["egress"]), &json!([here])), "{intent}");
    let request = events.iter().find(|event| event["payload"]["event"] == "http_request").unwrap();
    assert_eq!(request["payload"]["request"]["status"], 200, "{request}");
    assert!(request["payload"]["request"].to_string().contains("127.0.0.1") && request["call_id"] == intent["call_id"], "{request}");
    let outcome = events.iter().find(|event| event["kind"] == "tool_result" && event["call_id"] == intent["call_id"]).unwrap();
    assert_eq!(outcome["payload"]["marks"], json!(["untrusted", "private"]), "{outcome}");
    scene.assert_value_is_nowhere();
}

#[test]
fn an_agents_call_is_asked_about_with_its_hosts_and_secrets_and_a_rule_can_refuse_by_host() {
    let mut scene = Scene::new();
    let here = format!("127.0.0.1:{}", scene.server.port);
    scene.set_secret(NAME, &scene.server.base(), &[]);
    let told = scene.json(&["policy", "explain", "tickets.list", "{}", "--json"]);
    assert_eq!(told["verdict"], "ask", "{told}");
    let asks = "@id(\"look\") @ask(\"a human looks\") permit (principal, action == toolgate::Action::\"tickets.list\", resource);";
    let folder = scene.toolgate.data().join("policies");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.cedar"), asks).unwrap();
    assert_eq!(scene.fails().0, "APPROVAL_REQUIRED");
    let shown = scene.run(&["approvals", "list", "--json"]).exits(0).stdout;
    let listed: Value = serde_json::from_str(&shown).unwrap();
    let id = listed[0]["id"].as_str().unwrap_or_else(|| panic!("{listed}")).to_owned();
    let text = scene.run(&["approvals", "show", &id]).exits(0).stdout;
    assert!(text.contains(&here) && text.contains(NAME) && text.contains("egress"), "{text}");
    // A yes to these hosts is none to others.
    as_operator(&scene.toolgate, &["approvals", "approve", &id], "").exits(0);
    scene.change("tickets.list.yaml", "hosts: [", "hosts: [other.example, ");
    assert_eq!(scene.fails().0, "APPROVAL_REQUIRED", "another host is another question");
    scene.change("tickets.list.yaml", "title: List tickets", "title: List tickets");
    assert_eq!(scene.call("{}")["ok"], true, "and the yes is still there for what it was given for");

    let page = std::fs::read_to_string(root().join("docs/tools.md")).unwrap();
    let rule = page.split("```cedar\n").nth(1).unwrap().split("```").next().unwrap();
    let write = |host: &str| std::fs::write(folder.join("own.cedar"), rule.replace("tickets.example.com", host)).unwrap();
    write("other.example");
    let (code, message) = scene.fails();
    assert!(code == "POLICY_DENIED" && message.contains("nowhere else"), "{code} {message}");
    write(&here);
    assert_eq!(scene.json(&["policy", "explain", "tickets.list", "{}", "--as", "operator", "--json"])["verdict"], "allow");
    assert_eq!(scene.server.asked().len(), 1, "what was refused or asked about was not sent");
}

#[test]
fn a_script_reaches_no_host_that_its_manifest_does_not_name() {
    let mut scene = Scene::new();
    let without_secret = |scene: &Scene, hosts: &str| {
        let text = example().remove(0).1.replace("secrets: [secret:TICKETS_TOKEN]\n", "").replace("hosts: [tickets.example.com]\n", hosts);
        scene.put("tickets.list.yaml", &text);
        scene.change("tickets.py", "{{secret:TICKETS_TOKEN}}", "nothing");
    };
    // Another host, the scheme's own port, another port; and no host at all.
    for hosts in ["hosts: [other.example]\n", "hosts: [127.0.0.1]\n", "hosts: ['127.0.0.1:1']\n"] {
        without_secret(&scene, hosts);
        let (code, message) = scene.fails();
        assert_eq!(code, "EGRESS_DENIED", "{hosts}: {message}");
        assert!(message.contains("is not allowed") && message.contains("allowed are:"), "{message}");
    }
    without_secret(&scene, "");
    let (_, message) = scene.fails();
    assert!(message.contains("the network is off"), "{message}");
    assert!(scene.server.asked().is_empty(), "{:?}", scene.server.asked());
    let events = scene.events();
    let refused: Vec<&Value> = events.iter().filter(|event| event["payload"]["event"] == "http_request").collect();
    assert_eq!(refused.len(), 3, "each refusal is on record: {refused:?}");
    // The same script where the manifest names its host: the attack is real.
    without_secret(&scene, "hosts: [tickets.example.com]\n");
    assert_eq!(scene.call("{}")["output"]["tickets"][0]["title"], "asked with Bearer nothing");
    assert_eq!(scene.server.asked().len(), 1);
    // And where it names it, but the address is private and the operator made no exception.
    let ran = Ran::of(scene.toolgate.command(&["tools", "call", "tickets.list", "{}", "--json"]).output().unwrap());
    assert!(ran.stdout.contains("EGRESS_DENIED") && scene.server.asked().len() == 1, "{}", ran.stdout);
}

#[test]
fn a_secret_that_is_not_there_or_not_for_this_is_refused_with_its_code() {
    let mut scene = Scene::new();
    let (code, message) = scene.fails();
    assert!(code == "UNKNOWN_SECRET" && message.contains(NAME), "{code} {message}");
    // For another tool only.
    scene.set_secret(NAME, &scene.server.base(), &["python.run"]);
    assert_eq!(scene.fails().0, "UNKNOWN_SECRET");
    // For another host only; then for the same host with TLS, which is another origin.
    for host in ["elsewhere.example", &format!("http://127.0.0.1:{}", scene.server.port - 1)] {
        scene.set_secret(NAME, host, &[]);
        let (code, message) = scene.fails();
        assert!(code == "SECRET_REFUSED" && message.contains("may go to none of the hosts of `tickets.list`"), "{code} {message}");
    }
    scene.set_secret(NAME, &format!("127.0.0.1:{}", scene.server.port), &[]);
    let (code, message) = scene.fails();
    assert!(code == "SECRET_REFUSED" && message.contains("may not go to `http://127.0.0.1"), "{code} {message}");
    // One that the manifest does not name, though it is there and for this host.
    scene.set_secret(NAME, &scene.server.base(), &[]);
    scene.set_secret("OTHER", &scene.server.base(), &[]);
    scene.change("tickets.py", "secret:TICKETS_TOKEN", "secret:OTHER");
    let (code, message) = scene.fails();
    assert!(code == "SECRET_REFUSED" && message.contains("may not use secret `OTHER`") && message.contains("manifest"), "{code} {message}");
    assert!(scene.server.asked().is_empty(), "{:?}", scene.server.heard());
    scene.assert_value_is_nowhere();
}

#[test]
fn a_script_that_leaks_what_it_can_still_has_no_value() {
    let mut scene = Scene::new();
    scene.set_secret(NAME, &scene.server.base(), &[]);
    let script = r#"
import json, sys, urllib.request
place = "{{secret:TICKETS_TOKEN}}"
request = urllib.request.Request("https://tickets.example.com/echo", json.dumps({"k": place}).encode(),
    {"Content-Type": "application/json", "Accept-Encoding": "gzip", "X-Key": place})
seen = urllib.request.urlopen(request).read().decode("latin-1")
print(seen, file=sys.stderr)
if toolgate_input.get("state") == "closed":
    raise ValueError(seen)
result = {"tickets": [{"id": len(seen), "title": seen}, {"id": 0, "title": place}]}
"#;
    scene.put("tickets.py", script);
    let answer = scene.call("{}");
    let title = answer["output"]["tickets"][0]["title"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(!title.contains("{{secret") && answer["output"]["tickets"][1]["title"] == "{{secret:TICKETS_TOKEN}}", "{answer}");
    let heard = scene.server.heard().join("\n");
    assert!(heard.to_lowercase().contains(&format!("x-key: {}", CANARY.to_lowercase())), "it did arrive: {heard}");
    let failed = scene.call(r#"{"state": "closed"}"#);
    assert!(matches!(failed["error"]["code"].as_str(), Some("INVALID_OUTPUT" | "APPROVAL_REQUIRED")), "{failed}");
    scene.assert_value_is_nowhere();
}
