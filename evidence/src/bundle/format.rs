//! How a bundle is written down: one JSON document in RFC 8785 form and a line feed.
//!
//! INVARIANT: an unknown or repeated member is an error, so that every reader reads the same. Records and sealed values stand in it as
//! text: their bytes are what was hashed, and nobody has to write them anew to check them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The format that this release writes and reads.
pub const FORMAT: &str = "toolgate-evidence/1";

/// A run's evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// The run.
    pub run: String,
    /// How the run ended as its events tell: `succeeded`, `failed`, `cancelled`, `closed`; `open` where it did not.
    pub status: String,
    /// The definition that the run follows; null for direct calls, or where the value was withheld.
    pub plan: Value,
    /// What exactly ran.
    pub pins: Pins,
    /// What humans were asked.
    pub approvals: Vec<Approval>,
    /// What the values refer to.
    pub artifacts: Vec<Artifact>,
    /// The run's records, in order.
    pub events: Vec<Entry>,
    /// The signed checkpoint that the records stand under.
    pub checkpoint: String,
    /// One proof for all records, see [`crate::tree::many`]; hexadecimal.
    pub proof: Vec<String>,
    /// A newer checkpoint, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    /// The log's public keys.
    pub keys: Vec<String>,
}

/// A record and what it commits to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its hash as a leaf of the tree; says which record was changed where one was.
    pub leaf: String,
    /// Its canonical JSON.
    pub record: String,
    /// The sealed values, by name; those that were withheld or taken away are missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Opening>,
}

/// What opens a commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 64 hexadecimal digits.
    pub salt: String,
    /// The value's canonical JSON.
    pub value: String,
}

/// What exactly ran, as the events name it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// The program's versions.
    pub versions: Vec<String>,
    /// Digests of the rules.
    pub policies: Vec<String>,
    /// The workflow, where the run follows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Workflow>,
    /// The tools that were called.
    pub manifests: Vec<Manifest>,
    /// Digests of the runtimes that programs ran in.
    pub runtimes: Vec<String>,
}

/// A workflow's pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its definition.
    pub digest: String,
}

/// A tool's pin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// Digest of manifest and schemas.
    pub digest: String,
}

/// A question to a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// For which tool.
    pub tool: String,
    /// For which call exactly.
    pub digest: String,
    /// `seq` of the event that asks.
    pub asked: u64,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// `seq` of the call that used a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// `granted`, `denied` or `expired`.
    pub word: String,
    /// By whom.
    pub by: String,
    /// `seq` of the event.
    pub seq: u64,
}

/// Stored bytes that a value refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// SHA-256 of the bytes.
    pub artifact: String,
    /// How many bytes.
    pub size: u64,
}

/// A newer checkpoint and the proof that the log only grew since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// The signed note.
    pub checkpoint: String,
    /// The consistency proof of RFC 6962; hexadecimal.
    pub consistency: Vec<String>,
}

impl Bundle {
    /// The file's text.
    ///
    /// # Errors
    /// Where a number has no canonical form.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json_canonicalizer::to_string(self)?;
        text.push('\n');
        Ok(text)
    }
}
