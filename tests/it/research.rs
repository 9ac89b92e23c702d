//! The built-in research worker through the real binary: searches, pages and documents from real places, citations that hold, and every
//! call of it decided and on record.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::web_server::{Asked, Reply, WebServer};
use crate::support::{Ran, Toolgate};
use crate::web::settings;

const PAGE: &str = "<html><head><title>Gears of the north</title></head><body><article><h1>Gears of the north</h1>\
    <p>Some words about the weather, which is of no matter here and goes on for a while without a word on machines.</p>\
    <p>A planetary gear has a sun wheel, planet wheels and a ring — größer als gedacht 🦀, says the handbook of machines.</p>\
    <p>The end of the page tells nothing of it, and closes with some more words on the weather of the north.</p></article></body></html>";

fn places(asked: &Asked, base: &str) -> Reply {
    match asked.path() {
        "/search" => Reply::json(&json!({ "results": [
            { "title": "Planetary gear", "url": format!("{base}/gears"), "content": "about the planetary gear" },
            { "title": "Gone", "url": format!("{base}/gone"), "content": "gear" },
        ] })),
        "/gears" => Reply::html(PAGE),
        _ => Reply::new(404, "text/plain", "nothing here"),
    }
}

/// A home with a document in its drive.
fn home() -> Toolgate {
    let toolgate = Toolgate::new();
    toolgate.run(&["init"]).exits(0);
    let drive = toolgate.data().join("drive");
    std::fs::create_dir_all(&drive).unwrap();
    std::fs::write(drive.join("notes.md"), "# Notes\n\nOur planetary gear came from the mill.\n\nBread is at nine.\n").unwrap();
    toolgate
}

fn run(command: &mut Command) -> Ran {
    Ran::of(command.output().unwrap())
}

/// The server, whose answers name its own address.
fn web() -> WebServer {
    WebServer::start(|asked| places(asked, &format!("http://{}", asked.header("host").unwrap_or_default())))
}

fn researched(toolgate: &Toolgate, server: &WebServer, arguments: &Value) -> Value {
    let mut command = toolgate.command(&["tools", "call", "worker.research", &arguments.to_string(), "--json"]);
    settings(&mut command, server, &["searxng"]);
    let ran = run(&mut command).exits(0);
    serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))["output"].clone()
}

/// What stands in the artifact that a citation names, between its places.
fn cited(toolgate: &Toolgate, citation: &Value) -> String {
    let read = json!({ "artifact": citation["artifact"], "limit": 65536 }).to_string();
    let answer = toolgate.json(0, &["tools", "call", "artifact.read", &read, "--json"]);
    let text = answer["output"]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let place = |name: &str| usize::try_from(citation[name].as_u64().unwrap()).unwrap();
    text.chars().skip(place("start")).take(place("end") - place("start")).collect()
}

#[test]
fn what_it_cites_stands_in_the_artifact_that_it_names() {
    let (toolgate, server) = (home(), web());
    let answer = researched(&toolgate, &server, &json!({ "query": "planetary gear" }));
    let citations = answer["citations"].as_array().unwrap();
    let of = |source: &str| citations.iter().find(|citation| citation["source"].as_str().unwrap().ends_with(source)).unwrap();
    let (page, note) = (of("/gears"), of("notes.md"));
    assert!(page["extract"].as_str().unwrap().contains("größer als gedacht 🦀") && page["title"] == "Gears of the north", "{answer}");
    assert_eq!(note["extract"], "Our planetary gear came from the mill.");
    for citation in [page, note] {
        assert_eq!(cited(&toolgate, citation), citation["extract"].as_str().unwrap());
    }
    // What could not be read is cited by what the search showed, and told.
    assert!(of("/gone")["artifact"].is_null() && answer["notes"].to_string().contains("/gone"), "{answer}");
    assert!(answer["summary"].as_str().unwrap().starts_with("3 sources on \"planetary gear\""), "{answer}");

    // Each search and each page is a call below the worker's.
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let told: Vec<Value> = runs
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|run| {
            toolgate
                .run(&["runs", "events", run["id"].as_str().unwrap(), "--json"])
                .exits(0)
                .stdout
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    let calls: Vec<&Value> = told.iter().filter(|event| event["kind"] == "tool_call").collect();
    let worker = calls.iter().find(|event| event["payload"]["tool"] == "worker.research").unwrap();
    let below: Vec<&str> = calls
        .iter()
        .filter(|event| event["payload"]["origin"]["code"] == worker["call_id"])
        .map(|event| event["payload"]["tool"].as_str().unwrap())
        .collect();
    assert_eq!(below, ["web.search", "web.fetch", "web.fetch", "drive.search", "drive.get"], "{told:#?}");
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

#[test]
fn a_research_step_does_so_within_what_its_workflow_declares() {
    let (toolgate, server) = (home(), web());
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    let workflow = "name: looks\nversion: 1.0.0\ntools: [worker.research, drive.search, drive.get]\nsteps:\n\
        - {id: look, kind: research, by: builtin, input: {query: planetary gear}}\n";
    std::fs::write(folder.join("looks.yaml"), workflow).unwrap();
    let mut command = toolgate.command(&["run", "looks", "--json"]);
    settings(&mut command, &server, &["searxng"]);
    let ran = run(&mut command).exits(0);
    assert!(ran.stdout.contains("Our planetary gear came from the mill.") && ran.stdout.contains("TOOL_NOT_DECLARED"), "{ran:?}");
    assert_eq!(server.asked().len(), 0, "what the workflow does not declare is not reached");
}

#[test]
fn without_a_network_the_drive_alone_answers_and_it_says_so() {
    let toolgate = home();
    let server = WebServer::start(|_| Reply::new(503, "text/plain", "down"));
    let answer = researched(&toolgate, &server, &json!({ "query": "planetary gear" }));
    assert!(answer["notes"].to_string().contains("web.search"), "{answer}");
    assert_eq!(answer["citations"].as_array().unwrap().len(), 1, "{answer}");
}
