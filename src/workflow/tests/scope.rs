//! Which tools a workflow declares, and what is wrong with what it declares.

use std::collections::BTreeSet;

use crate::domain::{ErrorCode, ToolName};

use super::{plan, problems, with_steps};

fn tool(name: &str) -> ToolName {
    name.parse().unwrap()
}

#[test]
fn what_is_not_declared_is_what_the_kinds_of_the_steps_call() {
    let plan = plan(&with_steps("- {id: a, kind: eval, input: {commands: [x]}}\n- {id: b, kind: codegen}\n- {id: c, kind: repo}\n"));
    let allows = |step: Option<&str>, name: &str| plan.allows(step.map(|step| step.parse().unwrap()).as_ref(), &tool(name)).is_ok();
    assert!(allows(Some("a"), "eval.run") && allows(Some("b"), "workspace.write") && allows(Some("c"), "repo.git.commit"));
    assert!(!allows(Some("a"), "workspace.write") && !allows(Some("b"), "eval.run") && !allows(Some("c"), "repo.git.push"));
    // Who names the run may call what any of its steps calls.
    assert!(allows(None, "eval.run") && allows(None, "workspace.write") && !allows(None, "python.run") && !allows(None, "repo.git.push"));
}

#[test]
fn a_step_s_own_tools_stand_above_the_workflow_s() {
    let plan = plan(
        "name: w\nversion: 1.0.0\ntools: [workspace.*, python.run, eval.run]\nsteps:\n\
         - {id: a, kind: tool, tools: [python.run, workspace.read], input: {tool: python.run}}\n\
         - {id: b, kind: eval, input: {commands: [x]}}\n",
    );
    let allows = |step: Option<&str>, name: &str| plan.allows(step.map(|step| step.parse().unwrap()).as_ref(), &tool(name));
    assert!(allows(Some("a"), "workspace.read").is_ok() && allows(Some("b"), "workspace.write").is_ok());
    let fault = allows(Some("a"), "workspace.write").unwrap_err();
    assert_eq!(fault.code, ErrorCode::ToolNotDeclared);
    assert_eq!(fault.message, "workflow `w` does not declare `workspace.write` for step `a`");
    assert!(fault.hint.unwrap().starts_with("declared: python.run, workspace.read;"));
    assert!(allows(None, "workspace.write").is_ok() && allows(None, "notify.send").is_err());
    assert!(allows(None, "workspaces.write").is_err(), "a family ends at its dot");
}

#[test]
fn what_contradicts_itself_is_told_with_its_line() {
    let text = "name: w\nversion: 1.0.0\ntools: [workspace.*, python.run]\nsteps:\n\
                - {id: a, kind: tool, input: {tool: drive.search}}\n\
                - id: b\n  kind: codegen\n  tools: [workspace.*, repo.git.init]\n\
                - {id: c, kind: notify, tools: [nonsense, 'x.*.*'], input: {message: m}}\n";
    let told = problems(text);
    assert_eq!(
        told,
        [
            "5: step `a` calls `drive.search`, which `tools` does not declare",
            "6: step `b` calls `worker.codegen`, which `tools` does not declare",
            "8: step `b` declares `repo.git.init`, which the workflow's `tools` does not",
            "9: `tools` of step `c`: `nonsense` is not a tool name: dotted parts of lower case letters, digits and inner `_`, at most 40 characters",
            "9: `tools` of step `c`: `x.*.*` is no family of tools like `workspace.*`",
            "9: step `c` calls `notify.send`, which `tools` does not declare",
        ]
    );
}

#[test]
fn a_tool_that_is_not_there_is_told_with_its_line() {
    let known: BTreeSet<ToolName> = ["workspace.write", "drive.search", "transform.jq"].map(tool).into();
    let plan = plan(
        "name: w\nversion: 1.0.0\ntools:\n- workspace.*\n- worksapce.*\n- drive.search\n- drive.serach\n- transform.jq\nsteps:\n\
         - {id: a, kind: tool, input: {tool: drive.serach}}\n",
    );
    let problems = plan.unknown_tools("w.yaml", &known).unwrap_err();
    let told: Vec<String> = problems.list().iter().map(|p| format!("{}: {}", p.line.unwrap(), p.message)).collect();
    assert_eq!(told, ["5: there is no tool `worksapce.*`", "7: there is no tool `drive.serach`", "10: there is no tool `drive.serach`"]);
    assert_eq!(problems.list()[1].hint.as_deref(), Some("did you mean `drive.search`?"));
}
