//! Questions to humans: how they are asked, and what sees to them while the house is open.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::Principal;
use crate::gateway::{ApprovalSettings, Gateway};
use crate::store::AskLimits;

/// How often it is looked at what time has ended.
const LOOK: Duration = Duration::from_secs(5);

/// From the operator's settings.
pub(super) fn settings(config: &Config) -> ApprovalSettings {
    let (pending, rate) = &config.approvals_limits;
    let trusted = if config.approvals_elicitation.value { config.approvals_trusted.value.clone() } else { Vec::new() };
    ApprovalSettings {
        wait: config.approvals_wait.value,
        expires: config.approvals_expire.value,
        limits: AskLimits { pending_per_run: pending.value, per_minute: rate.value },
        longest_grant: config.approvals_longest_grant.value,
        trusted: trusted.into_iter().map(Principal::new).collect(),
    }
}

/// Records what time ends, until `stop`.
pub(super) async fn keep(gateway: Gateway, stop: CancellationToken) {
    loop {
        if let Err(fault) = gateway.end_what_is_over().await {
            tracing::warn!("questions whose time is over could not be recorded: {fault}");
        }
        if let Err(fault) = gateway.close_idle_adhoc_runs().await {
            tracing::warn!("runs of direct calls that nobody uses stay open: {fault}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
