//! Near misses, and what would have to differ: shown, and shown to be true by making it so.

use super::*;
use crate::domain::Role;

const RULES: &str = "\
@id(\"inside\") permit (principal is toolgate::Agent, action, resource) unless { context.effects.containsAny([\"egress\", \"external_write\"]) };\n\
@id(\"net\") @ask(\"uses the network\") permit (principal is toolgate::Agent, action, resource) when { context.effects.contains(\"egress\") };\n\
@id(\"docs\") permit (principal is toolgate::Agent, action == toolgate::Action::\"web.fetch\", resource) when { context.input has url && context.input.url like \"https://docs.example/*\" };\n\
@id(\"night\") @reason(\"not by programs\") forbid (principal, action == toolgate::Action::\"web.fetch\", resource) when { context.origin == \"code\" };\n\
@id(\"boss\") permit (principal is toolgate::Operator, action, resource);\n";

fn told(question: &Question<'_>) -> Explanation {
    policies(RULES).explain_question(question)
}

#[test]
fn near_misses_fail_in_one_thing() {
    let (tool, effects, arguments) = ("web.fetch".parse().unwrap(), Effects::only(Effect::Egress), json!({"url": "http://x/"}));
    let told = told(&question(&tool, &effects, &arguments));
    assert_eq!((told.verdict, told.considered), (Verdict::Ask, 4));
    let near: Vec<(&str, Verdict, &str)> =
        told.near.iter().map(|miss| (miss.rule.as_str(), miss.verdict, miss.misses.wanted.as_str())).collect();
    assert_eq!(
        near,
        [
            ("inside", Verdict::Allow, "!context.effects.contains(\"egress\")"),
            ("docs", Verdict::Allow, "context.input.url like \"https://docs.example/*\""),
            ("night", Verdict::Deny, "context.origin == \"code\""),
            ("boss", Verdict::Allow, "principal is toolgate::Operator"),
        ]
    );
    let found = |n: usize| told.near[n].misses.found.iter().map(|found| (found.path.as_str(), found.value.as_deref())).collect::<Vec<_>>();
    assert_eq!(found(0), [("context.effects", Some("[\"egress\"]"))]);
    assert_eq!(found(1), [("context.input.url", Some("\"http://x/\""))]);
    assert_eq!(found(2), [("context.origin", Some("\"client\""))]);
    assert_eq!(found(3), [("principal", Some("toolgate::Agent::\"local\""))]);
}

#[test]
fn what_would_have_to_differ_makes_the_difference() {
    let (tool, effects, arguments) = ("web.fetch".parse().unwrap(), Effects::only(Effect::Egress), json!({}));
    let by_code = Question { origin: "code", ..question(&tool, &effects, &arguments) };
    let explained = told(&by_code);
    assert_eq!(explained.verdict, Verdict::Deny);
    let differ: Vec<(&str, Must, Vec<&str>)> = explained
        .differ
        .iter()
        .map(|one| (one.rule.as_str(), one.must, one.conditions.iter().map(|condition| condition.wanted.as_str()).collect()))
        .collect();
    assert_eq!(
        differ,
        [
            ("net", Must::NotMatch, vec!["context.effects.contains(\"egress\")"]),
            ("night", Must::NotMatch, vec!["context.origin == \"code\""]),
            ("inside", Must::Match, vec!["!context.effects.contains(\"egress\")"]),
            ("docs", Must::Match, vec!["context.input has url", "context.input.url like \"https://docs.example/*\""]),
        ]
    );
    assert_eq!(explained.differ[3].conditions[0].found, [Found { path: "context.input.url".into(), value: None }]);
    // Each step of the way as it is told: without the program it asks, without the network it is allowed.
    let by_client = question(&tool, &effects, &arguments);
    assert_eq!(told(&by_client).verdict, Verdict::Ask);
    let pure = Effects::only(Effect::Pure);
    let allowed = told(&question(&tool, &pure, &arguments));
    assert_eq!((allowed.verdict, allowed.differ.len()), (Verdict::Allow, 0));
}

#[test]
fn where_no_rule_speaks_permits_are_offered_the_nearest_first() {
    let set = policies(
        "@id(\"far\") permit (principal, action, resource) when { context.origin == \"step\" && context.run has step };\n\
         @id(\"near\") @ask(\"look\") permit (principal, action, resource) when { context.origin == \"code\" };\n\
         @id(\"not-mine\") permit (principal == toolgate::Agent::\"other\", action, resource);",
    );
    let (tool, effects, arguments) = ("workspace.read".parse().unwrap(), Effects::only(Effect::Read), json!({}));
    let told = set.explain_question(&question(&tool, &effects, &arguments));
    assert_eq!(told.reasons[0].text, "no rule allows it");
    let offered: Vec<(&str, usize)> = told.differ.iter().map(|one| (one.rule.as_str(), one.conditions.len())).collect();
    assert_eq!(offered, [("near", 1), ("far", 2)]);
    let near: Vec<&str> = told.near.iter().map(|miss| miss.rule.as_str()).collect();
    assert_eq!(near, ["near", "not-mine"]);
    // The operator is somebody else.
    let operator = set.explain_question(&Question { role: Role::Operator, ..question(&tool, &effects, &arguments) });
    assert_eq!(operator.near.last().unwrap().misses.wanted, "principal == toolgate::Agent::\"other\"");
}

#[test]
fn what_policy_cannot_see_is_explained_as_far_as_it_goes() {
    let set = policies("@id(\"all\") permit (principal, action, resource);");
    let (tool, effects, arguments) = ("python.run".parse().unwrap(), Effects::only(Effect::Pure), json!({"timeout_sec": u64::MAX}));
    let told = set.explain_question(&question(&tool, &effects, &arguments));
    // No rule looks at the input, so the call is decided; the explanation does not fail over what no rule looks at.
    assert_eq!((told.verdict, told.matching.len()), (Verdict::Allow, 1));
    let (tool, arguments) = ("never.seen".parse().unwrap(), json!({}));
    assert_eq!(set.explain_question(&question(&tool, &effects, &arguments)).reasons[0].text, "policy does not know this tool");
}
