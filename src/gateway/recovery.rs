//! What a process that died left behind: intents without an outcome. They are closed as interrupted, never guessed at.

use crate::domain::{Actor, CallId, Digest, ErrorCode, Fault};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Change};

use super::Gateway;
use super::code::interrupted;

impl Gateway {
    /// Closes the calls of dead owners with `INTERRUPTED`; how many there were. Calls of living processes are left alone.
    ///
    /// # Errors
    /// Where the log cannot be read or written.
    pub async fn recover(&self) -> Result<usize, Fault> {
        let orphans = self.inner.store.orphaned_calls().await?;
        let mut closed = 0;
        for orphan in orphans {
            let fault =
                Fault::new(ErrorCode::Interrupted, "the process that ran this call ended before the call did").hint(if orphan.idempotent {
                    "the tool may be called again with the same arguments"
                } else {
                    "look at what it changed before calling it again"
                });
            let event = EventDraft::new(EventKind::ToolError, Actor::system())
                .step(orphan.step.clone())
                .call(orphan.call)
                .field("code", fault.code.as_str())
                .field("interrupted", true)
                .sealed("error", fault.to_json());
            let mut changes = vec![Change::CloseCall(orphan.call)];
            if let Some(digest) = self.digest_of_program(&orphan.call).await? {
                let key = interrupted(&digest);
                // The newest interruption is the one to go on from: it continues those before it.
                if self.inner.store.remembered(&key).await?.is_some() {
                    changes.push(Change::Forget(key));
                }
                changes.push(Change::Remember { key, call: orphan.call });
            }
            let append = Append { run: Some(orphan.run), events: vec![event], changes, ..Append::default() };
            match self.inner.store.append(append).await {
                Ok(_) => closed += 1,
                // Another process that started at the same time was quicker.
                Err(fault) if fault.code == ErrorCode::RunState => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(closed)
    }

    /// The digest of a call that runs a program which makes calls: it can be brought back to where it was.
    async fn digest_of_program(&self, call: &CallId) -> Result<Option<Digest>, Fault> {
        let Some((intent, _)) = self.inner.store.event_by_call(call).await? else { return Ok(None) };
        if !intent.payload.contains_key("makes_calls") {
            return Ok(None);
        }
        Ok(intent.payload.get("digest").and_then(|digest| digest.as_str()).and_then(|digest| digest.parse().ok()))
    }
}
