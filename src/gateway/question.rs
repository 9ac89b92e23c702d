//! A question as a human reads it: rendered from the very bytes that would be executed, the same for every channel.
//!
//! INVARIANT: nothing of it is the model's own text but what stands under the model's own heading, behind another bar; nothing
//! hidden stays hidden; what is too long is cut with its size and hash, never silently.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::call::PreparedCall;
use crate::domain::shown::{block, moment, outline, printable};
use crate::domain::{Digest, Timestamp};
use crate::policy::Decision;
use crate::store::ApprovalRow;

/// Characters of the model's reason that are kept.
const LONGEST_NOTE: usize = 500;
/// Characters of one text before it is cut, and how many of its beginning and end stay.
const LONG: usize = 2_000;
const HEAD: usize = 1_200;
const TAIL: usize = 400;
/// Lines of what is to be done before the rest is only counted.
const MOST_LINES: usize = 300;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Long texts and lists are cut.
    Short,
    /// Everything.
    Whole,
}

/// What the store keeps of a call that is asked about.
pub(super) fn of_call(call: &PreparedCall) -> Value {
    let parsed = call.parsed();
    json!({
        "tool": parsed.tool.name,
        "version": parsed.tool.version,
        "arguments": parsed.args.value(),
        "effects": call.effects(),
        "target": call.target(),
        "principal": parsed.actor.principal,
    })
}

/// Why a human is asked: the rules' words.
pub(super) fn reason(decision: &Decision) -> String {
    let words: Vec<&str> = decision.reasons.iter().map(|reason| reason.text.as_str()).filter(|text| !text.is_empty()).collect();
    words.join("; ")
}

/// The model's own reason, as much of it as is kept.
pub(super) fn note(call: &PreparedCall) -> Option<String> {
    let note: String = call.parsed().asking.reason.as_deref()?.trim().chars().take(LONGEST_NOTE).collect();
    (!note.is_empty()).then_some(note)
}

/// The whole question as text. What is to be done stands behind bars, so that none of it passes for ours.
#[must_use]
pub fn describe(row: &ApprovalRow, now: Timestamp, amount: Amount) -> String {
    let step = row.step_id.as_ref().map(|step| format!(", step `{step}`")).unwrap_or_default();
    let mut shown = format!("approval {} ({})\n", row.id, row.status.as_str());
    for (label, value) in [
        ("tool", row.tool.to_string()),
        ("run", format!("{}{step}", row.run_id)),
        ("for", row.principal.to_string()),
        ("why", row.reason.clone()),
        ("asked", if row.asked > 1 { format!("{}, {} times", moment(row.created, now), row.asked) } else { moment(row.created, now) }),
        ("expires", moment(row.expires, now)),
        ("digest", row.digest.to_string()),
    ] {
        let _ = writeln!(shown, "  {label:<8} {}", printable(&value));
    }
    if let Some(answer) = &row.answer {
        let _ = writeln!(shown, "  {:<8} {}", "answer", printable(answer));
    }
    for warning in warnings(row) {
        let _ = writeln!(shown, "  {:<8} {}", "careful", printable(&warning));
    }
    let _ = writeln!(shown, "  what is to be done:");
    shown.push_str(&body(row, amount));
    if let Some(note) = &row.note {
        let _ = writeln!(shown, "  the model's own words, checked by nobody:");
        shown.push_str(&block(note).replace("  │ ", "  ┊ "));
    }
    shown
}

fn body(row: &ApprovalRow, amount: Amount) -> String {
    if amount == Amount::Whole {
        return outline(&row.shown);
    }
    let mut value = row.shown.clone();
    cut(&mut value);
    let text = outline(&value);
    let lines = text.lines().count();
    if lines <= MOST_LINES {
        return text;
    }
    let mut shown: String = text.lines().take(MOST_LINES).flat_map(|line| [line, "\n"]).collect();
    let hash = Digest::of(outline(&row.shown).as_bytes());
    let _ = writeln!(shown, "  … {} more lines, sha256 of all {hash}; `approvals show {} --full` has them", lines - MOST_LINES, row.id);
    shown
}

/// Cuts every long text, saying so in its place.
fn cut(value: &mut Value) {
    match value {
        Value::String(text) => {
            let count = text.chars().count();
            if count > LONG {
                let head: String = text.chars().take(HEAD).collect();
                let tail: String = text.chars().skip(count - TAIL).collect();
                let (bytes, hash) = (text.len(), Digest::of(text.as_bytes()));
                *text = format!(
                    "{head}\n… cut here: {} of {count} characters are not shown; {bytes} bytes in all, sha256 {hash}; --full shows them …\n{tail}",
                    count - HEAD - TAIL
                );
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a reader could overlook: names of hosts that look like others.
fn warnings(row: &ApprovalRow) -> Vec<String> {
    let places = row.covers.iter().flat_map(|covers| &covers.places);
    places
        .filter_map(|place| {
            let odd: Vec<String> = place.chars().filter(|c| !c.is_ascii()).map(|c| format!("U+{:04X}", u32::from(c))).collect();
            if odd.is_empty() && !place.contains("xn--") {
                return None;
            }
            Some(format!(
                "`{place}` is written with letters that can look like others: {}",
                if odd.is_empty() { "xn--".into() } else { odd.join(" ") }
            ))
        })
        .collect()
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
