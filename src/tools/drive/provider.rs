//! What a drive does, whichever it is: search, give, take.
//!
//! INVARIANT: `target` and `hosts` ask nobody; all that goes out is in the others. An error says what happened in a code of ours, never in the
//! words of a service. Does not decide whether a call may run.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::confine::RelPath;
use crate::domain::{Digest, Fault};
use crate::tools::CallContext;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The words; a document must hold all of them.
    pub words: String,
    /// Only in this folder: a path or an id, as the drive has it.
    pub folder: Option<String>,
    /// The most finds, from 1.
    pub limit: usize,
}

/// One document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// Its id in its drive.
    pub id: String,
    /// Its path, where the drive has paths.
    pub path: Option<RelPath>,
    /// Its name as the drive has it.
    pub title: String,
    /// Bytes, where the drive says.
    pub size: Option<u64>,
    /// Its media type, where the drive says.
    pub media_type: Option<String>,
    /// When it was last changed, as the drive says.
    pub modified: Option<String>,
    /// How well it fits, where the drive says: more is better.
    pub score: Option<f64>,
    /// Text around what was found, one line; may be empty.
    pub snippet: String,
}

/// What a search found, the best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finds {
    /// The documents.
    pub finds: Vec<Find>,
    /// Whether everything was looked at.
    pub complete: bool,
}

/// In which form a document of a drive's own kind is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Wanted {
    /// Text documents as Markdown.
    Markdown,
    /// Sheets as comma-separated values.
    Csv,
    /// Plain text.
    Text,
    /// As PDF.
    Pdf,
}

/// A document with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its path, where the drive has paths.
    pub path: Option<RelPath>,
    /// Its name as the drive has it.
    pub title: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its media type, where the drive says; else it is told from name and bytes.
    pub media_type: Option<String>,
    /// What it is in the drive, where these bytes were made from it.
    pub exported_from: Option<String>,
}

/// What is to be put into a drive.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Path or name, as the drive has it.
    pub name: String,
    /// In this folder, where the drive has ids.
    pub folder: Option<String>,
    /// The bytes.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub sha256: Digest,
    /// Their media type.
    pub media_type: String,
}

/// What stood there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it is kept.
    pub id: String,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

/// What was put into a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id in the drive.
    pub id: String,
    /// Its path, where the drive has paths.
    pub path: Option<RelPath>,
    /// Its name as the drive has it.
    pub title: String,
    /// What stood there before, where there was something else and the drive is a folder.
    pub previous: Option<Kept>,
    /// Whether the very same bytes were there already, so that nothing was sent.
    pub unchanged: bool,
    /// Bytes that an earlier, interrupted upload had sent.
    pub resumed_from: u64,
}

/// A drive.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name in settings, ids and answers.
    fn name(&self) -> &'static str;

    /// The hosts that a call may reach, for policy.
    fn hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether ids of documents are paths.
    fn has_paths(&self) -> bool {
        true
    }

    /// The documents that hold the words.
    async fn search(&self, query: &Query, context: &CallContext) -> Result<Finds, Fault>;

    /// One document, of at most 64 MiB.
    async fn fetch(&self, id: &str, wanted: Option<Wanted>, context: &CallContext) -> Result<Document, Fault>;

    /// Whether a document could be put there, and the state that this depends on. Reads only, and nothing outside this machine.
    async fn target(&self, name: &str, folder: Option<&str>) -> Result<Value, Fault>;

    /// Puts a document there. What it stands in the place of is not lost.
    async fn send(&self, sending: Sending, context: &CallContext) -> Result<Sent, Fault>;
}
