//! Traces and figures at a collector, by the real binary: how spans hang together, what is not in them, and collectors that do not work.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::collector::{Collector, Manner, Seen};
use crate::support::http_server::HttpServer;
use crate::support::served::Served;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

fn traced(trace: &str, flags: &str) -> Value {
    json!({"traceparent": format!("00-{trace}-{CLIENT}-{flags}"), "tracestate": "vendor=1"})
}

fn start(toolgate: &Toolgate, collector: &Collector) -> Served {
    let settings = collector.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Served::start(toolgate, &settings)
}

/// The one span of this name below `parent`.
fn below<'s>(spans: &'s [Seen], parent: &str, name: &str) -> &'s Seen {
    let mut found = spans.iter().filter(|span| span.parent == parent && span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no `{name}` below {parent}: {spans:#?}"));
    assert!(found.next().is_none(), "several `{name}` below {parent}: {spans:#?}");
    first
}

#[test]
fn a_call_is_one_tree_from_the_clients_span_to_the_sandbox() {
    let (toolgate, collector) = (Toolgate::new(), Collector::start(Manner::Good));
    let mut served = start(&toolgate, &collector);
    let secret = "c4nary-in-the-arguments";
    let code = format!(
        "import toolgate\nprint('{secret}', toolgate.call('transform.jq', filter='. + \"{secret}\"', input='{secret}'))\nraise SystemExit(3)"
    );
    let arguments = json!({"entrypoint": "inline", "code": code, "tools": ["transform.jq"], "args": [secret]});
    let done = served.call("python_run", &arguments, &traced(TRACE, "01"));
    assert_eq!(done["result"]["structuredContent"]["return_code"], 3, "{done}");
    assert!(done.to_string().contains(secret), "the program did not get what the trace must not: {done}");
    // Another client that does not record its trace, one that brings none, and one that brings nonsense.
    let unwanted = TRACE.replace('4', "5");
    served.call("transform_jq", &json!({"filter": ".", "input": secret}), &traced(&unwanted, "00"));
    served.call("transform_jq", &json!({"filter": format!("error(\"{secret}\")"), "input": 1}), &json!({}));
    served.call(&format!("no.{}", secret.replace('-', "_")), &json!({}), &json!({"traceparent": secret, "baggage": secret}));
    served.stop();

    let spans = collector.spans();
    let of_client: Vec<Seen> = spans.iter().filter(|span| span.trace == TRACE).cloned().collect();
    let call = below(&of_client, CLIENT, "call");
    assert_eq!((call.field("tool"), call.state.as_str(), call.failed), (Some("python.run"), "vendor=1", false), "{call:?}");
    assert!(call.field("call_id").is_some_and(|id| id.starts_with("call_")) && call.field("run_id").is_some(), "{call:?}");
    for stage in ["parse", "prepare", "decide", "intent", "execute", "outcome"] {
        below(&of_client, &call.id, stage);
    }
    assert_eq!(below(&of_client, &call.id, "decide").field("verdict"), Some("allow"));
    let execute = below(&of_client, &call.id, "execute");
    let sandbox = below(&of_client, &execute.id, "sandbox");
    assert_eq!(sandbox.field("sandbox"), Some("wasm"));
    below(&of_client, &sandbox.id, "instantiate");
    let run = below(&of_client, &sandbox.id, "run");
    let inner = below(&of_client, &run.id, "call");
    assert_eq!(inner.field("tool"), Some("transform.jq"));
    below(&of_client, &inner.id, "execute");
    // Everything of the trace hangs together.
    for span in &of_client {
        assert!(span.parent == CLIENT || of_client.iter().any(|other| other.id == span.parent), "an orphan: {span:?}");
    }

    assert!(!spans.iter().any(|span| span.trace == unwanted), "the client does not record this");
    let own: Vec<&Seen> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert!(own.iter().all(|span| span.trace != TRACE), "{own:#?}");
    let failed: Vec<_> =
        own.iter().filter(|span| span.name == "call" && span.failed).map(|span| (span.field("tool"), span.field("code"))).collect();
    assert!(failed.contains(&(None, Some("UNKNOWN_TOOL"))) && failed.iter().any(|(tool, _)| *tool == Some("transform.jq")), "{failed:?}");
    assert!(!collector.holds(secret) && !collector.holds(&secret.replace('-', "_")), "a caller's word reached the collector");
    let figures = collector.figures();
    let calls = figures.iter().find(|(name, _)| name == "toolgate.call.duration").unwrap_or_else(|| panic!("{figures:?}"));
    assert!(calls.1.contains("python.run") && calls.1.contains("(unknown)"), "{calls:?}");
}

#[test]
fn steps_of_a_run_and_requests_of_a_program_are_in_the_trace_of_whoever_began_them() {
    let (toolgate, collector, web) = (Toolgate::new(), Collector::start(Manner::Good), HttpServer::start());
    let mut served = start(&toolgate, &collector);
    served.call("run_start", &json!({"workflow": "hello_world", "inputs": {}}), &traced(TRACE, "01"));
    let spans = collector.wait_for("a step", |spans| spans.iter().any(|span| span.name == "step" && span.field("step_id") == Some("echo")));
    let step = spans.iter().find(|span| span.name == "step" && span.field("step_id") == Some("echo")).unwrap();
    assert_eq!(step.trace, TRACE, "{spans:#?}");
    served.stop();
    let spans = collector.spans();
    assert!(
        spans.iter().any(|span| span.name == "execute" && span.id == step.parent),
        "the step hangs below what started its run: {spans:#?}"
    );
    below(&spans, &step.id, "call");

    // The operator's own call, as an agent's would wait for a human.
    let place = format!("127.0.0.1:{}", web.port);
    let code = format!("import urllib.request\nurllib.request.urlopen('{}/c4nary?c4nary=1')", web.base());
    let arguments = json!({"entrypoint": "inline", "code": code, "allow_network": true, "allowed_hosts": [place]}).to_string();
    let [endpoint, (private, collectors)] = collector.settings();
    let ran = toolgate
        .command(&["tools", "call", "python.run", &arguments, "--json"])
        .env(endpoint.0, endpoint.1)
        .env(private, format!("{collectors},python={place}"))
        .output()
        .unwrap();
    let spans = collector.spans();
    let hop = spans.iter().find(|span| span.name == "egress").unwrap_or_else(|| panic!("{ran:?} {spans:#?}"));
    assert_eq!((hop.field("purpose"), hop.field("status")), (Some("python"), Some("IntValue(404)")), "{hop:?}");
    assert!(spans.iter().any(|span| span.id == hop.parent && span.trace == hop.trace), "{hop:?}");
    assert!(!collector.holds("c4nary"), "an address reached the collector");
}

#[test]
fn a_collector_that_does_not_work_slows_nobody() {
    for manner in [None, Some(Manner::Failing), Some(Manner::Silent)] {
        let toolgate = Toolgate::new();
        let collector = Collector::start(manner.unwrap_or(Manner::Good));
        let mut settings = collector.settings();
        if manner.is_none() {
            // Nobody listens there.
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            settings = settings.map(|(name, value)| (name, value.replace(&collector.port.to_string(), &port.to_string())));
        }
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut served = Served::start(&toolgate, &settings);
        for n in 0..20 {
            let done = served.call("transform_jq", &json!({"filter": ".", "input": n}), &json!({}));
            assert_eq!(done["result"]["isError"], false, "{done}");
        }
        served.wait_for("that traces are lost", |line| line["event"] == "collector_unreachable");
        let lost = served.get("/metrics").body;
        assert!(lost.contains("toolgate_telemetry_dropped_total{signal=\"traces\"}"), "{lost}");
        let told = served.lines().iter().filter(|line| line["event"] == "collector_unreachable").count();
        assert_eq!(told, 1, "it is said once");
        assert!(served.stop() < Duration::from_secs(4), "the end waited for the collector");
    }
}

#[test]
fn a_collector_inside_is_reached_only_where_the_operator_names_it() {
    let (toolgate, collector) = (Toolgate::new(), Collector::start(Manner::Good));
    let [(endpoint, at), (private, _)] = collector.settings();
    // An exception for something else opens nothing.
    let other = format!("python=127.0.0.1:{}", collector.port);
    let mut served = Served::start(&toolgate, &[(endpoint, &at), (private, &other)]);
    served.call("transform_jq", &json!({"filter": ".", "input": 1}), &json!({}));
    served.wait_for("that traces are lost", |line| line["event"] == "collector_unreachable");
    served.stop();
    assert_eq!(collector.requests(), 0);
}

#[test]
fn nothing_is_sent_unless_the_operator_names_a_collector() {
    let (toolgate, collector) = (Toolgate::new(), Collector::start(Manner::Good));
    let at = format!("http://127.0.0.1:{}", collector.port);
    let [_, (private, allowed)] = collector.settings();
    // What other programs take from the environment.
    let mut served = Served::start(&toolgate, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &at), (private, &allowed)]);
    served.call("transform_jq", &json!({"filter": ".", "input": 1}), &traced(TRACE, "01"));
    served.stop();
    assert_eq!(collector.requests(), 0);
}
