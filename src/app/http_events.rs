//! Records the HTTP requests of a call in its run, before their answers are handed on.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{Actor, CallId, Fault, RunId};
use crate::egress::{RequestLog, RequestRecord};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Store};
use crate::tools::CallContext;
use crate::tools::python::HttpEvents;

/// Into this journal.
pub(super) struct JournalledRequests(pub(super) Store);

struct OfCall {
    store: Store,
    run: RunId,
    call: CallId,
    actor: Actor,
}

impl HttpEvents for JournalledRequests {
    fn of(&self, context: &CallContext) -> Arc<dyn RequestLog> {
        Arc::new(OfCall { store: self.0.clone(), run: context.run, call: context.call, actor: context.actor.clone() })
    }
}

#[async_trait]
impl RequestLog for OfCall {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let record = serde_json::to_value(record).map_err(|error| Fault::internal(format!("a request has no JSON form: {error}")))?;
        let event = EventDraft::new(EventKind::SystemEvent, self.actor.clone())
            .call(self.call)
            .field("event", "http_request")
            .sealed("request", record);
        self.store.append(Append { run: Some(self.run), events: vec![event], ..Append::default() }).await.map(drop)
    }
}
