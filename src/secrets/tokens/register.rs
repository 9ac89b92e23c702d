//! The port to the log that tells of tokens.
//!
//! INVARIANT: what is told is told once the log has it; a change names the log's length that it was decided on.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Fault, Principal, Scopes, Timestamp};

/// What an event tells of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Told {
    /// One was made.
    #[serde(rename = "access_token_created")]
    Created {
        /// Its name.
        name: String,
        /// Of its value.
        sha256: Digest,
        /// Whose calls its bearer's are.
        principal: Principal,
        /// How far it reaches.
        scopes: Scopes,
        /// Which tools its bearer sees listed.
        toolsets: Option<Vec<String>>,
        /// Until when it is good.
        expires: Option<Timestamp>,
    },
    /// One was taken back.
    #[serde(rename = "access_token_revoked")]
    Revoked {
        /// Its name.
        name: String,
        /// The number of the event that told of it.
        number: u64,
    },
}

/// One event of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What it tells of a token, if it does.
    pub told: Option<Told>,
}

/// The log.
#[async_trait]
pub trait Register: Send + Sync {
    /// What was told after this number, in order.
    ///
    /// # Errors
    /// Where it cannot be read.
    async fn since(&self, number: u64) -> Result<Vec<Entry>, Fault>;

    /// Tells. `true` once it is durable, `false` where the log is longer than `after` and nothing was written.
    ///
    /// # Errors
    /// Where it cannot be written.
    async fn tell(&self, after: u64, told: &Told) -> Result<bool, Fault>;
}
