//! What a call uses up of its run's and its principal's budget.
//!
//! INVARIANT: a call that has effects is counted in the commit of its intent, under a guard that the store checks, so calls at the same time
//! cannot pass a limit together; one that leaves nothing behind is counted with its outcome, which is not given where that does not fit.
//! What counts is `run::Mark`'s to say.

use crate::call::{ParsedCall, PreparedCall};
use crate::domain::{Actor, Allowance, Amounts, Effect, ErrorCode, Fault, LimitOf, Measured, Overrun, RunId, day_of};
use crate::run::EventDraft;
use crate::store::{Append, Guard};

use super::Inner;

/// What a call uses up as soon as it begins.
fn costs(call: &PreparedCall) -> Amounts {
    Amounts { calls: 1, tokens: call.parsed().tokens, bytes_out: bytes_out(call), ..Amounts::default() }
}

/// Bytes that a call sends out by its own arguments: those of a change outside. What goes through the network is counted where it is sent.
fn bytes_out(call: &PreparedCall) -> u64 {
    if !call.effects().contains(Effect::ExternalWrite) {
        return 0;
    }
    serde_json::to_vec(call.parsed().args.value()).map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}

/// The intent with what is counted of it.
pub(super) fn counted(intent: EventDraft, call: &PreparedCall) -> EventDraft {
    let costs = costs(call);
    let intent = if costs.tokens > 0 { intent.field("tokens", costs.tokens) } else { intent };
    if costs.bytes_out > 0 { intent.field("bytes_out", costs.bytes_out) } else { intent }
}

impl Inner {
    /// What an ad-hoc run may use up. Steps it has none, and it stays open between calls, so time is not limited.
    pub(super) fn adhoc_limits(&self) -> Allowance {
        Allowance { steps: None, wall_ms: None, ..self.budgets.run }
    }

    /// Refuses a call that does not fit what is left, before anything of it is done. The guard of its record decides in the end.
    pub(super) async fn affordable(&self, call: &PreparedCall) -> Result<(), Fault> {
        let parsed = call.parsed();
        let costs = costs(call);
        let now = self.clock.now();
        if self.terms(parsed.run).await?.is_limited
            && let Some(over) = self.store.budget(&parsed.run).await?.over(now, &costs)
        {
            return Err(over.fault());
        }
        let daily = self.budgets.daily(&parsed.actor.principal);
        if daily.is_unlimited() {
            return Ok(());
        }
        let used = self.store.used_on(&parsed.actor.principal, day_of(now)).await?;
        Overrun::find(LimitOf::Principal, &daily, &used, &costs).map_or(Ok(()), |over| Err(over.fault()))
    }

    /// The guard under which a call is counted; none where nothing is limited.
    pub(super) async fn budget_guard(&self, call: &ParsedCall) -> Result<Vec<Guard>, Fault> {
        let daily = self.budgets.daily(&call.actor.principal);
        let is_limited = !daily.is_unlimited() || self.terms(call.run).await?.is_limited;
        Ok(if is_limited { vec![Guard::Budget(daily)] } else { Vec::new() })
    }

    /// What a call that its record's guard turned away is told; the limit is recorded as hit.
    pub(super) async fn unaffordable(&self, call: &ParsedCall, fault: Fault) -> Fault {
        self.tell_limit(call.run, &call.actor, fault).await
    }

    /// Records that a limit was hit, where the fault says so and the run was not told yet; gives the fault back.
    pub(super) async fn tell_limit(&self, run: RunId, actor: &Actor, fault: Fault) -> Fault {
        let Some(over) = Overrun::of_fault(&fault) else { return fault };
        self.tell(Measured::OverBudget { of: over.of });
        match self.store.append(Append::telling(run, over, actor.clone())).await {
            Err(broken) if broken.code != ErrorCode::RunState => broken,
            Ok(_) | Err(_) => fault,
        }
    }
}
