use std::sync::Arc;

use serde_json::{Value, json};

use super::{CodeCall, CodeCalls, CodeTool, PythonRun, Resumed};
use crate::domain::{ArtifactId, Effect, ErrorCode, Fault, Labels, RunId};
use crate::sandbox::wasm;
use crate::tools::guest_testing::{call, context, native, network, packages};
use crate::tools::{CallContext, Handler, handler};

/// A call without tools never asks for them.
struct NoCalls;

#[async_trait::async_trait]
impl CodeCalls for NoCalls {
    fn describe(&self, names: &[String]) -> Result<Vec<CodeTool>, Fault> {
        assert!(names.is_empty());
        Ok(Vec::new())
    }
    async fn resume(&self, _: &CallContext) -> Result<Option<Resumed>, Fault> {
        unreachable!("only programs with tools are brought back")
    }
    async fn labels_of(&self, _: RunId) -> Result<Labels, Fault> {
        unreachable!("only a program that was brought back works in another run")
    }
    async fn call(&self, _: &CallContext, _: CodeCall) -> Result<Value, Fault> {
        unreachable!("no tool was named")
    }
}

fn tool() -> Arc<dyn Handler> {
    let python = PythonRun {
        sandbox: wasm::tests::shared(),
        packages: packages(),
        network: network(Arc::new(crate::app::Tasks::default())),
        native: native(),
        calls: Arc::new(NoCalls),
    };
    handler(python)
}

async fn run(arguments: Value) -> Result<Value, Fault> {
    let folder = tempfile::tempdir().unwrap();
    call(&*tool(), arguments, &context(folder.path())).await
}

#[tokio::test]
async fn a_program_its_arguments_and_its_input() {
    let output =
        run(json!({"code": "import sys\nprint(sys.argv[1:], input())\nresult = 6 * 7", "args": ["a"], "stdin": "line\n"})).await.unwrap();
    assert_eq!(output["stdout"], "['a'] line\n");
    assert_eq!((&output["return_code"], &output["result"]), (&json!(0), &json!(42)));
    assert_eq!(output["sandbox"]["runtime"], "wasm");
    assert_eq!(output["produced_files"], json!([]));
    assert!(output["metrics"]["wall_ms"].as_f64().unwrap() > 0.0);
    assert!(output.get("limit").is_none());
}

#[tokio::test]
async fn files_from_every_source_and_files_out() {
    let (tool, folder) = (tool(), tempfile::tempdir().unwrap());
    let context = context(folder.path());
    let stored = context.artifacts.put(b"from artifact".to_vec(), "text/plain").await.unwrap();
    let program = "import sys\nfor name in ('a/t', 'b', 'c'): print(open(name).read())\nopen('/out/r.csv', 'w').write('x,y')";
    let arguments = json!({
        "entrypoint": "main.py",
        "files": [
            {"path": "main.py", "content": program},
            {"path": "a/t", "content": "from text"},
            {"path": "b", "content_base64": "ZnJvbSBiYXNlNjQ="},
            {"path": "c", "artifact": stored.artifact.to_string()},
        ],
    });
    let output = call(&*tool, arguments, &context).await.unwrap();
    assert_eq!(output["stdout"], "from text\nfrom base64\nfrom artifact\n", "{output}");
    let id = ArtifactId::of(b"x,y");
    assert_eq!(
        output["produced_files"],
        json!([{"path": "r.csv", "sha256": id.to_string(), "size": 3, "mode": "0644", "artifact": id.to_string()}])
    );
    assert_eq!(context.artifacts.read(&id, 0, 10).await.unwrap().0, b"x,y");
}

#[tokio::test]
async fn a_limit_is_named_and_what_came_before_it_is_kept() {
    let output =
        run(json!({"code": "print('begun')\nopen('/out/part', 'w').write('1')\nwhile True: pass", "timeout_sec": 1})).await.unwrap();
    assert_eq!((&output["limit"], &output["return_code"], &output["stdout"]), (&json!("time"), &json!(124), &json!("begun\n")));
    assert_eq!(output["produced_files"][0]["path"], "part");
    let output = run(json!({"code": "x = 'a' * (1 << 28)", "memory_mb": 64})).await.unwrap();
    assert_eq!(output["limit"], "memory");
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused_before_anything_runs() {
    let file = |path: &str| json!({"path": path, "content": ""});
    for (arguments, code) in [
        (json!({}), ErrorCode::InvalidInput),
        (json!({"code": "", "entrypoint": "x.py"}), ErrorCode::InvalidInput),
        (json!({"entrypoint": "x.py"}), ErrorCode::InvalidInput),
        (json!({"code": "", "network": true}), ErrorCode::InvalidInput),
        (json!({"code": "", "requirements": ["x>=1"]}), ErrorCode::InvalidInput),
        (json!({"code": "", "requirements": ["x==1"]}), ErrorCode::InstallerUnavailable),
        (json!({"code": "", "allowed_hosts": ["example.com"]}), ErrorCode::InvalidInput),
        (json!({"code": "", "allow_network": true, "allowed_hosts": ["https://example.com"]}), ErrorCode::InvalidInput),
        (json!({"entrypoint": "-m json.tool; x"}), ErrorCode::InvalidInput),
        (json!({"entrypoint": "-m json", "code": ""}), ErrorCode::InvalidInput),
        (json!({"code": "", "runtime": "process"}), ErrorCode::SandboxFailed),
        (json!({"code": "", "runtime": "native"}), ErrorCode::InvalidInput),
        (json!({"code": "", "runtime": "process", "tools": ["workspace.read"]}), ErrorCode::InvalidInput),
        (json!({"code": "", "timeout_sec": 0}), ErrorCode::InvalidInput),
        (json!({"code": "", "timeout_sec": 100_000}), ErrorCode::InvalidInput),
        (json!({"code": "", "memory_mb": 100_000}), ErrorCode::InvalidInput),
        (json!({"code": "", "files": [{"path": "a"}]}), ErrorCode::InvalidInput),
        (json!({"code": "", "files": [{"path": "a", "content": "", "content_base64": ""}]}), ErrorCode::InvalidInput),
        (json!({"code": "", "files": [{"path": "a", "content_base64": "%"}]}), ErrorCode::InvalidInput),
        (json!({"code": "", "files": [{"path": "a", "artifact": "xyz"}]}), ErrorCode::InvalidInput),
        (json!({"code": "", "files": [{"path": "a", "artifact": "0".repeat(64)}]}), ErrorCode::UnknownArtifact),
        (json!({"code": "", "files": [file("a"), file("A")]}), ErrorCode::PathRefused),
        (json!({"code": "", "files": [file("a"), file("a/b")]}), ErrorCode::PathRefused),
    ] {
        assert_eq!(run(arguments.clone()).await.map_err(|fault| fault.code), Err(code), "{arguments}");
    }
}

#[test]
fn the_schema_itself_refuses_paths_that_lead_out() {
    let schema = jsonschema::validator_for(&tool().input_schema()).unwrap();
    let fits = |path: &str| schema.is_valid(&json!({"code": "", "files": [{"path": path, "content": ""}]}));
    for path in ["a", "a.py", ".env", "..a", "a/b.c/..d", ".a/.b", "é/ü", "a b"] {
        assert!(fits(path), "{path}");
    }
    for path in ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/../b", "a/..", "a/.", "...", "a\\b", "..\\a"] {
        assert!(!fits(path), "{path}");
    }
}

#[tokio::test]
async fn a_program_is_pure_unless_it_reads_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let tool = tool();
    for (arguments, effect) in
        [(json!({"code": ""}), Effect::Pure), (json!({"code": "", "files": [{"path": "a", "workspace": "b/c"}]}), Effect::Read)]
    {
        let arguments = tool.parse(arguments).unwrap();
        let prepared = tool.prepare(&arguments, &context(folder.path())).await.unwrap();
        assert_eq!(prepared.effects.iter().collect::<Vec<_>>(), [effect]);
    }
}

#[tokio::test]
async fn what_is_cut_of_the_output_is_an_artifact_as_a_whole() {
    let (tool, folder) = (tool(), tempfile::tempdir().unwrap());
    let context = context(folder.path());
    let program = "import sys\nfor n in range(100_000): print(f'{n:07}')\nprint('short', file=sys.stderr)";
    let output = call(&*tool, json!({"code": program}), &context).await.unwrap();
    assert_eq!((&output["stdout_truncated"], &output["limit"]), (&json!(true), &json!("output")));
    assert!(output.get("stderr_artifact").is_none());
    let id: ArtifactId = output["stdout_artifact"].as_str().unwrap().parse().unwrap();
    let whole: String = (0..100_000).map(|n| format!("{n:07}\n")).collect();
    assert_eq!(context.artifacts.read(&id, 0, 1 << 20).await.unwrap().0, whole.as_bytes());
}

#[tokio::test]
async fn a_module_runs_as_python_m_does() {
    let output = run(json!({"entrypoint": "-m json.tool", "stdin": "{\"a\":1}"})).await.unwrap();
    assert_eq!(output["stdout"], "{\n    \"a\": 1\n}\n", "{output}");
    let files = json!([{"path": "pkg/__main__.py", "content": "import sys\nprint(__name__, __package__, sys.argv[1:])"}]);
    let output = run(json!({"entrypoint": "-m pkg", "files": files, "args": ["x"]})).await.unwrap();
    assert_eq!(output["stdout"], "__main__ pkg ['x']\n", "{output}");
}

#[tokio::test]
async fn an_error_that_nobody_caught_names_the_way_out() {
    for (program, words) in [
        ("import numpy", "runtime \"process\""),
        ("import yaml", "[\"pyyaml==VERSION\"]"),
        ("import tkinter", "not part of Python in the sandbox"),
        ("import threading; threading.Thread(target=print).start()", "asyncio"),
        ("open('/work/x', 'w')", "/out"),
    ] {
        let output = run(json!({"code": program})).await.unwrap();
        let said = output["stderr"].as_str().unwrap();
        assert!(said.lines().last().unwrap().starts_with("toolgate: ") && said.contains(words), "{program}: {said}");
    }
    let caught = run(
        json!({"code": "import importlib.util\nresult = importlib.util.find_spec('numpy') is None\ntry: import numpy\nexcept ImportError: pass"}),
    );
    let output = caught.await.unwrap();
    assert_eq!((&output["result"], &output["stderr"]), (&json!(true), &json!("")), "programs that go on without are left alone");
}
