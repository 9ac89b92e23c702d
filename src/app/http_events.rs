//! Records the HTTP requests of a call in its run, before their answers are handed on, and counts what they send, before it is sent.
//!
//! INVARIANT: where bytes out are limited, none leaves that is not counted: what is about to leave is reserved by an event of its own.
//! What was reserved and not sent serves the call's next request; what is left at the call's end stays counted.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Mutex;

use crate::domain::{Actor, Allowance, Budgets, Bytes, CallId, ErrorCode, Fault, Overrun, RunId};
use crate::egress::{RequestLog, RequestRecord};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Guard, Store};
use crate::tools::CallContext;
use crate::tools::network::HttpEvents;

/// Into this journal, within these budgets.
pub(super) struct JournalledRequests {
    pub(super) store: Store,
    pub(super) budgets: Budgets,
}

struct OfCall {
    store: Store,
    run: RunId,
    call: CallId,
    actor: Actor,
    daily: Allowance,
    /// What was reserved and is free; `None` before it is known whether anything must be reserved.
    free: Mutex<Option<Free>>,
}

#[derive(Clone, Copy)]
enum Free {
    /// Nothing limits what leaves.
    Unlimited,
    Bytes(u64),
}

impl HttpEvents for JournalledRequests {
    fn of(&self, context: &CallContext) -> Arc<dyn RequestLog> {
        self.within(context.run, context.call, context.actor.clone())
    }
}

impl JournalledRequests {
    /// The record for a call that may have ended.
    pub(super) fn within(&self, run: RunId, call: CallId, actor: Actor) -> Arc<dyn RequestLog> {
        let daily = self.budgets.daily(&actor.principal);
        Arc::new(OfCall { store: self.store.clone(), run, call, actor, daily, free: Mutex::default() })
    }
}

impl OfCall {
    fn event(&self, word: &str) -> EventDraft {
        EventDraft::new(EventKind::SystemEvent, self.actor.clone()).call(self.call).field("event", word)
    }

    async fn is_limited(&self) -> Result<bool, Fault> {
        let run = self.store.budget(&self.run).await?;
        Ok(self.daily.bytes_out.is_some() || run.allowed().bytes_out.is_some())
    }
}

#[async_trait]
impl RequestLog for OfCall {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let (sent, reserved) = (record.bytes_out.0, record.reserved);
        let record = serde_json::to_value(record).map_err(|error| Fault::internal(format!("a request has no JSON form: {error}")))?;
        let mut free = self.free.lock().await;
        let counted = match &mut *free {
            Some(Free::Bytes(free)) => {
                *free = free.saturating_add(reserved.saturating_sub(sent));
                reserved
            }
            Some(Free::Unlimited) | None => 0,
        };
        drop(free);
        let event = self.event("http_request").field("bytes_out", json!(sent)).field("reserved", counted).sealed("request", record);
        self.store.record(Append { run: Some(self.run), events: vec![event], ..Append::default() }).await
    }

    async fn reserve(&self, bytes: Bytes) -> Result<(), Fault> {
        let mut free = self.free.lock().await;
        let known = match *free {
            Some(known) => known,
            None => *free.insert(if self.is_limited().await? { Free::Bytes(0) } else { Free::Unlimited }),
        };
        let Free::Bytes(left) = known else { return Ok(()) };
        let missing = bytes.0.saturating_sub(left);
        if missing > 0 {
            let event = self.event("bytes_reserved").field("bytes_out", missing);
            let guards = vec![Guard::Budget(self.daily)];
            if let Err(fault) = self.store.record(Append { run: Some(self.run), events: vec![event], guards, ..Append::default() }).await {
                let Some(over) = Overrun::of_fault(&fault) else { return Err(fault) };
                let told = self.store.record(Append::telling(self.run, over, self.actor.clone())).await;
                return match told {
                    Err(broken) if broken.code != ErrorCode::RunState => Err(broken),
                    Ok(()) | Err(_) => Err(fault),
                };
            }
        }
        *free = Some(Free::Bytes(left.saturating_add(missing).saturating_sub(bytes.0)));
        Ok(())
    }
}
