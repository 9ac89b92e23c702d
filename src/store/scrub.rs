//! Takes secrets out of what is about to be recorded: every event and every change passes here, whoever made it.
//!
//! INVARIANT: a new kind of change does not compile until it is said here what of it is text. Digests and ids are not text: they
//! were made from the real values and stay what they are.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::call::{ArtifactRef, Artifacts, Redact};
use crate::domain::{ArtifactId, Fault};
use crate::run::EventDraft;

use super::{Append, Change, NewApproval};

/// A definition is pinned by its digest, so that only values of known secrets are taken out of it.
const PINNED: &str = "definition";

/// How many places of an event were taken out, where any were.
const COUNT: &str = "redacted";

/// The same without secrets.
pub(super) fn scrubbed(append: Append, redact: &dyn Redact) -> Append {
    let Append { run, mut events, guards, mut changes } = append;
    events.iter_mut().for_each(|event| scrub_event(event, redact));
    changes.iter_mut().for_each(|change| scrub_change(change, redact));
    Append { run, events, guards, changes }
}

/// What the vault tells are ids, versions and names that were checked against values. The vault is held to it word for word, so a value
/// that happens to be part of such a word must not change it.
const VAULT: &str = "vault_";

fn scrub_event(event: &mut EventDraft, redact: &dyn Redact) {
    if event.payload.get("event").and_then(Value::as_str).is_some_and(|word| word.starts_with(VAULT)) {
        return;
    }
    let field = |name: &str, value: &mut Value| if name == PINNED { redact.known(value) } else { redact.value(value) };
    let plain: usize = event.payload.iter_mut().map(|(name, value)| field(name, value)).sum();
    let sealed: usize = event.sealed.iter_mut().map(|(name, value)| field(name, value)).sum();
    if plain + sealed > 0 {
        event.payload.insert(COUNT.to_owned(), (plain + sealed).into());
    }
}

fn scrub_change(change: &mut Change, redact: &dyn Redact) {
    match change {
        Change::RequestApproval(NewApproval { shown, reason, note, .. }) => {
            redact.value(shown);
            scrub_text(reason, redact);
            note.iter_mut().for_each(|note| scrub_text(note, redact));
        }
        Change::DecideApproval { reason: Some(reason), .. } => scrub_text(reason, redact),
        Change::DecideApproval { reason: None, .. }
        | Change::CreateRun { .. }
        | Change::SetStatus(_)
        | Change::AddLabels { .. }
        | Change::UseApproval { .. }
        | Change::AskAgain(_)
        | Change::ToldOf(_)
        | Change::LiftDenial(_)
        | Change::PauseQuestions { .. }
        | Change::ReleaseQuestions
        | Change::GiveGrant(_)
        | Change::UseGrant(_)
        | Change::EndGrant { .. }
        | Change::ExpireApproval(_)
        | Change::OpenCall { .. }
        | Change::CloseCall(_)
        | Change::Remember { .. }
        | Change::Forget(_)
        | Change::OwnArtifact(_)
        | Change::NameArtifact(_)
        // Sealed, or checked to hold no value.
        | Change::Vault(_)
        // Where a message goes, not what is recorded of it.
        | Change::Outbox(_)
        // What is left of values that were recorded: already clean, and compared to the byte.
        | Change::TakeAway(_) => {}
    }
}

fn scrub_text(text: &mut String, redact: &dyn Redact) {
    if let Cow::Owned(clean) = redact.text(text) {
        *text = clean;
    }
}

/// Artifacts of which what programs wrote is scrubbed; files are stored as they are.
pub(super) struct Scrubbed {
    pub(super) artifacts: Arc<dyn Artifacts>,
    pub(super) redact: Arc<dyn Redact>,
}

#[async_trait]
impl Artifacts for Scrubbed {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        self.artifacts.put(bytes, media_type).await
    }

    async fn put_output(&self, bytes: Vec<u8>) -> Result<ArtifactRef, Fault> {
        let clean = match self.redact.bytes(&bytes) {
            Cow::Borrowed(_) => None,
            Cow::Owned(clean) => Some(clean),
        };
        self.artifacts.put_output(clean.unwrap_or(bytes)).await
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        self.artifacts.read(id, offset, limit).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Actor, ApprovalId, Principal};
    use crate::run::EventKind;
    use crate::secrets::live::LiveSecrets;
    use crate::secrets::redact::Redactor;
    use crate::secrets::scan::Scanner;

    #[test]
    fn what_was_taken_out_is_counted_and_a_definition_loses_known_values_only() {
        let live = LiveSecrets::new();
        live.add("canary", &"the-canary-value".into());
        let redactor = Redactor::new(live).unwrap();
        let token = Scanner::shipped().unwrap().rules()[0].hits[0].replace('¦', "");
        let told = format!("the-canary-value and {token}");
        let event = EventDraft::new(EventKind::RunCreated, Actor::agent(Principal::local()))
            .field("workflow", "the-canary-value")
            .field("attempt", 3)
            .sealed("definition", json!(told))
            .sealed("inputs", json!({ "note": told }));
        let clean = EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "nothing");
        let id = ApprovalId::mint(crate::domain::Timestamp::from_unix_millis(0));
        let answer = Change::DecideApproval { id, approve: false, reason: Some(told.clone()), channel: crate::store::Channel::Cli };
        let append = Append { events: vec![event, clean.clone()], changes: vec![answer], ..Append::default() };
        let scrubbed = scrubbed(append, &redactor);
        assert_eq!(scrubbed.events[0].payload["redacted"], 4);
        assert_eq!(scrubbed.events[0].payload["workflow"], "[REDACTED:canary]");
        assert_eq!(scrubbed.events[0].sealed["definition"], format!("[REDACTED:canary] and {token}"));
        let both = "[REDACTED:canary] and [REDACTED:toolgate-token]";
        assert_eq!(scrubbed.events[0].sealed["inputs"]["note"], both);
        assert_eq!(scrubbed.events[1], clean);
        assert!(matches!(&scrubbed.changes[0], Change::DecideApproval { reason: Some(reason), .. } if reason == both));
    }
}
