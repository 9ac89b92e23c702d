//! The lock's text, and what is read out of installers' words.

use crate::domain::Digest;
use crate::packages::lock::{Lock, Locked};
use crate::packages::pip::missing_in;
use crate::packages::resolve::clean;
use crate::packages::version::Version;

fn locked(name: &str, version: &str, root: bool) -> Locked {
    let wheel = format!("{name}-{version}-py3-none-any.whl");
    let sha256 = Digest::of(wheel.as_bytes());
    Locked { name: name.into(), version: Version::parse(version).unwrap(), wheel, sha256, root }
}

#[test]
fn a_lock_reads_back_what_it_writes() {
    let lock = Lock::new(vec![locked("b", "2", false), locked("a", "1.0", true)]).unwrap();
    let text = lock.to_string();
    let hash = Digest::of(b"a-1.0-py3-none-any.whl");
    assert!(text.starts_with(&format!("toolgate lock 1, python 3.14\na==1.0 a-1.0-py3-none-any.whl sha256:{hash} root\nb==2 ")), "{text}");
    assert_eq!(Lock::parse(&text), Some(lock.clone()));
    assert_eq!(lock.digest(), Lock::new(vec![locked("a", "1.0", true), locked("b", "2", false)]).unwrap().digest());
    assert_ne!(lock.digest(), Lock::new(vec![locked("a", "1.0", true), locked("b", "3", false)]).unwrap().digest());
    assert!(Lock::new(vec![locked("a", "1", false), locked("a", "2", false)]).is_none());

    let wrong = [
        text.replace("3.14", "3.13"),
        text.replace(" root", " rot"),
        text.replace("a==1.0", "A==1.0"),
        text.replace("sha256:", "sha256:0"),
        text.trim_end().to_owned(),
        text.lines().rev().map(|line| format!("{line}\n")).collect(),
        format!("{text}\n"),
        String::new(),
    ];
    for wrong in wrong {
        assert!(Lock::parse(&wrong).is_none(), "{wrong}");
    }
}

#[test]
fn pip_says_what_it_has_not_found() {
    let old = "ERROR: Could not find a version that satisfies the requirement MarkupSafe<4,>=2.0 (from jinja2) (from versions: none)\n\
               ERROR: No matching distribution found for MarkupSafe<4,>=2.0\n";
    assert_eq!(missing_in(old), ["markupsafe<4,>=2.0"]);
    assert_eq!(missing_in("ERROR: No matching distribution found for A.b[c]==1.0 (from d); extra == 'e'"), ["a-b==1.0"]);
    assert_eq!(missing_in("ERROR: No matching distribution found for a>=$(x)"), ["a"]);
    let new = "Additionally, some packages in these conflicts have no matching distributions available for your environment:\n\
               \x20   markupsafe\n    numpy\n\nTo fix this";
    assert_eq!(missing_in(new), ["markupsafe", "numpy"]);
    assert!(missing_in("ERROR: ResolutionImpossible").is_empty());
    assert!(missing_in("ERROR: No matching distribution found for --index-url=x").is_empty());
}

#[test]
fn words_of_installers_lose_addresses_and_length() {
    let words = clean("  one\n\ntwo https://user:secret@host/simple/ \u{1b}[31mthree\n");
    assert_eq!(words, "one two (address) [31mthree");
    assert!(clean(&"word ".repeat(10_000)).chars().count() < 1_300);
    assert!(!clean(&format!("secret\n{}", "line\n".repeat(12))).contains("secret"));
}
