use Effect::{Egress, ExternalWrite, Pure, Read, Write};

use super::*;
use crate::domain::{ErrorCode, Profile, Role};

const ALLOW: &str = "permit (principal, action, resource);";

#[test]
fn nothing_is_allowed_that_no_rule_allows() {
    let none = policies("");
    let decision = decide(&none, "workspace.read", json!({}));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.refusal().code, ErrorCode::PolicyDenied);
    assert_eq!(decision.refusal().message, "policy refused the call: no rule allows it");
    let other = policies(r#"permit (principal, action == toolgate::Action::"workspace.write", resource);"#);
    assert_eq!(decide(&other, "workspace.read", json!({})).verdict, Verdict::Deny);
    assert_eq!(decide(&other, "workspace.write", json!({})).verdict, Verdict::Allow);
}

#[test]
fn forbid_wins_and_says_why() {
    let set = policies(&format!(
        "{ALLOW}\n@id(\"no-force\") @reason(\"history is not rewritten\")\n\
         forbid (principal, action == toolgate::Action::\"repo.git.push\", resource) when {{ context.input has force && context.input.force }};"
    ));
    let decision = decide(&set, "repo.git.push", json!({"force": true}));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.reasons, [Reason { rule: "no-force".into(), text: "history is not rewritten".into() }]);
    assert_eq!(decision.refusal().message, "policy refused the call: history is not rewritten");
    assert_eq!(decide(&set, "repo.git.push", json!({"force": false})).verdict, Verdict::Allow);
    assert_eq!(decide(&set, "repo.git.push", json!({})).verdict, Verdict::Allow);
}

#[test]
fn one_rule_that_asks_is_enough_to_ask() {
    let set = policies(&format!(
        "{ALLOW}\n@id(\"net\") @ask(\"uses the network\")\npermit (principal, action, resource) when {{ context.effects.contains(\"egress\") }};"
    ));
    let decision = decide(&set, "web.fetch", json!({"url": "x"}));
    assert_eq!(decision.verdict, Verdict::Ask);
    assert_eq!(decision.reasons, [Reason { rule: "net".into(), text: "uses the network".into() }]);
    assert_eq!(decide(&set, "workspace.read", json!({})).verdict, Verdict::Allow);
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    // Overflow is the one error that the checked language still allows.
    let set = policies(&format!(
        "{ALLOW}\n@id(\"sum\") permit (principal, action == toolgate::Action::\"python.run\", resource)\n\
         when {{ context.input has timeout_sec && context.input.timeout_sec + 9223372036854775807 > 3 }};"
    ));
    assert_eq!(decide(&set, "python.run", json!({"timeout_sec": -5})).verdict, Verdict::Allow);
    let decision = decide(&set, "python.run", json!({"timeout_sec": 5}));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.failures.len(), 1);
    assert_eq!(decision.failures[0].rule, "sum");
    assert!(decision.failures[0].text.contains("overflow"), "{:?}", decision.failures);
    // The caller is told which rule, not what is in it.
    assert!(!decision.refusal().message.contains("overflow"), "{}", decision.refusal().message);
    // A rule for another tool is not even asked.
    assert_eq!(decide(&set, "workspace.read", json!({})).verdict, Verdict::Allow);
}

#[test]
fn input_that_policy_cannot_see_denies() {
    let set = policies(&format!(
        "{ALLOW} forbid (principal, action == toolgate::Action::\"python.run\", resource) when {{ context.input has timeout_sec && context.input.timeout_sec > 9 }};"
    ));
    let decision = decide(&set, "python.run", json!({"timeout_sec": u64::MAX}));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert!(decision.failures[0].text.contains("/input/timeout_sec"), "{:?}", decision.failures);
    assert_eq!(decide(&set, "python.run", json!({"timeout_sec": 9.0})).verdict, Verdict::Allow);
    assert_eq!(decide(&set, "python.run", json!({"timeout_sec": 10.0})).verdict, Verdict::Deny);
}

#[test]
fn rules_see_input_effects_origin_scopes_and_run() {
    let set = policies(
        "permit (principal == toolgate::Agent::\"local\", action in [toolgate::Action::\"python.run\", toolgate::Action::\"eval.run\"], resource)\n\
         when { context.origin == \"client\" && context.scopes.contains(\"thing\") && context.run.id like \"run_*\" && !(context.run has step) }\n\
         unless { context.effects.contains(\"egress\") };\n\
         permit (principal, action == toolgate::Action::\"python.run\", resource)\n\
         when { context.input has files && context.input.files.contains({path: \"a\", size: 3}) && context.input has runtime && context.input.runtime == \"wasm\" };\n",
    );
    assert_eq!(verdict(&set, "eval.run", &[Pure]), Verdict::Allow);
    assert_eq!(verdict(&set, "python.run", &[Pure]), Verdict::Allow);
    assert_eq!(verdict(&set, "python.run", &[Egress]), Verdict::Deny);
    let files = json!({"files": [{"path": "b", "size": 1}, {"path": "a", "size": 3}], "runtime": "wasm", "code": null});
    assert_eq!(decide(&set, "python.run", files).verdict, Verdict::Allow);
}

#[test]
fn a_grant_comes_once_and_for_the_call_that_was_decided_on() {
    let set = policies(ALLOW);
    let read = tools().into_iter().find(|tool| tool.name.as_str() == "workspace.read").unwrap();
    let (one, other) = (call_of(&read, json!({"path": "a"}), set.digest()), call_of(&read, json!({"path": "b"}), set.digest()));
    let decision = set.decide(&one, &Facts::default());
    assert!(decision.grant(&other).is_none());
    let grant = decision.grant(&one).unwrap();
    assert!(grant.covers(&one) && !grant.covers(&other));
    assert!(decision.grant(&one).is_none(), "a second run needs a second decision");
    let denied = policies("").decide(&one, &Facts::default());
    assert!(denied.grant(&one).is_none());
    let mut forged = policies("").decide(&one, &Facts::default());
    forged.verdict = Verdict::Allow;
    assert!(forged.grant(&one).is_none());
}

#[test]
fn an_unknown_tool_is_refused() {
    let set = policies(ALLOW);
    let stranger = tool("never.seen", &[Pure], &json!({ "type": "object" }));
    assert_eq!(set.decide(&call_of(&stranger, json!({}), set.digest()), &Facts::default()).verdict, Verdict::Deny);
}

#[test]
fn explain_names_every_rule_that_matched() {
    let set = policies(&format!(
        "{ALLOW}\n@id(\"ask\") @ask(\"look\")\npermit (principal, action, resource);\n@id(\"no\") @reason(\"closed\")\nforbid (principal, action, resource);\n@id(\"other\")\nforbid (principal, action == toolgate::Action::\"web.fetch\", resource);"
    ));
    let read = tools().into_iter().find(|tool| tool.name.as_str() == "workspace.read").unwrap();
    let told = set.explain(&call_of(&read, json!({}), set.digest()), &Facts::default());
    assert_eq!(told.verdict, Verdict::Deny);
    let rules: Vec<(&str, u64, Verdict)> = told.matching.iter().map(|rule| (rule.rule.as_str(), rule.line, rule.verdict)).collect();
    assert_eq!(rules, [("p.cedar:1", 1, Verdict::Allow), ("ask", 2, Verdict::Ask), ("no", 4, Verdict::Deny)]);
    assert_eq!(told.considered, 3);
}

#[test]
fn shipped_policy_decides_by_effect() {
    let set = PolicySet::load(&shipped(Profile::Default), &tools()).unwrap();
    for (effects, expected) in [
        (&[Pure][..], Verdict::Allow),
        (&[Read], Verdict::Allow),
        (&[Write], Verdict::Allow),
        (&[Read, Write], Verdict::Allow),
        (&[Egress], Verdict::Ask),
        (&[ExternalWrite], Verdict::Ask),
        (&[Write, ExternalWrite], Verdict::Ask),
        (&[Pure, Egress], Verdict::Ask),
    ] {
        assert_eq!(verdict(&set, "python.run", effects), expected, "{effects:?}");
    }
    // A plain permit in the home cannot take back what is asked.
    let mut sources = shipped(Profile::Default);
    sources.push(source("home.cedar", ALLOW));
    let set = PolicySet::load(&sources, &tools()).unwrap();
    assert_eq!(verdict(&set, "web.fetch", &[Egress]), Verdict::Ask);
}

#[test]
fn shipped_tests_hold() {
    let mut all = crate::manifest::shipped().unwrap();
    for tool in tools() {
        if !all.iter().any(|other| other.name == tool.name) {
            all.push(tool);
        }
    }
    let set = PolicySet::load(&shipped(Profile::Default), &all).unwrap();
    let outcomes = tests_of(&set, &all, &shipped_tests(Profile::Default)).unwrap_or_else(|problems| panic!("{problems}"));
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    assert!(failed.is_empty() && outcomes.len() > 5, "{failed:#?}");
}

#[test]
fn every_shipped_tool_is_decided_by_its_effects() {
    let all = crate::manifest::shipped().unwrap();
    let set = PolicySet::load(&shipped(Profile::Default), &all).unwrap();
    // `tool.call` has no action: what is decided on is the tool that it names.
    assert_eq!(verdict(&set, "tool.call", &[Read]), Verdict::Deny);
    for tool in all.iter().filter(|tool| tool.name.as_str() != "tool.call") {
        for effect in tool.effects.iter() {
            let is_search = tool.name.as_str() == "web.search";
            let expected = if effect <= Write || is_search { Verdict::Allow } else { Verdict::Ask };
            assert_eq!(verdict(&set, tool.name.as_str(), &[effect]), expected, "{} {effect:?}", tool.name);
        }
        let (effects, arguments) = (tool.effects.clone(), json!({}));
        let by = |role| set.would(&Question { role, ..question(&tool.name, &effects, &arguments) }).verdict;
        assert_eq!((by(Role::Operator), by(Role::System)), (Verdict::Allow, Verdict::Deny), "{}", tool.name);
    }
}
