//! The way from the tools `policy.explain` and `toolgate.status` to the rules: what an agent may be told of them.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Asking, NoProgress, Origin, RawCall};
use crate::domain::{Actor, Fault, Labels, RunId};
use crate::gateway::{Gateway, GrantBeside};
use crate::policy::{Condition, Current, Difference, Explanation, Verdict};
use crate::tools::policy_explain::{Explain, Told, ToldCondition, ToldDifference, ToldFound, ToldGrant, ToldReason};
use crate::tools::status::{Rules, State};

/// Leads to the gateway once there is one: tools are made before it.
#[derive(Default)]
pub(super) struct PolicyDoor(OnceLock<(Gateway, Arc<Current>)>);

impl PolicyDoor {
    pub(super) fn lead_to(&self, gateway: &Gateway, rules: &Arc<Current>) {
        let _first = self.0.set((gateway.clone(), rules.clone()));
    }
}

#[async_trait]
impl Explain for PolicyDoor {
    async fn explain(&self, who: &Actor, run: RunId, tool: &str, arguments: Value) -> Result<Told, Fault> {
        let (gateway, rules) = self.0.get().ok_or_else(|| Fault::internal("there is no gateway yet"))?;
        let raw = RawCall {
            tool: tool.to_owned(),
            arguments,
            origin: Origin::Client,
            actor: who.clone(),
            run,
            tokens: 0,
            along: Along::default(),
            asking: Asking::default(),
            cancel: CancellationToken::new(),
            progress: Arc::new(NoProgress),
        };
        let explained = gateway.explain(raw, Labels::default()).await?;
        let grants = explained.grants.into_iter().map(grant).collect();
        Ok(told(explained.explanation, grants, explained.policy.to_string(), rules.rejected().is_some()))
    }
}

impl State for PolicyDoor {
    fn rules(&self) -> Result<Rules, Fault> {
        let (_, rules) = self.0.get().ok_or_else(|| Fault::internal("there is no gateway yet"))?;
        let set = rules.get();
        Ok(Rules { digest: *set.digest(), count: set.len(), rejected: rules.rejected() })
    }
}

fn told(explanation: Explanation, grants: Vec<ToldGrant>, policy: String, files_rejected: bool) -> Told {
    let reason = |reason: crate::policy::Reason| ToldReason { rule: reason.rule, text: reason.text };
    Told {
        verdict: explanation.verdict.as_str().to_owned(),
        reasons: explanation.reasons.into_iter().map(reason).collect(),
        differ: explanation.differ.into_iter().map(difference).collect(),
        grants,
        policy,
        files_rejected,
    }
}

fn grant(one: GrantBeside) -> ToldGrant {
    ToldGrant {
        grant_id: one.grant_id.to_string(),
        channel: one.channel.map(|channel| channel.as_str().to_owned()),
        until: one.until.to_string(),
        answers: one.answers,
        misses: one.misses,
    }
}

fn difference(one: Difference) -> ToldDifference {
    // What a forbid looks at is the way around it.
    let conditions = if one.verdict == Verdict::Deny { Vec::new() } else { one.conditions };
    ToldDifference {
        rule: one.rule,
        verdict: one.verdict.as_str().to_owned(),
        text: one.text,
        must: match one.must {
            crate::policy::Must::Match => "match".to_owned(),
            crate::policy::Must::NotMatch => "not_match".to_owned(),
        },
        conditions: conditions.into_iter().map(condition).collect(),
    }
}

fn condition(one: Condition) -> ToldCondition {
    let found = one.found.into_iter().map(|found| ToldFound { path: found.path, value: found.value }).collect();
    ToldCondition { wanted: one.wanted, found }
}
