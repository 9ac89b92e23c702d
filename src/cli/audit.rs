//! `audit`: is the log whole?

use crate::domain::{ErrorCode, Fault};

use super::args::Audit;
use super::exit::{Ending, Exit};
use super::ports::AuditReport;
use super::report::report;
use super::start::Cx;

pub(super) async fn run(args: &Audit, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    match args {
        Audit::Verify { json } => {
            let found = cx.house.verify().await?;
            let sound = found.broken.is_none();
            if json.json {
                console.json(&serde_json::json!({ "ok": sound, "records": found.records, "head": found.head, "broken": found.broken }))?;
            } else {
                tell(&found, cx)?;
            }
            Ok(if sound { Exit::Ok } else { Exit::Failed })
        }
        Audit::Head { json } => {
            let head = cx.house.head().await?;
            match (&head, json.json) {
                (_, true) => console.json(&head)?,
                (Some(head), false) => console.line(&format!("{} {}", head.index, head.hash))?,
                (None, false) => console.tell("the log is empty\n"),
            }
            Ok(Exit::Ok)
        }
    }
}

fn tell(found: &AuditReport, cx: &Cx<'_>) -> std::io::Result<()> {
    let console = &cx.desk.console;
    if let Some(broken) = &found.broken {
        let run = broken.run.as_ref().map(|run| format!(" of {run}")).unwrap_or_default();
        let fault = Fault::new(ErrorCode::AuditBroken, format!("record {}{run} does not verify: {}", broken.index, broken.why))
            .hint(format!("{} records before it are sound; keep the database as it is and compare it with a copy", found.records));
        report(console, &fault, false);
        return Ok(());
    }
    match &found.head {
        Some(head) => console.line(&format!("{} records are sound; the newest is {} {}", found.records, head.index, head.hash)),
        None => console.line("the log is empty"),
    }
}
