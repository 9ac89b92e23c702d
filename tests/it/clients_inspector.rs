//! The Inspector's command line looks at the real binary, in each protocol generation, over both transports; and its exit codes say what went wrong.

use std::process::Command;

use serde_json::Value;

use crate::support::clients::{Npm, Served, ended, home_that_asks, node, or_skip};
use crate::support::{Ran, Toolgate};

const ERAS: [(&str, &str); 3] = [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("modern", "2026-07-28")];

/// The Inspector's exit codes.
const AUTH: i32 = 3;
const UNREACHABLE: i32 = 4;
const TOOL: i32 = 5;

/// The Inspector and what it is pointed at.
struct Inspector {
    node: std::path::PathBuf,
    npm: Npm,
    toolgate: Toolgate,
    target: Vec<String>,
}

impl Inspector {
    fn on(toolgate: Toolgate, target: Vec<String>) -> Option<Self> {
        let (node, npm) = or_skip(node().and_then(|node| Ok((node, Npm::with("@modelcontextprotocol/inspector")?))))?;
        Some(Self { node, npm, toolgate, target })
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    fn ran(&self, era: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.node);
        command
            .env_clear()
            .env("HOME", self.toolgate.home())
            .env("PATH", "/usr/bin:/bin")
            .env("MCP_INSPECTOR_SECRET_STORE", "memory")
            .current_dir(self.toolgate.home())
            .arg(self.npm.file("@modelcontextprotocol/inspector/clients/launcher/build/index.js"))
            .arg("--cli")
            .args(&self.target)
            .args(["--protocol-era", era, "--format", "json", "--connect-timeout", "120000"])
            .args(arguments);
        Ran::of(ended(&mut command))
    }

    /// What it prints of a method's result.
    fn told(&self, era: &str, arguments: &[&str]) -> Value {
        let ran = self.ran(era, arguments);
        assert_eq!(ran.code, 0, "{era} {arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{era} {arguments:?}: {error}\n{}", ran.stdout))
    }

    /// Looks at everything there is to see.
    fn sees_everything(&self, era: &str, version: &str) {
        let first = self.told(era, &["--method", "initialize"]);
        assert!(first.to_string().contains(version) && first.to_string().contains("toolgate"), "{era}: {first}");
        // Strict: nothing in any schema that some client could stumble over.
        let listed = self.told(era, &["--method", "tools/list", "--strict"]);
        let names: Vec<&str> = items(&listed, "tools").iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"python_run") && names.is_sorted(), "{era}: {names:?}");
        let hello = r#"{"entrypoint": "inline", "code": "print(6 * 7)"}"#;
        let called = self.told(era, &["--method", "tools/call", "--tool-name", "python_run", "--tool-args-json", hello]);
        assert_eq!(result(&called)["structuredContent"]["stdout"], "42\n", "{era}: {called}");
        let prompts = self.told(era, &["--method", "prompts/list"]);
        assert!(items(&prompts, "prompts").iter().any(|prompt| prompt["name"] == "hello_world"), "{era}: {prompts}");
        let prompt = self.told(era, &["--method", "prompts/get", "--prompt-name", "hello_world", "--prompt-args", "name=Ada"]);
        assert!(result(&prompt)["messages"].to_string().contains("Ada"), "{era}: {prompt}");
        let templates = self.told(era, &["--method", "resources/templates/list"]);
        assert!(items(&templates, "resourceTemplates").iter().any(|one| one["uriTemplate"] == "run://{id}"), "{era}: {templates}");
        let started = self.told(
            era,
            &["--method", "tools/call", "--tool-name", "run_start", "--tool-args-json", r#"{"workflow": "asks"}"#],
        );
        let uri = format!("run://{}", result(&started)["structuredContent"]["run_id"].as_str().unwrap());
        let resources = self.told(era, &["--method", "resources/list"]);
        assert!(items(&resources, "resources").iter().any(|one| one["uri"] == *uri), "{era}: {resources}");
        let read = self.told(era, &["--method", "resources/read", "--uri", &uri]);
        assert!(result(&read)["contents"][0]["text"].as_str().unwrap().contains("asks"), "{era}: {read}");
    }

    /// What goes wrong is told by the exit code.
    fn tells_errors(&self, era: &str) {
        let wrong = self.ran(era, &["--method", "tools/call", "--tool-name", "python_run", "--tool-args-json", r#"{"code": 7}"#]);
        assert_eq!(wrong.code, TOOL, "{}\n{}", wrong.stdout, wrong.stderr);
        assert!(format!("{}{}", wrong.stdout, wrong.stderr).contains("INVALID_INPUT"), "{}\n{}", wrong.stdout, wrong.stderr);
        let unknown = self.ran(era, &["--method", "tools/call", "--tool-name", "no_such_tool", "--tool-args-json", "{}"]);
        assert_eq!(unknown.code, TOOL, "{}\n{}", unknown.stdout, unknown.stderr);
        let missing = self.ran(era, &["--method", "resources/read", "--uri", "run://run_00000000000000000000000000000000"]);
        assert_ne!(missing.code, 0, "{}", missing.stdout);
    }
}

/// The result itself, whether or not it is wrapped.
fn result(told: &Value) -> &Value {
    told.get("result").unwrap_or(told)
}

fn items<'v>(told: &'v Value, key: &str) -> &'v Vec<Value> {
    result(told)[key].as_array().unwrap_or_else(|| panic!("no `{key}`: {told}"))
}

#[test]
fn the_inspector_sees_everything_over_standard_io() {
    let toolgate = home_that_asks("");
    let home = format!("TOOLGATE_HOME={}", toolgate.data().display());
    let target = ["-e", &home, env!("CARGO_BIN_EXE_toolgate"), "serve"].map(str::to_owned).to_vec();
    let Some(inspector) = Inspector::on(toolgate, target) else { return };
    for (era, version) in ERAS {
        inspector.sees_everything(era, version);
    }
    inspector.tells_errors("legacy");
}

#[test]
fn the_inspector_sees_everything_over_http() {
    let toolgate = home_that_asks("");
    let server = Served::on(&toolgate);
    let with = |token: &str| vec![server.url.clone(), "--transport".into(), "http".into(), "--header".into(), format!("Authorization: Bearer {token}")];
    let Some(mut inspector) = Inspector::on(toolgate, with(&server.token())) else { return };
    for (era, version) in ERAS {
        inspector.sees_everything(era, version);
    }
    inspector.tells_errors("modern");

    let list = ["--method", "tools/list"];
    let no_token = vec![server.url.clone(), "--transport".into(), "http".into()];
    for (target, what) in [(with(&"0".repeat(64)), "a wrong token"), (no_token, "no token")] {
        inspector.target = target;
        for (era, _) in ERAS {
            let refused = inspector.ran(era, &[&list[..], &["--stored-auth-only"]].concat());
            assert_eq!(refused.code, AUTH, "{what}, {era}: {}\n{}", refused.stdout, refused.stderr);
        }
    }
    inspector.target = with(&server.token());
    drop(server);
    let gone = inspector.ran("legacy", &list);
    assert_eq!(gone.code, UNREACHABLE, "{}\n{}", gone.stdout, gone.stderr);
}
