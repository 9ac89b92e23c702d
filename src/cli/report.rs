//! How an error is told: `error[CODE]: what was wrong`, then what to do; files with every problem and its line.
//!
//! INVARIANT: the only place that prints faults. What a fault quotes may come from an agent, so it is made printable.

use std::fmt::Write as _;

use crate::domain::Fault;

use super::output::Console;
use super::text::printable;

/// Tells a fault on stderr: as text, or as one line of JSON where data is JSON as well.
pub fn report(console: &Console, fault: &Fault, json: bool) {
    if json {
        let line = super::text::json(&serde_json::json!({ "error": fault.to_json() }), false);
        console.tell(&format!("{line}\n"));
    } else {
        console.tell(&render(fault, console.looks().colour));
    }
}

/// Tells a remark on stderr.
pub fn note(console: &Console, text: &str) {
    let mark = paint("note", "36", console.looks().colour);
    console.tell(&format!("{mark}: {}\n", printable(text)));
}

/// A fault as text.
#[must_use]
pub fn render(fault: &Fault, colour: bool) -> String {
    let mut text = String::new();
    let mark = paint(&format!("error[{}]", fault.code), "1;31", colour);
    let problems = fault.details.as_ref().and_then(|details| details.get("problems")).and_then(serde_json::Value::as_array);
    match problems {
        Some(problems) if !problems.is_empty() => {
            let _ = match problems.len() {
                1 => writeln!(text, "{mark}: 1 problem"),
                count => writeln!(text, "{mark}: {count} problems"),
            };
            problems.iter().for_each(|problem| one_problem(&mut text, problem, colour));
        }
        Some(_) | None => {
            let mut lines = fault.message.split('\n');
            let _ = writeln!(text, "{mark}: {}", printable(lines.next().unwrap_or_default()));
            lines.for_each(|line| _ = writeln!(text, "  {}", printable(line)));
        }
    }
    if let Some(hint) = &fault.hint {
        hint_line(&mut text, "  ", hint, colour);
    }
    text
}

fn one_problem(text: &mut String, problem: &serde_json::Value, colour: bool) {
    let field = |name: &str| problem.get(name).and_then(serde_json::Value::as_str).map(printable);
    let line = problem.get("line").and_then(serde_json::Value::as_u64).map(|line| format!(":{line}")).unwrap_or_default();
    let place = paint(&format!("{}{line}", field("file").unwrap_or_default()), "1", colour);
    let _ = writeln!(text, "  {place}: {}", field("message").unwrap_or_default());
    if let Some(hint) = field("hint") {
        hint_line(text, "    ", &hint, colour);
    }
}

fn hint_line(text: &mut String, indent: &str, hint: &str, colour: bool) {
    let mark = paint("hint", "1;36", colour);
    for (n, line) in hint.split('\n').enumerate() {
        let _ = match n {
            0 => writeln!(text, "{indent}{mark}: {}", printable(line)),
            _ => writeln!(text, "{indent}      {}", printable(line)),
        };
    }
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use crate::domain::{ErrorCode, Problem, Problems};

    use super::*;

    #[test]
    fn says_what_and_what_to_do() {
        let fault = Fault::new(ErrorCode::UnknownTool, "no tool is called `x\u{1b}[2J`").hint("did you mean `y`?\nor `z`?");
        insta::assert_snapshot!(render(&fault, false), @r"
        error[UNKNOWN_TOOL]: no tool is called `x\u{1b}[2J`
          hint: did you mean `y`?
                or `z`?
        ");
        assert!(render(&fault, true).starts_with("\u{1b}[1;31merror[UNKNOWN_TOOL]\u{1b}[0m: "));
    }

    #[test]
    fn lists_every_problem_with_its_place() {
        let problems = [Problem::new("a.yaml", "unknown field `x`").at(Some(3)).hint("remove it"), Problem::new("b.yaml", "is empty")];
        let fault = Problems::check(problems.to_vec()).unwrap_err().into_fault(ErrorCode::ManifestInvalid);
        insta::assert_snapshot!(render(&fault, false), @r"
        error[MANIFEST_INVALID]: 2 problems
          a.yaml:3: unknown field `x`
            hint: remove it
          b.yaml: is empty
        ");
    }
}
