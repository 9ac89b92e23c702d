//! Recorded calls before two sets of rules: what changes is told, what is not known is counted apart.

use super::*;
use crate::domain::StepId;

fn recorded(tool: &str, effects: &[Effect], arguments: Value) -> RecordedCall {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    RecordedCall {
        call: CallId::mint(now),
        run: RunId::mint(now),
        at: now,
        tool: tool.to_owned(),
        actor: Actor::agent(Principal::local()),
        origin: "client".to_owned(),
        step: None,
        effects: Effects::of(effects.iter().copied()),
        hosts: std::collections::BTreeSet::new(),
        facts: Facts::default(),
        arguments,
        verdict: Verdict::Allow,
    }
}

#[test]
fn what_changes_is_told_by_call() {
    let old = policies("@id(\"all\") permit (principal, action, resource);");
    let new = policies(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"leak\") @ask(\"look\") permit (principal, action, resource) when { context.run.untrusted && context.effects.contains(\"egress\") };\n\
         @id(\"night\") forbid (principal, action, resource) when { context.run has step && context.run.step == \"s\" };\n\
         @id(\"host\") forbid (principal, action, resource) when { context.hosts.contains(\"evil.example\") };\n",
    );
    let mut labelled = recorded("web.fetch", &[Effect::Egress], json!({"url": "x"}));
    labelled.facts.labels.untrusted = true;
    let mut of_step = recorded("workspace.read", &[Effect::Read], json!({}));
    (of_step.origin, of_step.step) = ("step".to_owned(), Some("s".parse::<StepId>().unwrap()));
    let mut hosted = recorded("web.fetch", &[Effect::Egress], json!({"url": "x"}));
    hosted.hosts.insert("evil.example".to_owned());
    let mut replay = Replay::default();
    for call in [&labelled, &of_step, &hosted, &recorded("workspace.read", &[Effect::Read], json!({}))] {
        replay.ask(&old, &new, &tools(), call);
    }
    let changed: Vec<(CallId, Verdict, Verdict, &str)> =
        replay.changed.iter().map(|one| (one.call, one.old, one.new, one.new_rules[0].as_str())).collect();
    assert_eq!(
        changed,
        [
            (labelled.call, Verdict::Allow, Verdict::Ask, "leak"),
            (of_step.call, Verdict::Allow, Verdict::Deny, "night"),
            (hosted.call, Verdict::Allow, Verdict::Deny, "host"),
        ]
    );
    assert_eq!((replay.asked, replay.unasked.len()), (4, 0));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let (old, new) = (policies("permit (principal, action, resource);"), policies(""));
    let mut replay = Replay::default();
    for call in [
        recorded("never.seen", &[Effect::Pure], json!({})),
        recorded("web.fetch", &[Effect::Write], json!({"url": "x"})),
        recorded("web.fetch", &[Effect::Egress], json!({"address": "x"})),
    ] {
        replay.ask(&old, &new, &tools(), &call);
    }
    replay.skip(Unasked::Redacted);
    // Guessing would have told three changed verdicts.
    assert_eq!((replay.asked, replay.changed.len()), (0, 0));
    assert_eq!(replay.unasked, [(Unasked::Redacted, 1), (Unasked::NoTool, 1), (Unasked::NotFitting, 2)].into());
}
