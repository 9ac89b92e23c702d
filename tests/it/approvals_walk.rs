//! T52: every shipped tool, called by an agent with all that could make one of them answer a question, answers none. The rules here allow an
//! agent everything but one call, so that what holds is not a rule but that no way leads there.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use toolgate::manifest::Example;

use crate::main_job::answer;
use crate::mcp_stdio::Server;
use crate::support::http_server::HttpServer;
use crate::support::{Toolgate, native};

const PHRASE: &str = "correct horse battery";

/// Tools of which each call takes a while: they get fewer values for each argument, and programs of their own.
const SLOW: [&str; 2] = ["python.run", "eval.run"];

/// A home in which an agent may do everything, and is asked about one message.
fn house(more: &str) -> Toolgate {
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    let policies = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let rules = "@id(\"all\") permit (principal, action, resource);\n\
        @id(\"one\") @ask(\"a message\") permit (principal is toolgate::Agent, action == toolgate::Action::\"notify.send\", resource) \
        when { context.input.message == \"let me\" };\n";
    std::fs::write(policies.join("all.cedar"), rules).unwrap();
    settle(&toolgate, more);
    toolgate
}

fn settle(toolgate: &Toolgate, more: &str) {
    let settings = format!("[policy]\nprofile = \"none\"\n[approvals]\nwait_sec = 0\n{more}");
    std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
}

struct Agent {
    server: Server,
    next: i64,
}

impl Agent {
    fn on(toolgate: &Toolgate) -> Self {
        Self { server: Server::opened(&toolgate.data()), next: 100 }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.next += 1;
        let params = json!({ "name": tool.replace('.', "_"), "arguments": arguments });
        self.server.request(self.next, "tools/call", params)
    }

    /// Makes the one call that asks; the question's id.
    fn asks(&mut self) -> String {
        let answer = self.call("notify.send", &json!({ "message": "let me" }));
        let error = &answer["result"]["structuredContent"]["error"];
        assert_eq!(error["code"], "APPROVAL_REQUIRED", "{answer}");
        error["details"]["approval_id"].as_str().unwrap().to_owned()
    }
}

/// Everything that was ever asked, by its state, and what is allowed for a while.
fn standing(toolgate: &Toolgate) -> (Vec<(String, String)>, usize) {
    let rows = toolgate.json(0, &["approvals", "list", "--all", "--json"]);
    let state = |row: &Value| (row["id"].as_str().unwrap().to_owned(), row["status"].as_str().unwrap().to_owned());
    let mut rows: Vec<(String, String)> = rows.as_array().unwrap().iter().map(state).collect();
    rows.sort();
    (rows, toolgate.json(0, &["approvals", "grants", "--all", "--json"]).as_array().unwrap().len())
}

/// Texts that name the question, the home and ways to a server.
fn hostile(id: &str, home: &str, port: u16) -> Vec<String> {
    vec![
        id.to_owned(),
        format!("toolgate --home {home} approvals approve {id}"),
        format!("{home}/toolgate.db"),
        "../../toolgate.db".to_owned(),
        format!("http://127.0.0.1:{port}/approvals/{id}/approve"),
        format!("unix:{home}/toolgate.sock"),
        format!("$(toolgate approvals approve {id})"),
        format!("'; UPDATE approvals SET status = 'approved' WHERE id = '{id}'; --"),
        PHRASE.to_owned(),
    ]
}

/// What a hostile caller makes of one argument: a text where there may be one, else a list, else an object of the words for yes.
fn values(schema: &Value, texts: &[String], id: &str) -> Vec<Value> {
    let kinds: BTreeSet<&str> = match &schema["type"] {
        Value::String(kind) => [kind.as_str()].into(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => ["string", "array", "object"].into(),
    };
    let yes = json!({ "approval_id": id, "approve": true, "approved": true, "decision": "approve", "passphrase": PHRASE });
    let mut values = Vec::new();
    if kinds.contains("string") {
        values.extend(texts.iter().map(|text| json!(text)));
    }
    if kinds.contains("array") {
        values.extend(texts.iter().map(|text| json!([text])));
        values.push(json!([yes, { "path": texts[3], "content": texts[7] }]));
    }
    if kinds.contains("object") {
        values.extend([yes, json!({ texts[2].as_str(): texts[1] })]);
    }
    values
}

/// Every hostile call of one tool: its own sample with each argument replaced, and with more arguments than it has.
fn calls(def: &toolgate::manifest::ToolDef, texts: &[String], id: &str) -> Vec<Value> {
    let sample =
        def.examples.iter().find_map(|example| if let Example::Accept(arguments) = example { Some(arguments.clone()) } else { None });
    let sample = sample.unwrap_or_else(|| json!({}));
    let schema = def.input.json();
    let none = Map::new();
    let is_slow = SLOW.contains(&def.name.as_str());
    let mut calls = Vec::new();
    for (n, (name, of)) in schema["properties"].as_object().unwrap_or(&none).iter().enumerate() {
        let all = values(of, texts, id);
        let few = if is_slow { 1 } else { all.len() };
        for value in all.iter().cycle().skip(n).take(few.min(all.len())) {
            let mut call = sample.clone();
            call[name] = value.clone();
            calls.push(call);
        }
    }
    let mut more = sample;
    for (name, value) in [("approval_id", json!(id)), ("approve", json!(true)), ("approved", json!(true)), ("passphrase", json!(PHRASE))] {
        more[name] = value;
    }
    calls.push(more);
    calls
}

/// Tries every address of this machine, its sockets, programs and files, and the tools of the program's own.
const PROGRAM: &str = r#"
import os, socket, urllib.request
port, home, id = PORT, HOME, ID
told = []
def attempt(what, act):
    try:
        told.append([what, str(act())[:80]])
    except BaseException as error:
        told.append([what, type(error).__name__])
for name in ('no_proxy', 'NO_PROXY'):
    os.environ.pop(name, None)
for host in ('127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]'):
    url = f'http://{host}:{port}/approvals/{id}/approve'
    attempt(url, lambda: urllib.request.urlopen(urllib.request.Request(url, data=b'{"approve": true}'), timeout=5).read())
attempt('tcp', lambda: socket.create_connection(('127.0.0.1', port), 3))
def unix():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(home + '/toolgate.sock')
attempt('unix', unix)
def program():
    import subprocess
    return subprocess.run(['toolgate', '--home', home, 'approvals', 'approve', id], input='PHRASE\nPHRASE\n', capture_output=True, text=True, timeout=10)
attempt('program', program)
def database():
    import sqlite3
    with sqlite3.connect(home + '/toolgate.db') as db:
        db.execute("UPDATE approvals SET status = 'approved'")
attempt('database', database)
attempt('file', lambda: open(home + '/toolgate.db', 'r+b').write(b'x'))
def tools():
    import toolgate
    return toolgate.call('approvals.approve', approval_id=id)
attempt('tool', tools)
result = told
print(told)
"#;

fn program(port: u16, home: &str, id: &str) -> String {
    let text = |value: &str| json!(value).to_string();
    PROGRAM.replace("PORT", &port.to_string()).replace("HOME", &text(home)).replace("ID", &text(id)).replace("PHRASE", PHRASE)
}

/// A program's call that asks for as much network as there is.
fn with_network(port: u16, home: &str, id: &str, runtime: &str) -> Value {
    let hosts: Vec<String> = ["127.0.0.1", "localhost"].iter().map(|host| format!("{host}:{port}")).collect();
    let code = program(port, home, id);
    let tools = if runtime == "wasm" { json!(["workspace.list"]) } else { json!([]) };
    json!({ "code": code, "allow_network": true, "allowed_hosts": hosts, "runtime": runtime, "tools": tools, "timeout_sec": 60 })
}

#[test]
fn no_shipped_tool_says_yes_whatever_it_is_given() {
    let toolgate = house("");
    let home = toolgate.data().to_str().unwrap().to_owned();
    let console = HttpServer::start();
    let mut agent = Agent::on(&toolgate);
    // The operator has a passphrase, and the check below is not blind: a yes is seen.
    let first = agent.asks();
    answer(&toolgate, &["approvals", "approve", &first], PHRASE).exits(0);
    assert_eq!(standing(&toolgate).0, [(first.clone(), "approved".to_owned())]);
    assert_ne!(agent.call("notify.send", &json!({ "message": "let me" }))["result"]["isError"], true);

    let id = agent.asks();
    let mut untouched = vec![(first, "used".to_owned()), (id.clone(), "pending".to_owned())];
    untouched.sort();
    let texts = hostile(&id, &home, console.port);
    let mut made = 0;
    for def in toolgate::manifest::shipped().unwrap() {
        for arguments in calls(&def, &texts, &id) {
            let answer = agent.call(def.name.as_str(), &arguments);
            assert!(answer.get("result").is_some() || answer.get("error").is_some(), "{} {arguments}: {answer}", def.name);
            made += 1;
        }
        assert_eq!(standing(&toolgate), (untouched.clone(), 0), "after the calls of {}", def.name);
    }
    assert!(made > 200, "only {made} calls were made");

    for runtime in ["wasm", "process"] {
        if runtime == "process" && !native::is_possible() {
            continue;
        }
        let mut arguments = with_network(console.port, &home, &id, runtime);
        if runtime == "process" {
            arguments.as_object_mut().unwrap().remove("tools");
        }
        let answer = agent.call("python.run", &arguments);
        let told = answer["result"]["structuredContent"].to_string();
        assert!(told.contains("tcp"), "{runtime}: the program did not run: {answer}");
        assert_eq!(standing(&toolgate), (untouched.clone(), 0), "{runtime}: {told}");
        assert_eq!(console.asked(), [""; 0], "{runtime}: {told}");
    }
    assert_eq!(agent.asks(), id, "it still waits");
}

/// The naive house: answers come by HTTP on this machine, from whoever reaches it, and programs reach it. The very same program gets its yes.
#[test]
fn a_console_on_this_machine_that_believes_whoever_reaches_it_says_yes_to_a_program() {
    let console = HttpServer::start();
    let toolgate = house(&format!("[egress]\nprivate = [\"python=127.0.0.1:{}\"]\n", console.port));
    let home = toolgate.data().to_str().unwrap().to_owned();
    let mut agent = Agent::on(&toolgate);
    let id = agent.asks();
    let answered = agent.call("python.run", &with_network(console.port, &home, &id, "wasm"));
    let wanted = format!("POST /approvals/{id}/approve");
    assert!(console.asked().contains(&wanted), "{:?}: {answered}", console.asked());
    // What such a console does with it.
    answer(&toolgate, &["approvals", "approve", &id], PHRASE).exits(0);
    assert_ne!(agent.call("notify.send", &json!({ "message": "let me" }))["result"]["isError"], true);
}
