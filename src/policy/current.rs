//! The rules in force, which can be replaced while calls are decided.
//!
//! INVARIANT: a reader gets one whole set and keeps it for as long as it likes; a set that did not load is never put in force, and what
//! was wrong with it is told until a good one comes. Does not read files: see `app::policy_watch`.

use std::sync::{Arc, PoisonError, RwLock};

use super::PolicySet;
use crate::domain::{Digest, Problems};

/// A shared, replaceable set of rules.
pub struct Current {
    state: RwLock<State>,
}

struct State {
    set: Arc<PolicySet>,
    rejected: Option<Problems>,
}

impl Current {
    /// Begins with this set.
    #[must_use]
    pub fn new(set: PolicySet) -> Self {
        Self { state: RwLock::new(State { set: Arc::new(set), rejected: None }) }
    }

    /// The rules in force now.
    #[must_use]
    pub fn get(&self) -> Arc<PolicySet> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).set.clone()
    }

    /// Puts a set in force for all who ask from now on; the digest of the one before.
    pub fn replace(&self, set: PolicySet) -> Digest {
        let set = Arc::new(set);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.rejected = None;
        let before = std::mem::replace(&mut state.set, set);
        drop(state);
        *before.digest()
    }

    /// Files changed and do not load: the set in force stays, and this is why. `None` takes that back.
    pub fn reject(&self, problems: Option<Problems>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).rejected = problems;
    }

    /// What is wrong with the files, where they do not say what is in force.
    #[must_use]
    pub fn rejected(&self) -> Option<Problems> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).rejected.clone()
    }
}
