//! HTTP from inside the sandbox, through the real binary to a server on this machine: what works, what is refused, and what is recorded.

use serde_json::{Value, json};

use crate::support::http_server::HttpServer;
use crate::support::{Toolgate, root};

fn program(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/python/net").join(name)).unwrap()
}

/// Calls python.run; with the operator's exception for the server, if there is one.
fn call(toolgate: &Toolgate, server: Option<&HttpServer>, arguments: &Value) -> Value {
    let mut command = toolgate.command(&["tools", "call", "python.run", &arguments.to_string(), "--json"]);
    if let Some(server) = server {
        command.env("TOOLGATE_EGRESS_PRIVATE", format!("python=127.0.0.1:{}", server.port));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    answer["output"].clone()
}

fn ends_well(output: &Value) {
    assert_eq!(output["return_code"], 0, "{}\n{}", output["stderr"].as_str().unwrap_or_default(), output);
}

fn with_server(server: &HttpServer, name: &str) -> Value {
    json!({
        "code": program(name),
        "args": [server.base()],
        "allow_network": true,
        "allowed_hosts": [format!("127.0.0.1:{}", server.port)],
    })
}

#[test]
fn the_standard_library_speaks_http() {
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    for name in ["urllib_get.py", "http_client.py"] {
        ends_well(&call(&toolgate, Some(&server), &with_server(&server, name)));
    }
    let requests = toolgate.http_requests();
    assert!(requests.iter().any(|request| request["path"] == "/hello" && request["status"] == 200 && request["host"] == "127.0.0.1"));
    assert!(!json!(requests).to_string().contains("ms=5000"), "queries are not recorded");
}

#[test]
fn other_protocols_and_an_absent_network_say_so() {
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    ends_well(&call(&toolgate, Some(&server), &with_server(&server, "not_http.py")));
    let before = server.asked().len();
    let off = json!({"code": program("network_off.py"), "args": [server.base()]});
    ends_well(&call(&toolgate, Some(&server), &off));
    // An empty list of hosts is none, not all.
    let empty = json!({"code": program("network_off.py"), "args": [server.base()], "allow_network": true, "allowed_hosts": []});
    ends_well(&call(&toolgate, Some(&server), &empty));
    assert_eq!(server.asked().len(), before, "nothing went out");
}

#[test]
fn hosts_addresses_and_redirects_that_are_not_allowed_are_refused() {
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    let get = |url: &str| {
        format!(
            "import urllib.request\ntry:\n    urllib.request.urlopen({url:?}, timeout=5)\n    result = 'got through'\nexcept OSError as error:\n    result = str(error)"
        )
    };
    let host = format!("127.0.0.1:{}", server.port);
    // The naive rule, that a host on the list may be reached, lets a program talk to this machine.
    for (url, allowed, excepted, words) in [
        (server.base() + "/hello", host.as_str(), false, "not public"),
        (format!("http://[::ffff:127.0.0.1]:{}/hello", server.port), &format!("[::ffff:127.0.0.1]:{}", server.port), false, "not public"),
        (format!("http://2130706433:{}/hello", server.port), host.as_str(), false, "not public"),
        (format!("http://localhost:{}/hello", server.port), "localhost", true, "not"),
        (server.base() + "/hello", "127.0.0.1", true, "not"),
        (server.base() + "/away", host.as_str(), true, "denied.invalid"),
        (server.base() + "/inside", host.as_str(), true, "not"),
        ("http://denied.invalid/".to_owned(), host.as_str(), true, "denied.invalid"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "169.254.169.254", false, "not public"),
    ] {
        let arguments = json!({"code": get(&url), "allow_network": true, "allowed_hosts": [allowed]});
        let output = call(&toolgate, excepted.then_some(&server), &arguments);
        ends_well(&output);
        let said = output["result"].as_str().unwrap();
        assert!(said != "got through" && said.contains(words), "{url}: {said}");
    }
    let reached = server.asked();
    assert_eq!(reached, ["GET /away", "GET /inside"], "only what was allowed reached the server");
}

#[test]
fn a_bad_list_of_hosts_is_an_error_that_names_the_entry() {
    let toolgate = Toolgate::new();
    for entry in ["https://example.com", "exa mple.com", "*.", "a*.example.com", "user@example.com", "example.com:99999"] {
        let arguments = json!({"code": "pass", "allow_network": true, "allowed_hosts": [entry]}).to_string();
        let refused = toolgate.run(&["tools", "call", "python.run", &arguments]).exits(2);
        assert!(refused.stderr.contains("INVALID_INPUT") && refused.stderr.contains(entry), "{}", refused.stderr);
    }
    let contradiction = json!({"code": "pass", "allowed_hosts": ["example.com"]}).to_string();
    let refused = toolgate.run(&["tools", "call", "python.run", &contradiction]).exits(2);
    assert!(refused.stderr.contains("allow_network"), "{}", refused.stderr);
}
