//! Paths and trees without a guest: what is refused, and that no path leads out.

use std::sync::Arc;

use proptest::prelude::*;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::node::{File, Folder, Ledger, Node};
use super::tree::{Disk, Library, find, lay, place, rename};
use crate::domain::{Clock, Timestamp};
use crate::sandbox::GuestFile;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(0)
    }
}

fn ledger() -> Arc<Ledger> {
    Ledger::new(1 << 20, 1_000, Arc::new(Still))
}

fn file(path: &str) -> GuestFile {
    GuestFile { path: path.to_owned(), bytes: path.as_bytes().into() }
}

fn disk(files: &[GuestFile]) -> Result<Disk, crate::domain::Fault> {
    let disk = Disk::new(&Library(Folder::fixed()), ledger());
    disk.give(files, &[]).map(|()| disk)
}

#[test]
fn twins_are_refused_before_the_start_and_while_a_program_produces() {
    for [one, other] in [["a", "A"], ["x/é", "x/e\u{301}"], ["f", "ｆ"], [".git/x", ".GIT\u{200c}/x"]] {
        assert!(disk(&[file(one), file(other)]).is_err(), "{one} {other}");
        if one.contains('/') {
            continue;
        }
        let out = Folder::open_without_twins(&ledger());
        out.make_file(one).unwrap();
        assert_eq!(out.make_file(other).map(drop), Err(ErrorCode::Exist));
        assert_eq!(out.make_folder(other), Err(ErrorCode::Exist));
        let elsewhere = Folder::open(&ledger());
        elsewhere.make_file(one).unwrap();
        elsewhere.make_file(other).unwrap();
        assert_eq!(elsewhere.give(other, &out, other), Err(ErrorCode::Exist));
    }
}

#[test]
fn a_folder_with_twins_cannot_be_moved_to_where_there_are_none() {
    let (out, tmp) = (Folder::open_without_twins(&ledger()), Folder::open(&ledger()));
    tmp.make_folder("d").unwrap();
    let from = place(&tmp, "d").unwrap();
    let to = place(&out, "d").unwrap();
    assert_eq!(rename(&from, &to), Err(ErrorCode::CrossDevice));
}

#[test]
fn a_change_to_what_was_given_is_noticed() {
    let given = [file("a/b"), file("c")];
    let whole = disk(&given).unwrap();
    assert!(whole.given_is_untouched());
    let Ok(Node::Folder(work)) = find(&whole.root, "work") else { panic!("no work folder") };
    work.put("more", File::shared(Arc::from(&b"x"[..])));
    assert!(!whole.given_is_untouched(), "something more");
    let other = disk(&given).unwrap();
    let Ok(Node::Folder(work)) = find(&other.root, "work") else { panic!("no work folder") };
    // Even equal bytes, if they are not the very ones.
    work.put("c", File::shared(Arc::from(&b"c"[..])));
    assert!(!other.given_is_untouched(), "something else");
}

/// Parts that make trouble, and plain ones.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("A".to_owned()),
        Just("x\0y".to_owned()),
        Just("n".repeat(300)),
        "\\PC{1,4}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(part(), 1..8).prop_map(|parts| parts.join("/"))
}

/// A tree three deep, with a marked root that holds a secret beside it.
fn tree() -> (Arc<Folder>, Arc<Folder>) {
    let (outside, inside) = (Folder::fixed(), Folder::fixed());
    outside.put("secret", File::shared(Arc::from(&b"s"[..])));
    outside.put("inside", Node::Folder(inside.clone()));
    for path in ["a/b/a", "a/a/b", "b/a/A"] {
        lay(&inside, path, File::shared(Arc::from(path.as_bytes()))).unwrap();
    }
    (outside, inside)
}

/// The plain way: a stack of names. `None` where the path leaves the folder.
fn normal(path: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names)
}

proptest! {
    #[test]
    fn no_path_leads_above_its_folder(path in path()) {
        let (outside, inside) = tree();
        let Some(Node::File(secret)) = outside.get("secret") else { panic!("no secret") };
        if let Ok(found) = find(&inside, &path) {
            prop_assert!(found.id() != secret.id && found.id() != outside.id);
            let names = normal(&path).expect("a path that leaves the folder leads nowhere");
            let straight = if names.is_empty() { Node::Folder(inside.clone()) } else { find(&inside, &names.join("/")).unwrap() };
            prop_assert_eq!(found.id(), straight.id(), "where the plain way leads");
        } else if normal(&path).is_none() {
            prop_assert!(place(&inside, &path).is_err());
        }
    }

    #[test]
    fn what_is_laid_out_is_found_under_its_own_path_only(paths in prop::collection::vec(path(), 1..6)) {
        let files: Vec<GuestFile> = paths.iter().map(|path| file(path)).collect();
        if let Ok(disk) = disk(&files) {
            for file in &files {
                prop_assert!(!file.path.starts_with('/') && !file.path.split('/').any(|part| matches!(part, "" | "." | "..")));
                let found = find(&disk.root, &format!("work/{}", file.path));
                prop_assert!(matches!(found, Ok(Node::File(_))));
            }
            prop_assert!(disk.given_is_untouched());
            prop_assert!(disk.produced().is_empty());
        }
    }

    #[test]
    fn the_ledger_is_whole_again_when_all_is_removed(names in prop::collection::vec("[a-c]{1,2}", 1..20), sizes in prop::collection::vec(0u64..5_000, 20)) {
        let ledger = ledger();
        let out = Folder::open_without_twins(&ledger);
        for (name, size) in names.iter().zip(sizes) {
            if let Some(Node::File(file)) = out.get(name) {
                file.set_size(size).unwrap();
            } else {
                out.make_file(name).unwrap().set_size(size).unwrap();
            }
        }
        for name in &names {
            // Named twice, it is gone at the second time.
            let _gone = out.remove(name);
        }
        let again = out.make_file("all").unwrap();
        again.set_size(1 << 20).unwrap();
        prop_assert!(again.set_size((1 << 20) + 1).is_err());
    }
}
