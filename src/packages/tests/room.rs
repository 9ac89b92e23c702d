//! The room with a fake installer: a script that stands where `python3.14 -m pip` would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::making::{files, wheel};
use crate::domain::{Clock, ErrorCode, Fault, Timestamp};
use crate::packages::installer::InstallerOptions;
use crate::packages::{Compile, PackageSet, Packages, PackagesOptions, Requirement};

/// A compiler that puts one file beside each module.
#[derive(Default)]
pub(super) struct Stamp {
    runs: AtomicUsize,
}

#[async_trait]
impl Compile for Stamp {
    async fn compile(&self, files: &[(String, Arc<[u8]>)], _: &CancellationToken) -> Result<Vec<(String, Arc<[u8]>)>, Fault> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let modules = files.iter().filter_map(|(path, _)| path.strip_suffix(".py"));
        Ok(modules.map(|stem| (format!("{stem}.cpython-314.pyc"), Arc::from(&b"pyc"[..]))).collect())
    }
}

/// A clock that goes when it is told to.
#[derive(Default)]
pub(super) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

struct House {
    place: tempfile::TempDir,
    stamp: Arc<Stamp>,
    clock: Arc<TestClock>,
    packages: Packages,
}

/// What the script does with `download`; `$dest` is where to.
const GIVES: &str = r#"cp "$wheels"/*.whl "$dest""#;

fn house(download: &str) -> House {
    let place = tempfile::tempdir().unwrap();
    for folder in ["bin", "wheels"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    fs::write(place.path().join("wheels/pkg-1.0-py3-none-any.whl"), wheel("pkg-1.0.dist-info", files("pkg", "1.0"))).unwrap();
    script(&place, download);
    let (stamp, clock) = (Arc::new(Stamp::default()), Arc::new(TestClock::default()));
    let packages = open(place.path(), &stamp, &clock);
    House { place, stamp, clock, packages }
}

fn script(place: &tempfile::TempDir, download: &str) {
    let root = place.path().display();
    let text = format!(
        "#!/bin/sh\nwheels={root}/wheels\n\
         if [ \"$3\" = --version ]; then echo 'pip 25.0 from x'; exit 0; fi\n[ \"$3\" = download ] || exit 1\n\
         echo \"$@\" >> {root}/runs\nenv >> {root}/env\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n{download}\n"
    );
    let file = place.path().join("bin/python3.14");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn open(place: &Path, stamp: &Arc<Stamp>, clock: &Arc<TestClock>) -> Packages {
    let environment = [("HOME", "/nonexistent"), ("PIP_NO_BINARY", ":all:"), ("PIP_INDEX_URL", "kept")];
    let path = std::env::join_paths([place.join("bin"), "/bin".into(), "relative".into()]).unwrap();
    Packages::new(PackagesOptions {
        cache: place.join("cache"),
        installer: InstallerOptions { path, environment: environment.map(|(name, value)| (name.into(), value.into())).into() },
        compiler: Arc::clone(stamp) as Arc<dyn Compile>,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
    })
}

fn roots() -> Vec<Requirement> {
    Requirement::parse_all(&["pkg==1.0"]).unwrap()
}

impl House {
    async fn get(&self) -> Result<Arc<PackageSet>, Fault> {
        self.packages.get(&roots(), &CancellationToken::new(), &|_| {}).await
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.place.path().join("runs")).map_or(0, |text| text.lines().count())
    }
}

#[tokio::test]
async fn a_set_is_made_once_and_found_again_in_memory_and_on_disk() {
    let house = house(GIVES);
    assert_eq!(house.packages.cached(&roots()), None);
    assert!(house.packages.kept(&roots()).await.unwrap().is_none() && house.runs() == 0);
    let set = house.get().await.unwrap();
    let paths: Vec<&str> = set.files.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.contains(&"pkg/__init__.py") && paths.contains(&"pkg/__init__.cpython-314.pyc") && paths.is_sorted());
    assert_eq!(house.packages.cached(&roots()), Some(set.lock.digest()));
    assert!(Arc::ptr_eq(&set, &house.get().await.unwrap()));

    let other = open(house.place.path(), &house.stamp, &house.clock);
    fs::remove_file(house.place.path().join("bin/python3.14")).unwrap();
    assert_eq!(other.cached(&roots()), Some(set.lock.digest()));
    assert_eq!(other.kept(&roots()).await.unwrap().unwrap().lock, set.lock);
    let again = other.get(&roots(), &CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(again.files, set.files);
    assert_eq!((house.runs(), house.stamp.runs.load(Ordering::SeqCst)), (1, 1));
    assert!(other.get(&[], &CancellationToken::new(), &|_| {}).await.unwrap().files.is_empty());
    assert!(other.cached(&[]).is_some());
}

#[tokio::test]
async fn the_program_gets_only_what_it_is_given() {
    let house = house(GIVES);
    house.get().await.unwrap();
    let env = fs::read_to_string(house.place.path().join("env")).unwrap();
    assert!(env.contains("PIP_INDEX_URL=kept") && env.contains("PIP_NO_INPUT=1") && env.contains("HOME=/nonexistent"), "{env}");
    assert!(!env.contains("PIP_NO_BINARY") && !env.contains("CARGO"), "{env}");
    let runs = fs::read_to_string(house.place.path().join("runs")).unwrap();
    assert!(runs.contains("--only-binary=:all:") && runs.trim_end().ends_with("pkg==1.0"), "{runs}");
    assert_eq!(fs::read_dir(house.place.path().join("cache/jobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn calls_at_the_same_time_make_it_once() {
    let house = house(GIVES);
    let (a, b, c) = tokio::join!(house.get(), house.get(), house.get());
    assert!(Arc::ptr_eq(a.as_ref().unwrap(), b.as_ref().unwrap()) && Arc::ptr_eq(b.as_ref().unwrap(), c.as_ref().unwrap()));
    assert_eq!((house.runs(), house.stamp.runs.load(Ordering::SeqCst)), (1, 1));

    let failing = self::house("echo 'ERROR: ResolutionImpossible: nope' >&2; exit 1");
    let (a, b) = tokio::join!(failing.get(), failing.get());
    assert_eq!(a.unwrap_err(), b.unwrap_err(), "a failure is shared");
    assert_eq!(failing.runs(), 1);
    let fault = failing.get().await.unwrap_err();
    assert_eq!((fault.code, failing.runs()), (ErrorCode::RequirementsUnresolved, 2), "and a later call tries anew");
    assert!(fault.message.contains("nope"), "{}", fault.message);
}

#[tokio::test]
async fn a_day_later_it_is_asked_anew_and_the_old_set_serves_where_nobody_answers() {
    let house = house(GIVES);
    let set = house.get().await.unwrap();
    house.clock.0.store(25 * 3600 * 1000, Ordering::SeqCst);
    assert_eq!(house.packages.cached(&roots()), None, "this call would use the network");
    house.get().await.unwrap();
    assert_eq!((house.runs(), house.stamp.runs.load(Ordering::SeqCst)), (2, 1), "the same lock is not compiled again");
    assert!(house.packages.cached(&roots()).is_some());

    house.clock.0.store(50 * 3600 * 1000, Ordering::SeqCst);
    script(&house.place, "echo 'WARNING: Retrying (Retry(total=0)) https://secret@host/' >&2; exit 1");
    let notes = Mutex::new(Vec::new());
    let old = house.packages.get(&roots(), &CancellationToken::new(), &|text| notes.lock().unwrap().push(text.to_owned())).await.unwrap();
    assert_eq!(old.lock, set.lock);
    assert!(notes.lock().unwrap().iter().any(|text| text.contains("last time")), "{notes:?}");
    // Without an old set it is an error, without the index's address.
    fs::remove_dir_all(house.place.path().join("cache/sets")).unwrap();
    let fault = house.get().await.unwrap_err();
    assert!(fault.message.contains("cannot be reached") && !fault.message.contains("secret"), "{fault:?}");
}

#[tokio::test]
async fn a_damaged_pack_is_made_anew() {
    let house = house(GIVES);
    house.get().await.unwrap();
    let other = open(house.place.path(), &house.stamp, &house.clock);
    let sets = house.place.path().join("cache/sets");
    let pack = fs::read_dir(sets)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "pack"))
        .unwrap();
    fs::write(&pack, "damaged").unwrap();
    let set = other.get(&roots(), &CancellationToken::new(), &|_| {}).await.unwrap();
    assert!(set.files.len() > 3 && house.runs() == 2);
    assert_ne!(fs::read(&pack).unwrap(), b"damaged");
}

#[tokio::test]
async fn cancelling_or_dropping_ends_the_whole_process_group() {
    for drop_it in [false, true] {
        // The grandchild would write its file when the script has told that it waits, and the FIFO is opened.
        let house = house("mkfifo $wheels/gate; (read line < $wheels/gate; touch $wheels/survived) & echo $! > $wheels/child; wait");
        let cancel = CancellationToken::new();
        let roots = roots();
        let mut call = Box::pin(house.packages.get(&roots, &cancel, &|_| {}));
        let child = house.place.path().join("wheels/child");
        let started = async {
            while fs::read_to_string(&child).unwrap_or_default().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = &mut call => panic!("it ended: {outcome:?}"),
            () = started => {}
        }
        let pid = fs::read_to_string(&child).unwrap().trim().to_owned();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        if drop_it {
            drop(call);
        } else {
            cancel.cancel();
            assert_eq!(call.await.unwrap_err().code, ErrorCode::Cancelled);
        }
        let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {
            tokio::task::yield_now().await;
        }
        assert!(!house.place.path().join("wheels/survived").exists());
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_the_others_along() {
    let house = house(&format!("while [ ! -e $wheels/go ]; do :; done; {GIVES}"));
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let roots = roots();
    let go = house.place.path().join("wheels/go");
    let (a, b, ()) = tokio::join!(house.packages.get(&roots, &first, &|_| {}), house.packages.get(&roots, &second, &|_| {}), async {
        while house.runs() == 0 {
            tokio::task::yield_now().await;
        }
        first.cancel();
        fs::write(&go, "").unwrap();
    });
    // The first may have been through before it was cancelled; the second has its set in any case.
    assert!(a.is_ok() || a.is_err_and(|fault| fault.code == ErrorCode::Cancelled));
    b.unwrap();
}

#[tokio::test]
async fn hostile_downloads_are_refused() {
    let native = house(&format!("{GIVES}; mv $dest/pkg-1.0-py3-none-any.whl $dest/pkg-1.0-cp314-cp314-linux_x86_64.whl"));
    assert_eq!(native.get().await.unwrap_err().code, ErrorCode::RequirementRefused);
    let source = house(&format!("{GIVES}; touch $dest/pkg-1.0.tar.gz"));
    assert!(source.get().await.unwrap_err().message.contains("not a wheel"));
    let link = house("ln -s /etc/passwd $dest/pkg-1.0-py3-none-any.whl");
    assert!(link.get().await.unwrap_err().message.contains("not a wheel"));
    let other = house("cp $wheels/pkg-1.0-py3-none-any.whl $dest/pkg-2.0-py3-none-any.whl");
    assert!(other.get().await.unwrap_err().message.contains("METADATA"));
    let nothing = house("exit 0");
    assert_eq!(nothing.get().await.unwrap_err().code, ErrorCode::RequirementsUnresolved);
    let twin = house(GIVES);
    let mut more = files("other", "1.0");
    more.insert("pkg/__init__.py".into(), b"VALUE = 2\n".to_vec());
    fs::write(twin.place.path().join("wheels/other-1.0-py3-none-any.whl"), wheel("other-1.0.dist-info", more)).unwrap();
    assert!(twin.get().await.unwrap_err().message.contains("also in another package"));
    let full = house("head -c 600000000 /dev/zero > $dest/big; while :; do :; done");
    assert_eq!(full.get().await.unwrap_err().code, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn a_machine_without_installers_is_told_how_to_get_one() {
    let house = house(GIVES);
    fs::remove_file(house.place.path().join("bin/python3.14")).unwrap();
    let options = PackagesOptions {
        cache: house.place.path().join("cache"),
        installer: InstallerOptions { path: house.place.path().join("bin").into(), environment: Vec::new() },
        compiler: Arc::new(Stamp::default()),
        clock: Arc::new(TestClock::default()),
    };
    let fault = Packages::new(options).get(&roots(), &CancellationToken::new(), &|_| {}).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::InstallerUnavailable);
    assert!(fault.hint.unwrap().contains("installs `uv`"));
}
