//! The process sandbox without one of its layers, and with a launcher that dies at each of its stages.

#![expect(clippy::disallowed_methods, reason = "tests start programs as people do")]

use std::path::PathBuf;

use toolgate::domain::ErrorCode;
use toolgate::sandbox::process::Stage;

use crate::support::native::{As, dying, is_possible, is_root, job, launcher, run, sandbox, with_cgroup, wrapped};

/// System calls that a kernel might not have, with the layer that is then named. Numbers from 424 on are the same on every machine.
#[cfg(target_arch = "x86_64")]
const CALLS: &[(&str, &str, &str)] = &[
    ("landlock_create_ruleset", "444", "landlock"),
    ("landlock_restrict_self", "446", "landlock"),
    ("seccomp", "317", "seccomp"),
    ("unshare", "272", "namespaces"),
    ("open_tree", "428", "mounts"),
    ("mount_setattr", "442", "mounts"),
    ("openat2", "437", "mounts"),
    ("move_mount", "429", "root"),
    ("fsopen", "430", "root"),
    ("pivot_root", "155", "root"),
    ("capset", "126", "capabilities"),
    ("prlimit64", "302", "rlimits"),
    ("close_range", "436", "descriptors"),
    ("umount2", "166", "root"),
    ("sethostname", "170", "namespaces"),
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[(&str, &str, &str)] = &[("landlock_create_ruleset", "444", "landlock"), ("mount_setattr", "442", "mounts")];

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_toolgate").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_layer_nothing_runs() {
    if !is_possible() {
        return;
    }
    for (call, number, layer) in CALLS {
        let sandbox = sandbox(wrapped("deny.py", &[number], binary()));
        let fault = run(&sandbox, job(&["-c", "print('ran')"])).await.expect_err(call);
        assert_eq!(fault.code, ErrorCode::SandboxUnavailable, "{call}: {fault:?}");
        let details = fault.details.clone().unwrap_or_default();
        assert_eq!(details["layer"], *layer, "{call}: {fault:?}");
        assert!(details["kernel"].as_str().unwrap().starts_with("Linux "), "{fault:?}");
        assert!(fault.hint.is_some(), "{call}");
        assert!(sandbox.readiness().unwrap().is_err(), "{call}");
    }
    // The wrapper itself takes nothing that is needed.
    let whole = sandbox(wrapped("deny.py", &["9999"], binary()));
    assert_eq!(run(&whole, job(&["-c", "print('ran')"])).await.unwrap().stdout.text(), "ran\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_layer_is_named_and_an_ordinary_user_has_them_all() {
    if !is_possible() {
        return;
    }
    let all: &[As] = if is_root() { &[As::Self_, As::Nobody] } else { &[As::Self_] };
    for whose in all {
        let sandbox = sandbox(launcher(*whose));
        let outcome = run(&sandbox, job(&["-c", "pass"])).await.unwrap_or_else(|fault| panic!("{whose:?}: {fault:?}"));
        for layer in [
            "user-namespace",
            "mount-namespace",
            "pid-namespace",
            "net-namespace",
            "ipc-namespace",
            "uts-namespace",
            "cgroup-namespace",
            "read-only-root",
            "no-new-privileges",
            "no-capabilities",
            "seccomp",
            "rlimits",
            "memory-watch",
        ] {
            assert!(outcome.layers.iter().any(|known| known == layer), "{whose:?}: {layer} is not in {:?}", outcome.layers);
        }
        assert!(outcome.layers.iter().any(|layer| layer.starts_with("landlock-")), "{:?}", outcome.layers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_dies_leaves_nothing() {
    if !is_possible() {
        return;
    }
    // A name of its own, so that its processes are told from those of other tests.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = folder.path().join("launcher-of-its-own");
    std::fs::copy(binary(), &copy).unwrap();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    let before_in_tmp = in_tmp();
    for stage in Stage::ALL {
        let sandbox = dying(toolgate::sandbox::process::Launcher { program: copy.clone(), first: Vec::new() }, stage);
        let fault = run(&sandbox, job(&["-c", "print('ran')"])).await.expect_err(&format!("{stage:?}"));
        assert_eq!(fault.code, ErrorCode::SandboxUnavailable, "{stage:?}: {fault:?}");
        // The end of the socket is the proof that nothing is left but perhaps the first process itself, on its way to being reaped.
        let mut left = running(&copy);
        for _ in 0..100 {
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            left = running(&copy);
        }
        assert!(left.is_empty(), "{stage:?}: {left:?}");
    }
    assert_eq!(mounts(), before);
    assert_eq!(in_tmp(), before_in_tmp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_launcher_that_dies_is_replaced() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = folder.path().join("launcher-that-waits");
    std::fs::copy(binary(), &copy).unwrap();
    let sandbox = sandbox(toolgate::sandbox::process::Launcher { program: copy.clone(), first: Vec::new() });
    for round in 0..3 {
        let outcome = run(&sandbox, job(&["-c", "print('ran')"])).await.unwrap_or_else(|fault| panic!("{round}: {fault:?}"));
        assert_eq!(outcome.stdout.text(), "ran\n");
        let mut waits = running(&copy);
        for _ in 0..200 {
            if waits.len() == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            waits = running(&copy);
        }
        assert_eq!(waits.len(), 1, "one waits for the next job: {waits:?}");
        let number = rustix::process::Pid::from_raw(waits[0].parse().unwrap()).unwrap();
        rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    }
    drop(sandbox);
    for _ in 0..200 {
        if running(&copy).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a launcher waits for nobody");
}

/// Entries of the folder where the new root is built, that are ours.
fn in_tmp() -> usize {
    std::fs::read_dir("/tmp")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().contains("toolgate-job"))
        .count()
}

fn running(program: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let of = entries.filter(|entry| std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program));
    of.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_takes_its_jobs_along() {
    if !is_possible() {
        return;
    }
    let mark = format!("orphan-{}", std::process::id());
    let home = tempfile::tempdir().unwrap();
    let code = format!("import time\nmark = '{mark}'\nprint('begun', flush=True)\ntime.sleep(100)");
    let mut server = std::process::Command::new(binary())
        .env("TOOLGATE_HOME", home.path())
        .args(["tools", "call", "python.run"])
        .arg(serde_json::json!({ "code": code, "runtime": "process" }).to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let seen = || {
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let of = entries.filter(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("run.py"))
        });
        of.filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark)))
            .count()
    };
    let begun = std::time::Instant::now();
    while seen() == 0 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the job never began");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let killed = std::time::Instant::now();
    while seen() > 0 {
        assert!(killed.elapsed() < std::time::Duration::from_secs(1), "the job lives on without its server");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_control_group_that_is_not_there_stops_everything() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fault = run(&with_cgroup(folder.path().join("none"), true), job(&["-c", "pass"])).await.unwrap_err();
    assert_eq!((fault.code, &fault.details.unwrap()["layer"]), (ErrorCode::SandboxUnavailable, &serde_json::json!("cgroup")));
    let outcome = run(&with_cgroup(folder.path().join("none"), false), job(&["-c", "pass"])).await.unwrap();
    assert!(outcome.layers.iter().any(|layer| layer == "memory-watch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_control_group_bounds_memory() {
    let hierarchy = PathBuf::from("/sys/fs/cgroup/memory");
    let folder = hierarchy.join(format!("toolgate-test-of-{}", std::process::id()));
    if !is_possible() || !hierarchy.join("memory.limit_in_bytes").exists() || std::fs::create_dir(&folder).is_err() {
        return;
    }
    let outcome = run(&with_cgroup(folder.clone(), true), job(&["-c", "pass"])).await;
    let left = std::fs::read_dir(&folder).unwrap().filter_map(Result::ok).filter(|entry| entry.path().is_dir()).count();
    for _ in 0..100 {
        if std::fs::remove_dir(&folder).is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let outcome = outcome.unwrap();
    assert!(outcome.layers.iter().any(|layer| layer == "memory-cgroup"), "{:?}", outcome.layers);
    assert!(left <= 1 && !folder.exists(), "{left} groups were left");
}
