//! The register of the operator's tokens in the house's log: the events of one run that every home has once a token was made.
//!
//! INVARIANT: an event is written only where no other came before it; what the operator does is the operator's.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{Actor, Clock, ErrorCode, Fault, RunId};
use crate::egress::{RequestLog, RequestRecord};
use crate::run::{EventDraft, EventKind, RunKind};
use crate::secrets::tokens::{Entry, Register, Tokens, Told};
use crate::store::{Append, Change, Guard, Store};

/// The run that they belong to, the same in every home.
const RUN: &str = "run_00000000000070008000746f6b656e73";

/// The tokens of this store.
pub(super) fn tokens(store: &Store, clock: &Arc<dyn Clock>) -> Result<Tokens, Fault> {
    Ok(Tokens::new(Arc::new(OfStore::new(store.clone())?), clock.clone()))
}

/// The log of who may come in.
#[derive(Clone)]
pub(super) struct OfStore {
    store: Store,
    run: RunId,
}

impl OfStore {
    pub(super) fn new(store: Store) -> Result<Self, Fault> {
        let run = RUN.parse().map_err(|error| Fault::internal(format!("{error}")))?;
        Ok(Self { store, run })
    }

    /// The first event makes the run. A run that is there already fails that as the guard would.
    fn append(&self, after: Option<u64>, mut events: Vec<EventDraft>) -> Append {
        let mut append = Append { run: Some(self.run), ..Append::default() };
        match after {
            Some(0) => {
                let first = EventDraft::new(EventKind::RunCreated, Actor::system()).field("kind", "adhoc").field("about", "tokens");
                events.insert(0, first);
                let principal = Actor::system().principal;
                append.changes.push(Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal });
            }
            Some(after) => append.guards.push(Guard::LastSeq(after)),
            None => {}
        }
        Append { events, ..append }
    }
}

#[async_trait]
impl Register for OfStore {
    async fn since(&self, number: u64) -> Result<Vec<Entry>, Fault> {
        let events = self.store.events(&self.run, number, 0).await?;
        let entry = |event: crate::run::Event| {
            let told = (event.kind == EventKind::SystemEvent).then(|| serde_json::from_value(Value::Object(event.payload)).ok()).flatten();
            Entry { number: event.seq, at: event.ts, told }
        };
        Ok(events.into_iter().map(entry).collect())
    }

    async fn tell(&self, after: u64, told: &Told) -> Result<bool, Fault> {
        let fields = serde_json::to_value(told).map_err(|error| Fault::internal(format!("an event has no JSON form: {error}")))?;
        let mut draft = EventDraft::new(EventKind::SystemEvent, Actor::operator());
        draft.payload = fields.as_object().cloned().unwrap_or_default();
        match self.store.append(self.append(Some(after), vec![draft])).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.code == ErrorCode::RunState => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// Requests for the keys of the sign-in service stand in the same run.
#[async_trait]
impl RequestLog for OfStore {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let record = serde_json::to_value(record).map_err(|error| Fault::internal(format!("a request has no JSON form: {error}")))?;
        let event =
            || EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "http_request").sealed("request", record.clone());
        if self.store.run(&self.run).await?.is_none() {
            match self.store.append(self.append(Some(0), vec![event()])).await {
                // Another was quicker.
                Err(fault) if fault.code == ErrorCode::RunState => {}
                made => return made.map(drop),
            }
        }
        self.store.append(self.append(None, vec![event()])).await.map(drop)
    }
}
