//! What must hold for any rules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::Role;

const TOOLS: [&str; 3] = ["web.fetch", "python.run", "workspace.read"];

/// A rule of any kind over a few tools, conditions and kinds of principal.
fn rule() -> impl Strategy<Value = String> {
    let head = prop_oneof![Just("permit"), Just("@ask(\"look\") permit"), Just("forbid"), Just("@mode(\"log\") forbid")];
    (head, scope(), condition())
        .prop_map(|(head, (principal, action), condition)| format!("{head} ({principal}, {action}, resource) {condition};\n"))
}

fn scope() -> impl Strategy<Value = (&'static str, String)> {
    let principal = prop_oneof![
        Just("principal"),
        Just("principal is toolgate::Agent"),
        Just("principal is toolgate::Operator"),
        Just("principal == toolgate::Agent::\"local\""),
        Just("principal in toolgate::Operator::\"local\""),
        Just("principal == toolgate::Agent::\"other\""),
        Just("principal in toolgate::Role::\"builder\""),
        Just("principal in toolgate::Role::\"auditor\""),
        Just("principal is toolgate::Operator in toolgate::Role::\"builder\""),
    ];
    let action = prop_oneof![
        Just("action".to_owned()),
        prop::sample::select(&TOOLS).prop_map(|tool| format!("action == toolgate::Action::\"{tool}\"")),
        Just("action in [toolgate::Action::\"web.fetch\", toolgate::Action::\"eval.run\"]".to_owned()),
        Just("action in toolgate::Action::\"effect:egress\"".to_owned()),
        Just("action in [toolgate::Action::\"workspace\", toolgate::Action::\"web.fetch\"]".to_owned()),
    ];
    (principal, action)
}

/// Conditions on every part of a call.
const CONDITIONS: [&str; 16] = [
    "",
    "when { context.effects.contains(\"egress\") }",
    "unless { context.origin == \"client\" }",
    "when { context.run has step }",
    "when { context.origin == \"step\" || (context.input has url && context.input.url == \"x\") }",
    "when { context has input && context.origin == \"step\" }",
    "when { context.run.untrusted && context.run.private }",
    "when { context.run has workflow && context.run.workflow == \"w\" }",
    "when { context has run && context.run has step && context.run.step == \"s\" }",
    "when { [context.run.private].contains(true) && !context.effects.isEmpty() }",
    "unless { context.run.id like \"*_y\" || [context.run.untrusted, true] == [true] }",
    "when { context.hosts.contains(\"a.example\") }",
    "unless { context.scopes.contains(\"thing\") && context.hosts.isEmpty() }",
    "when { resource == toolgate::Workspace::\"run_x\" }",
    // A sum that is too large: the rule fails, and that denies.
    "when { context.origin == \"step\" || (context.input has timeout_sec && context.input.timeout_sec + 9223372036854775807 > 0) }",
    "when { context.origin == \"step\" || (principal in toolgate::Role::\"builder\" && action in toolgate::Action::\"workspace\") }",
];

fn condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&CONDITIONS)
}

/// What a call's context may hold besides its input: labels and workflow, hosts, step, effects.
fn surroundings() -> impl Strategy<Value = (Facts, BTreeSet<String>, Option<&'static str>, Effects)> {
    let facts = (any::<bool>(), any::<bool>(), prop::option::of(prop::sample::select(&["w", "v"])));
    let facts = facts.prop_map(|(untrusted, private, workflow)| Facts {
        labels: crate::domain::Labels { untrusted, private },
        workflow: workflow.map(str::to_owned),
        grants: Vec::new(),
    });
    let hosts = prop::collection::btree_set(prop::sample::select(&["a.example", "b.example"]).prop_map(str::to_owned), 0..2);
    let step = prop::option::of(prop::sample::select(&["s", "t"]));
    let effects = prop_oneof![Just(Effects::only(Effect::Egress)), Just(Effects::of([Effect::Read, Effect::Write]))];
    (facts, hosts, step, effects)
}

fn policies(text: &str) -> PolicySet {
    let who = Principals::new([("local".to_owned(), ["builder".to_owned()].into())], ["auditor"]);
    PolicySet::load_for(&[source("p.cedar", text)], &tools(), &who).unwrap_or_else(|problems| panic!("{problems}"))
}

fn verdicts(text: &str) -> Vec<Verdict> {
    let set = policies(text);
    let mut found = Vec::new();
    for tool in TOOLS {
        for effects in [&[Effect::Egress][..], &[Effect::Read]] {
            found.push(verdict(&set, tool, effects));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Only a permit can loosen, and only where nothing allowed the call and nothing forbade it.
    #[test]
    fn adding_a_rule_tightens_unless_it_is_a_permit(rules in prop::collection::vec(rule(), 0..4), extra in rule()) {
        let before = rules.concat();
        let (old, new) = (verdicts(&before), verdicts(&format!("{before}{extra}")));
        let forbidden = verdicts(&format!("{before}permit (principal, action, resource);\n"));
        for ((old, new), open) in old.into_iter().zip(new).zip(forbidden) {
            match (extra.starts_with("forbid"), extra.starts_with("@ask")) {
                (true, _) => prop_assert!(new >= old),
                (false, _) if extra.starts_with("@mode") => prop_assert_eq!(new, old),
                (false, asks) => {
                    // `open` is `Deny` only where a rule forbids: no permit undoes that, and none undoes an `Ask`.
                    prop_assert!(new >= old || (old == Verdict::Deny && open != Verdict::Deny));
                    prop_assert!(!asks || new != Verdict::Allow || old == Verdict::Allow);
                }
            }
        }
    }

    /// Rules are asked in slices by tool and role, without what the slice settles, about the parts of the call they look at; the strictest
    /// of all rules, each asked alone by Cedar's authorizer as it was written and about the whole call, gives the same verdict and reasons.
    #[test]
    fn slices_decide_as_the_whole_does(
        rules in prop::collection::vec(rule(), 0..6),
        (url, timeout) in (prop::option::of(prop::sample::select(&["x", "y"])), prop::option::of(0_i64..3)),
        (facts, hosts, step, effects) in surroundings(),
    ) {
        let set = policies(&rules.concat());
        let mut arguments = json!({ "url": url, "timeout_sec": timeout });
        arguments.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        for tool in TOOLS {
            let name = tool.parse().unwrap();
            for role in [Role::Agent, Role::Operator, Role::System] {
                for origin in ["client", "step"] {
                    let step = step.filter(|_| origin == "step");
                    let question = Question { role, origin, step, facts: &facts, hosts: &hosts, ..question(&name, &effects, &arguments) };
                    let told = set.explain_question(&question);
                    let each = set.matching_of_all(&question);
                    let strictest = each.iter().map(|(_, verdict)| *verdict).max().unwrap_or(Verdict::Deny);
                    prop_assert_eq!(told.verdict, strictest);
                    prop_assert_eq!(told.matching.iter().map(|rule| &rule.rule).collect::<Vec<_>>(), each.iter().map(|(rule, _)| rule).collect::<Vec<_>>());
                    let mut reasons: Vec<&str> = told.reasons.iter().map(|reason| reason.rule.as_str()).collect();
                    let mut decisive: Vec<&str> = each.iter().filter(|(_, verdict)| *verdict == strictest).map(|(rule, _)| rule.as_str()).collect();
                    if decisive.is_empty() {
                        decisive.push("default");
                    }
                    reasons.sort_unstable();
                    decisive.sort_unstable();
                    prop_assert_eq!(reasons, decisive);
                }
            }
        }
    }

    #[test]
    fn any_text_is_refused_or_loads(text in "\\PC{0,120}") {
        let _ = PolicySet::load(&[source("p.cedar", &text)], &tools());
    }
}

/// Each condition alone, about every mixture of surroundings: what rules do not look at is not put before them, and makes no difference.
#[test]
fn what_is_left_out_of_a_question_decides_nothing() {
    let flags = [false, true];
    let arguments = [json!({}), json!({ "url": "x", "timeout_sec": 1 })];
    let hosts = [BTreeSet::new(), BTreeSet::from(["a.example".to_owned()])];
    let effects = [Effects::only(Effect::Egress), Effects::of([Effect::Read, Effect::Write])];
    let name = "web.fetch".parse().unwrap();
    for condition in CONDITIONS {
        let set = policies(&format!("permit (principal, action, resource) {condition};\n"));
        let mut seen = BTreeSet::new();
        for (untrusted, private) in flags.iter().flat_map(|one| flags.map(|other| (*one, other))) {
            for workflow in [None, Some("w"), Some("v")] {
                let labels = crate::domain::Labels { untrusted, private };
                let facts = Facts { labels, workflow: workflow.map(str::to_owned), grants: Vec::new() };
                for (origin, step) in [("client", None), ("step", Some("s")), ("step", Some("t"))] {
                    for ((arguments, hosts), effects) in
                        arguments.iter().zip(&hosts).flat_map(|pair| effects.iter().map(move |e| (pair, e)))
                    {
                        let question = Question { origin, step, facts: &facts, hosts, ..question(&name, effects, arguments) };
                        let alone = set.matching_of_all(&question).first().map_or(Verdict::Deny, |(_, verdict)| *verdict);
                        assert_eq!(set.would(&question).verdict, alone, "{condition} {question:?}");
                        seen.insert(alone);
                    }
                }
            }
        }
        let always = condition.is_empty() || condition.contains("resource ==");
        assert!(seen.len() == 2 || always, "{condition} decides nothing here: {seen:?}");
    }
}
