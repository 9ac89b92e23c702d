//! `operator.json`: the passphrase's hash, the key of tickets, and how often a wrong one was tried.

use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier as _, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::domain::{Fault, Millis, Timestamp};

use super::ask::Passphrase;
use super::{files, trouble};

/// Argon2id with 46 MiB, one pass, one lane: the strongest of the settings OWASP counts as equal.
const MEMORY_KIB: u32 = 46 * 1024;
const PASSES: u32 = 1;

/// A file may not make us use up more than this.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;

/// So many wrong passphrases in a row cost no waiting.
const FREE_TRIES: u32 = 2;

/// No wait is longer.
const LONGEST_WAIT: Millis = Millis(5 * 60 * 1000);

/// What is kept about the operator.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// Argon2id in PHC form.
    passphrase: String,
    /// Base64 of 32 random bytes.
    ticket_key: String,
    failures: u32,
    /// No try before this.
    not_before: Timestamp,
}

fn path(home: &Path) -> PathBuf {
    home.join("operator.json")
}

impl Record {
    /// A fresh record for this passphrase.
    pub(super) fn new(passphrase: &Passphrase) -> Result<Self, Fault> {
        let broken = |error: &dyn std::fmt::Display| Fault::internal(format!("the passphrase cannot be hashed: {error}"));
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| broken(&error))?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = hasher.hash_password(passphrase.bytes()).map_err(|error| broken(&error))?;
        let mut key = [0_u8; 32];
        rand::fill(&mut key);
        Ok(Self {
            version: 1,
            passphrase: hash.to_string(),
            ticket_key: BASE64.encode(key),
            failures: 0,
            not_before: Timestamp::from_unix_millis(0),
        })
    }

    /// The record of a home, if there is one.
    pub(super) fn load(home: &Path) -> Result<Option<Self>, Fault> {
        let path = path(home);
        let bytes = files::read(&path).map_err(|error| trouble(&path, "cannot be read", &error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| trouble(&path, "is damaged", &error))?;
        if record.version != 1 {
            return Err(trouble(&path, "is damaged", &format!("it has version {}", record.version)));
        }
        record.hash(&path).map(|_| Some(record))
    }

    pub(super) fn save(&self, home: &Path) -> Result<(), Fault> {
        let path = path(home);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| Fault::internal(error.to_string()))?;
        files::write(&path, &bytes).map_err(|error| trouble(&path, "cannot be written", &error))
    }

    fn hash(&self, path: &Path) -> Result<PasswordHash, Fault> {
        let damaged = |why: &dyn std::fmt::Display| trouble(path, "is damaged", why);
        let hash = PasswordHash::new(&self.passphrase).map_err(|error| damaged(&error))?;
        let params = Params::try_from(&hash).map_err(|error| damaged(&error))?;
        if hash.hash.is_none() || params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES || params.p_cost() > 16 {
            return Err(damaged(&"its hash asks for what is out of bounds"));
        }
        Ok(hash)
    }

    /// Whether the passphrase fits. Takes the same work either way.
    pub(super) fn fits(&self, passphrase: &Passphrase) -> Result<bool, Fault> {
        let hash = self.hash(Path::new("operator.json"))?;
        Ok(Argon2::default().verify_password(passphrase.bytes(), &hash).is_ok())
    }

    pub(super) fn ticket_key(&self) -> Result<Vec<u8>, Fault> {
        let key = BASE64.decode(&self.ticket_key).unwrap_or_default();
        if key.len() == 32 { Ok(key) } else { Err(trouble(Path::new("operator.json"), "is damaged", &"its ticket key")) }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long the next try has to wait.
    pub(super) fn wait(&self, now: Timestamp) -> Millis {
        // A clock that was set back must not lock the operator out for longer than any wait.
        self.not_before.since(now).min(LONGEST_WAIT)
    }

    /// Notes a failure: 2, 4, 8… seconds from the third in a row on.
    pub(super) fn count_failure(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.saturating_sub(FREE_TRIES);
        let wait = if beyond == 0 { 0 } else { 1_000_u64 << beyond.min(20) };
        self.not_before = now.plus(Millis(wait).min(LONGEST_WAIT));
    }

    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
        self.not_before = Timestamp::from_unix_millis(0);
    }
}
