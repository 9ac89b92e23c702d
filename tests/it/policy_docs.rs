//! The examples of `docs/policy.md` load, and its tests hold.

use std::collections::BTreeSet;

use toolgate::domain::Profile;
use toolgate::policy::{PolicySet, PolicySource, Principals, shipped, tests_of};

use crate::support::{Toolgate, root};

/// The fenced blocks of one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_policy_page_load_and_its_tests_hold() {
    let page = std::fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let (rules, tests) = (blocks(&page, "cedar"), blocks(&page, "yaml"));
    assert!(rules.len() >= 4 && tests.len() == 1, "{} {}", rules.len(), tests.len());
    let tools = toolgate::manifest::shipped().unwrap();
    let mut sources = shipped(Profile::Default);
    sources.extend(rules.into_iter().enumerate().map(|(n, text)| PolicySource { name: format!("docs/policy.md #{n}"), text }));
    let who = Principals::new([("ann".to_owned(), BTreeSet::from(["reviewer".to_owned()]))], [""; 0]);
    let set = PolicySet::load_for(&sources, &tools, &who).unwrap_or_else(|problems| panic!("{problems}"));
    let outcomes = tests_of(&set, &tools, &[PolicySource { name: "docs/policy.md".into(), text: tests[0].clone() }]);
    let outcomes = outcomes.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(outcomes.iter().all(|outcome| outcome.passed()), "{outcomes:#?}");
}

#[test]
fn the_settings_of_the_policy_page_are_settings() {
    let page = std::fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    let settings = blocks(&page, "toml");
    assert_eq!(settings.len(), 2);
    std::fs::write(toolgate.data().join("toolgate.toml"), settings.join("\n")).unwrap();
    let shown = toolgate.json(0, &["config", "show", "--json"]);
    assert_eq!(shown["settings"]["policy.profile"]["value"], "team");
    // Under `team` nobody who has no role reads; the rules name roles that nobody has, and load.
    let _list = toolgate.json(0, &["tools", "call", "workspace.list", "{}", "--json"]);
}

#[test]
fn a_profile_holds_and_wrong_words_are_told() {
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    let set = |text: &str| std::fs::write(toolgate.data().join("toolgate.toml"), text).unwrap();
    let call = || toolgate.run(&["tools", "call", "workspace.list", "{}", "--json"]);
    set("[policy]\nprofile = \"none\"\n");
    let refused = call().exits(3);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("no rule allows it"), "{}{}", refused.stdout, refused.stderr);
    for profile in ["default", "read-only", "locked-down", "team"] {
        set(&format!("[policy]\nprofile = \"{profile}\"\n"));
        let _ran = call().exits(0);
    }
    for (text, told) in [
        ("[policy]\nprofile = \"open\"\n", "toolgate.toml:2: `policy.profile` `open` is none of default, read-only"),
        ("[principals.ann]\nroles = \"x\"\n", "toolgate.toml:2: `principals.ann.roles` must be a list"),
        ("[principals.ann]\nroles = [\"A b\"]\n", "a role is lower case letters"),
        ("[principals.ann]\nrole = [\"a\"]\n", "unknown key `principals.ann.role`"),
        ("[principals]\nann = 3\n", "`principals.ann` must be a table"),
        ("[labels]\nprivate_paths = [\"../x\"]\n", "toolgate.toml:2: `labels.private_paths` has a pattern that cannot be used"),
    ] {
        set(text);
        let wrong = call().exits(2);
        assert!(wrong.stderr.contains(told), "{told}: {}", wrong.stderr);
    }
    set("");
    std::fs::create_dir_all(toolgate.data().join("policies")).unwrap();
    std::fs::write(toolgate.data().join("policies/a.cedar"), "permit (principal in toolgate::Role::\"boss\", action, resource);").unwrap();
    assert!(call().exits(2).stderr.contains("nobody has the role `boss`"));
}
