//! Notices for the person, on their way to a client of the older generation. The newer one has no channel for them.
//!
//! INVARIANT: a notice of a run reaches the clients of that run's principal and no others. It waits for nobody; a client that is slow or
//! gone loses notices, never calls.
#![expect(deprecated, reason = "the protocol gives up log messages, but older clients have no other channel")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use rmcp::{Peer, RoleServer};
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::call::LogLevel;
use crate::domain::Principal;

use super::{Notice, NoticeLevel};

/// One client's end.
#[derive(Default)]
pub(super) struct NoticeListener {
    /// With whose it is.
    peer: OnceLock<(Principal, Peer<RoleServer>)>,
    /// Index into [`LEVELS`] of the least level that the client asked for.
    least: AtomicUsize,
}

const LEVELS: [LoggingLevel; 8] = [
    LoggingLevel::Debug,
    LoggingLevel::Info,
    LoggingLevel::Notice,
    LoggingLevel::Warning,
    LoggingLevel::Error,
    LoggingLevel::Critical,
    LoggingLevel::Alert,
    LoggingLevel::Emergency,
];

fn rank(level: LoggingLevel) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap_or_default()
}

fn level(level: NoticeLevel) -> LoggingLevel {
    match level {
        NoticeLevel::Info => LoggingLevel::Info,
        NoticeLevel::Success => LoggingLevel::Notice,
        NoticeLevel::Warning => LoggingLevel::Warning,
        NoticeLevel::Error => LoggingLevel::Error,
    }
}

impl NoticeListener {
    /// From now on this client gets the notices of its principal's runs, and those that are for all.
    pub(super) fn attach(&self, whose: Principal, peer: Peer<RoleServer>) {
        let _ = self.peer.set((whose, peer));
    }

    /// The client wants nothing that matters less than this.
    pub(super) fn set_least(&self, least: LoggingLevel) {
        self.least.store(rank(least), Ordering::Relaxed);
    }

    /// A line of a running call, to the client that made it.
    pub(super) async fn log(&self, peer: &Peer<RoleServer>, level: LogLevel, text: String) {
        let level = match level {
            LogLevel::Debug => LoggingLevel::Debug,
            LogLevel::Info => LoggingLevel::Info,
            LogLevel::Warning => LoggingLevel::Warning,
            LogLevel::Error => LoggingLevel::Error,
        };
        if rank(level) >= self.least.load(Ordering::Relaxed) {
            let param = LoggingMessageNotificationParam::new(level, Value::String(text)).with_logger("toolgate");
            // A client that is gone is noticed elsewhere.
            let _ = peer.notify_logging_message(param).await;
        }
    }

    async fn tell(&self, notice: &Notice) {
        let Some((whose, peer)) = self.peer.get() else { return };
        let level = level(notice.level);
        let is_anothers = notice.whose.as_ref().is_some_and(|one| one != whose);
        if is_anothers || rank(level) < self.least.load(Ordering::Relaxed) {
            return;
        }
        let mut data = Map::new();
        if let Some(title) = &notice.title {
            data.insert("title".to_owned(), title.clone().into());
        }
        data.insert("message".to_owned(), notice.message.clone().into());
        let param = LoggingMessageNotificationParam::new(level, Value::Object(data)).with_logger("toolgate");
        if let Err(error) = peer.notify_logging_message(param).await {
            tracing::debug!("a notice did not reach the client: {error}");
        }
    }
}

/// The ends of all clients that are there now.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Weak<NoticeListener>>>);

/// A client that takes nothing for so long loses the notice.
const PATIENCE: Duration = Duration::from_secs(1);

impl Listeners {
    /// An end for one more client, which leaves by dropping it.
    pub(super) fn enter(&self) -> Arc<NoticeListener> {
        let listener = Arc::new(NoticeListener::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&listener));
        listener
    }

    /// Passes notices on for as long as the server lives; never ends by itself.
    pub(super) async fn forward(&self, notices: Option<broadcast::Receiver<Notice>>) {
        let Some(mut notices) = notices else { return std::future::pending().await };
        loop {
            match notices.recv().await {
                Ok(notice) => {
                    let there: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
                    let _ = tokio::time::timeout(PATIENCE, join_all(there.iter().map(|listener| listener.tell(&notice)))).await;
                }
                Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "notices came faster than the clients took them"),
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}
