//! `requirements` with the machine's own pip or uv and the package index it is configured for: real packages, inside the real sandbox.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Toolgate, root};

/// The folder with `pip`, and if there is one the folder with `uv`; said aloud where there is neither.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "told by variables what the machine has, it says what it skips")]
pub fn installers() -> Option<(PathBuf, Option<PathBuf>)> {
    let python = std::env::var_os("TOOLGATE_TEST_PYTHON").map(PathBuf::from);
    let Some(folder) = python.as_deref().and_then(Path::parent).map(Path::to_owned) else {
        assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_none(), "TOOLGATE_TEST_PYTHON names no interpreter");
        eprintln!("skipped: TOOLGATE_TEST_PYTHON names no interpreter with pip");
        return None;
    };
    let uv = std::env::var_os("TOOLGATE_TEST_UV").map(PathBuf::from).and_then(|path| path.parent().map(Path::to_owned));
    if uv.is_none() {
        assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_none(), "TOOLGATE_TEST_UV names no uv");
        eprintln!("TOOLGATE_TEST_UV names no uv: what needs it is skipped");
    }
    Some((folder, uv))
}

/// Calls python.run where `path` is all that there is of programs.
pub fn call(toolgate: &Toolgate, path: &Path, arguments: &Value) -> Value {
    let mut command = toolgate.command(&["tools", "call", "python.run", &arguments.to_string(), "--json"]);
    for (name, value) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_ascii_uppercase();
        if ["PIP_", "UV_", "SSL_CERT_"].iter().any(|prefix| name_text.starts_with(prefix))
            || name_text.ends_with("_PROXY")
            || name_text == "HOME"
        {
            command.env(name, value);
        }
    }
    let output = command.env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn output(answer: &Value) -> Value {
    let output = answer["output"].clone();
    assert_eq!(
        output["return_code"],
        0,
        "{}\n{}\n{answer}",
        output["stdout"].as_str().unwrap_or_default(),
        output["stderr"].as_str().unwrap_or_default()
    );
    output
}

const JINJA: &str = "import jinja2, markupsafe\nresult = [jinja2.Template('Hi {{ name|e }}').render(name='<b>'), jinja2.__file__]";

#[test]
fn jinja2_renders_and_the_lock_is_kept() {
    let Some((pip, _)) = installers() else { return };
    let toolgate = Toolgate::new();
    let answer = output(&call(&toolgate, &pip, &json!({"code": JINJA, "requirements": ["jinja2==3.1.6"]})));
    assert_eq!(answer["result"], json!(["Hi &lt;b&gt;", "/packages/jinja2/__init__.py"]));
    let lock = json!({"artifact": answer["lock"]}).to_string();
    let lock = toolgate.json(0, &["tools", "call", "artifact.read", &lock, "--json"]).to_string();
    assert!(lock.contains("jinja2") && lock.contains("markupsafe") && lock.contains("3.1.6"), "transitive pins: {lock}");
    // Without any installer: from the cache.
    let empty = tempfile::tempdir().unwrap();
    output(&call(&toolgate, empty.path(), &json!({"code": JINJA, "requirements": ["Jinja2==3.1.6"]})));
    // The packages cannot be changed from inside.
    let code = "import jinja2\ntry:\n    open('/packages/jinja2/__init__.py', 'a')\n    result = 'changed'\nexcept OSError as error:\n    result = error.strerror";
    let answer = output(&call(&toolgate, &pip, &json!({"code": code, "requirements": ["jinja2==3.1.6"]})));
    assert_ne!(answer["result"], "changed");
}

#[test]
fn the_same_by_uv() {
    let Some((_, Some(uv))) = installers() else { return };
    let toolgate = Toolgate::new();
    // Another set than pip's, as sets are kept whoever resolved them.
    let code = "import jinja2, idna\nresult = jinja2.Template('{{ 6 * 7 }}').render()";
    let answer = output(&call(&toolgate, &uv, &json!({"code": code, "requirements": ["jinja2==3.1.6", "idna==3.10"]})));
    assert_eq!(answer["result"], "42");
}

#[test]
fn pytest_runs_with_its_temporary_folders() {
    let Some((pip, _)) = installers() else { return };
    let toolgate = Toolgate::new();
    let tests = "
import pytest

def test_files(tmp_path):
    (tmp_path / 'a').write_text('x')
    assert (tmp_path / 'a').read_text() == 'x'

@pytest.mark.parametrize('n', [1, 2, 3])
def test_numbers(n, capsys, monkeypatch):
    print(n)
    assert capsys.readouterr().out == f'{n}\\n'

def test_wrong():
    assert [1, 2] == [1, 3]
";
    let arguments = json!({
        "entrypoint": "-m pytest",
        "args": ["-q", "test_all.py"],
        "files": [{"path": "test_all.py", "content": tests}],
        "requirements": ["pytest==9.0.1"],
    });
    let answer = call(&toolgate, &pip, &arguments)["output"].clone();
    let said = answer["stdout"].as_str().unwrap();
    assert_eq!(answer["return_code"], 1, "{said}{}", answer["stderr"]);
    assert!(said.contains("1 failed, 4 passed") && said.contains("assert [1, 2] == [1, 3]"), "{said}");
}

#[test]
fn requests_and_httpx_speak_http() {
    let Some((pip, _)) = installers() else { return };
    let (toolgate, server) = (Toolgate::new(), crate::support::http_server::HttpServer::start());
    for name in ["requests_session.py", "httpx_sync.py", "httpx_async_gather.py", "refused.py"] {
        let code = std::fs::read_to_string(root().join("tests/python/net").join(name)).unwrap();
        let host = format!("127.0.0.1:{}", server.port);
        let arguments = json!({
            "code": code,
            "args": [server.base()],
            "allow_network": true,
            "allowed_hosts": [host],
            "requirements": ["requests==2.34.2", "httpx==0.28.1"],
        });
        let answer = call_with_server(&toolgate, &pip, &arguments, &host);
        assert_eq!(answer["output"]["return_code"], 0, "{name}: {}\n{answer}", answer["output"]["stderr"].as_str().unwrap_or_default());
    }
}

fn call_with_server(toolgate: &Toolgate, path: &Path, arguments: &Value, host: &str) -> Value {
    std::fs::create_dir_all(toolgate.data()).unwrap();
    std::fs::write(toolgate.data().join("toolgate.toml"), format!("[egress]\nprivate = [\"python={host}\"]\n")).unwrap();
    call(toolgate, path, arguments)
}

#[test]
fn what_cannot_be_had_says_why() {
    let Some((pip, _)) = installers() else { return };
    let toolgate = Toolgate::new();
    let empty = tempfile::tempdir().unwrap();
    for (requirement, path, code, words) in [
        ("numpy==2.3.4", pip.as_path(), "REQUIREMENT_REFUSED", "process"),
        ("jinja2==999.0", pip.as_path(), "REQUIREMENTS_UNRESOLVED", "jinja2"),
        ("six==1.17.0", empty.path(), "INSTALLER_UNAVAILABLE", "uv"),
        ("jinja2>=3", pip.as_path(), "INVALID_INPUT", "jinja2>=3"),
        ("-r/etc/passwd", pip.as_path(), "INVALID_INPUT", "-r/etc/passwd"),
        ("x @ https://example.com/x.whl", pip.as_path(), "INVALID_INPUT", "example.com"),
    ] {
        let answer = call(&toolgate, path, &json!({"code": "pass", "requirements": [requirement]}));
        assert_eq!(answer["error"]["code"], code, "{requirement}: {answer}");
        assert!(answer["error"].to_string().contains(words), "{requirement}: {answer}");
    }
}
