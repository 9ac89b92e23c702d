//! Bad input by the real binary: a clear error with its code, nothing lost, no panic.

use std::time::Instant;

use crate::support::{Ran, Toolgate};

/// Fails unless the run ended with this exit code and said all of this on stderr.
fn says(ran: Ran, code: i32, words: &[&str]) {
    let ran = ran.exits(code);
    for word in words {
        assert!(ran.stderr.contains(word) || ran.stdout.contains(word), "`{word}` is missing\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

fn write(toolgate: &Toolgate, name: &str, text: &str) -> String {
    let path = toolgate.home().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn unknown_names_offer_the_nearest() {
    let toolgate = Toolgate::new();
    says(toolgate.run(&["tools", "call", "python.rum", "{}"]), 2, &["UNKNOWN_TOOL", "python.run"]);
    says(toolgate.run(&["run", "build_servise"]), 2, &["UNKNOWN_WORKFLOW", "build_service"]);
    says(toolgate.run(&["runs", "show", "run_00000000000000000000000000000000"]), 2, &["UNKNOWN_RUN"]);
}

#[test]
fn a_field_that_does_not_fit_is_named() {
    let toolgate = Toolgate::new();
    says(toolgate.run(&["tools", "call", "python.run", r#"{"entrypoint": "inline", "code": 7}"#]), 2, &["INVALID_INPUT", "code"]);
    says(toolgate.run(&["tools", "call", "python.run", r#"{"entrypoint": "inline", "cod": "1"}"#]), 2, &["INVALID_INPUT", "cod"]);
    says(toolgate.run(&["run", "build_service"]), 2, &["resource"]);
    says(toolgate.run(&["run", "build_service", "-i", "resource=../x"]), 2, &["resource"]);
    says(toolgate.run(&["tools", "call", "workspace.write", r#"{"files": [{"path": "../x", "content": ""}]}"#]), 2, &["path"]);
    says(toolgate.run(&["tools", "call", "python.run", "{\"a\": "]), 2, &["JSON"]);
}

#[test]
fn workflow_files_are_told_all_their_problems_with_lines() {
    let toolgate = Toolgate::new();
    let head = "name: w\nversion: 1.0.0\ndescription: d\nsteps:\n";
    let step = |id: &str, after: &str| {
        format!("  - id: {id}\n    kind: transform\n    depends_on: [{after}]\n    input: {{filter: ., input: 1}}\n")
    };
    let cycle = write(&toolgate, "cycle.yaml", &format!("{head}{}{}", step("a", "b"), step("b", "a")));
    says(toolgate.run(&["run", &cycle]), 2, &["WORKFLOW_INVALID", "a → b → a"]);
    let dangling = write(&toolgate, "dangling.yaml", &format!("{head}{}", step("a", "nobody")));
    says(toolgate.run(&["workflows", "validate", &dangling]), 2, &["nobody", "dangling.yaml:"]);
    let undefined = write(
        &toolgate,
        "undefined.yaml",
        &format!("{head}  - id: a\n    kind: transform\n    input: {{filter: ., input: \"{{{{ inputs.nothing }}}}\"}}\n"),
    );
    says(toolgate.run(&["run", &undefined]), 2, &["nothing"]);
    says(toolgate.run(&["run", &write(&toolgate, "garbage.yaml", "steps: [")]), 2, &["WORKFLOW_INVALID", "garbage.yaml"]);
}

#[test]
fn broken_policies_and_settings_stop_the_start_with_their_place() {
    let toolgate = Toolgate::new();
    let policies = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    std::fs::write(policies.join("mine.cedar"), "permit (principal, action == toolgate::Action::\"no_such_tool\", resource);").unwrap();
    says(toolgate.run(&["tools", "list"]), 2, &["mine.cedar", "no_such_tool"]);
    std::fs::write(policies.join("mine.cedar"), "permit (").unwrap();
    says(toolgate.run(&["tools", "list"]), 2, &["mine.cedar"]);
    std::fs::remove_file(policies.join("mine.cedar")).unwrap();
    std::fs::write(toolgate.data().join("toolgate.toml"), "lgo = \"warn\"\n").unwrap();
    says(toolgate.run(&["tools", "list"]), 2, &["lgo", "toolgate.toml:1"]);
}

#[test]
fn a_database_of_a_newer_version_or_of_somebody_else_is_left_alone() {
    let toolgate = Toolgate::new();
    toolgate.run(&["runs", "list"]).exits(0);
    let database = toolgate.data().join("toolgate.db");
    let mut bytes = std::fs::read(&database).unwrap();
    // SQLite keeps `user_version` as four bytes, big-endian, at offset 60 of the file.
    bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    std::fs::write(&database, &bytes).unwrap();
    for leftover in ["toolgate.db-wal", "toolgate.db-shm"] {
        let _ = std::fs::remove_file(toolgate.data().join(leftover));
    }
    says(toolgate.run(&["runs", "list"]), 1, &["STORE_TOO_NEW"]);
    assert_eq!(std::fs::read(&database).unwrap()[60..64], 9_999_u32.to_be_bytes());
    std::fs::write(&database, "these are not the bytes you are looking for").unwrap();
    says(toolgate.run(&["runs", "list"]), 1, &["STORE_FAILED"]);
    assert_eq!(std::fs::read(&database).unwrap(), b"these are not the bytes you are looking for");
}

#[test]
fn hostile_python_is_cut_off_and_leaves_the_server_well() {
    let toolgate = Toolgate::new();
    let call = |code: &str, more: &str| {
        let arguments = format!(r#"{{"entrypoint": "inline", "code": {}{more}}}"#, serde_json::json!(code));
        toolgate.run(&["tools", "call", "python.run", &arguments, "--json"]).exits(0)
    };
    let begun = Instant::now();
    let looped = call("while True: pass", r#", "timeout_sec": 1"#);
    assert!(looped.stdout.contains(r#""limit""#) && looped.stdout.contains("time"), "{}", looped.stdout);
    assert!(begun.elapsed().as_secs() < 60);
    let hungry = call("x = []\nwhile True: x.append(bytearray(1 << 20))", r#", "memory_mb": 64"#);
    assert!(hungry.stdout.contains("MemoryError") || hungry.stdout.contains("memory"), "{}", hungry.stdout);
    let loud = call("for _ in range(1024): print('x' * (1 << 20))", "");
    assert!(loud.stdout.len() < 1 << 20, "a gigabyte is cut, {} bytes came", loud.stdout.len());
    assert!(loud.stdout.contains("truncated"), "and says so");
}
