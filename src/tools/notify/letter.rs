//! Messages on their way out, and the ports they pass.
//!
//! INVARIANT: a letter has its id before it is sent for the first time and keeps it through all attempts.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Fault, MailAddress, MessageId, Millis, RunId, Timestamp};
use crate::tools::CallContext;

use super::Level;

/// A message for one channel, as it will be read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The channel.
    pub channel: String,
    /// Its kind.
    pub kind: &'static str,
    /// How much it matters.
    pub level: Level,
    /// One line.
    pub title: String,
    /// The text.
    pub text: String,
    /// Whom it goes to, where the channel has recipients.
    pub to: Vec<MailAddress>,
}

/// A letter with what it got when it was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its id, and so the key by which whoever gets it twice knows it.
    pub id: MessageId,
    /// The run that sends it.
    pub run: RunId,
    /// Since when it waits.
    pub queued: Timestamp,
    /// What it says.
    pub letter: Letter,
}

/// What became of a letter by the time of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The other end took it.
    Sent,
    /// It waits to be sent, or sent again.
    Waiting,
    /// It was given up, with the reason.
    Failed(String),
}

/// What one attempt came to.
#[derive(Debug)]
pub enum Attempt {
    /// The other end said that it took it.
    Taken,
    /// It may be taken later, and where the other end says so not before this span is over.
    Later(Fault, Option<Millis>),
    /// Trying again cannot help.
    Refused(Fault),
    /// The process ends; nothing is known.
    Stopped,
}

/// Where letters are put, and where it is told what became of them.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Puts letters in; when this returns they will be sent, whatever becomes of this process.
    ///
    /// # Errors
    /// Where they could not be recorded: nothing will be sent.
    async fn queue(&self, letters: Vec<Letter>, context: &CallContext) -> Result<Vec<MessageId>, Fault>;

    /// What became of them, as soon as that is known of all or `patience` is over.
    ///
    /// # Errors
    /// Where the log cannot be read.
    async fn fates(&self, ids: &[MessageId], context: &CallContext, patience: Duration) -> Result<Vec<Fate>, Fault>;
}

/// Takes no letters: for a house without channels that leave.
pub struct NoOutbox;

#[async_trait]
impl Outbox for NoOutbox {
    async fn queue(&self, letters: Vec<Letter>, _context: &CallContext) -> Result<Vec<MessageId>, Fault> {
        letters.first().map_or(Ok(Vec::new()), |letter| Err(Fault::internal(format!("`{}` has no outbox", letter.channel))))
    }

    async fn fates(&self, _ids: &[MessageId], _context: &CallContext, _patience: Duration) -> Result<Vec<Fate>, Fault> {
        Ok(Vec::new())
    }
}
