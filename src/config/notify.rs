//! `notify.*`: the channels that messages leave by, each under `[notify.channels.NAME]`.
//!
//! INVARIANT: what a kind of channel needs is there and nothing that it does not know; a secret stands here by its place, never by its value.
//! Plain text goes nowhere but to a host and port that the operator excepted by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use url::Url;

use crate::domain::Millis;

use super::resolve::Resolver;
use super::{Source, Sourced};

mod reader;
#[cfg(test)]
mod tests;

use reader::Reader;

const DEFAULT: &str = "notify.default";
const ATTEMPTS: &str = "notify.attempts";
const WAIT: &str = "notify.wait_sec";

/// What `egress.private` calls these connections.
pub const PURPOSE: &str = "notify";
/// Channels that are always there.
pub const ALWAYS: [&str; 2] = ["console", "mcp"];
/// What templates may name.
pub const VARIABLES: [&str; 5] = ["title", "message", "level", "run", "channel"];

const MOST_CHANNELS: usize = 64;

/// What speaks at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// Any address, with signed requests.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// A topic of an ntfy server.
    Ntfy,
    /// A mail server.
    Email,
    /// The desktop of this machine.
    Desktop,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Webhook, Self::Slack, Self::Discord, Self::Ntfy, Self::Email, Self::Desktop];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Ntfy => "ntfy",
            Self::Email => "email",
            Self::Desktop => "desktop",
        }
    }

    /// The keys besides `kind`, `title` and `body` that it needs, and those that it knows besides.
    fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Webhook => (&["url", "secret"], &[]),
            Self::Slack | Self::Discord => (&["secret"], &["url"]),
            Self::Ntfy => (&["topic"], &["url", "secret"]),
            Self::Email => (&["url", "from", "recipients"], &["user", "secret", "tls"]),
            Self::Desktop => (&[], &[]),
        }
    }

    fn usual_url(self) -> Option<&'static str> {
        match self {
            Self::Slack => Some("https://hooks.slack.com"),
            Self::Discord => Some("https://discord.com"),
            Self::Ntfy => Some("https://ntfy.sh"),
            Self::Webhook | Self::Email | Self::Desktop => None,
        }
    }
}

/// Where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the vault, under this name.
    Vault(String),
    /// In a file that its owner alone reads.
    File(PathBuf),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// The connection is secured before anything is said.
    StartTls,
    /// Not at all: for an excepted host and port alone.
    Plain,
}

/// A channel as it was written, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// What speaks there.
    pub kind: ChannelKind,
    /// Where; of Slack and Discord only the origin, as the rest is the secret.
    pub url: Option<Url>,
    /// The key of signatures, the whole address (Slack, Discord), the token (ntfy) or the password (mail).
    pub secret: Option<SecretPlace>,
    /// Of ntfy.
    pub topic: Option<String>,
    /// Who logs in to the mail server.
    pub user: Option<String>,
    /// Whose mail it is.
    pub from: Option<String>,
    /// Who may be written to: addresses, or `*@domain`.
    pub recipients: Vec<String>,
    /// Of mail.
    pub tls: MailTls,
    /// Template of the title.
    pub title: Option<String>,
    /// Template of the text.
    pub body: Option<String>,
    /// Each key as it was written, with its place.
    said: Vec<(String, Value, Source)>,
}

impl ChannelSettings {
    /// Host and port of the other end; none for the desktop.
    #[must_use]
    pub fn place(&self) -> Option<(String, u16)> {
        let url = self.url.as_ref()?;
        let usual = match url.scheme() {
            "smtps" => Some(465),
            "smtp" => Some(587),
            _ => url.port_or_known_default(),
        };
        Some((url.host_str()?.to_owned(), url.port().or(usual)?))
    }
}

/// `notify.*` as it was said, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// The channels by name.
    pub channels: BTreeMap<String, ChannelSettings>,
    /// Where messages go that name no channel; empty: to those of this machine.
    pub default: Sourced<Vec<String>>,
    /// How often a message is tried.
    pub attempts: Sourced<u64>,
    /// How long a call waits to hear that its message was taken.
    pub wait: Sourced<Millis>,
}

impl NotifySettings {
    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        Some(match key {
            DEFAULT => (json!(self.default.value), &self.default.source),
            ATTEMPTS => (json!(self.attempts.value), &self.attempts.source),
            WAIT => (json!(self.wait.value.0 / 1000), &self.wait.source),
            _ => return None,
        })
    }

    /// Every key of every channel, with its value and place.
    pub fn rows(&self) -> impl Iterator<Item = (String, Value, &Source)> {
        self.channels.iter().flat_map(|(name, channel)| {
            channel.said.iter().map(move |(key, value, source)| (format!("notify.channels.{name}.{key}"), value.clone(), source))
        })
    }
}

pub(super) fn read(resolver: &mut Resolver<'_>, private: &[String]) -> NotifySettings {
    let mut channels = BTreeMap::new();
    let written = resolver.file().map(|file| file.channels.clone()).unwrap_or_default();
    let count = written.len();
    for (name, keys) in written {
        let mut reader = Reader { resolver, name: &name, keys: &keys, private, said: Vec::new(), is_wrong: false };
        if count > MOST_CHANNELS {
            reader.wrong("kind", &format!("is one of {count} channels, more than the {MOST_CHANNELS} there can be"));
            break;
        }
        if let Some(channel) = reader.channel() {
            channels.insert(name, channel);
        }
    }
    let default = resolver.list(DEFAULT);
    let known = |name: &&String| !ALWAYS.contains(&name.as_str()) && !channels.contains_key(*name);
    if let Some(unknown) = default.value.iter().find(known).cloned() {
        resolver.refuse(DEFAULT, &default.source, &format!("names `{}`, which is no channel", unknown.escape_debug()));
    }
    NotifySettings {
        channels,
        default,
        attempts: resolver.number(ATTEMPTS, 10, 1..=100),
        wait: resolver.number(WAIT, 5, 0..=8).map(|sec| Millis(sec * 1000)),
    }
}

/// Every key that some channel knows, for the file's reader.
pub(super) const CHANNEL_KEYS: [&str; 11] =
    ["kind", "url", "secret", "secret_file", "topic", "user", "from", "recipients", "tls", "title", "body"];
