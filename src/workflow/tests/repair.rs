//! What `repair` of a step may say.

use super::*;

const LOOP: &str = "- {id: plan, kind: plan}\n- {id: code, kind: codegen, depends_on: [plan]}\n\
    - {id: form, kind: transform, depends_on: [code], input: {filter: .}}\n";

fn with_checks(repair: &str, more: &str) -> String {
    with_steps(&format!("{LOOP}- {{id: eval, kind: eval, depends_on: [form], input: {{commands: [x]}}, repair: {repair}}}\n{more}"))
}

fn repair_of(text: &str) -> Repair {
    plan(text).step(&"eval".parse().unwrap()).unwrap().repair.clone().unwrap()
}

#[test]
fn a_repair_knows_what_runs_again() {
    let more = "- {id: repo, kind: repo, depends_on: [code, eval], input: {message: m}}\n- {id: apart, kind: plan, depends_on: [plan]}\n";
    let repair = repair_of(&with_checks("{step: code, max: 3}", more));
    let again: Vec<&str> = repair.again.iter().map(StepId::as_str).collect();
    assert_eq!((repair.step.as_str(), repair.max, again), ("code", 3, vec!["code", "form", "eval"]));
    assert_eq!(repair_of(&with_checks("{step: code}", "")).max, 1);
    assert_eq!(repair_of(&with_checks("{step: code, max: 0}", "")).max, 0);
    let stored = plan(&with_checks("{step: code, max: 3}", ""));
    assert_eq!(
        read_stored(stored.source()).unwrap().step(&"eval".parse().unwrap()).unwrap().repair,
        Some(repair_of(&with_checks("{step: code, max: 3}", "")))
    );
}

#[test]
fn what_a_repair_may_not_be_is_told_with_its_line() {
    for (repair, complaint) in [
        ("{step: ghost}", "`repair` of step `eval` names `ghost`, which is not a step"),
        ("{step: 'no such name'}", "which is not a step"),
        ("{step: plan}", "names `plan`, which is of kind `plan`"),
        ("{step: eval}", "names `eval`, which is of kind `eval`"),
        ("{step: late}", "names `late`, which need not have ended before it"),
        ("{step: given}", "fills `input.repair` of step `given`"),
        ("{max: 2}", "has no `step`"),
        ("{step: code, max: 11}", "must be a whole number from 0 to 10"),
        ("{step: code, max: -1}", "must be a whole number from 0 to 10"),
        ("{step: code, often: 2}", "has an unknown field `often`"),
        ("code", "must be a mapping"),
    ] {
        let given = if repair.contains("given") { ", given" } else { "" };
        let text = with_steps(&format!(
            "- {{id: plan, kind: plan}}\n- {{id: code, kind: codegen, depends_on: [plan]}}\n- {{id: late, kind: codegen}}\n\
             - {{id: given, kind: codegen, input: {{repair: x}}}}\n\
             - id: eval\n  kind: eval\n  depends_on: [code{given}]\n  input: {{commands: [x]}}\n  repair: {repair}\n"
        ));
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{repair}: {found:?}");
        assert!(found[0].starts_with("14: ") && found[0].contains(complaint), "{repair}: {found:?}");
    }
    let found = problems(&with_steps(&format!("{LOOP}- {{id: n, kind: notify, input: {{message: m}}, repair: {{step: code}}}}\n")));
    assert_eq!(found, ["9: step `n` is of kind `notify`, which knows no `repair`"]);
}

/// Whatever else was made from the old files would stand though they are mended: other checks, or a commit.
#[test]
fn nothing_may_use_what_is_mended_beside_the_checks() {
    for beside in [
        "- {id: other, kind: eval, depends_on: [code], input: {commands: [y]}}\n",
        "- {id: other, kind: repo, depends_on: [form], input: {message: m}}\n",
    ] {
        let found = problems(&with_checks("{step: code}", beside));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("step `other` uses it beside the checks"), "{found:?}");
    }
    let in_a_row = "- {id: second, kind: eval, depends_on: [eval], input: {commands: [y]}, repair: {step: code}}\n";
    assert!(problems(&with_checks("{step: code}", in_a_row)).is_empty());
}
