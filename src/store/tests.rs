//! What the store promises, tried on a file and in memory.

mod budgets;
mod changes;
mod contract;
mod crash;
mod damage;
mod many;
mod proof;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::*;
use crate::domain::{Actor, ApprovalId, CallId, Clock, Digest, ErrorCode, Millis, OwnerId, Principal, RunId, Timestamp};
use crate::run::{EventDraft, EventKind, RunKind, RunStatus};

/// A clock that stands until it is set.
pub(super) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_700_000_000_000)))
    }

    pub(super) fn forward(&self, span: Millis) {
        self.0.fetch_add(span.0, Ordering::Relaxed);
    }

    pub(super) fn back(&self, span: Millis) {
        self.0.fetch_sub(span.0, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(super) fn options(home: Option<&Path>, clock: &Arc<FakeClock>) -> OpenOptions {
    let owner = OwnerId::mint(clock.now());
    OpenOptions {
        home: home.map(Path::to_owned),
        owner,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        durability: Durability::Relaxed,
        redact: Arc::new(crate::call::NoRedaction),
    }
}

pub(super) async fn open(home: &Path) -> Store {
    Store::open(options(Some(home), &FakeClock::new())).await.unwrap()
}

/// One store in memory and one on disk, with the clock both read.
pub(super) struct Both {
    pub(super) clock: Arc<FakeClock>,
    pub(super) stores: Vec<Store>,
    _home: tempfile::TempDir,
}

pub(super) async fn both() -> Both {
    let home = tempfile::tempdir().unwrap();
    let clock = FakeClock::new();
    let memory = Store::open(options(None, &clock)).await.unwrap();
    let file = Store::open(options(Some(home.path()), &clock)).await.unwrap();
    Both { clock, stores: vec![memory, file], _home: home }
}

pub(super) fn note(n: u64) -> EventDraft {
    EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "note").field("n", n).sealed("secret", json!({ "n": n }))
}

pub(super) fn notes(run: RunId, n: u64) -> Append {
    Append { run: Some(run), events: vec![note(n)], ..Append::default() }
}

pub(super) fn changing(run: RunId, change: Change) -> Append {
    Append { changes: vec![change], ..notes(run, 0) }
}

pub(super) async fn run(store: &Store) -> RunId {
    run_of(store, &Principal::local()).await
}

pub(super) async fn run_of(store: &Store, whose: &Principal) -> RunId {
    let run = RunId::mint(Timestamp::from_unix_millis(1_700_000_000_000));
    let created = EventDraft::new(EventKind::RunCreated, Actor::agent(whose.clone())).field("kind", "adhoc");
    let change = Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: whose.clone() };
    store.append(Append { run: Some(run), events: vec![created], changes: vec![change], ..Append::default() }).await.unwrap();
    run
}

pub(super) fn call() -> CallId {
    CallId::mint(Timestamp::from_unix_millis(1_700_000_000_000))
}

pub(super) fn intent(run: RunId, call: CallId) -> Append {
    let event = EventDraft::new(EventKind::ToolCall, Actor::agent(Principal::local()))
        .step(Some("build".parse().unwrap()))
        .call(call)
        .field("tool", "python.run")
        .sealed("arguments", json!({ "code": "print('hi')" }));
    Append { run: Some(run), events: vec![event], changes: vec![Change::OpenCall { call, idempotent: true }], ..Append::default() }
}

pub(super) fn outcome(run: RunId, call: CallId) -> Append {
    let event = EventDraft::new(EventKind::ToolResult, Actor::system()).call(call).field("tool", "python.run");
    Append { run: Some(run), events: vec![event], changes: vec![Change::CloseCall(call)], ..Append::default() }
}

pub(super) fn question(expires: Timestamp) -> NewApproval {
    let id = ApprovalId::mint(Timestamp::from_unix_millis(1_700_000_000_000));
    NewApproval {
        id,
        digest: Digest::of(id.to_string().as_bytes()),
        tool: "repo.git.push".parse().unwrap(),
        step: None,
        shown: json!({ "url": "https://example.org" }),
        reason: "leaves the machine".into(),
        note: None,
        covers: None,
        limits: None,
        expires,
    }
}

pub(super) fn code<T: std::fmt::Debug>(result: Result<T, crate::domain::Fault>) -> ErrorCode {
    result.unwrap_err().code
}

/// The database as somebody else opens it, without our settings.
pub(super) async fn raw(home: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(home.join(open::FILE)).foreign_keys(false).connect().await.unwrap()
}

pub(super) async fn sql(home: &Path, statement: &'static str) {
    let mut connection = raw(home).await;
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(super) async fn sound(store: &Store) -> VerifyReport {
    let report = store.verify().await.unwrap();
    assert_eq!(report.bad, None);
    report
}
