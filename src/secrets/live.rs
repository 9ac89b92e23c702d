//! The secrets whose values this process has had in its hands, so that the redactor can take them out wherever they turn up.
//!
//! INVARIANT: a value is known here before whoever asked for it gets it; it stays known until it is removed by name, also after the
//! name has got another value. Gives no value to anybody but the redactor.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};

/// The shortest value that is looked for, in bytes: a shorter one would be found in innocent text everywhere.
pub const SHORTEST: usize = 8;

/// How much of a value is looked for, in bytes: of a longer one its beginning.
pub const LONGEST: usize = 64 << 10;

/// Values that are kept under one name, the newest last.
const MOST_OF_A_NAME: usize = 16;

/// Whether a value will be taken out of what is recorded and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// It will.
    Yes,
    /// It has fewer than [`SHORTEST`] bytes: it will not. The person who sets it should be told.
    TooShort,
}

/// The values of live secrets by name. Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
pub struct LiveSecrets {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    values: RwLock<BTreeMap<String, Vec<SecretString>>>,
    generation: AtomicU64,
}

impl LiveSecrets {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows this value from now on. A value that is known already changes nothing.
    pub fn add(&self, name: &str, value: &SecretString) -> Watched {
        let exposed = value.expose_secret();
        if exposed.len() < SHORTEST {
            return Watched::TooShort;
        }
        if self.knows(name, exposed) {
            return Watched::Yes;
        }
        let mut values = self.inner.values.write().unwrap_or_else(PoisonError::into_inner);
        let of_name = values.entry(name.to_owned()).or_default();
        if of_name.len() == MOST_OF_A_NAME {
            of_name.remove(0);
        }
        of_name.push(value.clone());
        self.inner.generation.fetch_add(1, Ordering::Release);
        Watched::Yes
    }

    /// Forgets every value of this name.
    pub fn remove(&self, name: &str) {
        let mut values = self.inner.values.write().unwrap_or_else(PoisonError::into_inner);
        if values.remove(name).is_some() {
            self.inner.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Grows with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// Whether a value is known under this name.
    fn knows(&self, name: &str, value: &str) -> bool {
        let values = self.inner.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(name).is_some_and(|of_name| of_name.iter().any(|known| known.expose_secret() == value))
    }

    /// Looks at every name and value, with the generation they are of.
    pub(super) fn look<T>(&self, with: impl FnOnce(u64, &mut dyn Iterator<Item = (&str, &str)>) -> T) -> T {
        let values = self.inner.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = values.iter().flat_map(|(name, of_name)| of_name.iter().map(move |value| (name.as_str(), value.expose_secret())));
        with(self.generation(), &mut all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_known_until_their_name_goes() {
        let live = LiveSecrets::new();
        let shared = live.clone();
        assert_eq!(live.add("token", &"seven77".into()), Watched::TooShort);
        assert_eq!(live.generation(), 0);
        assert_eq!(live.add("token", &"first-value".into()), Watched::Yes);
        assert_eq!(live.add("token", &"first-value".into()), Watched::Yes);
        assert_eq!(shared.generation(), 1);
        shared.add("token", &"second-value".into());
        let seen = |live: &LiveSecrets| live.look(|_, all| all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>());
        assert_eq!(seen(&live), ["token=first-value", "token=second-value"]);
        live.remove("token");
        assert!(seen(&shared).is_empty());
        assert_eq!(live.generation(), 3);
        for n in 0..40 {
            live.add("token", &format!("value number {n}").into());
        }
        assert_eq!(seen(&live).len(), MOST_OF_A_NAME);
    }
}
