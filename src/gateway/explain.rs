//! Why a call would be decided so: it is parsed and prepared as on the path, then asked about instead of decided.
//!
//! INVARIANT: nothing is recorded and nothing is executed; tools prepare by reading only.

use serde::Serialize;

use crate::call::{PreparedCall, RawCall};
use crate::domain::{CallId, Digest, Fault, GrantId, Labels, RunId, Timestamp};
use crate::policy::{Explanation, Reason, Verdict};
use crate::store::{Channel, GrantStatus};

use super::{Gateway, Inner};

/// A call that was asked about.
pub struct Explained {
    /// The call as policy would see it.
    pub call: PreparedCall,
    /// The labels it was asked about with.
    pub labels: Labels,
    /// The rules that were asked.
    pub policy: Digest,
    /// What they say.
    pub explanation: Explanation,
    /// Where a human would be asked: what the operator allowed this principal and tool for a while, the newest first.
    pub grants: Vec<GrantBeside>,
}

/// Grants that are told of one call.
const MOST_GRANTS: u32 = 20;

/// A standing grant beside a call that a human would be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantBeside {
    /// Its id.
    pub grant_id: GrantId,
    /// By which way a human gave it.
    pub channel: Option<Channel>,
    /// When it was given.
    pub given: Timestamp,
    /// When it ends or ended by itself.
    pub until: Timestamp,
    /// The run it is bound to, if it is.
    pub run: Option<RunId>,
    /// Where it stands.
    pub status: GrantStatus,
    /// Whether it answers the question, so that nobody would be asked.
    pub answers: bool,
    /// Why it does not.
    pub misses: Vec<String>,
}

impl Gateway {
    /// Why this call would be decided so now, if its run held `more` labels besides its own.
    ///
    /// # Errors
    /// As the path's first stages: `UNKNOWN_TOOL`, `INVALID_INPUT`, `UNKNOWN_RUN`, what the tool finds while preparing.
    pub async fn explain(&self, raw: RawCall, more: Labels) -> Result<Explained, Fault> {
        let house = &*self.inner;
        let raw = house.registry.put_through(&raw)?.unwrap_or(raw);
        let given = raw.run;
        let parsed = house.registry.parse(raw, CallId::mint(house.clock.now()))?;
        house.owns_run(&parsed, given).await?;
        let run = parsed.run;
        let is_new = !house.workspaces.path(run).exists();
        let context = house.context(&parsed, &house.shelf(&parsed.actor))?;
        let preparation = house.registry.prepare(&parsed, &context).await;
        drop(context);
        if is_new {
            house.workspaces.forget(run);
        }
        let policy = house.policy.get();
        let call = PreparedCall::new(parsed, preparation?, policy.digest())?;
        let mut facts = house.surroundings(&call, run, None).await?.facts;
        facts.labels = facts.labels.union(more);
        let explanation = policy.explain(&call, &facts);
        let grants = if explanation.verdict == Verdict::Ask { house.grants_beside(&call, &explanation.reasons).await? } else { Vec::new() };
        Ok(Explained { call, labels: facts.labels, policy: *policy.digest(), explanation, grants })
    }
}

impl Inner {
    async fn grants_beside(&self, call: &PreparedCall, reasons: &[Reason]) -> Result<Vec<GrantBeside>, Fault> {
        let parsed = call.parsed();
        let mut beside = Vec::new();
        for row in self.store.grants_of(&parsed.actor.principal, &parsed.tool.name, MOST_GRANTS).await? {
            let mut misses = row.grant.misses(call, reasons);
            match row.status {
                GrantStatus::Active => {}
                GrantStatus::Ended => misses.insert(0, "its time is over".to_owned()),
                GrantStatus::Revoked => misses.insert(0, "the operator took it back".to_owned()),
            }
            beside.push(GrantBeside {
                grant_id: row.grant.id,
                channel: self.store.approval(&row.approval).await?.and_then(|approval| approval.channel),
                given: row.given,
                until: row.grant.until,
                run: row.grant.run,
                status: row.status,
                answers: misses.is_empty(),
                misses,
            });
        }
        Ok(beside)
    }
}
