//! What a home and a run may take, and archived runs: as a client of the real server and a person at the terminal meet them.

use serde_json::{Value, json};

use crate::keeping::{json, operator};
use crate::main_job::{answer, result};
use crate::mcp_stdio::Server;
use crate::support::Toolgate;

const THREE: &str = "name: three\nversion: 1.0.0\nlimits: {max_tool_calls: 1, on_limit: wait}\nsteps:\n\
    - {id: a, kind: transform, input: {filter: '1'}}\n- {id: b, kind: transform, depends_on: [a], input: {filter: '2'}}\n";

fn settings(toolgate: &Toolgate, text: &str) {
    std::fs::create_dir_all(toolgate.data()).unwrap();
    std::fs::write(toolgate.data().join("toolgate.toml"), text).unwrap();
}

/// Calls a tool over MCP and gives its result.
fn call(server: &mut Server, id: i64, tool: &str, arguments: &Value) -> Value {
    server.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}));
    server.answer(id)["result"].clone()
}

#[test]
fn a_home_that_takes_too_much_takes_no_calls() {
    let toolgate = Toolgate::new();
    settings(&toolgate, "[storage]\nmax_bytes = 20000000\n");
    let jq = ["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#];
    toolgate.run(&jq).exits(0);
    let large = toolgate.data().join("runs").join("large");
    std::fs::create_dir_all(large.parent().unwrap()).unwrap();
    std::fs::write(&large, vec![0; 30_000_000]).unwrap();

    let refused = toolgate.run(&jq);
    assert!(refused.code != 0 && refused.stderr.contains("STORAGE_FULL"), "{refused:?}");
    assert!(refused.stderr.contains("may take 20000000"), "{refused:?}");
    let mut server = Server::opened(&toolgate.data());
    let told = call(&mut server, 2, "transform_jq", &json!({"filter": ".", "input": 1}));
    assert_eq!((&told["isError"], &told["structuredContent"]["error"]["code"]), (&json!(true), &json!("STORAGE_FULL")), "{told}");
    server.kill();
    // Looking is no call, and with room calls are taken again.
    toolgate.run(&["runs", "list"]).exits(0);
    std::fs::remove_file(large).unwrap();
    toolgate.run(&jq).exits(0);
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

#[test]
fn a_run_whose_workspace_takes_too_much_goes_no_further() {
    let toolgate = Toolgate::new();
    settings(&toolgate, "[storage]\nrun_max_bytes = 100000\n");
    let file = toolgate.home().join("w.yaml");
    std::fs::write(&file, THREE).unwrap();
    let begin = || {
        toolgate.run(&["run", file.to_str().unwrap()]).exits(4);
        toolgate.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned()
    };
    let goes_on = |run: &str| {
        answer(&toolgate, &["runs", "raise", run, "--calls", "+1"], "first use sets it").exits(0);
        toolgate.run(&["runs", "watch", run, "--json"])
    };
    let (large, small) = (begin(), begin());
    let workspace = toolgate.data().join("runs").join(&large).join("workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("large"), vec![0; 200_000]).unwrap();
    let refused = goes_on(&large).exits(1);
    let error = &result(&refused)["error"];
    assert!(error.to_string().contains("STORAGE_FULL") && error.to_string().contains("100000"), "{error}");
    // It is that run's matter alone.
    assert_eq!(result(&goes_on(&small).exits(0))["output"]["b"], json!(2));
}

#[test]
fn an_archived_run_says_so_to_a_client() {
    let toolgate = Toolgate::new();
    operator(&toolgate, &["init"]).exits(0);
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("three.yaml"), THREE.replace(", on_limit: wait", "").replace("calls: 1", "calls: 9")).unwrap();
    let mut server = Server::opened(&toolgate.data());
    let started = call(&mut server, 2, "run_start", &json!({"workflow": "three"}));
    let run = started["structuredContent"]["run_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    let mut id = 3;
    let mut cursor = 0;
    loop {
        let seen = call(&mut server, id, "run_watch", &json!({"run_id": run, "cursor": cursor}))["structuredContent"].clone();
        if seen["done"] == true {
            break;
        }
        (id, cursor) = (id + 1, seen["cursor"].as_u64().unwrap());
    }
    let mut read = |server: &mut Server, uri: String| {
        id += 1;
        server.send(&json!({"jsonrpc": "2.0", "id": id, "method": "resources/read", "params": {"uri": uri}}));
        server.answer(id)
    };
    let before = read(&mut server, format!("run://{run}"));
    assert!(before.to_string().contains("succeeded"), "{before}");
    let done = json(operator(&toolgate, &["runs", "archive", "--older-than", "0s", "--json"]));
    assert!(done.to_string().contains(&run), "{done}");
    let told = read(&mut server, format!("run://{run}")).to_string();
    assert!(told.contains("archive") && told.contains(&format!("run://{run}/events")), "{told}");
    let events = read(&mut server, format!("run://{run}/events"));
    let text: Value = serde_json::from_str(events["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{events}"))).unwrap();
    assert_eq!((&text["done"], &text["status"], &text["waiting"]), (&json!(true), &json!("succeeded"), &json!([])), "{text}");
    assert!(!text["events"].as_array().unwrap().is_empty(), "{text}");
    let watched = call(&mut server, 1_000, "run_show", &json!({"run_id": run})).to_string();
    assert!(watched.contains("archive"), "{watched}");
    server.kill();
}
