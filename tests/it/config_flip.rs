//! T55: by no tool can a caller change what governs calls: settings, policies, manifests, workflows, the operator's secrets. The caller
//! here is the operator's own command line, whom policy allows everything: what holds is not a rule but that no tool can reach there.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use toolgate::domain::Effect;

use crate::support::{Toolgate, files};

/// Everything in the home that governs calls, by its bytes; not what calls are meant to add to: the database, workspaces, artifacts, drive.
fn governing(home: &Path) -> BTreeMap<String, Vec<u8>> {
    // What every call may add to: its files, the log and the signed end of the log.
    let kept = ["runs/", "artifacts/", "drive/", "drive-index.db", "toolgate.db", "audit/checkpoint"];
    let name = |path: &Path| path.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
    files(home)
        .into_iter()
        .map(|path| (name(&path), path))
        .filter(|(name, _)| !kept.iter().any(|kept| name.starts_with(kept)) && !name.ends_with(".lock"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

/// Calls that try to reach a file of the home, for every tool that writes or goes out.
fn attempts(home: &str) -> BTreeMap<&'static str, Vec<Value>> {
    let evil = "permit (principal, action, resource);";
    let up = "../../policies/evil.cedar";
    let program = |act: &str| {
        let places = json!([format!("{home}/policies/evil.cedar"), format!("{home}/toolgate.toml"), up, "/out/../policies/evil.cedar"]);
        format!("import os\nfor place in {places}:\n    try:\n        {act}\n    except Exception as error: print(type(error).__name__)\n")
    };
    let writes = program(&format!("open(place, 'w').write('{evil}')"));
    let links = program("os.symlink(os.path.dirname(place), '/out/link')");
    BTreeMap::from([
        (
            "workspace.write",
            [up, &format!("{home}/policies/evil.cedar"), "link/evil.cedar", ".git/../../x"]
                .map(|path| json!({"files": [{"path": path, "content": evil}]}))
                .to_vec(),
        ),
        ("workspace.remove", ["../../toolgate.toml", "../..", home].map(|path| json!({"paths": [path]})).to_vec()),
        (
            "python.run",
            vec![json!({"code": writes}), json!({"code": links}), json!({"code": "pass", "files": [{"path": up, "content": evil}]})],
        ),
        (
            "eval.run",
            vec![
                json!({"commands": [["python", "-c", writes]], "files": []}),
                json!({"commands": ["python -c pass"], "files": [{"path": up, "content": evil}]}),
            ],
        ),
        ("repo.git.init", vec![json!({"path": "../../policies"}), json!({"path": home})]),
        ("repo.git.add_all", vec![json!({"path": "../../policies"}), json!({"path": home})]),
        ("repo.git.commit", vec![json!({"path": "../../policies", "message": "x"}), json!({"path": home, "message": "x"})]),
        (
            "worker.research",
            vec![
                json!({"query": up, "search": ["drive"]}),
                json!({"query": "x", "search": [], "sources": [{"path": format!("{home}/toolgate.toml"), "text": evil}]}),
            ],
        ),
        ("notify.send", vec![json!({"message": evil, "channel": format!("{home}/toolgate.toml")})]),
        (
            "drive.upload",
            [up, &format!("{home}/policies/evil.cedar"), "../policies/evil.cedar", ".versions/../../policies/evil.cedar"]
                .map(|name| json!({"path": "evil.cedar", "name": name}))
                .to_vec(),
        ),
        ("drive.download", [up, &format!("{home}/policies/evil.cedar")].map(|to| json!({"path": "evil.cedar", "to": to})).to_vec()),
        ("run.start", vec![json!({"workflow": format!("{home}/workflows/evil.yaml")}), json!({"workflow": "../policies/evil"})]),
        ("run.submit", vec![json!({"run_id": "run_x", "step_id": "x", "output": {"policy": evil}})]),
        ("run.cancel", vec![json!({"run_id": "../policies"})]),
        ("web.search", vec![json!({"query": evil, "provider": format!("{home}/policies/evil.cedar")})]),
        (
            "web.fetch",
            [
                format!("file://{home}/toolgate.toml"),
                "http://127.0.0.1:1/policies/evil.cedar".to_owned(),
                format!("http:{home}/toolgate.toml"),
            ]
            .map(|url| json!({"url": url}))
            .to_vec(),
        ),
        (
            "tool.call",
            vec![
                json!({"tool": "workspace.write", "arguments": {"files": [{"path": up, "content": evil}]}}),
                json!({"tool": "python.run", "arguments": {"code": writes}}),
                json!({"tool": "policy.set", "arguments": {"rules": evil}}),
                json!({"tool": "tool.call", "arguments": {"tool": "approvals.approve"}}),
            ],
        ),
    ])
}

#[test]
fn no_tool_changes_what_governs_calls() {
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    let home = toolgate.data();
    for folder in ["policies", "workflows", "tool-manifests"] {
        std::fs::create_dir_all(home.join(folder)).unwrap();
    }
    std::fs::write(
        home.join("policies/mine.cedar"),
        "@id(\"mine\") @reason(\"no\") forbid (principal is toolgate::System, action, resource);",
    )
    .unwrap();
    let _settled = toolgate.run(&["tools", "call", "workspace.list", "{}"]);
    let before = governing(&home);
    assert!(before.contains_key("toolgate.toml") && before.contains_key("policies/mine.cedar"), "{:?}", before.keys());

    let attempts = attempts(home.to_str().unwrap());
    for tool in toolgate::manifest::shipped().unwrap() {
        let only_reads = tool.effects.iter().all(|effect| effect <= Effect::Read);
        let Some(tried) = attempts.get(tool.name.as_str()) else {
            assert!(only_reads, "`{}` writes or goes out: say here how it could reach the home, and see that it does not", tool.name);
            continue;
        };
        for arguments in tried {
            let ran = toolgate.run(&["tools", "call", tool.name.as_str(), &arguments.to_string(), "--json"]);
            let after = governing(&home);
            let changed: Vec<&String> = after.keys().chain(before.keys()).filter(|name| after.get(*name) != before.get(*name)).collect();
            assert!(changed.is_empty(), "{} {arguments} changed {changed:?}: {}", tool.name, ran.stdout);
        }
    }
    // What a naive tool would do is seen: the comparison is not blind.
    std::fs::write(home.join("policies/evil.cedar"), "permit (principal, action, resource);").unwrap();
    assert_ne!(governing(&home), before);
}
