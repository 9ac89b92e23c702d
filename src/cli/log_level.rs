//! `log-level`: another level for the logs of the processes that run on the home now.
//!
//! INVARIANT: nothing is changed without the operator's proof.

use crate::secrets::operator::Operator;

use super::args::LogLevel;
use super::exit::{Ending, Exit};
use super::start::Cx;

pub(super) async fn run(args: &LogLevel, cx: &Cx<'_>) -> Ending {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    let proof = operator.prove(cx.desk.asks(args.from).as_ref())?;
    let level = cx.house.set_log_level(args.level.0, proof).await?;
    if args.json.json {
        cx.desk.console.json(&serde_json::json!({ "level": level }))?;
    } else {
        cx.desk.console.line(&format!("log level: {level}"))?;
        cx.desk.console.tell("processes that run on this home follow within seconds; new ones begin as their settings say\n");
    }
    Ok(Exit::Ok)
}
