//! Packs and keys on disk: whole, private, verified.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Digest, Millis, Timestamp};
use crate::packages::PackageSet;
use crate::packages::cache::{Cache, key};
use crate::packages::lock::{Lock, Locked};
use crate::packages::memory::Memory;
use crate::packages::requirement::Requirement;
use crate::packages::version::Version;

pub(super) fn set(name: &str, bytes: usize) -> PackageSet {
    let version = Version::parse("1").unwrap();
    let locked =
        Locked { name: name.into(), version, wheel: format!("{name}-1-py3-none-any.whl"), sha256: Digest::of(name.as_bytes()), root: true };
    let files = vec![(format!("{name}/__init__.py"), Arc::from(vec![b'x'; bytes])), (format!("{name}/é.txt"), Arc::from(&b""[..]))];
    PackageSet { lock: Lock::new(vec![locked]).unwrap(), files }
}

fn packs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("sets")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "pack")).collect()
}

#[test]
fn a_set_comes_back_and_is_private() {
    let place = tempfile::tempdir().unwrap();
    let cache = Cache::new(place.path());
    let stored = set("a", 10);
    let lock = stored.lock.digest();
    assert!(cache.set(lock).is_none());
    cache.store(&stored).unwrap();
    let found = cache.set(lock).unwrap();
    assert_eq!((&found.lock, &found.files), (&stored.lock, &stored.files));
    assert_eq!(fs::metadata(place.path().join("sets")).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(place.path().join("sets")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_damaged_pack_is_removed_and_not_used() {
    let place = tempfile::tempdir().unwrap();
    let cache = Cache::new(place.path());
    let stored = set("a", 10);
    let damage: [fn(&mut Vec<u8>); 3] = [|bytes| *bytes.last_mut().unwrap() ^= 1, |bytes| bytes.truncate(30), Vec::clear];
    for damage in damage {
        cache.store(&stored).unwrap();
        let path = packs(place.path()).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        assert!(cache.set(stored.lock.digest()).is_none());
        assert!(!path.exists());
    }
    // Another set's bytes under this set's name, with a digest that is right.
    cache.store(&set("b", 10)).unwrap();
    let other = packs(place.path()).remove(0);
    let name =
        other.file_name().unwrap().to_str().unwrap().replace(&set("b", 10).lock.digest().to_string(), &stored.lock.digest().to_string());
    fs::rename(&other, other.with_file_name(name)).unwrap();
    assert!(cache.set(stored.lock.digest()).is_none());
}

#[test]
fn a_key_is_fresh_for_a_day_and_only_with_its_pack() {
    let place = tempfile::tempdir().unwrap();
    let cache = Cache::new(place.path());
    let roots = Requirement::parse_all(&["a==1"]).unwrap();
    let (key, lock) = (key(&roots), set("a", 1).lock.digest());
    let now = Timestamp::from_unix_millis(1_800_000_000_000);
    cache.remember(key, lock, now).unwrap();
    assert!(cache.entry(key).is_none(), "no pack yet");
    cache.store(&set("a", 1)).unwrap();
    let entry = cache.entry(key).unwrap();
    assert_eq!(entry.lock, lock);
    let day = 24 * 3600 * 1000;
    assert!(entry.is_fresh(now) && entry.is_fresh(now.plus(Millis(day - 1))));
    assert!(!entry.is_fresh(now.plus(Millis(day))) && !entry.is_fresh(Timestamp::from_unix_millis(0)));
    fs::write(place.path().join("sets").join(format!("{key}.key")), "nonsense").unwrap();
    assert!(cache.entry(key).is_none());
}

#[test]
fn a_folder_open_to_others_is_closed_and_the_oldest_packs_go() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("sets");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let cache = Cache::new(place.path());
    for n in 0..45 {
        cache.store(&set(&format!("p{n}"), 1)).unwrap();
    }
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    assert_eq!(packs(place.path()).len(), 40);
    assert!(cache.set(set("p44", 1).lock.digest()).is_some());
}

#[test]
fn keys_depend_on_every_pin_and_not_on_the_order_given() {
    let key_of = |entries: &[&str]| key(&Requirement::parse_all(entries).unwrap());
    assert_eq!(key_of(&["a==1", "b==2"]), key_of(&["B==2", "a==1"]));
    assert_ne!(key_of(&["a==1", "b==2"]), key_of(&["a==1"]));
    assert_ne!(key_of(&["a==1"]), key_of(&["a[x]==1"]));
}

#[test]
fn memory_keeps_the_last_three_sets_and_no_more_than_its_bytes() {
    let memory = Memory::default();
    let sets: Vec<Arc<PackageSet>> = ["a", "b", "c", "d"].iter().map(|name| Arc::new(set(name, 1))).collect();
    let lock = |n: usize| sets[n].lock.digest();
    for set in &sets[..3] {
        memory.put(set.lock.digest(), Arc::clone(set));
    }
    assert!(memory.get(lock(0)).is_some(), "used, so `b` is the one used longest ago");
    memory.put(lock(3), Arc::clone(&sets[3]));
    assert!(memory.get(lock(1)).is_none());
    assert!(memory.get(lock(0)).is_some() && memory.get(lock(2)).is_some() && memory.get(lock(3)).is_some());
    let large = Arc::new(set("large", (64 << 20) - 1));
    memory.put(large.lock.digest(), Arc::clone(&large));
    assert!(memory.get(large.lock.digest()).is_some() && memory.get(lock(3)).is_some() && memory.get(lock(2)).is_none());
}
