//! `drive`: the drives there are, and the login at Google Drive.
//!
//! INVARIANT: no token and no code of the sign-in service is printed; the code that a person types is, as it is for that.

use serde_json::json;

use crate::secrets::operator::{Operator, OperatorProof};

use super::args::{Drive, PassphraseFrom};
use super::drive_port::{DriveView, LoginPrompt, LoginWay};
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::start::Cx;
use super::text::ago;

pub(super) async fn run(args: &Drive, cx: &Cx<'_>) -> Ending {
    let desk = cx.house.drives()?;
    let console = &cx.desk.console;
    match args {
        Drive::Login { device, from, json } => {
            let proof = prove(*from, cx)?;
            let way = if *device { LoginWay::Code } else { LoginWay::Browser };
            let tell = |prompt| match prompt {
                LoginPrompt::Browser { url } => {
                    console.tell(&format!("Open this address in a browser of this machine, within ten minutes:\n\n  {url}\n\n"))
                }
                LoginPrompt::Code { url, code } => {
                    console.tell(&format!("Open {url} in a browser anywhere, within ten minutes, and type the code\n\n  {code}\n\n"))
                }
            };
            let view = desk.login(way, &tell, proof).await?;
            if json.json {
                console.json(&view)?;
            } else {
                let whose = view.account.as_ref().map_or_else(String::new, |account| format!(" as {account}"));
                console.line(&format!("logged in at Google Drive{whose}, with the scope {}", view.scope.as_deref().unwrap_or_default()))?;
            }
            Ok(Exit::Ok)
        }
        Drive::Status { offline, json } => {
            let all = desk.status(!offline).await?;
            if json.json {
                console.json(&all)?;
                return Ok(Exit::Ok);
            }
            let now = cx.desk.clock.now();
            let mut table = Table::new(&["DRIVE", "USUAL", "STATE", "SCOPE", "LOGIN", "ROOM", "DETAIL"]);
            for drive in &all {
                let DriveView { name, usual, state, detail, scope, since, .. } = drive;
                let since = since.map_or_else(String::new, |since| ago(since, now));
                table.row([
                    name.as_str(),
                    if *usual { "yes" } else { "" },
                    state,
                    scope.as_deref().unwrap_or_default(),
                    &since,
                    &room(drive),
                    detail,
                ]);
            }
            console.table(&table)?;
            Ok(Exit::Ok)
        }
        Drive::Logout { forget, from, json } => {
            desk.logout(*forget, prove(*from, cx)?).await?;
            if json.json {
                console.json(&json!({ "logged_out": "google" }))?;
            } else {
                console.line("logged out of Google Drive")?;
            }
            Ok(Exit::Ok)
        }
    }
}

fn room(drive: &DriveView) -> String {
    let mib = |bytes: u64| bytes >> 20;
    match (drive.used, drive.limit) {
        (Some(used), Some(limit)) => format!("{} of {} MiB", mib(used), mib(limit)),
        (Some(used), None) => format!("{} MiB", mib(used)),
        (None, _) => String::new(),
    }
}

fn prove(from: PassphraseFrom, cx: &Cx<'_>) -> Result<OperatorProof, Stop> {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    Ok(operator.prove(cx.desk.asks(from).as_ref())?)
}
