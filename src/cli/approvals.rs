//! `approvals`: the human's door.
//!
//! INVARIANT: an answer is sent only with the operator's proof, and what is answered was shown before, whatever was too long with its
//! size and hash. There is no verb that answers more than one question.

use crate::domain::{ApprovalId, GrantId, RunId};
use crate::gateway::{AllowFor, Amount, Answer, describe};
use crate::secrets::operator::{Operator, OperatorProof};
use crate::store::{ApprovalFilter, ApprovalRow, ApprovalStatus, GrantRow, GrantStatus};

use super::args::{Allow, Approvals, PassphraseFrom};
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::start::Cx;
use super::text::{ago, moment, printable};

pub(super) async fn run(args: &Approvals, cx: &Cx<'_>) -> Ending {
    match args {
        Approvals::List { all, json } => list(*all, json.json, cx).await,
        Approvals::Show { id, full, json } => {
            let row = cx.house.approval(id).await?;
            if json.json {
                cx.desk.console.json(&row)?;
            } else {
                let amount = if *full { Amount::Whole } else { Amount::Short };
                cx.desk.console.data(&describe(&row, cx.desk.clock.now(), amount))?;
            }
            Ok(Exit::Ok)
        }
        Approvals::Approve { id, allow, reason, from, json } => {
            let yes = Answer::Approve { allow: allow_for(*allow, cx), reason: reason.clone() };
            answer(id, yes, *from, json.json, cx).await
        }
        Approvals::Deny { id, reason, from, json } => answer(id, Answer::Deny { reason: reason.clone() }, *from, json.json, cx).await,
        Approvals::Forget { id, from, json } => forget(id, *from, json.json, cx).await,
        Approvals::Grants { all, json } => grants(*all, json.json, cx).await,
        Approvals::Revoke { id, from, json } => revoke(id, *from, json.json, cx).await,
        Approvals::Release { run, from, json } => release(run, *from, json.json, cx).await,
    }
}

fn allow_for(allow: Allow, cx: &Cx<'_>) -> Option<AllowFor> {
    match allow {
        Allow { for_run: true, .. } => Some(AllowFor::ThisRun),
        Allow { until: Some(until), .. } => Some(AllowFor::Until(until.after(cx.desk.clock.now()))),
        Allow { for_run: false, until: None } => None,
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
    let paused = cx.house.paused_runs().await?;
    if rows.is_empty() {
        console.tell(if all { "nothing was ever asked\n" } else { "nothing waits for an answer\n" });
    } else {
        let now = cx.desk.clock.now();
        let mut table = Table::new(&["ID", "STATUS", "TOOL", "FOR", "ASKED", "EXPIRES", "WHY"]);
        for row in &rows {
            let times = if row.asked > 1 { format!(" ({} times)", row.asked) } else { String::new() };
            let (id, asked, expires) = (row.id.to_string(), ago(row.created, now) + &times, ago(row.expires, now));
            table.row([&id, row.status.as_str(), row.tool.as_str(), row.principal.as_str(), &asked, &expires, &row.reason]);
        }
        console.table(&table)?;
    }
    for run in paused {
        console.tell(&format!(
            "run {} asks nothing more, as {}; `toolgate approvals release {}` lets it\n",
            run.run_id,
            printable(&run.why),
            run.run_id
        ));
    }
    Ok(Exit::Ok)
}

async fn answer(id: &ApprovalId, answer: Answer, from: PassphraseFrom, json: bool, cx: &Cx<'_>) -> Ending {
    let row = cx.house.approval(id).await?;
    let console = &cx.desk.console;
    if !json {
        console.tell(&describe(&row, cx.desk.clock.now(), Amount::Short));
        if matches!(answer, Answer::Approve { allow: Some(_), .. }) {
            console.tell(&alike(&row));
        }
    }
    let row = decide(&row, answer, from, cx).await?;
    if json {
        console.json(&row)?;
    } else {
        console.line(&format!("{} {}", row.status.as_str(), row.id))?;
        if row.step_id.is_some() {
            console.tell(&format!("where nothing drives the run any more: `toolgate runs watch {}`\n", row.run_id));
        }
    }
    Ok(Exit::Ok)
}

/// What a yes for a while lets through besides this call.
fn alike(row: &ApprovalRow) -> String {
    let Some(covers) = &row.covers else { return String::new() };
    let effects: Vec<&str> = covers.effects.iter().map(|effect| effect.as_str()).collect();
    let places: Vec<&str> = covers.places.iter().map(String::as_str).collect();
    let what = if covers.arguments.is_some() { "with exactly these arguments" } else { "with any other arguments" };
    let places = if places.is_empty() { String::new() } else { format!(", to {} and nowhere else", printable(&places.join(", "))) };
    format!(
        "  this also allows: calls of {} by `{}` {what}, with the effects {}{places}\n",
        covers.tool,
        covers.principal,
        effects.join(", ")
    )
}

/// Proves that the operator is there, then answers.
pub(super) async fn decide(row: &ApprovalRow, answer: Answer, from: PassphraseFrom, cx: &Cx<'_>) -> Result<ApprovalRow, Stop> {
    Ok(cx.house.decide(&row.id, answer, prove(from, cx)?).await?)
}

fn prove(from: PassphraseFrom, cx: &Cx<'_>) -> Result<OperatorProof, Stop> {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    Ok(operator.prove(cx.desk.asks(from).as_ref())?)
}

async fn forget(id: &ApprovalId, from: PassphraseFrom, json: bool, cx: &Cx<'_>) -> Ending {
    let row = cx.house.lift_denial(id, prove(from, cx)?).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&row)?
    } else {
        console.line(&format!("{} {}", row.status.as_str(), row.id))?
    }
    Ok(Exit::Ok)
}

fn standing(row: &GrantRow) -> &'static str {
    match row.status {
        GrantStatus::Active => "active",
        GrantStatus::Revoked => "revoked",
        GrantStatus::Ended => "ended",
    }
}

async fn grants(all: bool, json: bool, cx: &Cx<'_>) -> Ending {
    let mut rows = cx.house.grants(all).await?;
    rows.retain(|row| all || row.status == GrantStatus::Active);
    let console = &cx.desk.console;
    if json {
        console.json(&rows)?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        console.tell("nothing is allowed for a while\n");
        return Ok(Exit::Ok);
    }
    let now = cx.desk.clock.now();
    let mut table = Table::new(&["ID", "STATUS", "TOOL", "FOR", "RUN", "WHERE", "USES", "UNTIL"]);
    for row in &rows {
        let covers = &row.grant.covers;
        let run = row.grant.run.map_or_else(|| "any".to_owned(), |run| run.to_string());
        let places = covers.places.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let (id, uses, until) = (row.grant.id.to_string(), row.uses.to_string(), moment(row.grant.until, now));
        table.row([&id, standing(row), covers.tool.as_str(), covers.principal.as_str(), &run, &places, &uses, &until]);
    }
    console.table(&table)?;
    Ok(Exit::Ok)
}

async fn revoke(id: &GrantId, from: PassphraseFrom, json: bool, cx: &Cx<'_>) -> Ending {
    let row = cx.house.revoke(id, prove(from, cx)?).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&row)?
    } else {
        console.line(&format!("{} {}", standing(&row), row.grant.id))?
    }
    Ok(Exit::Ok)
}

async fn release(run: &RunId, from: PassphraseFrom, json: bool, cx: &Cx<'_>) -> Ending {
    cx.house.release(run, prove(from, cx)?).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&serde_json::json!({ "released": run }))?
    } else {
        console.line(&format!("released {run}"))?
    }
    Ok(Exit::Ok)
}
