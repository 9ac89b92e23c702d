//! `doctor`: what works on this machine, and what to do about the rest.

mod clients;
mod online;

use crate::config::Config;

use super::args::Doctor;
use super::exit::{Ending, Exit};
use super::ports::Door;
use super::start::Desk;
use super::text::printable;

pub(super) async fn run(args: &Doctor, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    let mut checks = door.doctor(config).await;
    checks.extend(clients::checks(desk, &config.home.value, door).await);
    if args.online {
        checks.extend(online::checks(config, door).await);
    }
    let failed = checks.iter().filter(|check| !check.ok).count();
    if args.json.json {
        desk.console.json(&serde_json::json!({ "ok": failed == 0, "checks": checks }))?;
    } else {
        let width = checks.iter().map(|check| console::measure_text_width(&check.name)).max().unwrap_or(0);
        for check in &checks {
            let mark = if check.ok { "✓" } else { "✗" };
            desk.console.line(&format!("{mark} {:width$}  {}", printable(&check.name), printable(&check.detail)))?;
            if let Some(mend) = check.mend.as_ref().filter(|_| !check.ok) {
                desk.console.line(&format!("  {:width$}  → {}", "", printable(mend)))?;
            }
        }
        match failed {
            0 => desk.console.line("everything works")?,
            1 => desk.console.line("1 check failed")?,
            _ => desk.console.line(&format!("{failed} checks failed"))?,
        }
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}
