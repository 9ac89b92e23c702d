//! Every claim of `docs/threat-model.md` is held by tests that exist.

use crate::support::root;

/// The lines of the section on what is defended, each claim with what stands under it joined to one line.
fn claims(page: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with("What is defended")).unwrap();
    let mut claims: Vec<String> = Vec::new();
    for line in section.lines() {
        match (line.strip_prefix("- "), claims.last_mut()) {
            (Some(claim), _) => claims.push(claim.to_owned()),
            (None, Some(last)) if line.starts_with("  ") => {
                last.push(' ');
                last.push_str(line.trim());
            }
            (None, _) => {}
        }
    }
    claims
}

/// The tests a claim names: what stands between backticks and has `::` in it.
fn tests_of(claim: &str) -> Vec<(&str, &str)> {
    claim.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::")).collect()
}

/// Why a claim does not hold by its own words, if it does not.
fn fault_of(claim: &str) -> Option<String> {
    let tests = tests_of(claim);
    if tests.is_empty() {
        return Some(format!("no test holds: {claim}"));
    }
    tests.into_iter().find_map(|(file, name)| {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { return Some(format!("there is no file {file}")) };
        // A test of a macro's table stands there by its name alone.
        let is_there = text.contains(&format!("fn {name}("));
        (!is_there).then(|| format!("{file} has no test `{name}`"))
    })
}

#[test]
fn every_claim_has_its_tests() {
    let page = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let claims = claims(&page);
    assert!(claims.len() > 30, "the section on what is defended was not read: {} claims", claims.len());
    let faults: Vec<String> = claims.iter().filter_map(|claim| fault_of(claim)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_claim_without_a_test_is_seen() {
    assert!(fault_of("All is well.").unwrap().starts_with("no test holds"));
    assert!(fault_of("All is well. `src/nowhere.rs::a_test`").unwrap().contains("no file"));
    assert!(fault_of("All is well. `src/lib.rs::a_test`").unwrap().contains("has no test"));
    assert_eq!(claims("x\n## What is defended\n- one\n  more\n- two\n## Next\n- three\n"), ["one more", "two"]);
}
