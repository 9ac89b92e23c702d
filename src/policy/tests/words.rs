//! What rules can name: roles, groups of tools, what the run has seen, hosts, the workspace; and rules on trial.

use std::collections::BTreeSet;

use super::*;
use crate::domain::{Labels, Problems, Role};
use crate::policy::Facts;

const ALLOW: &str = "permit (principal, action, resource);";

fn principals() -> Principals {
    let roles = |words: &[&str]| words.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    Principals::new([("ann".to_owned(), roles(&["reviewer", "builder"])), ("bob".to_owned(), roles(&["builder"]))], ["auditor"])
}

fn with_roles(text: &str) -> Result<PolicySet, Problems> {
    PolicySet::load_for(&[source("p.cedar", text)], &tools(), &principals())
}

fn by(set: &PolicySet, principal: &str, role: Role) -> Verdict {
    let (tool, effects, arguments) = ("workspace.read".parse().unwrap(), Effects::only(Effect::Read), json!({}));
    set.would(&Question { principal, role, ..question(&tool, &effects, &arguments) }).verdict
}

#[test]
fn a_role_is_had_by_those_to_whom_configuration_gives_it() {
    for rule in [
        "permit (principal in toolgate::Role::\"reviewer\", action, resource);",
        "permit (principal, action, resource) when { principal in toolgate::Role::\"reviewer\" };",
        "permit (principal is toolgate::Agent in toolgate::Role::\"reviewer\", action, resource);",
    ] {
        let set = with_roles(rule).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(by(&set, "ann", Role::Agent), Verdict::Allow, "{rule}");
        assert_eq!(by(&set, "bob", Role::Agent), Verdict::Deny, "{rule}");
        assert_eq!(by(&set, "eve", Role::Agent), Verdict::Deny, "{rule}");
        // The name of a role is not a principal's.
        assert_eq!(by(&set, "reviewer", Role::Agent), Verdict::Deny, "{rule}");
        let only_agents = rule.contains("is toolgate::Agent");
        assert_eq!(by(&set, "ann", Role::Operator) == Verdict::Deny, only_agents, "{rule}");
    }
    let set = with_roles(&format!("{ALLOW} forbid (principal in toolgate::Role::\"builder\", action, resource);")).unwrap();
    assert_eq!(
        [by(&set, "ann", Role::Agent), by(&set, "bob", Role::Agent), by(&set, "eve", Role::Agent)],
        [Verdict::Deny, Verdict::Deny, Verdict::Allow]
    );
}

#[test]
fn who_has_a_role_is_part_of_the_digest() {
    let rule = "permit (principal in toolgate::Role::\"builder\", action, resource);";
    let one = with_roles(rule).unwrap();
    let fewer = Principals::new([("bob".to_owned(), ["builder".to_owned()].into())], [""; 0]);
    let other = PolicySet::load_for(&[source("p.cedar", rule)], &tools(), &fewer).unwrap();
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn a_role_that_nobody_knows_does_not_load() {
    let told = |text: &str| with_roles(text).err().map(|problems| problems.to_string()).unwrap_or_default();
    let scope = told("\npermit (principal in toolgate::Role::\"reviewr\", action, resource);");
    assert!(scope.contains("p.cedar:2: nobody has the role `reviewr`; did you mean `reviewer`?"), "{scope}");
    let condition = told("permit (principal, action, resource) when { principal in [toolgate::Role::\"boss\"] };");
    assert!(condition.contains("nobody has the role `boss`; known: auditor, builder, reviewer"), "{condition}");
    assert_eq!(told("permit (principal in toolgate::Role::\"auditor\", action, resource);"), "");
    assert!(wrong("permit (principal in toolgate::Role::\"x\", action, resource);").contains("[principals.NAME] roles"));
}

#[test]
fn a_group_of_tools_is_a_family_an_effect_or_a_scope() {
    let allowed = |rule: &str| {
        let set = policies(rule);
        let effects = |tool: &ToolDef| tool.effects.iter().collect::<Vec<_>>();
        let of = |tool: &ToolDef| verdict(&set, tool.name.as_str(), &effects(tool)) == Verdict::Allow;
        tools().iter().filter(|tool| of(tool)).map(|tool| tool.name.to_string()).collect::<Vec<_>>()
    };
    let rule = |group: &str| format!("permit (principal, action in toolgate::Action::\"{group}\", resource);");
    assert_eq!(allowed(&rule("repo.git")), ["repo.git.push", "repo.git.commit"]);
    assert_eq!(allowed(&rule("repo")), ["repo.git.push", "repo.git.commit"]);
    assert_eq!(allowed(&rule("effect:external_write")), ["notify.send", "repo.git.push"]);
    assert_eq!(allowed(&rule("effect:egress")), ["python.run", "web.fetch", "web.search"]);
    assert_eq!(allowed(&rule("scope:thing")).len(), tools().len());
    assert_eq!(allowed(&rule("web.fetch")), ["web.fetch"]);
    let both = "permit (principal, action in [toolgate::Action::\"workspace\", toolgate::Action::\"web.fetch\"], resource);";
    assert_eq!(allowed(both), ["web.fetch", "workspace.read", "workspace.list", "workspace.write", "workspace.remove"]);
    let condition = "permit (principal, action, resource) when { action in toolgate::Action::\"effect:egress\" };";
    assert_eq!(allowed(condition), ["python.run", "web.fetch", "web.search"]);
    // A group is not a tool: nothing is called `repo.git`.
    assert!(wrong("permit (principal, action == toolgate::Action::\"repo.git\", resource);").contains("p.cedar:1"));
    assert!(wrong(&rule("repo.gti")).contains("repo.gti"));
    assert!(wrong(&rule("effect:net")).contains("effect:net"));
}

#[test]
fn rules_see_labels_workflow_hosts_and_workspace() {
    let (tool, effects, arguments) = ("web.fetch".parse().unwrap(), Effects::only(Effect::Egress), json!({}));
    let asked = |rule: &str, labels: Labels, workflow: Option<&str>, hosts: &[&str]| {
        let facts = Facts { labels, workflow: workflow.map(str::to_owned), ..Facts::default() };
        let hosts: BTreeSet<String> = hosts.iter().map(ToString::to_string).collect();
        let set = policies(&format!("permit (principal, action, resource) when {{ {rule} }};"));
        set.would(&Question { facts: &facts, hosts: &hosts, ..question(&tool, &effects, &arguments) }).verdict == Verdict::Allow
    };
    let none = Labels::default();
    let untrusted = Labels { untrusted: true, ..none };
    let both = Labels { untrusted: true, private: true };
    assert!(!asked("context.run.untrusted", none, None, &[]) && asked("context.run.untrusted", untrusted, None, &[]));
    assert!(!asked("context.run.private", untrusted, None, &[]) && asked("context.run.private", both, None, &[]));
    let follows = "context.run has workflow && context.run.workflow == \"build\"";
    assert!(asked(follows, none, Some("build"), &[]) && !asked(follows, none, Some("other"), &[]) && !asked(follows, none, None, &[]));
    let only = "[\"a.example\", \"b.example\"].containsAll(context.hosts)";
    assert!(
        asked(only, none, None, &["a.example"]) && asked(only, none, None, &[]) && !asked(only, none, None, &["a.example", "c.example"])
    );
    assert!(asked("context.hosts.contains(\"c.example\")", none, None, &["c.example"]));
    assert!(asked("resource == toolgate::Workspace::\"run_x\" && resource is toolgate::Workspace", none, None, &[]));
    assert!(!asked("resource == toolgate::Workspace::\"run_y\"", none, None, &[]));
    for wrong_word in ["context.run.untrustd", "context.run.private == \"yes\"", "context.run.workflow == \"x\"", "context.hosts == \"x\""]
    {
        wrong(&format!("permit (principal, action, resource) when {{ {wrong_word} }};"));
    }
    assert!(wrong("permit (principal, action, resource) when { context.scopes.contains(\"thng\") };").contains("known: thing"));
}

#[test]
fn a_rule_on_trial_is_told_and_counted_and_never_counts() {
    let trial = "@id(\"new\") @mode(\"log\") @reason(\"closed\") forbid (principal, action == toolgate::Action::\"web.fetch\", resource);";
    let set = policies(&format!("{ALLOW}\n{trial}"));
    let decision = decide(&set, "web.fetch", json!({}));
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(decision.trials, [Trial { rule: "new".into(), would: Verdict::Deny }]);
    assert_eq!(decision.reasons.iter().map(|reason| reason.rule.as_str()).collect::<Vec<_>>(), ["p.cedar:1"]);
    assert!(decide(&set, "workspace.read", json!({})).trials.is_empty());
    assert_eq!(set.trial_counts(), [TrialCount { rule: "new".into(), matched: 1, changed: 1 }]);
    // The same rule in force bites: what is held back above is the mode alone.
    let naive = policies(&format!("{ALLOW}\n{}", trial.replace("@mode(\"log\")", "")));
    assert_eq!(decide(&naive, "web.fetch", json!({})).verdict, Verdict::Deny);
}

#[test]
fn a_rule_on_trial_tells_what_it_would_have_changed() {
    let would = |text: &str| {
        let decision = decide(&policies(text), "web.fetch", json!({}));
        (decision.verdict, decision.trials.first().map(|trial| trial.would))
    };
    let (permit, ask) =
        ("@mode(\"log\") permit (principal, action, resource);", "@mode(\"log\") @ask(\"x\") permit (principal, action, resource);");
    let forbid = "forbid (principal, action, resource);";
    assert_eq!(would(permit), (Verdict::Deny, Some(Verdict::Allow)));
    assert_eq!(would(ask), (Verdict::Deny, Some(Verdict::Ask)));
    assert_eq!(would(&format!("{ALLOW}\n{ask}")), (Verdict::Allow, Some(Verdict::Ask)));
    assert_eq!(would(&format!("{ALLOW}\n{forbid}\n{permit}")), (Verdict::Deny, Some(Verdict::Deny)));
    let broken = "@mode(\"log\") permit (principal, action == toolgate::Action::\"python.run\", resource) when { context.input has timeout_sec && context.input.timeout_sec + 9223372036854775807 > 3 };";
    let set = policies(&format!("{ALLOW}\n{broken}"));
    let decision = decide(&set, "python.run", json!({"timeout_sec": 5}));
    assert_eq!((decision.verdict, decision.trials.len(), decision.failures.len()), (Verdict::Allow, 1, 0));
    assert!(wrong("@mode(\"off\") permit (principal, action, resource);").contains("`@mode(\"off\")` is no mode"));
    assert!(wrong("@mode permit (principal, action, resource);").contains("is no mode"));
}
