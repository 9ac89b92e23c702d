//! `runs raise`: the operator lets a run use up more; and what a run used up, as `runs show` tells it.
//!
//! INVARIANT: nothing is raised without the operator's proof.

use std::fmt::Write as _;

use crate::secrets::operator::Operator;

use super::args::raise::Raise;
use super::exit::{Ending, Exit};
use super::ports::BudgetLine;
use super::start::Cx;

pub(super) async fn run(args: &Raise, cx: &Cx<'_>) -> Ending {
    let before = cx.house.run(&args.run).await?;
    if !args.json.json {
        cx.desk.console.tell(&format!("run {} ({})\n{}", args.run, before.row.status.as_str(), used(&before.budget)));
    }
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    let proof = operator.prove(cx.desk.asks(args.from).as_ref())?;
    cx.house.raise(&args.run, args.by(), proof).await?;
    let after = cx.house.run(&args.run).await?;
    if args.json.json {
        cx.desk.console.json(&after)?;
    } else {
        cx.desk.console.line(&format!("raised {}", args.run))?;
        cx.desk.console.tell(&used(&after.budget));
        if after.row.workflow.is_some() {
            cx.desk.console.tell(&format!("where nothing drives the run any more: `toolgate runs watch {}`\n", args.run));
        }
    }
    Ok(Exit::Ok)
}

/// What was used and what is left, in one line for each quantity that is limited or used.
pub(super) fn used(budget: &[BudgetLine]) -> String {
    let mut shown = String::new();
    for line in budget.iter().filter(|line| line.used > 0 || line.limit.is_some()) {
        let left = match (line.limit, line.left) {
            (Some(limit), Some(left)) => format!("of {limit}, {left} left"),
            _ => "no limit".to_owned(),
        };
        let _ = writeln!(shown, "  {:<9} {} ({left})", line.what, line.used);
    }
    shown
}
