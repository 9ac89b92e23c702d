//! What no native program may do, each power tried from inside by a program of `tests/process/probes`: as root's server and as an
//! ordinary user's.
//!
//! INVARIANT: every probe there stands in `PROBES` or in a test of its own; an attempt that is refused only because it is written wrongly
//! counts as got through.

#![expect(clippy::disallowed_methods, reason = "tests start programs as people do")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;
use toolgate::domain::{ErrorCode, Millis};
use toolgate::sandbox::LimitHit;
use toolgate::sandbox::process::{JobOutcome, ProcessSandbox};

use crate::support::native::{As, is_possible, is_root, job, launcher, probe, run, sandbox};
use crate::support::{files, root};

/// Probes without arguments that need preparation, with the threats they stand for.
const PROBES: &[(&str, &[&str])] = &[
    ("calls", &[]),
    ("namespaces", &[]),
    ("identity", &[]),
    ("files_write", &["/root", "/home", "/var/lib"]),
    ("files_read", &["/etc/shadow", "/root", "/var/log"]),
    ("links", &["/out", "/etc/shadow"]),
    (
        "arguments",
        &["LD_PRELOAD=/work/evil.so", "PYTHONSTARTUP=/work/evil.py", "BASH_ENV=/work/evil.sh", "-p", "evil", "--config", "/work/evil.toml"],
    ),
];

/// Probes with a test of their own.
const OTHERS: &[&str] = &["environment", "sockets", "processes", "kill_all", "survivor", "forks", "memory", "disk", "flood", "tools"];

/// Whose launchers are tried: an ordinary user's as well, where the tests can become one.
fn sandboxes() -> Vec<(As, ProcessSandbox)> {
    let all: &[As] = if is_root() { &[As::Self_, As::Nobody] } else { &[As::Self_] };
    all.iter().map(|whose| (*whose, sandbox(launcher(*whose)))).collect()
}

/// What a probe said.
fn said(outcome: &JobOutcome) -> Value {
    let text = outcome.stdout.text();
    let line = text.lines().find(|line| line.starts_with("{\"probe\"")).unwrap_or_else(|| panic!("no answer: {outcome:?}"));
    serde_json::from_str(line).unwrap()
}

/// Nothing got through, and what must work did.
fn assert_held(whose: As, name: &str, outcome: &JobOutcome) {
    let said = said(outcome);
    let of = |list: &str, field: &str, wanted: bool| -> Vec<String> {
        let all = said[list].as_array().unwrap_or_else(|| panic!("{said}"));
        let some = all.iter().filter(|one| one[field] == wanted);
        some.map(|one| format!("{}: {}", one["what"].as_str().unwrap(), one["detail"])).collect()
    };
    let (through, broken) = (of("attempts", "got_through", true), of("allowed", "worked", false));
    assert!(through.is_empty(), "{name} as {whose:?}: got through: {through:#?}");
    assert!(broken.is_empty(), "{name} as {whose:?}: does not work: {broken:#?}");
    assert!(!said["attempts"].as_array().unwrap().is_empty(), "{name} tried nothing");
}

#[test]
fn every_probe_is_used() {
    let there: BTreeSet<String> = files(&root().join("tests/process/probes"))
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with('_'))
        .collect();
    let used: BTreeSet<String> = PROBES.iter().map(|(name, _)| *name).chain(OTHERS.iter().copied()).map(str::to_owned).collect();
    assert_eq!(there, used);
}

#[test]
fn the_probes_bite_outside() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["files_write", "sockets", "calls", "links"] {
        let place = folder.path().to_str().unwrap();
        let arguments: &[&str] = match name {
            "sockets" => &["1", "/nowhere", "nowhere"],
            "links" | "files_write" => &[place],
            _ => &[],
        };
        // In namespaces of its own, so that a probe which holds on to other processes finds none.
        let program = root().join(format!("tests/process/probes/{name}.py"));
        let ran = Command::new("unshare")
            .args(["--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3", "-B"])
            .arg(program)
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        let line = text.lines().find(|line| line.starts_with("{\"probe\"")).unwrap_or_else(|| panic!("{name}: {ran:?}"));
        let said: Value = serde_json::from_str(line).unwrap();
        let through = said["attempts"].as_array().unwrap().iter().filter(|one| one["got_through"] == true).count();
        assert!(through > 0, "{name} does not bite where nothing holds it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_power_is_left() {
    if !is_possible() {
        return;
    }
    for (whose, sandbox) in sandboxes() {
        for (name, arguments) in PROBES {
            let outcome = run(&sandbox, probe(name, arguments)).await.unwrap_or_else(|fault| panic!("{name} as {whose:?}: {fault:?}"));
            assert_held(whose, name, &outcome);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_pipes_left_behind_lead_nowhere() {
    if !is_possible() {
        return;
    }
    for (whose, sandbox) in sandboxes() {
        let outcome = run(&sandbox, probe("links", &["/out", "/etc/shadow"])).await.unwrap_or_else(|fault| panic!("{whose:?}: {fault:?}"));
        let shadow = std::fs::read("/etc/shadow").unwrap_or_default();
        for file in &outcome.files {
            assert!(shadow.is_empty() || file.bytes != shadow, "{} holds a file of the host", file.path);
        }
        assert!(
            outcome.files.iter().any(|file| file.path.ends_with("plain")),
            "{:?}",
            outcome.files.iter().map(|f| &f.path).collect::<Vec<_>>()
        );
        let said = said(&outcome);
        let left = said["left"].as_object().map_or_else(|| said["left"].as_array().map_or(0, Vec::len), serde_json::Map::len);
        assert!(left > 20 && outcome.files.len() < left, "{whose:?}: {left} left, {} taken", outcome.files.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_server_are_nowhere() {
    if !is_possible() {
        return;
    }
    // In the server's own memory, in an open descriptor without close-on-exec, and in a file that is open.
    let secret = format!("canary-of-toolgate-{}", "q7".repeat(12));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(secret.as_bytes()).unwrap();
    let flags = rustix::io::fcntl_getfd(&file).unwrap();
    rustix::io::fcntl_setfd(&file, flags - rustix::io::FdFlags::CLOEXEC).unwrap();
    let digest: String = sha2::Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let length = secret.len().to_string();
    for (whose, sandbox) in sandboxes() {
        let job = probe("environment", &[&digest, &length, "/etc", "/work", "/out", "/tmp", "/dev/shm", "/run"]);
        assert_held(whose, "environment", &run(&sandbox, job).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_socket_leads_out() {
    if !is_possible() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _by_path = UnixListener::bind(&path).unwrap();
    let name = format!("toolgate-test-{port}");
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for (whose, sandbox) in sandboxes() {
        let outcome = run(&sandbox, probe("sockets", &[&port.to_string(), path.to_str().unwrap(), &name])).await.unwrap();
        assert_held(whose, "sockets", &outcome);
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody came through");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_of_the_host_is_reached() {
    if !is_possible() {
        return;
    }
    let mut sentinel = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    let number = sentinel.id().to_string();
    for (whose, sandbox) in sandboxes() {
        assert_held(whose, "processes", &run(&sandbox, probe("processes", &[&number])).await.unwrap());
        for way in ["all", "all often", "init", "group"] {
            assert_held(whose, "kill_all", &run(&sandbox, probe("kill_all", &[way, &number])).await.unwrap());
        }
    }
    assert!(sentinel.try_wait().unwrap().is_none(), "the host's process was ended");
    sentinel.kill().unwrap();
    sentinel.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_show_nothing_whatever_their_arguments() {
    if !is_possible() {
        return;
    }
    let file = root().join("Cargo.toml");
    for (whose, sandbox) in sandboxes() {
        let outcome = run(&sandbox, probe("tools", &[file.to_str().unwrap(), "toolgate-python-runtime"])).await.unwrap();
        assert_held(whose, "tools", &outcome);
    }
}

/// Processes of the host whose arguments hold this word.
fn with_mark(mark: &str) -> Vec<String> {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let lines = numbers.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(mark)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_its_job() {
    if !is_possible() {
        return;
    }
    for (whose, sandbox) in sandboxes() {
        for (n, end) in ["exit", "timeout", "cancel"].into_iter().enumerate() {
            let mark = format!("survivor-{}-{n}-{whose:?}", std::process::id());
            let stay: &[&str] = if end == "exit" { &[] } else { &["stay"] };
            let mut job = probe("survivor", &[&["/out", &mark, "60"], stay].concat());
            if end == "timeout" {
                job.limits.wall = Millis(5_000);
            }
            let cancel = CancellationToken::new();
            let running = sandbox.run_job(job, cancel.clone(), std::sync::Arc::new(toolgate::call::NoProgress));
            let seen = async {
                // The most at any one look: the job may end between two.
                let (begun, mut alive) = (Instant::now(), 0);
                while alive < 4 && begun.elapsed() < Duration::from_secs(20) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    alive = alive.max(with_mark(&mark).len());
                }
                if end == "cancel" {
                    cancel.cancel();
                }
                alive
            };
            let (outcome, alive) = tokio::join!(running, seen);
            match end {
                "cancel" => assert_eq!(outcome.unwrap_err().code, ErrorCode::Cancelled),
                "timeout" => assert_eq!(outcome.unwrap().limit, Some(LimitHit::Time)),
                _ => assert_eq!(outcome.unwrap().return_code, 0),
            }
            assert!(end == "exit" || alive > 3, "only {alive} processes were seen: the probe does nothing");
            // The answer comes only when nothing is left, so there is nothing to wait for.
            assert_eq!(with_mark(&mark), Vec::<String>::new(), "{end} as {whose:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_hit_their_limits() {
    if !is_possible() {
        return;
    }
    for (whose, sandbox) in sandboxes() {
        for way in ["row", "tree", "threads", "race"] {
            assert_held(whose, "forks", &run(&sandbox, probe("forks", &[way, "400"])).await.unwrap());
        }
        let ways = [
            "heap",
            "anonymous",
            "shared",
            "locked",
            "memfd",
            "memfds",
            "shm",
            "tmp",
            "work",
            "shm files",
            "system v",
            "pipes",
            "sockets",
            "tables",
            "secret",
            "many",
        ];
        for way in ways {
            let outcome = run(&sandbox, probe("memory", &[way, "1500", "10"])).await.unwrap();
            if outcome.limit == Some(LimitHit::Memory) {
                assert_eq!(outcome.return_code, 137, "{whose:?} {way}");
            } else {
                assert_held(whose, way, &outcome);
            }
        }
        for way in ["file", "many files", "removed", "sparse", "truncate", "fallocate", "mapped"] {
            assert_held(whose, way, &run(&sandbox, probe("disk", &[way, "/out", "10240"])).await.unwrap());
        }
        for way in ["files", "folders", "links"] {
            assert_held(whose, way, &run(&sandbox, probe("disk", &[way, "/tmp", "200000"])).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_and_told() {
    if !is_possible() {
        return;
    }
    for (whose, sandbox) in sandboxes() {
        for way in ["line", "lines", "errors", "zeros", "broken", "both"] {
            let outcome = run(&sandbox, probe("flood", &[way, "200"])).await.unwrap();
            assert_eq!((outcome.return_code, outcome.limit), (0, Some(LimitHit::Output)), "{whose:?} {way}");
            let (out, err) = (&outcome.stdout, &outcome.stderr);
            assert!(out.total + err.total >= 200 << 20, "{whose:?} {way}: {} {}", out.total, err.total);
            assert!(out.bytes.len() <= (512 << 10) + 100 && err.bytes.len() <= (256 << 10) + 100, "{whose:?} {way}");
            assert!(out.truncated || err.truncated, "{whose:?} {way}");
            assert!(out.whole.is_none() || out.total <= 8 << 20, "{whose:?} {way}");
        }
        let mut endless = probe("flood", &["line", "0"]);
        endless.limits.wall = Millis(1_500);
        assert_eq!(run(&sandbox, endless).await.unwrap().limit, Some(LimitHit::Time), "{whose:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_said() {
    if !is_possible() {
        return;
    }
    let mut missing = job(&[]);
    missing.argv = vec!["no-such-program".into()];
    let fault = run(&sandbox(launcher(As::Self_)), missing).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::ProgramNotFound);
    assert!(fault.message.contains("no-such-program"), "{fault:?}");
}
