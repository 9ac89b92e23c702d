//! Environments from a folder of wheels made here: no index, no network.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::lab::{House, Lab, confined, house, roots, run_in, step, usable, uv_folder};
use crate::domain::{ErrorCode, Millis};
use crate::packages::environment::BuildJob;
use crate::packages::tests::making::{files, wheel};
use crate::packages::{InstallerOptions, Requirement};

/// A folder with wheels: `pkg` with a program and something that hangs into Python's start, and `other` that needs it.
pub(super) fn wheels(folder: &Path) {
    let mut pkg = files("pkg", "1.0");
    pkg.insert("pkg/__init__.py".into(), b"def main():\n    print('pkg runs')\n".to_vec());
    pkg.insert("pkg-1.0.dist-info/entry_points.txt".into(), b"[console_scripts]\npkg-run = pkg:main\n".to_vec());
    pkg.insert("pkg_hook.pth".into(), b"import os; open('/tmp/hook', 'w'); open('/env/hook', 'w')\n".to_vec());
    fs::write(folder.join("pkg-1.0-py3-none-any.whl"), wheel("pkg-1.0.dist-info", pkg)).unwrap();
    let mut other = files("other", "2.0");
    other.insert("other-2.0.dist-info/METADATA".into(), b"Metadata-Version: 2.1\nName: other\nVersion: 2.0\nRequires-Dist: pkg\n".to_vec());
    fs::write(folder.join("other-2.0-py3-none-any.whl"), wheel("other-2.0.dist-info", other)).unwrap();
}

pub(super) fn installer(links: &Path, uv: bool) -> InstallerOptions {
    let environment = [("PIP_NO_INDEX", "1"), ("UV_NO_INDEX", "1"), ("UV_NO_CONFIG", "1"), ("PIP_CONFIG_FILE", "/dev/null")];
    let mut environment: Vec<_> = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    environment.extend(["PIP_FIND_LINKS", "UV_FIND_LINKS"].map(|name| (name.into(), links.into())));
    InstallerOptions { path: uv.then(uv_folder).flatten().map(Into::into).unwrap_or_default(), environment }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.links()).unwrap();
        wheels(&place.links());
        usable().then_some(place)
    }

    fn links(&self) -> PathBuf {
        self.folder.path().join("links")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn house(&self, uv: bool, lab: Lab) -> House {
        house(&self.cache(), installer(&self.links(), uv), lab)
    }

    fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.cache().join(folder)).map_or(0, Iterator::count)
    }
}

fn ways() -> Vec<bool> {
    if uv_folder().is_some() { vec![false, true] } else { vec![false] }
}

#[tokio::test]
async fn it_is_made_once_and_found_again() {
    let mut locks = Vec::new();
    for uv in ways() {
        let Some(place) = Place::new() else { return };
        let house = place.house(uv, Lab::default());
        let wanted = roots(&["other==2.0"]);
        assert_eq!(house.environments.cached(&wanted), None);
        let notes = Mutex::new(Vec::new());
        let note = |text: &str| notes.lock().unwrap().push(text.to_owned());
        let made = house.environments.get(&wanted, &CancellationToken::new(), &note).await.unwrap();
        let notes = notes.into_inner().unwrap();
        assert!(notes.contains(&format!("resolving packages with {}", if uv { "uv" } else { "pip" })), "{notes:?}");
        assert_eq!(house.lab.steps(), ["survey", "resolve", "make"]);
        assert!(house.lab.jobs.lock().unwrap().iter().all(|job| job.hosts.is_empty() && job.linked.is_empty()));

        assert_eq!(made.bin, ["pkg-run"]);
        let told = run_in(&made, &["/env/bin/pkg-run"]);
        assert_eq!(told.stdout, "pkg runs\n", "{told:?}");
        let script = fs::read_to_string(made.folder.join("bin/pkg-run")).unwrap();
        assert!(script.starts_with("#!/env/bin/python"), "{script}");
        assert_eq!(fs::metadata(place.cache()).unwrap().mode() & 0o777, 0o700);
        let site = fs::read_dir(made.folder.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
        assert!(site.join("other/__pycache__").is_dir() && site.join("pkg/__init__.py").is_file());

        // Found again, by this process and by another one, and for pins that lead to the same.
        assert_eq!(house.environments.cached(&wanted), Some(made.digest));
        let again = house.get(&["other==2.0"]).await.unwrap();
        assert_eq!((&again.folder, &again.lock, &again.bin, house.lab.steps().len()), (&made.folder, &made.lock, &made.bin, 3));
        let later = place.house(uv, Lab::default());
        assert_eq!(later.get(&["other==2.0"]).await.unwrap().folder, made.folder);
        assert!(later.lab.steps().is_empty());
        assert_eq!((place.count("whole"), place.count("building")), (1, 0));
        locks.push(made.lock.clone());
    }
    locks.dedup();
    assert_eq!(locks.len(), 1, "both ways lock the same: {locks:#?}");
    assert!(locks[0].contains("other==2.0 other-2.0-py3-none-any.whl sha256:") && locks[0].contains(" root\n"), "{}", locks[0]);
}

#[tokio::test]
async fn an_environment_without_packages_needs_no_installer() {
    let Some(place) = Place::new() else { return };
    let house = place.house(false, Lab::default());
    let made = house.environments.get(&[], &CancellationToken::new(), &|_| {}).await.unwrap();
    assert!(made.lock.lines().count() == 1 && made.bin.is_empty());
    assert_eq!(house.lab.steps(), ["survey", "make"]);
    assert_eq!(run_in(&made, &["/env/bin/python3", "-c", "import sys; print(sys.prefix)"]).stdout, "/env\n");
    assert_eq!(house.environments.cached(&[]), Some(made.digest));
}

/// A job of our own in the same box, to show what happens without our care.
fn naive(code: &str, folder: &Path, links: &Path) -> String {
    let job = BuildJob {
        argv: vec![super::lab::python().exe.into(), "-I".into(), "-c".into(), code.into()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        writable: Some((folder.to_owned(), "/env")),
        read_only: vec![(links.to_owned(), "/wheels".into())],
        files: Vec::new(),
        hosts: Vec::new(),
        linked: Vec::new(),
        wall: Millis(60_000),
        disk: crate::domain::Bytes(1 << 30),
        memory: crate::domain::Bytes(1 << 30),
    };
    let done = confined(job, &Arc::default(), &Arc::default()).unwrap();
    format!("{}{}", done.stdout, done.stderr)
}

const PLAIN: &str = "import subprocess, sys\n\
    def run(*command): subprocess.run(command, check=True)\n\
    run(sys.executable, '-m', 'venv', '/env')\n\
    run('/env/bin/python', '-m', 'pip', 'install', '-q', '--no-index', '--find-links', '/wheels', '--no-compile', 'pkg')\n";

#[tokio::test]
async fn no_package_runs_while_it_is_installed() {
    let Some(place) = Place::new() else { return };
    // Compiling with the environment's own Python runs what packages hang into its start.
    let bitten = place.folder.path().join("bitten");
    fs::create_dir(&bitten).unwrap();
    let told = naive(&format!("{PLAIN}run('/env/bin/python', '-m', 'compileall', '-q', '/env/lib')"), &bitten, &place.links());
    assert!(bitten.join("hook").exists(), "{told}");
    for uv in ways() {
        let house = house(&place.folder.path().join(format!("cache-{uv}")), installer(&place.links(), uv), Lab::default());
        let made = house.get(&["pkg==1.0"]).await.unwrap();
        assert!(!made.folder.join("hook").exists(), "uv: {uv}");
        let told = run_in(&made, &["/env/bin/python", "-c", "import os; print(os.path.exists('/tmp/hook'))"]);
        assert!(told.stderr.contains("/env/hook"), "it would have run, and may in a job: {told:?}");
    }
}

#[tokio::test]
async fn a_wheel_that_was_changed_after_it_was_locked_is_refused() {
    let Some(place) = Place::new() else { return };
    let mut evil = files("pkg", "1.0");
    evil.insert("pkg/__init__.py".into(), b"EVIL = 1\n".to_vec());
    let evil = wheel("pkg-1.0.dist-info", evil);
    let (file, links) = ("pkg-1.0-py3-none-any.whl", place.links());
    for uv in ways() {
        let bytes = evil.clone();
        let original = links.join(file);
        let meddle = move |job: &BuildJob| {
            if step(job) == "make" {
                let fetched = job.read_only.iter().find(|(_, to)| to == Path::new("/wheels")).map(|(from, _)| from.join(file));
                fs::write(fetched.as_ref().unwrap_or(&original), &bytes).unwrap();
            }
        };
        let house = place.house(uv, Lab { meddle: Some(Box::new(meddle)), ..Lab::default() });
        let fault = house.get(&["pkg==1.0"]).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::RequirementRefused, "{fault:?}");
        assert!(fault.message.contains("hash"), "{fault:?}");
        assert_eq!((place.count("whole"), place.count("building")), (0, 0));
    }
    // Without hashes nobody notices.
    fs::write(links.join(file), &evil).unwrap();
    let bitten = place.folder.path().join("bitten");
    fs::create_dir(&bitten).unwrap();
    let told = naive(&format!("{PLAIN}run('/env/bin/python', '-c', 'import pkg; print(pkg.EVIL)')"), &bitten, &links);
    assert!(told.starts_with("1\n"), "{told}");
}

#[tokio::test]
async fn callers_at_the_same_time_make_it_once() {
    let Some(place) = Place::new() else { return };
    let (one, two) = (place.house(false, Lab::default()), place.house(false, Lab::default()));
    // Two callers of one process, one of another, and one whose other pins lead to the same lock.
    let (a, b, c) = tokio::join!(one.get(&["other==2.0"]), one.get(&["other==2.0"]), two.get(&["other==2.0"]));
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(Arc::ptr_eq(&a, &b) && a.folder == c.folder);
    let mut steps = one.lab.steps();
    steps.extend(two.lab.steps());
    assert_eq!(steps.iter().filter(|step| *step == "make").count(), 1, "{steps:?}");
    assert_eq!(steps.iter().filter(|step| *step == "resolve").count(), 1, "{steps:?}");

    let (fresh, also) = (place.house(false, Lab::default()), roots(&["pkg==1.0"]));
    let cancel = CancellationToken::new();
    let (x, y) = tokio::join!(fresh.get(&["pkg==1.0"]), two.environments.get(&also, &cancel, &|_| {}));
    assert_eq!(x.unwrap().folder, y.unwrap().folder);
    assert_eq!((place.count("whole"), place.count("building")), (2, 0));
}

/// Waits until a step is under way.
async fn until(house: &House, wanted: &str) {
    while !(house.lab.steps().iter().any(|step| step == wanted) && house.lab.running.load(Ordering::SeqCst) > 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_work_to_the_others_and_the_last_one_ends_it() {
    let Some(place) = Place::new() else { return };
    let house = place.house(false, Lab::default());
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let wanted: Vec<Requirement> = roots(&["pkg==1.0"]);
    let (a, b, ()) =
        tokio::join!(house.environments.get(&wanted, &first, &|_| {}), house.environments.get(&wanted, &second, &|_| {}), async {
            until(&house, "make").await;
            first.cancel();
        });
    assert_eq!(a.unwrap_err().code, ErrorCode::Cancelled);
    b.unwrap();
    assert_eq!(house.lab.steps(), ["survey", "resolve", "make"], "nothing was begun again");

    for drop_it in [false, true] {
        fs::remove_dir_all(place.cache()).unwrap();
        let house = place.house(false, Lab::default());
        let cancel = CancellationToken::new();
        let mut call = Box::pin(house.environments.get(&wanted, &cancel, &|_| {}));
        tokio::select! {
            outcome = &mut call => panic!("it ended: {outcome:?}"),
            () = until(&house, "make") => {}
        }
        if drop_it {
            drop(call);
        } else {
            cancel.cancel();
            assert_eq!(call.await.unwrap_err().code, ErrorCode::Cancelled);
        }
        while house.lab.running.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(place.count("whole"), 0);
        assert_eq!(house.environments.cached(&wanted), None);
        // The next one makes it whole.
        let made = house.get(&["pkg==1.0"]).await.unwrap();
        assert_eq!(run_in(&made, &["/env/bin/pkg-run"]).stdout, "pkg runs\n");
        assert_eq!(place.count("building"), 0);
    }
}

#[tokio::test]
async fn a_damaged_environment_is_made_anew() {
    let Some(place) = Place::new() else { return };
    let made = place.house(false, Lab::default()).get(&["pkg==1.0"]).await.unwrap();
    let marker = made.folder.with_file_name("marker");
    drop(made);
    // `shelf` has the other ways to be damaged.
    fs::write(&marker, "damaged").unwrap();
    let house = place.house(false, Lab::default());
    assert_eq!(house.environments.cached(&roots(&["pkg==1.0"])), None);
    let made = house.get(&["pkg==1.0"]).await.unwrap();
    assert_eq!(house.lab.steps(), ["survey", "resolve", "make"]);
    assert_eq!(run_in(&made, &["/env/bin/pkg-run"]).stdout, "pkg runs\n");
    assert_eq!((place.count("whole"), place.count("building")), (1, 0));
}

#[tokio::test]
async fn a_day_later_it_is_looked_up_anew_and_the_old_one_serves_where_that_fails() {
    let Some(place) = Place::new() else { return };
    let house = place.house(false, Lab::default());
    let made = house.get(&["pkg==1.0"]).await.unwrap();
    house.clock.0.store(25 * 3600 * 1000, Ordering::SeqCst);
    assert_eq!(house.environments.cached(&roots(&["pkg==1.0"])), None);
    house.get(&["pkg==1.0"]).await.unwrap();
    assert_eq!(house.lab.steps(), ["survey", "resolve", "make", "survey", "resolve"], "the same lock is not built again");
    house.clock.0.store(50 * 3600 * 1000, Ordering::SeqCst);
    fs::rename(place.links(), place.folder.path().join("gone")).unwrap();
    assert_eq!(house.get(&["pkg==1.0"]).await.unwrap().folder, made.folder);
    let fault = house.get(&["other==2.0"]).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::RequirementsUnresolved, "{fault:?}");
}

#[tokio::test]
async fn what_a_box_tells_of_limits_and_failures_is_handed_on() {
    let Some(place) = Place::new() else { return };
    for (limit, code) in [("time", ErrorCode::Timeout), ("disk", ErrorCode::LimitExceeded), ("memory", ErrorCode::LimitExceeded)] {
        let limited = place.house(false, Lab { limit: Some(limit), ..Lab::default() });
        let fault = limited.get(&["pkg==1.0"]).await.unwrap_err();
        assert!(fault.code == code && fault.hint.is_some(), "{fault:?}");
    }
    // A Python without venv and pip, and no uv.
    let meddle = |job: &BuildJob| assert_eq!(step(job), "survey");
    let bare = place.house(false, Lab { bare: true, meddle: Some(Box::new(meddle)), ..Lab::default() });
    let fault = bare.get(&["pkg==1.0"]).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::InstallerUnavailable);
    assert!(fault.hint.unwrap().contains("python3-venv"));
    // A configuration that pip cannot read; what stands in it is not told.
    let config = place.folder.path().join("pip.conf");
    fs::write(&config, "index-url = hush-hush\n").unwrap();
    let mut broken = installer(&place.links(), false);
    broken.environment.retain(|(name, _)| name != "PIP_CONFIG_FILE");
    broken.environment.push(("PIP_CONFIG_FILE".into(), config.into()));
    let fault = house(&place.cache(), broken, Lab::default()).get(&["pkg==1.0"]).await.unwrap_err();
    assert!(fault.code == ErrorCode::InstallerUnavailable && fault.message.contains("set up"), "{fault:?}");
    assert!(!format!("{fault:?}").contains("hush"), "{fault:?}");
}
