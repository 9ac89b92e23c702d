//! The port to what is known of the local drive's files between calls, and of uploads under way.
//!
//! INVARIANT: it is no record: whatever is lost there is found again by looking.

use async_trait::async_trait;

use crate::domain::{DriveChange, DriveFile, DriveHit, Fault};

/// An index of words.
#[async_trait]
pub trait Index: Send + Sync {
    /// Everything that is known, by path: of one path and all beneath it, or of all.
    async fn known(&self, under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault>;
    /// Makes changes, all or none.
    async fn apply(&self, changes: &[DriveChange]) -> Result<(), Fault>;
    /// The files that hold all of these words, the best first.
    async fn find(&self, words: &[String], under: Option<&str>, limit: usize) -> Result<Vec<DriveHit>, Fault>;
    /// How far an upload is.
    async fn upload(&self, key: &str) -> Result<Option<String>, Fault>;
    /// Keeps that, or forgets it.
    async fn keep_upload(&self, key: &str, state: Option<&str>) -> Result<(), Fault>;
}
