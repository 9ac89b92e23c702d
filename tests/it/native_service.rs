//! The main job in full: a FastAPI service, checked by the real ruff, mypy and pytest in the process sandbox, committed, started, and used.
//!
//! Needs a package index, as the machine's pip or uv is set up for. Where every test must run, it must be there.

#![expect(clippy::disallowed_methods, reason = "tests start programs as people do")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::main_job::result;
use crate::support::native::{can_install, python};
use crate::support::{Toolgate, files, python_cache};

#[test]
fn build_service_makes_a_fastapi_service_that_works() {
    if !can_install() {
        return;
    }
    let toolgate = Toolgate::new();
    let ran = toolgate.run(&["run", "build_service", "-i", "resource=LineItem", "--json"]).exits(0);
    let view = result(&ran);
    assert_eq!(view["output"]["stack"]["name"], "fastapi", "{view}");
    let eval = &view["output"]["eval"];
    assert_eq!(eval["passed"], true);
    assert_eq!(eval["sandbox"]["runtime"], "process");
    assert!(eval["sandbox"]["layers"].as_array().unwrap().iter().any(|layer| layer == "seccomp"), "{eval}");
    let said = |n: usize| eval["commands"][n]["stdout"].as_str().unwrap().to_owned();
    assert!(said(0).contains("All checks passed"), "{}", said(0));
    assert!(said(1).contains("already formatted"), "{}", said(1));
    assert!(said(2).contains("Success: no issues found"), "{}", said(2));
    assert!(said(3).contains("passed") && said(3).contains("Required test coverage of 90"), "{}", said(3));

    let workspace = PathBuf::from(view["workspace"].as_str().unwrap());
    assert!(files(&workspace).iter().any(|path| path.ends_with("migrations/versions/0001_create_table.py")));
    let head = std::fs::read_to_string(workspace.join(".git/refs/heads/main")).unwrap();
    assert_eq!(head.trim(), view["output"]["repo"]["commit"].as_str().unwrap());
    crud_round_trip(&workspace);

    // The same checks again need neither network nor a build.
    let eval = json!({
        "commands": ["python -c 'import fastapi, sys; print(sys.prefix)'"],
        "requirements": pins(&workspace),
    });
    let again = toolgate.json(0, &["tools", "call", "eval.run", &eval.to_string(), "--json"]);
    assert!(again.to_string().contains("/env"), "{again}");
}

fn pins(workspace: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(workspace.join("requirements.pins")).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The environment that the run built, as it is kept: the newest one.
fn site_packages() -> PathBuf {
    let kept = python_cache().join("environments");
    let all = files(&kept).into_iter().filter(|path| path.ends_with("fastapi/__init__.py"));
    let found = all.max_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap()).expect("no environment with fastapi");
    found.parent().unwrap().parent().unwrap().to_owned()
}

/// The service, stopped with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the committed service as its README says, and uses it over HTTP.
fn crud_round_trip(workspace: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:///{}", folder.path().join("service.db").display());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(python());
        command.args(arguments).current_dir(workspace).env("PYTHONPATH", site_packages()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("LINE_ITEM_SERVICE_DATABASE_URL", &database).env("PYTHONUNBUFFERED", "1");
        command
    };
    let migrated = command(&["-m", "alembic", "upgrade", "head"]).output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port_text = port.to_string();
    let arguments = ["-m", "line_item_service", "--port", &port_text];
    let service = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut service = Service(service);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = service.0.try_wait().unwrap() {
            let mut said = String::new();
            service.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the service ended with {status}: {said}");
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the service does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, created) = http(port, "POST", "/line_items", Some(&json!({ "name": "Lamp", "status": "active" })));
    assert_eq!(status, 201, "{created}");
    let path = format!("/line_items/{}", created["id"]);
    assert_eq!(http(port, "GET", &path, None).1["name"], "Lamp");
    let (status, changed) = http(port, "PATCH", &path, Some(&json!({ "name": "Table lamp" })));
    assert_eq!((status, &changed["name"]), (200, &json!("Table lamp")));
    let (status, listed) = http(port, "GET", "/line_items", None);
    assert_eq!(status, 200, "{listed}");
    assert!(listed.to_string().contains("Table lamp"), "{listed}");
    assert_eq!(http(port, "POST", "/line_items", Some(&json!({ "name": 7 }))).0, 422);
    assert_eq!(http(port, "DELETE", &path, None).0, 204);
    assert_eq!(http(port, "GET", &path, None).0, 404);
}

/// One exchange. Gives the status and the body, which is JSON or nothing.
fn http(port: u16, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    let (_, text) = rest.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(text).unwrap_or(Value::Null))
}
