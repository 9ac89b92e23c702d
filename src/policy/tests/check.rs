//! What is told of rules that load, and that a rule told to be unreachable never decides.

use proptest::prelude::*;

use super::*;
use crate::domain::{Profile, Role};

/// Findings that are no notes, as `kind rule level`.
fn findings(text: &str) -> Vec<String> {
    let told = policies(text).check(&tools(), &[]).into_iter().filter(|finding| finding.kind != FindingKind::Untested);
    told.map(|finding| format!("{} {} {}: {}", finding.level.as_str(), finding.kind.as_str(), finding.rule, finding.what)).collect()
}

#[test]
fn what_can_never_match_is_told() {
    assert_eq!(
        findings(
            "@id(\"both\") forbid (principal, action, resource) when { context.effects.contains(\"read\") } unless { context.effects.contains(\"read\") };\n\
             @id(\"two\") forbid (principal, action, resource) when { context.origin == \"step\" && context.origin == \"code\" };\n\
             @id(\"no-such-effect\") forbid (principal, action == toolgate::Action::\"workspace.read\", resource) when { context.effects.contains(\"egress\") };\n\
             @id(\"no-such-scope\") forbid (principal, action, resource) unless { context.scopes.contains(\"thing\") };\n\
             @id(\"pure\") forbid (principal, action == toolgate::Action::\"workspace.read\", resource) when { context.effects.contains(\"pure\") };\n"
        ),
        [
            "error unreachable both: it asks for `context.effects.contains(\"read\")` and for the opposite",
            "error unreachable two: `context.origin == \"step\"` and `context.origin == \"code\"` never hold together",
            "error unreachable no-such-effect: `context.effects.contains(\"egress\")` holds for no call of the tools it speaks of",
            "error unreachable no-such-scope: `!context.scopes.contains(\"thing\")` holds for no call of the tools it speaks of",
        ]
    );
    // A sum that fails denies, so such a rule can decide.
    assert!(
        findings(
            "forbid (principal, action == toolgate::Action::\"python.run\", resource) when { context.input has timeout_sec \
             && context.input.timeout_sec + 1 > 3 && !(context.input.timeout_sec + 1 > 3) };"
        )
        .is_empty()
    );
}

#[test]
fn a_permit_that_is_forbidden_anyway_and_rules_that_say_nothing_new_are_told() {
    assert_eq!(
        findings(
            "@id(\"gone\") permit (principal is toolgate::Agent, action == toolgate::Action::\"web.fetch\", resource) when { context.origin == \"step\" };\n\
             @id(\"wall\") forbid (principal is toolgate::Agent, action in [toolgate::Action::\"web.fetch\", toolgate::Action::\"repo.git.push\"], resource);\n\
             @id(\"narrow\") forbid (principal == toolgate::Agent::\"x\", action == toolgate::Action::\"web.fetch\", resource) when { context.origin == \"code\" };\n\
             @id(\"first\") permit (principal is toolgate::Operator, action, resource) when { context.origin == \"cli\" };\n\
             @id(\"again\") permit (principal is toolgate::Operator, action, resource) unless { !(\"cli\" == context.origin) };\n\
             @id(\"asks\") @ask(\"look\") permit (principal is toolgate::Operator, action == toolgate::Action::\"web.fetch\", resource);\n\
             @id(\"other\") permit (principal is toolgate::Operator, action, resource) when { context.origin == \"client\" };\n"
        ),
        [
            "error unreachable gone: whatever it permits, `wall` (p.cedar:2) forbids",
            "warning shadowed narrow: `wall` (p.cedar:2) matches whenever it does, with the same verdict",
            "warning shadowed again: `first` (p.cedar:4) matches whenever it does, with the same verdict",
        ]
    );
    // Neither scope nor conditions settle these.
    assert!(
        findings(
            "@id(\"a\") forbid (principal == toolgate::Agent::\"x\", action, resource);\n\
             @id(\"b\") forbid (principal == toolgate::Agent::\"y\", action, resource);\n\
             @id(\"c\") forbid (principal, action, resource) when { context.origin == \"step\" || context.origin == \"code\" };\n"
        )
        .is_empty()
    );
}

#[test]
fn permits_that_let_agents_out_are_told() {
    assert_eq!(
        findings("@id(\"all\") permit (principal, action, resource);"),
        [
            "warning over-broad all: it lets every agent use every tool, also where the effect is `egress` and `external_write`, and nobody is asked"
        ]
    );
    assert_eq!(
        findings("@id(\"net\") permit (principal is toolgate::Agent, action == toolgate::Action::\"web.fetch\", resource);"),
        ["warning over-broad net: it lets agents do what has the effect `egress`, and nobody is asked"]
    );
    // With a condition on what is asked for it is likely meant.
    assert_eq!(
        findings(
            "@id(\"one\") permit (principal is toolgate::Agent, action == toolgate::Action::\"web.fetch\", resource) when { context.input has url && context.input.url == \"x\" };"
        ),
        ["note over-broad one: it lets agents do what has the effect `egress`, and nobody is asked"]
    );
    let quiet = [
        "permit (principal is toolgate::Operator, action, resource);",
        "permit (principal is toolgate::Agent, action, resource) unless { context.effects.containsAny([\"egress\", \"external_write\"]) };",
        "permit (principal is toolgate::Agent, action, resource) when { [\"pure\", \"read\", \"write\"].containsAll(context.effects) };",
        "@ask(\"look\") permit (principal is toolgate::Agent, action == toolgate::Action::\"web.fetch\", resource);",
        "permit (principal is toolgate::Agent, action == toolgate::Action::\"workspace.read\", resource);",
    ];
    for text in quiet {
        assert!(findings(text).is_empty(), "{text}");
    }
    // What another rule asks about is held back.
    assert_eq!(
        findings(
            "@id(\"all\") permit (principal is toolgate::Agent, action, resource);\n\
             @id(\"net\") @ask(\"x\") permit (principal is toolgate::Agent, action, resource) when { context.effects.contains(\"egress\") };\n\
             @id(\"out\") forbid (principal is toolgate::Agent, action, resource) when { context.effects.contains(\"external_write\") };\n"
        ),
        ["note over-broad all: it lets agents use every tool, whatever the effect; what goes out is held back only by `net`, `out`"]
    );
}

#[test]
fn rules_without_tests_are_told() {
    let set = policies(
        "@id(\"a\") permit (principal, action == toolgate::Action::\"workspace.read\", resource);\n@id(\"b\") forbid (principal, action == toolgate::Action::\"web.fetch\", resource);",
    );
    let tests = source("p.test.yaml", "tests: [{call: {tool: workspace.read}, expect: allow}]");
    let outcomes = tests_of(&set, &tools(), &[tests]).unwrap();
    let told: Vec<_> = set.check(&tools(), &outcomes).into_iter().map(|finding| (finding.kind, finding.rule, finding.line)).collect();
    assert_eq!(told, [(FindingKind::Untested, "b".to_owned(), 2)]);
}

#[test]
fn shipped_rules_have_no_errors_and_no_warnings() {
    let all = crate::manifest::shipped().unwrap();
    for profile in Profile::ALL {
        let who = Principals::new([], profile.roles().iter().copied());
        let set = PolicySet::load_for(&shipped(profile), &all, &who).unwrap();
        let tests = tests_of(&set, &all, &shipped_tests(profile)).unwrap();
        let bad: Vec<_> = set.check(&all, &tests).into_iter().filter(|finding| finding.level > Level::Note).collect();
        assert!(bad.is_empty(), "{}: {bad:#?}", profile.as_str());
    }
}

#[test]
fn every_shipped_rule_is_named_by_a_test() {
    let all = crate::manifest::shipped().unwrap();
    for profile in Profile::ALL {
        let who = Principals::new([], profile.roles().iter().copied());
        let set = PolicySet::load_for(&shipped(profile), &all, &who).unwrap();
        let tests = tests_of(&set, &all, &shipped_tests(profile)).unwrap();
        let failed: Vec<_> = tests.iter().filter(|test| !test.passed()).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", profile.as_str());
        for rule in set.rules() {
            let named = tests.iter().any(|test| test.expected_rule.as_ref() == Some(&rule.id));
            assert!(named, "no test of `{}` names its rule `{}`", profile.as_str(), rule.id);
        }
    }
}

#[test]
fn a_test_states_roles_whatever_settings_give() {
    let text = "@id(\"b\") permit (principal in toolgate::Role::\"builder\", action, resource);\n\
                @id(\"r\") @ask(\"x\") permit (principal, action, resource) when { principal in toolgate::Role::\"reviewer\" };";
    let who = Principals::new([("ann".to_owned(), ["builder".to_owned()].into())], ["reviewer"]);
    let set = PolicySet::load_for(&[source("p.cedar", text)], &tools(), &who).unwrap_or_else(|problems| panic!("{problems}"));
    let found = |call: &str| {
        let tests = source("p.test.yaml", &format!("tests: [{{call: {{tool: workspace.read, {call}}}, expect: allow}}]"));
        tests_of(&set, &tools(), &[tests]).map(|outcomes| outcomes[0].found)
    };
    for (call, verdict) in [
        ("principal: ann", Verdict::Allow),
        ("principal: ann, roles: []", Verdict::Deny),
        ("principal: ann, roles: [reviewer]", Verdict::Ask),
        ("principal: bert, roles: [builder]", Verdict::Allow),
        ("role: operator, roles: [builder, reviewer]", Verdict::Ask),
        ("principal: bert", Verdict::Deny),
    ] {
        assert_eq!(found(call).unwrap(), verdict, "{call}");
    }
    let told = found("roles: [buider]").unwrap_err().to_string();
    assert!(told.contains("`buider` is no role that rules may name; known: builder, reviewer"), "{told}");
}

/// Conditions that can contradict each other or a manifest.
fn condition() -> impl Strategy<Value = String> {
    let part = prop::sample::select(&[
        "context.effects.contains(\"egress\")",
        "context.effects.contains(\"read\")",
        "context.effects.containsAny([\"egress\", \"external_write\"])",
        "[\"pure\", \"read\"].containsAll(context.effects)",
        "context.origin == \"step\"",
        "context.origin != \"step\"",
        "\"client\" == context.origin",
        "context.run has step",
        "context.scopes.contains(\"thing\")",
        "(context.input has url && context.input.url == \"x\")",
        "(context.input has timeout_sec && context.input.timeout_sec + 9223372036854775807 > 0)",
        "(context.origin == \"code\" || context.run has step)",
    ]);
    let clause = (prop::sample::select(&["when", "unless"]), prop::collection::vec((any::<bool>(), part), 1..4), any::<bool>()).prop_map(
        |(word, parts, all)| {
            let parts: Vec<String> =
                parts.into_iter().map(|(yes, part)| if yes { part.to_owned() } else { format!("!({part})") }).collect();
            format!("{word} {{ {} }}", parts.join(if all { " && " } else { " || " }))
        },
    );
    prop::collection::vec(clause, 0..3).prop_map(|clauses| clauses.join(" "))
}

fn rule() -> impl Strategy<Value = String> {
    let head = prop::sample::select(&["permit", "@ask(\"look\") permit", "forbid"]);
    let principal = prop::sample::select(&[
        "principal",
        "principal is toolgate::Agent",
        "principal == toolgate::Agent::\"local\"",
        "principal is toolgate::Operator",
    ]);
    let action = prop::sample::select(&[
        "action",
        "action == toolgate::Action::\"web.fetch\"",
        "action == toolgate::Action::\"python.run\"",
        "action == toolgate::Action::\"workspace.read\"",
    ]);
    (head, principal, action, condition())
        .prop_map(|(head, principal, action, condition)| format!("{head} ({principal}, {action}, resource) {condition};\n"))
}

/// Every call that a few tools, roles, origins, effects within the manifests, and arguments make.
fn every_call(mut ask: impl FnMut(&Question<'_>)) {
    let tools = tools();
    for tool in tools.iter().filter(|tool| ["web.fetch", "python.run", "workspace.read"].contains(&tool.name.as_str())) {
        let mut effects: Vec<Effects> = tool.effects.iter().chain([Effect::Pure]).map(Effects::only).collect();
        effects.push(tool.effects.clone());
        let inputs = match tool.name.as_str() {
            "web.fetch" => vec![json!({}), json!({"url": "x"})],
            "python.run" => vec![json!({}), json!({"timeout_sec": 5}), json!({"timeout_sec": -5})],
            _ => vec![json!({})],
        };
        for effects in &effects {
            for arguments in &inputs {
                for (role, principal) in
                    [(Role::Agent, "local"), (Role::Agent, "other"), (Role::Operator, "operator"), (Role::System, "toolgate")]
                {
                    for (origin, step) in [("client", None), ("cli", None), ("code", None), ("step", Some("s"))] {
                        ask(&Question { role, principal, origin, step, ..question(&tool.name, effects, arguments) });
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// No false alarm: what is told to be unreachable is never among the reasons, and what is shadowed never loosens by its going.
    #[test]
    fn what_is_told_is_so(rules in prop::collection::vec(rule(), 1..5)) {
        let text = rules.concat();
        // Cedar refuses some of these by itself.
        let Ok(set) = PolicySet::load(&[source("p.cedar", &text)], &tools()) else { return Ok(()) };
        let found = set.check(&tools(), &[]);
        let of = |kind: FindingKind| found.iter().filter(move |finding| finding.kind == kind);
        let mut wrong = None;
        every_call(|question| {
            let decision = set.would(question);
            let named = |rule: &str| decision.reasons.iter().any(|reason| reason.rule == rule);
            // A rule that fails is told as the reason it fails; that is no match.
            let fails = |rule: &str| decision.failures.iter().any(|failure| failure.rule == rule);
            if let Some(finding) = of(FindingKind::Unreachable).find(|finding| named(&finding.rule) && !fails(&finding.rule)) {
                wrong = Some(format!("{finding:?} decides {question:?}"));
            }
            for finding in of(FindingKind::Shadowed) {
                let told = set.explain_question(question);
                let matched = told.matching.iter().find(|rule| rule.rule == finding.rule && rule.failure.is_none());
                let covered = |rule: &MatchedRule| rule.rule != finding.rule && matched.is_some_and(|own| rule.verdict >= own.verdict);
                if matched.is_some() && !told.matching.iter().any(covered) {
                    wrong = Some(format!("{finding:?} alone speaks of {question:?}"));
                }
            }
        });
        prop_assert!(wrong.is_none(), "{}\n{text}", wrong.unwrap_or_default());
    }
}
