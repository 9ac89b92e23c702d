//! Definitions that are right, and everything that can be wrong with one.

use std::path::Path;

use serde_json::{Value, json};

use crate::domain::{ErrorCode, RunId, StepId, Timestamp};

use super::*;

mod repair;
mod scope;

fn run() -> RunId {
    RunId::mint(Timestamp::from_unix_millis(0))
}

fn plan(text: &str) -> Plan {
    read_yaml("w.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems as `line: message`, one a line.
fn problems(text: &str) -> Vec<String> {
    match read_yaml("w.yaml", text) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            problems.list().iter().map(|p| format!("{}: {}", p.line.map_or_else(|| "?".into(), |l| l.to_string()), p.message)).collect()
        }
    }
}

/// A workflow with these lines under `steps`.
fn with_steps(steps: &str) -> String {
    format!("name: w\nversion: 1.0.0\ninputs:\n  topic: string\nsteps:\n{steps}")
}

fn evaluate(source: &str, scope: &Scope) -> Result<Value, crate::domain::Fault> {
    Expression::text(source).unwrap().evaluate(scope)
}

fn scope(output: &Value) -> Scope {
    let id: StepId = "plan".parse().unwrap();
    let views = [StepView { id: &id, status: "succeeded", output }];
    Scope::new(&json!({ "topic": "bees", "none": null }), "the goal", &run(), views.into_iter())
}

#[test]
fn a_whole_definition_is_read_and_put_in_order() {
    let plan = plan(
        "name: demo\nversion: 1.2.3\ndescription: Shows all.\ngoal_template: 'About {{ inputs.topic }}'\n\
         inputs:\n  topic: {type: string, default: bees}\n  count: {type: integer, required: false}\n\
         limits: {max_steps: 9, max_tool_calls: 7, wall: 2h}\n\
         steps:\n\
         - {id: last, kind: notify, depends_on: [first, middle], input: {message: done}, on_failure: continue}\n\
         - id: middle\n  kind: tool\n  depends_on: [first]\n  when: steps.first.status == 'succeeded'\n  timeout: 90s\n\
         \x20 retry: {max: 2, backoff: 500ms, on: [TIMEOUT]}\n  input: {tool: drive.search, arguments: {query: '{{ inputs.topic }}'}}\n\
         - {id: first, kind: plan, by: builtin, input: {goal: '{{ goal }}'}}\n",
    );
    let order: Vec<&str> = plan.steps().iter().map(|step| step.id.as_str()).collect();
    assert_eq!(order, ["first", "middle", "last"]);
    let middle = plan.step(&"middle".parse().unwrap()).unwrap();
    assert_eq!((middle.retry.max, middle.retry.backoff.0, middle.timeout.unwrap().0), (2, 500, 90_000));
    assert_eq!(middle.retry.on, [ErrorCode::Timeout]);
    assert_eq!((plan.limits().max_tool_calls, plan.limits().wall.unwrap().0), (Some(7), 7_200_000));
    let inputs = plan.inputs().accept(Value::Null).unwrap();
    assert_eq!(inputs, json!({ "topic": "bees", "count": null }));
    assert_eq!(plan.goal(&Scope::new(&inputs, "", &run(), std::iter::empty())).unwrap().unwrap(), "About bees");
}

#[test]
fn what_a_run_stores_reads_back_as_the_same_plan() {
    let first =
        plan(&with_steps("- {id: a, kind: plan}\n- {id: b, kind: codegen, depends_on: [a], input: {plan: '{{ steps.a.output }}'}}\n"));
    let again = read_stored(first.source()).unwrap();
    assert_eq!(first.digest(), again.digest());
    let laid_out_otherwise = plan(
        "# said otherwise\nsteps:\n  - kind: plan\n    id: a\n  - id: b\n    input:\n      plan: \"{{ steps.a.output }}\"\n    depends_on: [\"a\"]\n    kind: codegen\n\
         version: 1.0.0\nname: w\ninputs: {topic: string}\n",
    );
    assert_eq!(first.digest(), laid_out_otherwise.digest());
}

#[test]
fn a_cycle_is_named_in_the_order_it_runs() {
    let found = problems(&with_steps(
        "- {id: x, kind: plan}\n- {id: a, kind: plan, depends_on: [x, c]}\n- {id: b, kind: plan, depends_on: [a]}\n- {id: c, kind: plan, depends_on: [b]}\n",
    ));
    assert_eq!(found, ["7: the steps form a cycle: a → b → c → a"]);
    let own = problems(&with_steps("- {id: a, kind: plan, depends_on: [a]}\n"));
    assert_eq!(own, ["6: the steps form a cycle: a → a"]);
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "name: Bad Name\nversion: one\ncolour: red\ninputs:\n  Topic: string\n  size: huge\nsteps:\n\
                - {id: a, kind: plan, depends_on: [ghost]}\n\
                - {id: a, kind: dance}\n\
                - {id: b, kind: notify}\n\
                - {id: c-d, kind: plan}\n\
                - {id: e, kind: tool, input: {tool: '{{ goal }}', arguments: {}}}\n\
                - {id: f, kind: transform, by: agent, input: {filter: '.', extra: 1}}\n\
                - {id: g, kind: plan, retry: {max: 2, on: [NO_SUCH]}, timeout: soon}\n";
    let found = problems(text);
    let expected = [
        "1: `Bad Name` cannot name a workflow",
        "2: `one` is not a version",
        "3: the workflow has an unknown field `colour`",
        "5: `Topic` cannot name an input",
        "6: input `size` must be a type or a JSON Schema",
        "8: step `a` depends on `ghost`",
        "9: `dance` is no `kind` of step `a`",
        "10: step `b` needs `input.message`",
        "11: step `c-d`: use `_` instead of `-`",
        "12: `input.tool` of step `e`",
        "13: `input` of step `f` has an unknown field `extra`",
        "13: step `f` is of kind `transform`, which knows no `by`",
        "14: `NO_SUCH` in `on` of `retry` of step `g` is not an error code",
        "14: `timeout` of step `g` must be a span of time",
    ];
    for start in expected {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\nis not among\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
}

#[test]
fn two_steps_of_one_name_are_refused() {
    assert_eq!(problems(&with_steps("- {id: a, kind: plan}\n- {id: a, kind: plan}\n")), ["7: two steps are named `a`"]);
}

#[test]
fn expressions_may_only_name_what_is_there_by_then() {
    for (expression, complaint) in [
        ("{{ inputs.ghost }}", "reads `inputs.ghost`, which is not declared"),
        ("{{ steps.ghost.output }}", "reads `steps.ghost`, which is not a step"),
        ("{{ steps.late.output }}", "reads `steps.late`, which need not have ended"),
        ("{{ steps.b.output }}", "reads `steps.b`, which need not have ended"),
        ("{{ secrets.key }}", "`secrets` is undefined"),
        ("{{ run.started }}", "only `run.id`"),
        ("{{ steps | length }}", "name the step plainly"),
        ("{{ steps.a.outcome }}", "a step has `output` and `status`"),
        ("{{ 1 + }}", "does not compile"),
        ("{% if goal %}", "does not compile"),
    ] {
        let text = with_steps(&format!(
            "- {{id: a, kind: plan}}\n- {{id: late, kind: plan}}\n- id: b\n  kind: plan\n  depends_on: [a]\n  input:\n    x: \"{expression}\"\n"
        ));
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{expression}: {found:?}");
        assert!(found[0].starts_with("12: ") && found[0].contains(complaint), "{expression}: {found:?}");
    }
    let through_another = with_steps(
        "- {id: a, kind: plan}\n- {id: b, kind: plan, depends_on: [a]}\n- {id: c, kind: plan, depends_on: [b], input: {x: '{{ steps.a.output }}'}}\n",
    );
    assert!(problems(&through_another).is_empty());
}

#[test]
fn an_agents_answer_must_be_a_closed_object() {
    let found = problems(&with_steps("- {id: a, kind: plan, output_schema: {type: object}}\n"));
    assert!(found[0].contains("must be a closed object"), "{found:?}");
    let found = problems(&with_steps("- {id: a, kind: plan, output_schema: {type: 7, additionalProperties: false}}\n"));
    assert!(found.len() >= 2, "{found:?}");
}

#[test]
fn a_lone_expression_keeps_its_type() {
    let output = json!({ "files": [{ "path": "a.py", "size": 3 }], "ok": true, "ratio": 0.5, "big": u64::MAX, "nothing": null });
    let scope = scope(&output);
    assert_eq!(evaluate("{{ steps.plan.output.files }}", &scope).unwrap(), output["files"]);
    assert_eq!(evaluate("  {{ steps.plan.output }}  ", &scope).unwrap(), output);
    assert_eq!(evaluate("{{ steps.plan.output.files | length }}", &scope).unwrap(), json!(1));
    assert_eq!(evaluate("{{ inputs.none }}", &scope).unwrap(), Value::Null);
    assert_eq!(evaluate("{{ inputs.topic }} and {{ goal }}", &scope).unwrap(), json!("bees and the goal"));
    assert_eq!(evaluate("{{ '}}' }}", &scope).unwrap(), json!("}}"));
    assert_eq!(evaluate("{{ run.id }}", &scope).unwrap(), json!(run_text(&scope)));
}

fn run_text(scope: &Scope) -> String {
    evaluate("{{ run.id }}{{ '' }}", scope).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn what_is_undefined_is_never_silently_empty() {
    let output = json!({ "a": 1 });
    let scope = scope(&output);
    for source in [
        "{{ steps.plan.output.ghost }}",
        "x {{ steps.plan.output.ghost }}",
        "{{ [1, steps.plan.output.ghost] }}",
        "{{ {'k': steps.plan.output.ghost} }}",
        "{{ steps.plan.output.ghost.deeper }}",
    ] {
        assert_eq!(evaluate(source, &scope).unwrap_err().code, ErrorCode::ExpressionInvalid, "{source}");
    }
    let condition = Expression::value("steps.plan.output.ghost").unwrap();
    assert_eq!(condition.holds(&scope).unwrap_err().code, ErrorCode::ExpressionInvalid);
    assert!(Expression::value("steps.plan.output.a == 1").unwrap().holds(&scope).unwrap());
    assert_eq!(Expression::value("steps.plan.output.a").unwrap().holds(&scope).unwrap_err().code, ErrorCode::ExpressionInvalid);
}

#[test]
fn evaluation_ends() {
    let output = Value::Null;
    let fault =
        evaluate("x{% for a in range(9000) %}{% for b in range(9000) %}{{ a }}{% endfor %}{% endfor %}", &scope(&output)).unwrap_err();
    assert!(fault.message.contains("fuel"), "{fault}");
}

#[test]
fn inputs_are_checked_and_the_field_is_named() {
    let plan = plan(
        "name: w\nversion: 1.0.0\ninputs:\n  resource: {type: string, pattern: '^[A-Z]'}\n  n: {type: integer, default: 3}\nsteps:\n- {id: a, kind: plan}\n",
    );
    let fault = plan.inputs().accept(json!({ "resource": "x" })).unwrap_err();
    assert!(fault.code == ErrorCode::InvalidInput && fault.message.contains("resource"), "{fault}");
    assert!(plan.inputs().accept(json!({})).unwrap_err().message.contains("resource"));
    assert!(plan.inputs().accept(json!({ "resource": "A", "surplus": 1 })).is_err());
    assert!(plan.inputs().accept(json!([])).is_err());
    let texts = [("resource".to_owned(), "Bee".to_owned()), ("n".to_owned(), "7".to_owned())];
    assert_eq!(plan.inputs().from_texts(&texts).unwrap(), json!({ "resource": "Bee", "n": 7 }));
    assert!(plan.inputs().from_texts(&[("n".into(), "seven".into())]).unwrap_err().message.contains("`n`"));
    let bad_default = problems("name: w\nversion: 1.0.0\ninputs:\n  n: {type: integer, default: x}\nsteps:\n- {id: a, kind: plan}\n");
    assert!(bad_default[0].starts_with("4: the default of input `n`"), "{bad_default:?}");
}

#[test]
fn unreadable_yaml_is_one_problem_and_no_panic() {
    for text in ["", "- a", "steps: [", "a: *ghost", "x: {a: 1, a: 2}", "\u{0}", "name: [1, 2", "? [a]\n: b"] {
        assert!(!problems(text).is_empty(), "{text:?}");
    }
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    assert_eq!(problems(&deep).len(), 1);
    assert!(problems(&" ".repeat(2 * 1024 * 1024))[0].contains("bytes"));
}

#[test]
fn the_shipped_workflows_load_and_a_home_adds_to_them() {
    let library = Library::open(None).unwrap();
    for name in ["hello_world", "build_service"] {
        assert_eq!(library.find(name).unwrap().plan.name(), name);
    }
    assert_eq!(library.find("ghost").unwrap_err().code, ErrorCode::UnknownWorkflow);
    assert!(library.find("build_service").unwrap().plan.inputs().accept(json!({ "resource": "listing" })).is_err());

    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("mine.yaml"), "name: mine\nversion: 1.0.0\nsteps:\n- {id: a, kind: plan}\n").unwrap();
    assert_eq!(Library::open(Some(home.path())).unwrap().iter().count(), library.iter().count() + 1);
    std::fs::write(home.path().join("taken.yaml"), "name: hello_world\nversion: 1.0.0\nsteps:\n- {id: a, kind: plan}\n").unwrap();
    std::fs::write(home.path().join("zbroken.yaml"), "name: broken\nversion: 1.0.0\nsteps: []\n").unwrap();
    let found = Library::open(Some(home.path())).unwrap_err();
    assert_eq!(found.list().len(), 2, "{found}");
    assert!(Library::open(Some(Path::new("/no/such/folder"))).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z{}%|.: \\-\\[\\]'\"\n0-9]{0,200}") {
        let _ = read_yaml("w.yaml", &text);
        let _ = Expression::text(&text);
        let _ = Expression::value(&text);
    }
}
