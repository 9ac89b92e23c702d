//! The process sandbox without one of its layers, and with a launcher that dies at each of its stages.

#![expect(clippy::disallowed_methods, reason = "tests start programs as people do")]

use std::path::PathBuf;

use toolgate::domain::ErrorCode;
use toolgate::sandbox::process::{Launcher, Stage};

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

/// Whose launchers are tried.
fn all() -> &'static [As] {
    if is_root() { &[As::Self_, As::Nobody] } else { &[As::Self_] }
}

/// The launcher of the real binary from which a system call was taken, and then, for the ordinary user, every right.
fn without(number: &str, whose: As) -> Launcher {
    let becomes = launcher(whose);
    let denying = wrapped("deny.py", &[number], becomes.program);
    Launcher { first: denying.first.into_iter().chain(becomes.first).collect(), ..denying }
}

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_toolgate").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_layer_nothing_runs() {
    if !is_possible() {
        return;
    }
    let launchers = all().iter().flat_map(|whose| CALLS.iter().map(move |call| (*whose, call)));
    for (whose, (call, number, layer)) in launchers {
        let sandbox = sandbox(without(number, whose));
        let fault = run(&sandbox, job(&["-c", "print('ran')"])).await.expect_err(&format!("{whose:?} {call}"));
        assert_eq!(fault.code, ErrorCode::SandboxUnavailable, "{whose:?} {call}: {fault:?}");
        let details = fault.details.clone().unwrap_or_default();
        assert_eq!(details["layer"], *layer, "{whose:?} {call}: {fault:?}");
        assert!(details["kernel"].as_str().unwrap().starts_with("Linux "), "{fault:?}");
        assert!(fault.hint.is_some(), "{whose:?} {call}");
        assert!(sandbox.readiness().unwrap().is_err(), "{whose:?} {call}");
    }
    // The wrapper itself takes nothing that is needed.
    for whose in all() {
        let whole = sandbox(without("9999", *whose));
        assert_eq!(run(&whole, job(&["-c", "print('ran')"])).await.unwrap().stdout.text(), "ran\n", "{whose:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_layer_is_named_and_an_ordinary_user_has_them_all() {
    if !is_possible() {
        return;
    }
    for whose in all() {
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
    let delegated = delegated();
    for (whose, stage) in all().iter().flat_map(|whose| Stage::ALL.into_iter().map(move |stage| (*whose, stage))) {
        let launcher = match whose {
            As::Self_ => Launcher { program: copy.clone(), first: Vec::new() },
            As::Nobody => wrapped("as_nobody.py", &[], copy.clone()),
        };
        let sandbox = dying(launcher, stage, delegated.as_ref().map(|group| group.0.clone()));
        let fault = run(&sandbox, job(&["-c", "print('ran')"])).await.expect_err(&format!("{whose:?} {stage:?}"));
        assert_eq!(fault.code, ErrorCode::SandboxUnavailable, "{whose:?} {stage:?}: {fault:?}");
        // The end of the socket is the proof that nothing is left but perhaps the first process itself, on its way to being reaped.
        let mut left = running(&copy);
        for _ in 0..100 {
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            left = running(&copy);
        }
        assert!(left.is_empty(), "{whose:?} {stage:?}: {left:?}");
        drop(sandbox);
        let groups = || delegated.as_ref().map_or_else(Vec::new, Delegated::groups);
        for _ in 0..100 {
            if groups().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(groups().is_empty(), "{whose:?} {stage:?}: {:?}", groups());
    }
    assert_eq!(mounts(), before);
    assert_eq!(on_the_host(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_launcher_that_dies_is_replaced() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = folder.path().join("launcher-that-waits");
    std::fs::copy(binary(), &copy).unwrap();
    let sandbox = sandbox(Launcher { program: copy.clone(), first: Vec::new() });
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

/// Entries of the new root, which is built over the host's /tmp, that stand on the host itself.
fn on_the_host() -> Vec<PathBuf> {
    let names = ["work", "out", "shm", "toolgate", "mnt", "usr", "bin", "lib", "lib64", "etc", "dev", "proc", "run", "env", "tmp"];
    names.iter().map(|name| PathBuf::from("/tmp").join(name)).filter(|path| path.symlink_metadata().is_ok()).collect()
}

/// A control group that is delegated to a test; removed with this value.
struct Delegated(PathBuf);

impl Delegated {
    /// Groups of jobs that are left in it.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap().filter_map(Result::ok).map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// A delegated control group, where the machine has such and lets us make one.
fn delegated() -> Option<Delegated> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let hierarchy = PathBuf::from("/sys/fs/cgroup/memory");
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = hierarchy.join(format!("toolgate-test-of-{}-{number}", std::process::id()));
    let is_there = hierarchy.join("memory.limit_in_bytes").exists() && std::fs::create_dir(&folder).is_ok();
    is_there.then(|| Delegated(folder))
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
    let code = "import time\nprint('begun', flush=True)\ntime.sleep(100)";
    let mut server = std::process::Command::new(binary())
        .env("TOOLGATE_HOME", home.path())
        .args(["tools", "call", "python.run"])
        .arg(serde_json::json!({ "code": code, "args": [mark], "runtime": "process" }).to_string())
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
    if !is_possible() {
        return;
    }
    let Some(group) = delegated() else { return };
    let outcome = run(&with_cgroup(group.0.clone(), true), job(&["-c", "pass"])).await;
    let (left, folder) = (group.groups().len(), group.0.clone());
    drop(group);
    let outcome = outcome.unwrap();
    assert!(outcome.layers.iter().any(|layer| layer == "memory-cgroup"), "{:?}", outcome.layers);
    assert!(left <= 1 && !folder.exists(), "{left} groups were left");
}
