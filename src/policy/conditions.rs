//! A rule's conditions, taken apart: what must hold all at once, each as text that can be shown and asked alone.
//!
//! INVARIANT: all parts together hold exactly where the rule's `when` and `unless` do. Forms that say the same are made one, so that
//! equal parts compare equal; what is not understood stays whole.

use cedar_policy::{Authorizer, Entities, Expression, Policy, PolicySet as Rules, Request, eval_expression};
use serde_json::{Value, json};

/// How deep conditions are taken apart; what lies deeper stays whole.
const DEPTH: usize = 32;
/// Values shown of one condition, and characters of each.
const MOST_VALUES: usize = 6;
const LONGEST: usize = 160;

/// The parts of a rule's conditions, in the order they stand there, without doubles.
pub(super) fn of(policy: &Policy) -> Vec<Value> {
    let json = policy.to_json().unwrap_or_default();
    let mut parts = Vec::new();
    for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let unless = condition.get("kind").and_then(Value::as_str) == Some("unless");
        if let Some(body) = condition.get("body") {
            split(body, unless, DEPTH, &mut parts);
        }
    }
    let mut unique: Vec<Value> = Vec::new();
    for part in parts {
        if part != literal(true) && !unique.contains(&part) {
            unique.push(part);
        }
    }
    unique
}

/// The same the other way round: what must hold where `part` does not, if that is one part.
pub(super) fn opposite(part: &Value) -> Value {
    match argument(part, "!") {
        Some(inner) => inner.clone(),
        None => not(part.clone()),
    }
}

fn split(node: &Value, negated: bool, depth: usize, parts: &mut Vec<Value>) {
    if depth == 0 {
        return parts.push(if negated { not(node.clone()) } else { node.clone() });
    }
    if let Some(inner) = argument(node, "!") {
        return split(inner, !negated, depth - 1, parts);
    }
    if let Some((left, right)) = operands(node, if negated { "||" } else { "&&" }) {
        split(left, negated, depth - 1, parts);
        return split(right, negated, depth - 1, parts);
    }
    if let Some((left, right)) = operands(node, "!=") {
        return parts.push(equality(left, right, !negated));
    }
    if let Some((left, right)) = operands(node, "==") {
        return parts.push(equality(left, right, negated));
    }
    // Of several texts, each on its own: all that must be in, or none that may be.
    let several = operands(node, if negated { "containsAny" } else { "containsAll" });
    let single = operands(node, "containsAny").or_else(|| operands(node, "containsAll"));
    let items = |right: &Value| right.get("Set").and_then(Value::as_array).filter(|items| !items.is_empty()).cloned();
    let apart = several.and_then(|(left, right)| Some((left, items(right)?)));
    let apart = apart.or_else(|| single.and_then(|(left, right)| Some((left, items(right).filter(|items| items.len() == 1)?))));
    if let Some((left, items)) = apart {
        let each = items.into_iter().map(|item| json!({ "contains": { "left": left, "right": item } }));
        return parts.extend(each.map(|part| if negated { not(part) } else { part }));
    }
    parts.push(if negated { not(node.clone()) } else { node.clone() });
}

fn equality(left: &Value, right: &Value, negated: bool) -> Value {
    // The literal stands on the right, whichever way it was written.
    let (left, right) = if is_literal(left) && !is_literal(right) { (right, left) } else { (left, right) };
    let same = json!({ "==": { "left": left, "right": right } });
    if negated { not(same) } else { same }
}

fn not(node: Value) -> Value {
    json!({ "!": { "arg": node } })
}

fn literal(flag: bool) -> Value {
    json!({ "Value": flag })
}

pub(super) fn is_literal(node: &Value) -> bool {
    node.get("Value").is_some()
}

/// The operand of a form with one.
pub(super) fn argument<'a>(node: &'a Value, operator: &str) -> Option<&'a Value> {
    node.get(operator)?.get("arg")
}

/// The operands of a form with two.
pub(super) fn operands<'a>(node: &'a Value, operator: &str) -> Option<(&'a Value, &'a Value)> {
    let found = node.get(operator)?;
    Some((found.get("left")?, found.get("right")?))
}

/// Whether it is `context.NAME`.
pub(super) fn is_context(node: &Value, name: &str) -> bool {
    let access = node.get(".");
    let of = |field: &str| access.and_then(|access| access.get(field));
    of("attr").and_then(Value::as_str) == Some(name)
        && of("left").and_then(|left| left.get("Var")).and_then(Value::as_str) == Some("context")
}

/// Whether evaluating it can fail, as sums do that are too large. What loading lets through cannot fail otherwise.
pub(super) fn may_fail(node: &Value) -> bool {
    const SURE: [&str; 20] = [
        "!",
        "==",
        "!=",
        "in",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "contains",
        "containsAll",
        "containsAny",
        "isEmpty",
        ".",
        "has",
        "is",
        "if-then-else",
        "Set",
        "Record",
    ];
    node.as_object().into_iter().flatten().any(|(operator, operands)| match (operator.as_str(), operands) {
        ("Value" | "Var" | "Slot", _) => false,
        ("like", _) => operands.get("left").is_none_or(may_fail),
        (known, Value::Object(fields)) if SURE.contains(&known) => fields.values().any(may_fail),
        (known, Value::Array(items)) if SURE.contains(&known) => items.iter().any(may_fail),
        _ => true,
    })
}

/// A rule that holds where the part does.
fn alone(part: &Value) -> Option<Policy> {
    let any = json!({ "op": "All" });
    let conditions = json!([{ "kind": "when", "body": part }]);
    let rule = json!({ "effect": "permit", "principal": any, "action": any, "resource": any, "conditions": conditions });
    Policy::from_json(None, rule).ok()
}

/// The part as it would be written.
pub(super) fn text(part: &Value) -> String {
    let told = alone(part).map(|rule| rule.to_string()).unwrap_or_default();
    let body = told.split_once(" when { ").and_then(|(_, rest)| rest.strip_suffix(" };"));
    body.map_or_else(|| "(a condition)".to_owned(), |body| plain(body).to_owned())
}

/// Without brackets around the whole.
fn plain(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return text };
    let mut depth = 1_i32;
    let mut quoted = false;
    let mut escaped = false;
    for c in inner.chars() {
        match (c, quoted) {
            (_, true) if escaped => escaped = false,
            ('\\', true) => escaped = true,
            ('"', _) => quoted = !quoted,
            ('(', false) => depth += 1,
            (')', false) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text;
        }
    }
    inner
}

/// Asks rules and expressions about one request.
pub(super) struct Asker<'a> {
    pub(super) by: &'a Authorizer,
    pub(super) request: &'a Request,
    pub(super) entities: &'a Entities,
}

impl Asker<'_> {
    /// Whether a rule matches; the error where it cannot be evaluated.
    pub(super) fn matches(&self, rule: &Policy) -> Result<bool, String> {
        let alone = Rules::from_policies([rule.clone()]).map_err(|error| error.to_string())?;
        let answer = self.by.is_authorized(self.request, &alone, self.entities);
        match answer.diagnostics().errors().next() {
            Some(error) => Err(error.to_string()),
            None => Ok(answer.diagnostics().reason().next().is_some()),
        }
    }

    /// Whether a part holds by itself; `false` as well where what it looks at is not there.
    pub(super) fn holds(&self, part: &Value) -> bool {
        alone(part).is_some_and(|rule| self.matches(&rule).unwrap_or(false))
    }

    /// What a part looks at, and what that is in this call; `None` where it is not there.
    pub(super) fn found(&self, part: &Value) -> Vec<(String, Option<String>)> {
        let mut paths = Vec::new();
        looked_at(part, &mut paths);
        let value = |path: &str| {
            let expression: Expression = path.parse().ok()?;
            eval_expression(self.request, self.entities, &expression).ok().map(|value| cut(&value.to_string()))
        };
        paths.into_iter().take(MOST_VALUES).map(|path| (path.clone(), value(&path))).collect()
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST { text.to_owned() } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

/// The longest paths from a variable on, as text, each once.
fn looked_at(node: &Value, paths: &mut Vec<String>) {
    let mut add = |path: String| {
        if !paths.contains(&path) {
            paths.push(path);
        }
    };
    if let Some((left, names)) = node.get("has").and_then(|has| Some((has.get("left")?, has.get("attr")?)))
        && is_path(left)
    {
        let names = names.as_str().into_iter().chain(names.as_array().into_iter().flatten().filter_map(Value::as_str));
        let whole = names.fold(left.clone(), |path, name| json!({ ".": { "left": path, "attr": name } }));
        return add(text(&whole));
    }
    if is_path(node) {
        return add(text(node));
    }
    match node {
        Value::Object(fields) => fields.values().for_each(|field| looked_at(field, paths)),
        Value::Array(items) => items.iter().for_each(|item| looked_at(item, paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_path(node: &Value) -> bool {
    match node.get(".") {
        Some(access) => access.get("left").is_some_and(is_path),
        None => node.get("Var").is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(conditions: &str) -> Vec<String> {
        let rule: Policy = format!("permit (principal, action, resource) {conditions};").parse().unwrap();
        of(&rule).iter().map(text).collect()
    }

    #[test]
    fn conditions_come_apart() {
        let when = |text: &str| parts(&format!("when {{ {text} }}"));
        assert_eq!(when("true"), Vec::<String>::new());
        assert_eq!(
            when("context.run has step && (context.origin == \"step\" || context.origin == \"code\")"),
            ["context.run has step", "(context.origin == \"step\") || (context.origin == \"code\")"]
        );
        assert_eq!(
            parts("unless { context.effects.containsAny([\"egress\", \"external_write\"]) || context.origin != \"client\" }"),
            ["!context.effects.contains(\"egress\")", "!context.effects.contains(\"external_write\")", "context.origin == \"client\""]
        );
        assert_eq!(when("!(!(context.run has step))"), ["context.run has step"]);
        assert_eq!(when("\"step\" == context.origin && context.origin == \"step\""), ["context.origin == \"step\""]);
        assert_eq!(when("context.effects.containsAny([\"egress\"])"), ["context.effects.contains(\"egress\")"]);
        assert_eq!(when("(context.input.a like \"(*\\\")\") || (1 == 1)"), ["(context.input.a like \"(*\\\")\") || (1 == 1)"]);
    }

    #[test]
    fn only_sums_and_the_like_may_fail() {
        let may = |text: &str| {
            let rule: Policy = format!("permit (principal, action, resource) when {{ {text} }};").parse().unwrap();
            of(&rule).iter().any(may_fail)
        };
        for sure in [
            "context.input has a.b && context.input.files.contains({path: \"a\", plus: 1})",
            "principal in toolgate::Role::\"x\" && (if context.run.private then true else context.input.n > -3)",
            "context.input.url like \"a*\" && [\"x\", \"y\"].containsAll(context.effects) && context.hosts.isEmpty()",
        ] {
            assert!(!may(sure), "{sure}");
        }
        for unsure in [
            "context.input.n + 1 > 3",
            "[context.input.n * 2].contains(4)",
            "ip(context.input.a).isIpv4()",
            "{a: -context.input.n} == {a: 1}",
        ] {
            assert!(may(unsure), "{unsure}");
        }
    }
}
