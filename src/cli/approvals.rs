//! `approvals`: the human's door.
//!
//! INVARIANT: an answer is sent only with the operator's proof, and what is answered was shown in full before.

use std::fmt::Write as _;

use crate::domain::{ApprovalId, Timestamp};
use crate::secrets::operator::Operator;
use crate::store::{ApprovalFilter, ApprovalRow, ApprovalStatus};

use super::args::{Approvals, PassphraseFrom};
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::start::Cx;
use super::text::{self, ago, moment, printable};

pub(super) async fn run(args: &Approvals, cx: &Cx<'_>) -> Ending {
    match args {
        Approvals::List { all, json } => list(*all, json.json, cx).await,
        Approvals::Show { id, json } => {
            let row = cx.house.approval(id).await?;
            if json.json {
                cx.desk.console.json(&row)?;
            } else {
                cx.desk.console.data(&describe(&row, cx.desk.clock.now()))?;
            }
            Ok(Exit::Ok)
        }
        Approvals::Approve { id, reason, from, json } => answer(id, true, reason.clone(), *from, json.json, cx).await,
        Approvals::Deny { id, reason, from, json } => answer(id, false, Some(reason.clone()), *from, json.json, cx).await,
    }
}

async fn list(all: bool, json: bool, cx: &Cx<'_>) -> Ending {
    let status = (!all).then_some(ApprovalStatus::Pending);
    let rows = cx.house.approvals(ApprovalFilter { status, ..ApprovalFilter::default() }).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&rows)?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        console.tell(if all { "nothing was ever asked\n" } else { "nothing waits for an answer\n" });
        return Ok(Exit::Ok);
    }
    let now = cx.desk.clock.now();
    let mut table = Table::new(&["ID", "STATUS", "TOOL", "FOR", "ASKED", "EXPIRES", "WHY"]);
    for row in &rows {
        let (id, asked, expires) = (row.id.to_string(), ago(row.created, now), ago(row.expires, now));
        table.row([&id, word(row.status), row.tool.as_str(), row.principal.as_str(), &asked, &expires, &row.reason]);
    }
    console.table(&table)?;
    Ok(Exit::Ok)
}

fn word(status: ApprovalStatus) -> &'static str {
    match status {
        ApprovalStatus::Pending => "pending",
        ApprovalStatus::Approved => "approved",
        ApprovalStatus::Denied => "denied",
        ApprovalStatus::Used => "used",
        ApprovalStatus::Expired => "expired",
    }
}

/// Everything about an approval. What is to be done stands behind bars, so that none of it passes for ours.
pub(super) fn describe(row: &ApprovalRow, now: Timestamp) -> String {
    let step = row.step_id.as_ref().map(|step| format!(", step `{step}`")).unwrap_or_default();
    let mut shown = format!("approval {} ({})\n", row.id, word(row.status));
    for (label, value) in [
        ("tool", row.tool.to_string()),
        ("run", format!("{}{step}", row.run_id)),
        ("for", row.principal.to_string()),
        ("why", row.reason.clone()),
        ("asked", moment(row.created, now)),
        ("expires", moment(row.expires, now)),
        ("digest", row.digest.to_string()),
    ] {
        let _ = writeln!(shown, "  {label:<8} {}", printable(&value));
    }
    if let Some(answer) = &row.answer {
        let _ = writeln!(shown, "  {:<8} {}", "answer", printable(answer));
    }
    let _ = writeln!(shown, "  what is to be done:");
    shown.push_str(&text::outline(&row.shown));
    shown
}

async fn answer(id: &ApprovalId, approve: bool, reason: Option<String>, from: PassphraseFrom, json: bool, cx: &Cx<'_>) -> Ending {
    let row = cx.house.approval(id).await?;
    if !json {
        cx.desk.console.tell(&describe(&row, cx.desk.clock.now()));
    }
    let row = decide(&row, approve, reason, from, cx).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&row)?;
    } else {
        console.line(&format!("{} {}", word(row.status), row.id))?;
        if row.step_id.is_some() {
            console.tell(&format!("where nothing drives the run any more: `toolgate runs watch {}`\n", row.run_id));
        }
    }
    Ok(Exit::Ok)
}

/// Proves that the operator is there, then answers.
pub(super) async fn decide(
    row: &ApprovalRow,
    approve: bool,
    reason: Option<String>,
    from: PassphraseFrom,
    cx: &Cx<'_>,
) -> Result<ApprovalRow, Stop> {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    let proof = operator.prove(cx.desk.asks(from).as_ref())?;
    Ok(cx.house.decide(&row.id, approve, reason, proof).await?)
}
