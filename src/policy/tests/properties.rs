//! What must hold for any rules.

use proptest::prelude::*;

use super::*;

const TOOLS: [&str; 3] = ["web.fetch", "python.run", "workspace.read"];

/// A rule of any kind over a few tools, conditions and kinds of principal.
fn rule() -> impl Strategy<Value = String> {
    let head = prop_oneof![Just("permit"), Just("@ask(\"look\") permit"), Just("forbid")];
    (head, scope(), condition()).prop_map(|(head, (principal, action), condition)| format!("{head} ({principal}, {action}, resource) {condition};\n"))
}

fn scope() -> impl Strategy<Value = (&'static str, String)> {
    let principal = prop_oneof![Just("principal"), Just("principal is toolgate::Agent"), Just("principal is toolgate::Operator"), Just("principal == toolgate::Agent::\"local\"")];
    let action = prop_oneof![
        Just("action".to_owned()),
        prop::sample::select(&TOOLS).prop_map(|tool| format!("action == toolgate::Action::\"{tool}\"")),
        Just("action in [toolgate::Action::\"web.fetch\", toolgate::Action::\"eval.run\"]".to_owned()),
    ];
    (principal, action)
}

fn condition() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("when { context.effects.contains(\"egress\") }"),
        Just("unless { context.origin == \"client\" }"),
        Just("when { context.run has step }"),
    ]
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
            match (extra.starts_with("forbid"), extra.starts_with('@')) {
                (true, _) => prop_assert!(new >= old),
                (false, asks) => {
                    // `open` is `Deny` only where a rule forbids: no permit undoes that, and none undoes an `Ask`.
                    prop_assert!(new >= old || (old == Verdict::Deny && open != Verdict::Deny));
                    prop_assert!(!asks || new != Verdict::Allow || old == Verdict::Allow);
                }
            }
        }
    }

    /// The slices by tool and role leave nothing out: the whole set gives the same answer.
    #[test]
    fn slices_decide_as_the_whole_does(rules in prop::collection::vec(rule(), 0..6), always in Just("context.input has url || !(context.input has url)")) {
        let plain = rules.concat();
        // A rule that concerns all tools and looks at the input, and never forbids: now every slice reads the input.
        let seeing = format!("{plain}forbid (principal, action == toolgate::Action::\"web.fetch\", resource) unless {{ {always} }};\n");
        if let Ok(set) = PolicySet::load(&[source("p.cedar", &seeing)], &tools()) {
            let plain = policies(&plain);
            for effects in [&[Effect::Egress][..], &[Effect::Read]] {
                prop_assert_eq!(verdict(&set, "web.fetch", effects), verdict(&plain, "web.fetch", effects));
            }
        }
        let set = policies(&rules.concat());
        for tool in TOOLS {
            let name = tool.parse().unwrap();
            let effects = Effects::only(Effect::Egress);
            let arguments = json!({});
            let told = set.explain_question(&question(&name, &effects, &arguments));
            let strictest = told.matching.iter().map(|rule| rule.verdict).max().unwrap_or(Verdict::Deny);
            prop_assert_eq!(told.verdict, strictest);
        }
    }

    #[test]
    fn any_text_is_refused_or_loads(text in "\\PC{0,120}") {
        let _ = PolicySet::load(&[source("p.cedar", &text)], &tools());
    }
}
