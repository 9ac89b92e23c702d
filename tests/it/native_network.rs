//! The network of a native program: nothing, or the hosts of its call through the proxy, each connection recorded.

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::http_server::HttpServer;
use crate::support::native::is_possible;

/// Asks URLs through the proxy of the environment, whatever that says of loopback, and once without it.
const PROGRAM: &str = r"
import http.client, os, socket, sys, urllib.error, urllib.request
proxy = os.environ.get('http_proxy')
for name in ('no_proxy', 'NO_PROXY'):
    del os.environ[name]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': proxy, 'https': proxy}))
def ask(url):
    try:
        with opener.open(url, timeout=10) as answer:
            return [answer.status, answer.read(200).decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read(300).decode()]
    except OSError as error:
        return [0, str(error)]
def tunnel(host, port):
    connection = http.client.HTTPConnection(*proxy.removeprefix('http://').split(':'), timeout=10)
    connection.set_tunnel(host, port)
    try:
        connection.request('GET', '/hello')
        return [connection.getresponse().status, '']
    except OSError as error:
        return [0, str(error)]
def directly(port):
    try:
        socket.create_connection(('127.0.0.1', port), 3)
        return 'got through'
    except OSError as error:
        return str(error)
port = int(sys.argv[1])
result = {
    'allowed': ask(f'http://127.0.0.1:{port}/hello'),
    'tunnel': tunnel('127.0.0.1', port),
    'other host': ask('http://denied.invalid/'),
    'other port': ask(f'http://127.0.0.1:{port + 1}/'),
    'other spelling': ask(f'http://2130706433:{port}/hello'),
    'metadata': ask('http://169.254.169.254/'),
    'other tunnel': tunnel('denied.invalid', 443),
    'directly': directly(port),
    'names': os.popen('getent hosts example.com').read(),
}
";

fn call(toolgate: &Toolgate, server: &HttpServer, excepted: bool, arguments: &Value) -> Value {
    let mut command = toolgate.command(&["tools", "call", "python.run", &arguments.to_string(), "--json"]);
    if excepted {
        command.env("TOOLGATE_EGRESS_PRIVATE", format!("python=127.0.0.1:{}", server.port));
    }
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(answer["output"]["return_code"], 0, "{answer}");
    answer["output"]["result"].clone()
}

fn arguments(server: &HttpServer) -> Value {
    json!({
        "code": PROGRAM,
        "args": [server.port.to_string()],
        "runtime": "process",
        "allow_network": true,
        "allowed_hosts": [format!("127.0.0.1:{}", server.port)],
    })
}

#[test]
fn the_hosts_of_the_call_are_reached_through_the_proxy_and_no_others() {
    if !is_possible() {
        return;
    }
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    let seen = call(&toolgate, &server, true, &arguments(&server));
    assert_eq!(seen["allowed"][0], 200, "{seen}");
    assert_eq!(seen["tunnel"][0], 200, "{seen}");
    for refused in ["other host", "other port", "metadata"] {
        assert_eq!(seen[refused][0], 403, "{refused}: {seen}");
    }
    // One canonical form is decided on and dialled, so another spelling of an allowed host is that host.
    assert!(seen["other spelling"][0] == 200 || seen["other spelling"][0] == 400, "{seen}");
    assert!(seen["other tunnel"][1].as_str().unwrap().contains("403"), "{seen}");
    assert!(!seen["directly"].as_str().unwrap().contains("got through"), "{seen}");
    assert_eq!(seen["names"], "", "there is a resolver inside: {seen}");

    let requests = toolgate.http_requests();
    let recorded = |method: &str, error: Option<&str>| {
        requests.iter().any(|request| request["method"] == method && request["error"].as_str() == error)
    };
    assert!(recorded("GET", None) && recorded("CONNECT", None), "{requests:#?}");
    assert!(recorded("GET", Some("EGRESS_DENIED")) && recorded("CONNECT", Some("EGRESS_DENIED")), "{requests:#?}");
}

#[test]
fn without_the_operators_word_this_machine_is_not_reached() {
    if !is_possible() {
        return;
    }
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    let seen = call(&toolgate, &server, false, &arguments(&server));
    assert_eq!(seen["allowed"][0], 403, "{seen}");
    assert!(server.asked().is_empty(), "{:?}", server.asked());
    let off = json!({
        "code": "import os, socket\ntry:\n    socket.create_connection(('127.0.0.1', 3128), 3); result = 'got through'\nexcept OSError:\n    result = sorted(n for n in os.environ if 'proxy' in n.lower())",
        "runtime": "process",
    });
    assert_eq!(call(&toolgate, &server, true, &off), json!([]));
}
