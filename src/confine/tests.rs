//! Each attack is first shown to work against the usual careless code, so that a test that no longer bites is noticed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use crate::domain::{Bytes, ErrorCode};

use super::*;

const BIG: Bytes = Bytes(1 << 20);

struct Place {
    _temporary: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
    folder: Folder,
}

/// A folder, and beside it one with a secret.
fn place() -> Place {
    let temporary = tempfile::tempdir().unwrap();
    let base = temporary.path().canonicalize().unwrap();
    let (root, outside) = (base.join("repo"), base.join("repo-evil"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let folder = Folder::create(&root).unwrap();
    Place { _temporary: temporary, root, outside, folder }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

/// What people write: join, make canonical, compare the beginning of the text.
mod naive {
    use super::*;

    pub(super) fn read(root: &Path, path: &str) -> Option<Vec<u8>> {
        let whole = root.join(path).canonicalize().ok()?;
        whole.to_str()?.starts_with(root.to_str()?).then(|| std::fs::read(&whole).ok())?
    }

    pub(super) fn write(root: &Path, path: &str, bytes: &[u8]) -> bool {
        let whole = root.join(path);
        let lexically_inside = whole.starts_with(root) && !path.contains("..");
        lexically_inside && std::fs::create_dir_all(whole.parent().unwrap()).is_ok() && std::fs::write(whole, bytes).is_ok()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, crate::domain::Fault>) {
    assert_eq!(result.unwrap_err().code, ErrorCode::PathRefused);
}

#[test]
fn writes_reads_lists_and_removes() {
    let place = place();
    place.folder.write(&path("a/b/run.sh"), b"#!/bin/sh\n", true).unwrap();
    place.folder.write(&path("a/b/run.sh"), b"#!/bin/sh\nexit\n", true).unwrap();
    place.folder.write(&path("a.txt"), b"text", false).unwrap();
    assert_eq!(place.folder.read(&path("a/b/run.sh"), BIG).unwrap(), b"#!/bin/sh\nexit\n");
    assert_eq!(place.folder.read_part(&path("a.txt"), 1, Bytes(2)).unwrap(), (b"ex".to_vec(), 4));
    assert_eq!(place.folder.read(&path("a.txt"), Bytes(3)).unwrap_err().code, ErrorCode::LimitExceeded);
    let (files, others) = place.folder.walk(None, 100).unwrap();
    assert_eq!(
        files.iter().map(|file| (file.path.as_str(), file.size, file.mode)).collect::<Vec<_>>(),
        [("a.txt", 4, 0o644), ("a/b/run.sh", 15, 0o755)]
    );
    assert!(others.is_empty());
    assert_eq!(place.folder.walk(None, 2).unwrap_err().code, ErrorCode::LimitExceeded);
    assert!(place.folder.remove(&path("a")).unwrap());
    assert!(!place.folder.remove(&path("a")).unwrap());
    assert_eq!(place.folder.read(&path("a/b/run.sh"), BIG).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(place.folder.kind(&path("a/b")).unwrap(), None);
    assert_eq!(std::fs::read_dir(&place.root).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_path_is_plain_or_refused() {
    for bad in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../x",
        "a/..",
        ".",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "C:x",
        "C:/x",
        "a:stream",
        "a\0b",
        "a\nb",
        "a\u{202e}b",
        ".git\u{200c}/config",
        "a\u{feff}",
        "a.",
        "a ",
        "a./b",
        "...",
        "a\u{1b}[31m",
        "\u{e0041}",
    ] {
        refused(RelPath::parse(bad));
    }
    refused(RelPath::parse(&"a".repeat(256)));
    refused(RelPath::parse(&"a/".repeat(48).trim_end_matches('x').replace("a/", "aa/")));
    for good in ["a", ".env", "..a", "a b/c", "ünï/çødé.txt", "a/.github/x", "con-figure", "--help"] {
        assert_eq!(path(good).as_str(), good);
    }
}

#[test]
fn git_is_known_in_every_disguise() {
    for git in [".git", ".GIT/config", "a/.Git", "git~1", "GIT~12/hooks/pre-commit", ".g\u{131}t"] {
        assert!(path(git).touches_git(), "{git}");
    }
    for other in [".gitignore", "git", ".github/x", "git~", "a.git", "git~x"] {
        assert!(!path(other).touches_git(), "{other}");
    }
    let (a, b, c) = (path("Read.me"), path("read.ME"), path("else"));
    assert_eq!(twins([&c, &a, &b]), Some((&a, &b)));
    assert_eq!(twins([&c, &a, &a]), None);
}

#[test]
fn a_neighbour_with_the_same_beginning_is_outside() {
    let place = place();
    let attack = "../repo-evil/secret";
    assert_eq!(naive::read(&place.root, attack).unwrap(), b"secret", "the attack works on careless code");
    refused(RelPath::parse(attack));
}

#[test]
fn a_link_is_never_followed_wherever_it_stands() {
    let place = place();
    symlink(place.outside.join("secret"), place.root.join("leaf")).unwrap();
    symlink(&place.outside, place.root.join("parent")).unwrap();
    symlink(place.outside.join("new"), place.root.join("dangling")).unwrap();
    symlink("real", place.root.join("inside")).unwrap();
    place.folder.write(&path("real/file"), b"x", false).unwrap();

    assert!(naive::write(&place.root, "parent/made/by/naive", b"x"), "the attack works on careless code");
    assert!(place.outside.join("made/by/naive").exists());
    assert!(naive::write(&place.root, "dangling", b"x") && place.outside.join("new").exists());
    std::fs::remove_file(place.outside.join("new")).unwrap();

    for link in ["leaf", "parent/secret", "parent", "dangling", "inside", "inside/file"] {
        refused(place.folder.read(&path(link), BIG));
    }
    for link in ["leaf", "parent/secret", "parent/x/y", "parent", "dangling", "dangling/x", "inside/file2"] {
        refused(place.folder.write(&path(link), b"mine", false));
        refused(place.folder.check_writable(&path(link)));
    }
    refused(place.folder.remove(&path("parent/secret")));
    refused(place.folder.sub(&path("parent")).map(|_| ()));
    refused(place.folder.walk(Some(&path("parent")), 10));
    assert_eq!(std::fs::read(place.outside.join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(&place.outside).unwrap().count(), 2);

    let (files, others) = place.folder.walk(None, 100).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(others.iter().map(RelPath::as_str).collect::<Vec<_>>(), ["dangling", "inside", "leaf", "parent"]);
    assert!(place.folder.remove(&path("parent")).unwrap(), "the link itself can be removed");
    assert!(place.outside.join("secret").exists());
}

#[test]
fn removing_a_folder_does_not_follow_links_in_it() {
    let place = place();
    place.folder.write(&path("d/x"), b"x", false).unwrap();
    symlink(&place.outside, place.root.join("d/link")).unwrap();
    assert!(place.folder.remove(&path("d")).unwrap());
    assert!(place.outside.join("secret").exists());
}

#[test]
fn a_hard_link_is_refused() {
    let place = place();
    std::fs::hard_link(place.outside.join("secret"), place.root.join("hard")).unwrap();
    assert_eq!(naive::read(&place.root, "hard").unwrap(), b"secret", "the attack works on careless code");
    refused(place.folder.read(&path("hard"), BIG));
    refused(place.folder.write(&path("hard"), b"mine", false));
    assert_eq!(place.folder.survey(None, 10, |_| false).unwrap().others[0].shown, "hard");
}

#[test]
fn a_pipe_is_refused_and_nobody_waits() {
    let place = place();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    refused(place.folder.read(&path("pipe"), BIG));
    refused(place.folder.write(&path("pipe"), b"x", false));
    assert!(place.folder.walk(None, 10).unwrap().1.contains(&path("pipe")));
    assert!(place.folder.remove(&path("pipe")).unwrap());
}

#[test]
fn a_name_that_cannot_be_used_is_told_not_opened() {
    use std::os::unix::ffi::OsStrExt;
    let place = place();
    std::fs::write(place.root.join("a\u{202e}txt"), "x").unwrap();
    std::fs::write(place.root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    std::fs::create_dir(place.root.join("c:")).unwrap();
    std::fs::write(place.root.join("c:/x"), "x").unwrap();
    let survey = place.folder.survey(None, 10, |_| false).unwrap();
    assert!(survey.files.is_empty());
    assert_eq!(survey.others.iter().map(|other| other.shown.as_str()).collect::<Vec<_>>(), ["a\\u{202e}txt", "c:", "\u{fffd}\u{fffd}"]);
}

/// A thread turns a folder into a link to the outside and back, as fast as it can, while files are read and written through it.
#[cfg(target_os = "linux")]
#[test]
fn a_link_that_comes_and_goes_opens_no_way_out() {
    let place = place();
    std::fs::write(place.outside.join("f"), "outside").unwrap();
    place.folder.write(&path("d/f"), b"inside", false).unwrap();
    /// Ends the thread even where an assertion fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let (mut naive_leaked, mut served) = (false, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (d, link) = (place.root.join("d"), place.root.join("link"));
            symlink(&place.outside, &link).unwrap();
            while !stop.load(Ordering::Relaxed) {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                renameat_with(CWD, &d, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                std::thread::yield_now();
            }
        });
        let _stop = Stop(&stop);
        for round in 0..20_000 {
            if let Ok(bytes) = place.folder.read(&path("d/f"), BIG) {
                assert_eq!(bytes, b"inside");
                served += 1;
            }
            if round % 4 == 0 {
                let _ = place.folder.write(&path("d/w"), b"w", false);
            }
            if round % 64 == 0 {
                let _ = place.folder.remove(&path("d/w"));
            }
            if !naive_leaked {
                naive_leaked = std::fs::read(place.root.join("d/f")).is_ok_and(|bytes| bytes == b"outside");
            }
        }
    });
    assert!(naive_leaked, "the attack works on careless code");
    assert!(served > 0, "and honest reads went through meanwhile");
    let mut names: Vec<_> = std::fs::read_dir(&place.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f", "secret"]);
}

proptest! {
    #[test]
    fn whatever_parses_stays_inside(text in r"([a-zA-Z.~: /\\\x00\u{202e}]|\.\.|\.git){0,12}") {
        if let Ok(path) = RelPath::parse(&text) {
            let mut depth = 0;
            for part in Path::new(path.as_str()).components() {
                prop_assert!(matches!(part, std::path::Component::Normal(_)), "{text:?}");
                depth += 1;
            }
            prop_assert_eq!(depth, path.parts().count());
            prop_assert_eq!(serde_json::from_value::<RelPath>(serde_json::to_value(&path).unwrap()).unwrap(), path);
        }
    }

    #[test]
    fn any_text_is_refused_or_read_back(text in ".{0,40}") {
        let place = place();
        if let Ok(path) = RelPath::parse(&text) {
            place.folder.write(&path, b"x", false).unwrap();
            prop_assert_eq!(place.folder.read(&path, BIG).unwrap(), b"x");
            prop_assert_eq!(place.folder.walk(None, 100).unwrap().0.len(), 1);
        }
    }
}
