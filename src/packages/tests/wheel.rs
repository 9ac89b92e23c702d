//! Hostile wheels: each is shown to bite a naive reader where it can, then refused by ours.

use std::fs;
use std::io::{Cursor, Write as _};

use super::making::{files, naive, patched, wheel, zipped};
use crate::domain::{ErrorCode, Fault};
use crate::packages::files::{Budget, Files, MAX_ENTRIES, MAX_FILE, MAX_FILES};
use crate::packages::wheel::{Natives, Unpacked, WheelName, unpack};

const FILE: &str = "pkg-1.0-py3-none-any.whl";
/// What is written into an archive, in that order.
type Entries = Vec<(String, Vec<u8>)>;

const INFO: &str = "pkg-1.0.dist-info";

fn read(archive: &[u8]) -> Result<Unpacked, Fault> {
    unpack(FILE, archive, Natives::Refuse, &mut Budget::default())
}

fn refused(archive: &[u8], why: &str) {
    let fault = read(archive).unwrap_err();
    assert_eq!(fault.code, ErrorCode::RequirementRefused);
    assert!(fault.message.contains(why), "{}", fault.message);
}

fn with(extra: &[(&str, &[u8])]) -> Files {
    let mut all = files("pkg", "1.0");
    all.extend(extra.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())));
    all
}

#[test]
fn an_honest_wheel_is_unpacked() {
    let data = [
        ("pkg-1.0.data/purelib/pkg/extra.py", b"X = 1".as_slice()),
        ("pkg-1.0.data/scripts/run", b"#!python"),
        ("pkg-1.0.data/data/share/x", b"x"),
        ("pkg/a, \"b\".txt", b"quoted"),
        ("pkg-1.0.dist-info/INSTALLER", b"somebody"),
    ];
    let unpacked = read(&wheel(INFO, with(&data))).unwrap();
    let paths: Vec<&str> = unpacked.files.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "pkg/__init__.py",
            "pkg/a, \"b\".txt",
            "pkg/extra.py",
            "pkg-1.0.dist-info/METADATA",
            "pkg-1.0.dist-info/RECORD",
            "pkg-1.0.dist-info/WHEEL"
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
    let record = String::from_utf8(unpacked.files["pkg-1.0.dist-info/RECORD"].clone()).unwrap();
    assert!(record.contains("\"pkg/a, \"\"b\"\".txt\",sha256=") && record.contains("pkg/extra.py,sha256="), "{record}");
    assert!(record.ends_with("pkg-1.0.dist-info/RECORD,,\n") && !record.contains("scripts"), "{record}");
}

#[test]
fn paths_that_leave_the_folder() {
    let bait = wheel(INFO, with(&[("../evil.py", b"bite")]));
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("in")).unwrap();
    naive(&bait, &place.path().join("in"));
    assert_eq!(fs::read(place.path().join("evil.py")).unwrap(), b"bite", "the naive reader is bitten");
    refused(&bait, "leaves its folder");

    for path in ["a/../../evil", "/etc/evil", "a//b", "./a", "a/.", "..", "pkg-1.0.data/purelib/../../evil", "pkg-1.0.data/purelib//evil"] {
        refused(&wheel(INFO, with(&[(path, b"x")])), "leaves its folder");
    }
    for path in ["a\\..\\b", "C:/x", "C:x", "a:stream", "a\nb", "a\u{7f}"] {
        refused(&wheel(INFO, with(&[(path, b"x")])), "a backslash, a colon or a control character");
    }
    refused(&patched(wheel(INFO, with(&[("pkg/zeroX.py", b"x")])), b"pkg/zeroX.py", b"pkg/zero\0.py"), "control character");
    refused(&wheel(INFO, with(&[("x".repeat(513).as_str(), b"x")])), "too long");
    refused(&wheel(INFO, with(&[("x".repeat(256).as_str(), b"x")])), "too long");
}

#[test]
fn links_and_devices() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("in")).unwrap();
    writer.add_symlink("pkg", "..", options).unwrap();
    writer.start_file("pkg/evil.py", options).unwrap();
    writer.write_all(b"bite").unwrap();
    let bait = writer.finish().unwrap().into_inner();
    naive(&bait, &place.path().join("in"));
    assert!(place.path().join("evil.py").exists(), "the naive reader is bitten");
    refused(&bait, "a link or a device");

    // A FIFO, a character device and a folder that is a file: the kind stands in the upper half of the external attributes.
    for kind in [0o010_000_u32, 0o020_000, 0o040_000] {
        let good = wheel(INFO, files("pkg", "1.0"));
        let bait = patched(good, &(0o100_644_u32 << 16).to_le_bytes(), &((kind | 0o644) << 16).to_le_bytes());
        refused(&bait, "a link or a device");
    }
}

#[test]
fn the_same_path_twice() {
    let twins = [("pkg/aa.py", b"first".as_slice()), ("pkg/ab.py", b"second")];
    let bait = patched(wheel(INFO, with(&twins)), b"pkg/ab.py", b"pkg/aa.py");
    let seen = zip::ZipArchive::new(Cursor::new(&bait)).map(|archive| archive.len());
    assert_eq!(seen.ok(), Some(5), "the library alone silently takes one of the six");
    let tailed = [b"head".as_slice(), &wheel(INFO, files("pkg", "1.0")), b"tail"].concat();
    assert_eq!(zip::ZipArchive::new(Cursor::new(&tailed)).map(|archive| archive.len()).ok(), Some(4), "and bytes around an archive");
    let fault = read(&bait).unwrap_err();
    assert_eq!(fault.code, ErrorCode::RequirementRefused);

    for (one, other) in [
        ("pkg/A.py", "pkg/a.py"),
        ("PKG/b.py", "pkg/c.py"),
        ("pkg/\u{e9}.py", "pkg/e\u{301}.py"),
        ("pkg/x", "pkg/x/y"),
        ("pkg/\u{212a}", "pkg/k"),
    ] {
        refused(&wheel(INFO, with(&[(one, b"1"), (other, b"2")])), "is the same as");
    }
    // Twins that only meet when they have been moved.
    refused(&wheel(INFO, with(&[("pkg-1.0.data/platlib/pkg/__INIT__.py", b"1")])), "is the same as");
}

#[test]
fn bombs_are_counted_while_inflating() {
    let zeroes = vec![0; MAX_FILE + 1];
    let bait = wheel(INFO, with(&[("pkg/big", &zeroes)]));
    assert!(bait.len() < 64 << 10, "small as a file");
    assert_eq!(read(&bait).unwrap_err().code, ErrorCode::LimitExceeded);

    let place = tempfile::tempdir().unwrap();
    assert!(naive(&bait, place.path()) > MAX_FILE, "the naive reader is bitten");

    // Headers that lie: 16 MiB said to be 10 bytes are not taken for 10 bytes.
    let claimed = (MAX_FILE as u32 + 1).to_le_bytes();
    let liar = patched(bait, &claimed, &10_u32.to_le_bytes());
    assert!(read(&liar).is_err());
    let small = patched(wheel(INFO, with(&[("pkg/big", &[0; 77_777])])), &77_777_u32.to_le_bytes(), &10_u32.to_le_bytes());
    refused(&small, "`pkg/big` ");
    let large = patched(wheel(INFO, with(&[("pkg/big", &[0; 77_777])])), &77_777_u32.to_le_bytes(), &77_778_u32.to_le_bytes());
    refused(&large, "`pkg/big` ");

    // Many that are each allowed.
    let part = vec![0; MAX_FILE];
    let many = wheel(INFO, with(&[("pkg/1", &part), ("pkg/2", &part), ("pkg/3", &part), ("pkg/4", &part)]));
    assert_eq!(read(&many).unwrap_err().code, ErrorCode::LimitExceeded);

    // A set's limits hold over its wheels.
    let mut budget = Budget::default();
    for _ in 0..MAX_FILES {
        budget.take("x", 0).unwrap();
    }
    assert_eq!(budget.take("x", 0).unwrap_err().code, ErrorCode::LimitExceeded);

    let crowd: Vec<(String, Vec<u8>)> = (0..=MAX_ENTRIES).map(|n| (format!("f{n}"), Vec::new())).collect();
    refused(&zipped(&crowd), "5001 entries");
}

#[test]
fn archives_that_readers_differ_over() {
    let good = wheel(INFO, files("pkg", "1.0"));
    assert!(read(&good).is_ok());
    refused(&[b"#!/bin/sh\n", good.as_slice()].concat(), "does not reach to its end");
    refused(&[good.as_slice(), b"tail"].concat(), "does not end with a plain directory");
    refused(&good[..good.len() - 1], "does not end with a plain directory");
    refused(b"PK", "too short");
    let at = good.windows(15).position(|part| part == b"pkg/__init__.py").unwrap();
    let mut two_names = good.clone();
    two_names[at] = b'q';
    refused(&two_names, "another name beside its data");
    let mut encrypted = good.clone();
    let entry = encrypted.windows(4).position(|part| part == b"PK\x01\x02").unwrap();
    encrypted[entry + 8] |= 1;
    refused(&encrypted, "encrypted");
    // Two entries on the same bytes: the second's offset is that of the first, whose name it has to share to get so far.
    let pair = patched(wheel(INFO, with(&[("pkg/aa.py", b"1"), ("pkg/ab.py", b"1")])), b"pkg/ab.py", b"pkg/aa.py");
    let entries: Vec<usize> = (0..pair.len() - 4).filter(|at| pair[*at..].starts_with(b"PK\x01\x02")).collect();
    let named = |at: &&usize| pair[**at + 46..].starts_with(b"pkg/aa.py");
    let same: Vec<usize> = entries.iter().filter(named).copied().collect();
    let mut shared = pair.clone();
    let offset: [u8; 4] = pair[same[0] + 42..same[0] + 46].try_into().unwrap();
    shared[same[1] + 42..same[1] + 46].copy_from_slice(&offset);
    refused(&shared, "share bytes");
    for cut in 0..good.len() {
        assert!(read(&good[..cut]).is_err());
    }
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0x41;
        drop(read(&flipped));
    }
}

#[test]
fn record_must_list_every_file_rightly() {
    let good = with(&[]);
    let raw = |change: &dyn Fn(&mut Entries)| {
        let mut all = good.clone();
        let paths = all.keys().cloned().collect();
        crate::packages::record::write(&mut all, INFO, &paths);
        let mut entries: Vec<(String, Vec<u8>)> = all.into_iter().collect();
        change(&mut entries);
        zipped(&entries)
    };
    assert!(read(&raw(&|_| {})).is_ok());
    let edit = |entries: &mut Entries, f: &dyn Fn(String) -> String| {
        let record = entries.iter_mut().find(|(path, _)| path.ends_with("/RECORD")).unwrap();
        record.1 = f(String::from_utf8(record.1.clone()).unwrap()).into_bytes();
    };
    refused(&raw(&|entries| entries.push(("pkg/more.py".into(), b"x".to_vec()))), "`pkg/more.py` is there but not listed");
    refused(&raw(&|entries| entries.retain(|(path, _)| path != "pkg/__init__.py")), "`pkg/__init__.py` is listed but not there");
    refused(
        &raw(&|entries| {
            entries.iter_mut().for_each(|(path, bytes)| {
                if path == "pkg/__init__.py" {
                    bytes[0] = b'W'
                }
            })
        }),
        "SHA-256",
    );
    refused(&raw(&|entries| edit(entries, &|text| text.replace(",10\n", ",11\n"))), "size");
    refused(&raw(&|entries| edit(entries, &|text| text.replace("pkg/__init__.py,sha256=", "pkg/__init__.py,md5="))), "SHA-256");
    refused(&raw(&|entries| edit(entries, &|text| format!("{text}pkg/__init__.py,,\n"))), "SHA-256");
    refused(&raw(&|entries| edit(entries, &|text| format!("{text}{text}"))), "listed twice");
    refused(&raw(&|entries| edit(entries, &|_| "pkg/__init__.py\n".into())), "not `path,hash,size`");
    refused(&raw(&|entries| entries.retain(|(path, _)| !path.ends_with("RECORD"))), "it has no");
}

#[test]
fn machine_code_is_refused_or_left_out() {
    for path in
        ["pkg/_fast.so", "pkg/_fast.cpython-314-x86_64-linux-gnu.SO", "pkg/_fast.pyd", "pkg/lib.dylib", "pkg/lib.a", "pkg.libs/libx.so.1.2"]
    {
        let archive = wheel(INFO, with(&[(path, b"\x7fELF")]));
        refused(&archive, "machine code");
        let unpacked = unpack(FILE, &archive, Natives::LeaveOut, &mut Budget::default()).unwrap();
        assert!(!unpacked.files.contains_key(path) && unpacked.files.contains_key("pkg/__init__.py"));
    }
    let archive = wheel(INFO, files("pkg", "1.0"));
    let fault = unpack("pkg-1.0-cp314-cp314-manylinux2014_x86_64.whl", &archive, Natives::Refuse, &mut Budget::default()).unwrap_err();
    assert!(fault.message.contains("one platform only"), "{}", fault.message);
}

#[test]
fn a_wheel_must_say_what_its_name_says() {
    let good = files("pkg", "1.0");
    let mut impure = good.clone();
    impure.insert(format!("{INFO}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n".to_vec());
    refused(&wheel(INFO, impure), "Root-Is-Purelib");
    for metadata in ["Name: other\nVersion: 1.0\n", "Name: pkg\nVersion: 1.1\n", "\nName: pkg\nVersion: 1.0\n", ""] {
        let mut wrong = good.clone();
        wrong.insert(format!("{INFO}/METADATA"), metadata.as_bytes().to_vec());
        refused(&wheel(INFO, wrong), "METADATA is not of pkg 1.0");
    }
    let mut two = good.clone();
    two.extend(files("other", "2.0"));
    refused(&wheel(INFO, two), "exactly one");
    refused(&zipped(&[("a.py".into(), Vec::new())]), "exactly one");

    let named = WheelName::parse("Zope_Interface-8.7-1-py2.py3-none-any.whl").unwrap();
    assert!(named.pure && named.name == "zope-interface" && named.version.as_str() == "8.7");
    assert!(!WheelName::parse("a-1-cp314-cp314-linux_x86_64.whl").unwrap().pure);
    assert!(!WheelName::parse("a-1-cp314-abi3-any.whl").unwrap().pure);
    assert!(!WheelName::parse("a-1-py2-none-any.whl").unwrap().pure);
    for wrong in ["a-1.tar.gz", "a.whl", "a-1-py3-none.whl", "a-x-py3-none-any.whl", "-1-py3-none-any.whl", "a-1-b-py3-none-any-x.whl"] {
        assert!(WheelName::parse(wrong).is_none(), "{wrong}");
    }
}
