//! What a verified bundle proves, in words.

use std::fmt;

use serde::Serialize;

use super::format::Pins;

/// Where the key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// From the verifier: what is proven is proven against that key.
    Given,
    /// From the bundle itself: whoever forged the bundle could have put it there.
    CameWithTheBundle,
}

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The run.
    pub run: String,
    /// How it ended; `open` where no end is among its records.
    pub status: String,
    /// How many records: `seq` 1 to this, none missing.
    pub events: u64,
    /// When the first and the last of them were recorded.
    pub times: Option<(String, String)>,
    /// Sealed values that are there, as committed.
    pub values: u64,
    /// Sealed values that were withheld or taken away.
    pub absent: u64,
    /// What exactly ran.
    pub pins: Pins,
    /// Questions to humans, and how many were answered with a yes.
    pub approvals: (u64, u64),
    /// Artifacts that the values name.
    pub artifacts: u64,
    /// Whose log.
    pub log: String,
    /// Size of the log at the checkpoint.
    pub size: u64,
    /// The key that signed.
    pub key: String,
    /// Its short id.
    pub key_id: String,
    /// Where the key came from.
    pub trust: Trust,
    /// Size of the log at the newest checkpoint, of which the first is shown to be the beginning.
    pub newest: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, status, events, values, absent, pins, log, size, key_id, .. } = self;
        let mut line = |name: &str, text: String| writeln!(f, "  {name:<12} {}", printable(&text));
        line("run", run.clone())?;
        let ended = if status == "open" { "no end among them: there may be later ones".to_owned() } else { format!("ended: {status}") };
        line("records", format!("{events}, none missing between the first and the last; {ended}"))?;
        if let Some((first, last)) = &self.times {
            line("recorded", format!("{first} to {last}"))?;
        }
        line("values", format!("{values} as the records commit to them; {absent} withheld or taken away"))?;
        if let Some(workflow) = &pins.workflow {
            line("workflow", format!("{} {} {}", workflow.name, workflow.version, workflow.digest))?;
        }
        for policy in &pins.policies {
            line("policy", policy.clone())?;
        }
        line("tools", format!("{} pinned by the digest of their manifest", pins.manifests.len()))?;
        let (asked, granted) = self.approvals;
        line("approvals", format!("{asked} asked, {granted} granted"))?;
        line("artifacts", format!("{} named by their SHA-256", self.artifacts))?;
        line("checkpoint", format!("{size} records of {log}, signed by key {key_id}"))?;
        if let Some(newest) = self.newest {
            line("newest", format!("{newest} records, of which those are the first"))?;
        }
        match self.trust {
            Trust::Given => line("key", format!("{} (given)", self.key)),
            Trust::CameWithTheBundle => {
                line("key", self.key.clone())?;
                line("", "it came with the bundle: compare it with one you have from elsewhere, or name that with --key".to_owned())
            }
        }
    }
}

/// Text of a bundle on a terminal: what could move the cursor or hide text is spelled out.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if (' '..='~').contains(&c) { vec![c] } else { c.escape_default().collect() }).collect()
}
