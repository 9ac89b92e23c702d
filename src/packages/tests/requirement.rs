//! Which entries are pins, and that nothing else gets through.

use proptest::prelude::*;

use crate::domain::ErrorCode;
use crate::packages::{MAX_REQUIREMENTS, Requirement, Version};

fn canonical(entry: &str) -> String {
    Requirement::parse(entry).unwrap().to_string()
}

#[test]
fn pins_come_out_in_canonical_form() {
    assert_eq!(canonical("jinja2==3.1.6"), "jinja2==3.1.6");
    assert_eq!(canonical("Ruamel_.Yaml==0.18"), "ruamel-yaml==0.18");
    assert_eq!(canonical("Coverage[TOML,a_b]==7.0"), "coverage[a-b,toml]==7.0");
    assert_eq!(canonical("x==1!2.0.0-RC_01.post3.DEV4+Local-1"), "x==1!2.0.0rc1.post3.dev4+local.1");
}

#[test]
fn anything_else_is_refused_by_name() {
    let entries = [
        "",
        " ",
        "jinja2",
        "==1",
        "jinja2>=3",
        "jinja2~=3.1",
        "jinja2===3.1",
        "jinja2==3.*",
        "jinja2==3,<4",
        "jinja2 ==3",
        "jinja2== 3",
        " jinja2==3",
        "jinja2==3 ",
        "jinja2==3\n",
        "jinja2==3\n--index-url=x",
        "-r",
        "-rfile==1",
        "--pre==1",
        "-e.==1",
        ".==1",
        "./a==1",
        "/tmp/a.whl==1",
        "a/b==1",
        "a@b==1",
        "a @ https://h/x.whl",
        "git+https://h/x==1",
        "https://h/x.whl#==1",
        "a==1;python_version>'3'",
        "a==1 ; x",
        "a[==1",
        "a[]==1",
        "a[b,]==1",
        "a[-b]==1",
        "a[b]c==1",
        "a]==1",
        "jïnja==1",
        "a==١",
        "a==1\u{200b}",
        "\u{feff}a==1",
        "a\\b==1",
        "a=1",
        "a==-1",
        "a==1.",
        "a==1..2",
        "a==1.0+",
        "a==1.0+a+b",
        "a==1-",
        "a==",
        "a==file:///x",
        "$(x)==1",
        "a==1 --hash=x",
        "a==1\0",
        "-==1",
        "_a==1",
        "a-==1",
    ];
    for entry in entries {
        let fault = Requirement::parse(entry).expect_err(entry);
        assert_eq!(fault.code, ErrorCode::InvalidInput, "{entry:?}");
        let shown: String = entry.escape_debug().collect();
        assert!(fault.message.contains(&format!("`{shown}`")), "{entry:?}: {}", fault.message);
    }
}

#[test]
fn a_list_is_sorted_merged_and_bounded() {
    let all = Requirement::parse_all(&["b==1", "A[x]==1.0", "a[y]==1"]).unwrap();
    let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["a[x,y]==1.0", "b==1"]);

    let fault = Requirement::parse_all(&["a==1", "A==2"]).unwrap_err();
    assert_eq!(fault.code, ErrorCode::InvalidInput);
    assert!(fault.message.contains("`A==2`") && fault.message.contains("`a` is also asked for as 1"), "{}", fault.message);

    let many: Vec<String> = (0..=MAX_REQUIREMENTS).map(|n| format!("a{n}==1")).collect();
    assert_eq!(Requirement::parse_all(&many).unwrap_err().code, ErrorCode::LimitExceeded);
    assert!(Requirement::parse_all(&many[1..]).is_ok());
}

#[test]
fn versions_that_name_the_same_release_are_equal() {
    let pairs = [
        ("1.0", "1.0.0"),
        ("1.0", "v1"),
        ("1.0a1", "1.0-alpha.1"),
        ("1.0rc1", "1.0c1"),
        ("1.0rc1", "1.0_preview-1"),
        ("1.0b0", "1.0beta"),
        ("1.0.post2", "1.0-2"),
        ("1.0.post2", "1.0rev2"),
        ("1.0.dev0", "1.0dev"),
        ("0!1", "1"),
        ("1.010", "1.10"),
    ];
    for (one, other) in pairs {
        assert_eq!(Version::parse(one), Version::parse(other), "{one} {other}");
        assert!(Version::parse(one).is_some(), "{one}");
    }
    assert_ne!(Version::parse("1.0"), Version::parse("1.0.1"));
    assert_ne!(Version::parse("1.0"), Version::parse("1.0rc1"));
    assert_ne!(Version::parse("1.10"), Version::parse("1.1"));
}

/// Versions in all their spellings.
const VERSION: &str = concat!(
    "v?([0-9]{1,2}!)?[0-9]{1,3}(\\.[0-9]{1,2}){0,3}([-_.]?(a|b|c|rc|alpha|pre)([-_.]?[0-9]{1,2})?)?",
    "([-_.]?(post|r)[0-9]{0,2}|-[0-9])?([-_.]?dev[0-9]{0,2})?(\\+[a-z0-9]{1,3}([-_.][a-z0-9]{1,3})?)?"
);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_accepted_cannot_be_an_option_an_address_or_a_range(entry in "[-a-zA-Z0-9._=\\[\\],+! /:@;<>~*\\\\\n$]{0,40}") {
        if let Ok(found) = Requirement::parse(&entry) {
            let text = found.to_string();
            prop_assert!(text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
            prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.![],+=".contains(&b)), "{}", text);
            prop_assert_eq!(text.matches('=').count(), 2);
            prop_assert_eq!(Requirement::parse(&text).unwrap(), found);
        }
    }

    #[test]
    fn any_text_is_judged_without_a_panic(entry in "\\PC{0,60}") {
        drop(Requirement::parse(&entry));
        drop(Version::parse(&entry));
    }

    #[test]
    fn honest_pins_are_accepted(
        name in "[a-z][a-z0-9]{0,8}([-_.][a-z0-9]{1,5}){0,2}",
        parts in proptest::collection::vec(0_u32..500, 1..5),
    ) {
        let version = parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        let found = Requirement::parse(&format!("{name}=={version}")).unwrap();
        prop_assert_eq!(found.version().as_str(), version);
    }

    #[test]
    fn a_canonical_version_is_its_own_canonical_form(text in VERSION) {
        let found = Version::parse(&text);
        prop_assert!(found.is_some(), "{}", text);
        let found = found.unwrap();
        let again = Version::parse(found.as_str()).unwrap();
        prop_assert_eq!(again.as_str(), found.as_str());
        prop_assert_eq!(again, found);
    }
}
