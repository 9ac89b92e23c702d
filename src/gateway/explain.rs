//! Why a call would be decided so: it is parsed and prepared as on the path, then asked about instead of decided.
//!
//! INVARIANT: nothing is recorded and nothing is executed; tools prepare by reading only.

use crate::call::{PreparedCall, RawCall};
use crate::domain::{CallId, Digest, Fault, Labels};
use crate::policy::Explanation;

use super::Gateway;

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
}

impl Gateway {
    /// Why this call would be decided so now, if its run held `more` labels besides its own.
    ///
    /// # Errors
    /// As the path's first stages: `UNKNOWN_TOOL`, `INVALID_INPUT`, `UNKNOWN_RUN`, what the tool finds while preparing.
    pub async fn explain(&self, raw: RawCall, more: Labels) -> Result<Explained, Fault> {
        let house = &*self.inner;
        let given = raw.run;
        let parsed = house.registry.parse(raw, CallId::mint(house.clock.now()))?;
        house.owns_run(&parsed, given).await?;
        let run = parsed.run;
        let is_new = !house.workspaces.path(run).exists();
        let context = house.context(&parsed)?;
        let preparation = house.registry.prepare(&parsed, &context).await;
        drop(context);
        if is_new {
            house.workspaces.forget(run);
        }
        let policy = house.policy.get();
        let call = PreparedCall::new(parsed, preparation?, policy.digest())?;
        let mut facts = house.surroundings(&call, run).await?.facts;
        facts.labels = facts.labels.union(more);
        let explanation = policy.explain(&call, &facts);
        Ok(Explained { call, labels: facts.labels, policy: *policy.digest(), explanation })
    }
}
