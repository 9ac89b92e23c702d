//! The channels of this process: sinks that were attached and streams that were subscribed.
//!
//! INVARIANT: a channel that fails or that nobody listens to is not among the delivered, and stops no other. Keeps no message.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::call::{NoRedaction, Redact};
use crate::domain::Fault;

use super::{Notice, Notifier};

/// Messages a slow subscriber may be behind.
const BEHIND: usize = 64;

/// One way to show a message.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Shows it; whether that worked. Must not wait for a person.
    async fn show(&self, notice: &Notice) -> bool;
}

/// All channels of a process. The faces add theirs when they start.
pub struct NotifyHub {
    sinks: RwLock<BTreeMap<String, Arc<dyn Sink>>>,
    redact: Arc<dyn Redact>,
}

impl Default for NotifyHub {
    fn default() -> Self {
        Self::redacting(Arc::new(NoRedaction))
    }
}

impl NotifyHub {
    /// Without channels, for messages that hold no secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Without channels; what takes secrets out of every message.
    #[must_use]
    pub fn redacting(redact: Arc<dyn Redact>) -> Self {
        Self { sinks: RwLock::default(), redact }
    }

    /// Adds a channel, or puts another sink in its place.
    pub fn attach(&self, channel: &str, sink: Arc<dyn Sink>) {
        self.sinks.write().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), sink);
    }

    /// Takes a channel away.
    pub fn detach(&self, channel: &str) {
        self.sinks.write().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }

    /// Adds a channel whose messages come out of the receiver; further subscribers of the same hub channel call
    /// [`broadcast::Receiver::resubscribe`]. A message that nobody receives counts as not delivered.
    #[must_use]
    pub fn subscribe(&self, channel: &str) -> broadcast::Receiver<Notice> {
        let (sender, receiver) = broadcast::channel(BEHIND);
        self.attach(channel, Arc::new(Stream(sender)));
        receiver
    }

    fn chosen(&self, channel: Option<&str>) -> Vec<(String, Arc<dyn Sink>)> {
        let sinks = self.sinks.read().unwrap_or_else(PoisonError::into_inner);
        sinks
            .iter()
            .filter(|(name, _)| channel.is_none_or(|channel| channel == *name))
            .map(|(name, sink)| (name.clone(), Arc::clone(sink)))
            .collect()
    }
}

#[async_trait]
impl Notifier for NotifyHub {
    fn channels(&self) -> Vec<String> {
        self.chosen(None).into_iter().map(|(name, _)| name).collect()
    }

    async fn notify(&self, notice: &Notice, channel: Option<&str>) -> Result<Vec<String>, Fault> {
        let clean = |text: &String| self.redact.text(text).into_owned();
        let notice = &Notice { title: notice.title.as_ref().map(clean), message: clean(&notice.message), ..notice.clone() };
        let mut delivered = Vec::new();
        for (name, sink) in self.chosen(channel) {
            if sink.show(notice).await {
                delivered.push(name);
            }
        }
        Ok(delivered)
    }
}

struct Stream(broadcast::Sender<Notice>);

#[async_trait]
impl Sink for Stream {
    async fn show(&self, notice: &Notice) -> bool {
        self.0.send(notice.clone()).is_ok()
    }
}

/// Writes messages as lines, for a terminal or a file.
pub struct WriterSink<W>(Mutex<W>);

impl<W: Write + Send> WriterSink<W> {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

#[async_trait]
impl<W: Write + Send> Sink for WriterSink<W> {
    async fn show(&self, notice: &Notice) -> bool {
        // Further lines are set in, so that a message cannot pass for another one's beginning.
        let text = notice.title.as_ref().map_or_else(|| notice.message.clone(), |title| format!("{title}: {}", notice.message));
        let line = format!("[{}] {}\n", notice.level.as_str(), text.replace('\n', "\n    "));
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(line.as_bytes()).and_then(|()| writer.flush()).is_ok()
    }
}
