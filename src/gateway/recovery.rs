//! What a process that died left behind: intents without an outcome. They are closed as interrupted, never guessed at.

use crate::domain::{Actor, ErrorCode, Fault};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Change};

use super::Gateway;

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
            let append =
                Append { run: Some(orphan.run), events: vec![event], changes: vec![Change::CloseCall(orphan.call)], ..Append::default() };
            match self.inner.store.append(append).await {
                Ok(_) => closed += 1,
                // Another process that started at the same time was quicker.
                Err(fault) if fault.code == ErrorCode::RunState => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(closed)
    }
}
