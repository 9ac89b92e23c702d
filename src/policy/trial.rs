//! Rules on trial (`@mode("log")`): asked beside those in force, so that a new rule can be watched before it counts.
//!
//! INVARIANT: nothing here changes a verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{Authorizer, Entities, PolicySet as Rules, Request};
use serde::{Deserialize, Serialize};

use super::Verdict;
use super::load::Rule;
use crate::domain::{Problem, Problems};

/// What a rule on trial that matched a call would have made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The rule's `@id`, else its file and line.
    pub rule: String,
    /// The verdict, had the rule been in force.
    pub would: Verdict,
}

/// How often a rule on trial spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrialCount {
    /// The rule.
    pub rule: String,
    /// Calls it matched.
    pub matched: u64,
    /// Calls whose verdict it would have changed.
    pub changed: u64,
}

/// The rules on trial of one slice, each alone.
#[derive(Default)]
pub(super) struct Trials(Vec<(String, Verdict, Rules)>);

impl Trials {
    pub(super) fn add(&mut self, rule: &Rule) -> Result<(), Problems> {
        let alone = Rules::from_policies([rule.policy.clone()])
            .map_err(|error| Problem::new(&rule.file, format!("a rule on trial cannot be asked: {error}")).at(Some(rule.line)))?;
        self.0.push((rule.id.clone(), rule.verdict, alone));
        Ok(())
    }

    /// What each would have made of a call that got `verdict`; `open` where no rule in force spoke, so that a permit would have decided.
    pub(super) fn ask(&self, by: &Authorizer, request: &Request, entities: &Entities, verdict: Verdict, open: bool) -> Vec<Trial> {
        let ask = |(id, own, rules): &(String, Verdict, Rules)| {
            let answer = by.is_authorized(request, rules, entities);
            let failed = answer.diagnostics().errors().next().is_some();
            let matched = answer.diagnostics().reason().next().is_some();
            let would = match (failed, matched) {
                (true, _) => Verdict::Deny,
                (false, true) if open => *own,
                (false, true) => verdict.max(*own),
                (false, false) => return None,
            };
            Some(Trial { rule: id.clone(), would })
        };
        self.0.iter().filter_map(ask).collect()
    }
}

/// Counts, by rule.
#[derive(Default)]
pub(super) struct Counters(BTreeMap<String, (AtomicU64, AtomicU64)>);

impl Counters {
    pub(super) fn of(rules: impl Iterator<Item = String>) -> Self {
        Self(rules.map(|rule| (rule, Default::default())).collect())
    }

    pub(super) fn count(&self, verdict: Verdict, trials: &[Trial]) {
        for trial in trials {
            let Some((matched, changed)) = self.0.get(&trial.rule) else { continue };
            matched.fetch_add(1, Ordering::Relaxed);
            changed.fetch_add(u64::from(trial.would != verdict), Ordering::Relaxed);
        }
    }

    pub(super) fn told(&self) -> Vec<TrialCount> {
        let told = |(rule, (matched, changed)): (&String, &(AtomicU64, AtomicU64))| TrialCount {
            rule: rule.clone(),
            matched: matched.load(Ordering::Relaxed),
            changed: changed.load(Ordering::Relaxed),
        };
        self.0.iter().map(told).collect()
    }
}
