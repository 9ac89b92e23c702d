//! The folder of environments, with environments that are only a few files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::{Digest, Timestamp};
use crate::packages::environment::held::Held;
use crate::packages::environment::inspect::look;
use crate::packages::environment::shelf::{Shelf, Whole};
use crate::packages::lock::{Lock, Locked};
use crate::packages::version::Version;

const PYTHON: &str = "3.11.7 x86_64";
const EXE: &str = "/opt/python";

fn shelf(folder: &Path) -> Shelf {
    Shelf::new(folder, PYTHON.into(), EXE.into())
}

fn lock(name: &str) -> Lock {
    let version = Version::parse("1").unwrap();
    let sha256 = Digest::of(name.as_bytes());
    Lock::of(PYTHON, vec![Locked { name: name.into(), version, wheel: format!("{name}-1-py3-none-any.whl"), sha256, root: true }]).unwrap()
}

fn now(seconds: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_000 + seconds * 1000)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fill(folder: &Path) {
    for name in ["bin", "lib"] {
        fs::create_dir(folder.join(name)).unwrap();
        set_mode(&folder.join(name), 0o755);
    }
    symlink(EXE, folder.join("bin/python")).unwrap();
    symlink("python", folder.join("bin/python3")).unwrap();
    symlink("lib", folder.join("lib64")).unwrap();
    fs::write(folder.join("bin/tool"), "#!/env/bin/python").unwrap();
    set_mode(&folder.join("bin/tool"), 0o755);
    fs::write(folder.join("lib/module.py"), "VALUE = 1").unwrap();
    set_mode(&folder.join("lib/module.py"), 0o644);
}

fn put(shelf: &Shelf, name: &str, at: u64) -> Whole {
    let building = shelf.building().unwrap();
    fill(&building.environment().unwrap());
    shelf.put(&building, &lock(name), now(at)).unwrap()
}

fn names(folder: PathBuf) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_put_is_found_whole() {
    let place = tempfile::tempdir().unwrap();
    let shelf_of_one = shelf(place.path());
    assert!(shelf_of_one.find(lock("a").digest(), now(0)).unwrap().is_none());
    let whole = put(&shelf_of_one, "a", 0);
    assert_eq!((whole.bin.as_slice(), &whole.lock), (&["tool".to_owned()][..], &lock("a")));
    let found = shelf(place.path()).find(lock("a").digest(), now(1)).unwrap().unwrap();
    assert_eq!((&found.folder, &found.bin, &found.lock), (&whole.folder, &whole.bin, &whole.lock));
    assert_eq!(fs::metadata(&found.folder).unwrap().mode() & 0o777, 0o755);
    for private in ["", "whole", "building", "locks"] {
        assert_eq!(fs::metadata(place.path().join(private)).unwrap().mode() & 0o777, 0o700, "{private}");
    }
    assert!(names(place.path().join("building")).is_empty());
    // Another Python's locks are others.
    assert!(Shelf::new(place.path(), "3.12.1 x86_64".into(), EXE.into()).find(lock("a").digest(), now(1)).unwrap().is_none());
}

#[test]
fn what_is_damaged_is_not_found_and_can_be_put_again() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 9] = [
        ("no marker", |_, marker| fs::remove_file(marker).unwrap()),
        ("an empty marker", |_, marker| fs::write(marker, "").unwrap()),
        ("a cut marker", |_, marker| {
            let text = fs::read(marker).unwrap();
            fs::write(marker, &text[..text.len() - 9]).unwrap();
        }),
        ("a changed marker", |_, marker| fs::write(marker, fs::read_to_string(marker).unwrap().replace("tool\"", "toil\"")).unwrap()),
        ("a marker that is a link", |env, marker| {
            fs::rename(marker, env.join("../moved")).unwrap();
            symlink("moved", marker).unwrap();
        }),
        ("an empty file", |env, _| fs::write(env.join("lib/module.py"), "").unwrap()),
        ("a missing file", |env, _| fs::remove_file(env.join("lib/module.py")).unwrap()),
        ("a file too many", |env, _| fs::write(env.join("lib/more.py"), "").unwrap()),
        ("another Python", |env, _| {
            fs::remove_file(env.join("bin/python")).unwrap();
            symlink("/bin/sh", env.join("bin/python")).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let place = tempfile::tempdir().unwrap();
        let folder = put(&shelf(place.path()), "a", 0).folder;
        damage(&folder, &folder.with_file_name("marker"));
        let shelf = shelf(place.path());
        assert!(shelf.find(lock("a").digest(), now(1)).unwrap().is_none(), "{name}");
        put(&shelf, "a", 2);
        assert!(shelf.find(lock("a").digest(), now(3)).unwrap().is_some(), "{name}");
        assert_eq!((names(place.path().join("whole")).len(), names(place.path().join("building")).len()), (1, 0), "{name}");
    }
    // A marker of another lock, whole in itself.
    let place = tempfile::tempdir().unwrap();
    let shelf = shelf(place.path());
    let (a, b) = (put(&shelf, "a", 0).folder, put(&shelf, "b", 0).folder);
    fs::copy(b.with_file_name("marker"), a.with_file_name("marker")).unwrap();
    assert!(shelf.find(lock("a").digest(), now(1)).unwrap().is_none());
}

#[test]
fn the_oldest_that_nobody_uses_go() {
    let place = tempfile::tempdir().unwrap();
    let shelf = shelf(place.path());
    let used = put(&shelf, "used", 0);
    for at in 0..20_u64 {
        drop(put(&shelf, &format!("p{at}"), at + 1));
    }
    let there = |name: &str| shelf.is_there(lock(name).digest());
    // 21 are there: the oldest is beyond those that are kept, but used.
    assert!(used.folder.is_dir() && there("used") && there("p0") && there("p19"));
    drop(shelf.find(lock("p1").digest(), now(100)).unwrap().unwrap());
    drop(used);
    drop(put(&shelf, "new", 101));
    assert!(!there("used") && !there("p0") && there("p1") && there("p2") && there("new"));
    assert_eq!((names(place.path().join("whole")).len(), names(place.path().join("building")).len()), (20, 0));
    assert!(!names(place.path().join("locks")).contains(&format!("{}.use", lock("p0").digest())));
}

#[test]
fn what_dead_builders_left_is_swept_and_living_ones_are_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let shelf_of_one = shelf(place.path());
    let living = shelf_of_one.building().unwrap();
    let env = living.environment().unwrap();
    let building = place.path().join("building");
    // A process that was killed: its folder and its lock's file, which nobody holds; and a folder whose lock's file is lost.
    for name in ["dead", "lost"] {
        fs::create_dir_all(building.join(name).join("env/lib")).unwrap();
    }
    fs::write(building.join("dead.alive"), "").unwrap();
    drop(shelf(place.path()).building().unwrap());
    assert!(env.is_dir() && names(building.clone()).len() == 2, "{:?}", names(building));
    drop(living);
    assert!(names(place.path().join("building")).is_empty());
}

#[test]
fn a_lock_is_held_by_one_or_shared_and_survives_removal_of_its_file() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("lock");
    let held = Held::alone(&path).unwrap().unwrap();
    assert!(Held::alone(&path).unwrap().is_none());
    held.remove();
    // The file of before is gone; whoever comes now has another one, and that alone.
    let held = Held::alone(&path).unwrap().unwrap();
    assert!(Held::alone(&path).unwrap().is_none());
    drop(held);
    let (one, two) = (Held::shared(&path).unwrap(), Held::shared(&path).unwrap());
    assert!(Held::alone(&path).unwrap().is_none());
    one.touch(UNIX_EPOCH + Duration::from_secs(5));
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), UNIX_EPOCH + Duration::from_secs(5));
    drop((one, two));
    assert!(Held::alone(&path).unwrap().is_some());
}

#[test]
fn who_waited_for_a_lock_whose_file_was_removed_holds_the_new_one() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("lock");
    let held = Held::alone(&path).unwrap().unwrap();
    let inode = format!(":{} ", fs::metadata(&path).unwrap().ino());
    let (waits, there) = (path.clone(), path.clone());
    let waiter = std::thread::spawn(move || Held::shared(&waits).unwrap());
    let is_waiting = || fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains("->") && line.contains(&inode));
    while !is_waiting() {
        std::thread::yield_now();
    }
    held.remove();
    let held = waiter.join().unwrap();
    assert!(there.exists() && Held::alone(&there).unwrap().is_none());
    drop(held);
    assert!(Held::alone(&there).unwrap().is_some());
}

#[test]
fn only_plain_files_and_the_links_of_python_may_lie_in_it() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 10] = [
        ("link", |env| symlink("/etc/passwd", env.join("lib/passwd")).unwrap()),
        ("link", |env| symlink("../lib", env.join("lib/loop")).unwrap()),
        ("link", |env| symlink("/bin/sh", env.join("bin/python9")).unwrap()),
        ("link", |env| symlink("python", env.join("bin/other")).unwrap()),
        ("not a plain file", |env| fs::hard_link(env.join("lib/module.py"), env.join("lib/same.py")).unwrap()),
        ("rights", |env| set_mode(&env.join("bin/tool"), 0o4755)),
        ("rights", |env| set_mode(&env.join("lib/module.py"), 0o666)),
        ("rights", |env| set_mode(&env.join("lib"), 0o777)),
        ("not a plain file", |env| {
            let pipe = env.join("lib/pipe");
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        }),
        ("bin/python", |env| fs::remove_file(env.join("bin/python")).unwrap()),
    ];
    for (why, change) in changes {
        let place = tempfile::tempdir().unwrap();
        fill(place.path());
        assert!(look(place.path(), Path::new(EXE)).is_ok());
        change(place.path());
        let told = look(place.path(), Path::new(EXE)).unwrap_err();
        assert!(told.contains(why), "{why}: {told}");
        let shelf_place = tempfile::tempdir().unwrap();
        let shelf = shelf(shelf_place.path());
        let building = shelf.building().unwrap();
        let env = building.environment().unwrap();
        fill(&env);
        change(&env);
        assert!(shelf.put(&building, &lock("a"), now(0)).is_err());
        drop(building);
        assert_eq!((names(shelf_place.path().join("whole")).len(), names(shelf_place.path().join("building")).len()), (0, 0));
    }
}
