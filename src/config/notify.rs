//! `notify.*`: the channels that messages leave by, each under `[notify.channels.NAME]`.
//!
//! INVARIANT: what a kind of channel needs is there and nothing that it does not know; a secret stands here by its place, never by its value.
//! Plain text goes nowhere but to a host and port that the operator excepted by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use url::Url;

use crate::domain::{MailAddress, Millis, Problem, Recipients};

use super::file::FileValue;
use super::resolve::Resolver;
use super::{Source, Sourced};

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
const MOST_RECIPIENTS: usize = 64;
const LONGEST_TEMPLATE: usize = 4096;

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

/// What stands under one name.
struct Reader<'r, 'a> {
    resolver: &'r mut Resolver<'a>,
    name: &'r str,
    keys: &'r BTreeMap<String, (FileValue, u64)>,
    private: &'r [String],
    said: Vec<(String, Value, Source)>,
    is_wrong: bool,
}

/// Every key that some channel knows, for the file's reader.
pub(super) const CHANNEL_KEYS: [&str; 11] =
    ["kind", "url", "secret", "secret_file", "topic", "user", "from", "recipients", "tls", "title", "body"];

impl Reader<'_, '_> {
    /// `None` where something is wrong, which is noted.
    fn channel(&mut self) -> Option<ChannelSettings> {
        if !is_name(self.name) || ALWAYS.contains(&self.name) {
            self.wrong("kind", "stands under a name that no channel can have: a lower case letter, then letters, digits, `-`, `_`; not `console` or `mcp`");
            return None;
        }
        let word = self.text("kind").unwrap_or_default();
        let Some(kind) = ChannelKind::ALL.into_iter().find(|kind| kind.as_str() == word) else {
            let all = ChannelKind::ALL.map(ChannelKind::as_str).join(", ");
            self.wrong("kind", &format!("must be one of {all}"));
            return None;
        };
        self.check_keys(kind);
        let secret = self.secret();
        let url = self.url(kind);
        let tls = self.tls(kind, url.as_ref());
        let topic = self.checked("topic", is_topic, "must be 1 to 64 letters, digits, `-` and `_`");
        let user = self.checked("user", is_line, "must be one line");
        let from = self.checked("from", |text| text.parse::<MailAddress>().is_ok(), "must be an address such as `toolgate@example.com`");
        let recipients = self.recipients();
        let title = self.template("title");
        let body = self.template("body");
        if kind == ChannelKind::Email && user.is_some() != secret.is_some() {
            self.wrong("user", "and the secret (the password) belong together");
        }
        let said = std::mem::take(&mut self.said);
        (!self.is_wrong).then_some(ChannelSettings { kind, url, secret, topic, user, from, recipients, tls, title, body, said })
    }

    fn wrong(&mut self, key: &str, message: &str) {
        self.is_wrong = true;
        let line = self.keys.get(key).or_else(|| self.keys.values().next()).map(|(_, line)| *line);
        let file = self.resolver.file().map(|file| file.path.display().to_string()).unwrap_or_default();
        let message = format!("`notify.channels.{}.{key}` {message}", self.name.escape_debug());
        self.resolver.problem(Problem::new(file, message).at(line));
    }

    fn note(&mut self, key: &str, value: Value) {
        if let (Some((_, line)), Some(file)) = (self.keys.get(key), self.resolver.file()) {
            self.said.push((key.to_owned(), value, Source::File { path: file.path.clone(), line: *line }));
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.get(key) {
            Some((FileValue::Text(text), _)) if !text.is_empty() => {
                self.note(key, json!(text));
                Some(text.clone())
            }
            Some(_) => {
                self.wrong(key, "must be a text that is not empty");
                None
            }
            None => None,
        }
    }

    fn checked(&mut self, key: &str, fits: impl Fn(&str) -> bool, must: &str) -> Option<String> {
        let text = self.text(key)?;
        if fits(&text) {
            return Some(text);
        }
        self.wrong(key, must);
        None
    }

    /// What a kind needs must be there, and what it does not know must not.
    fn check_keys(&mut self, kind: ChannelKind) {
        let (needed, known) = kind.keys();
        let has = |key: &str| self.keys.contains_key(key) || (key == "secret" && self.keys.contains_key("secret_file"));
        let lacks: Vec<&str> = needed.iter().copied().filter(|key| !has(key)).collect();
        let knows = |key: &str| {
            let key = if key == "secret_file" { "secret" } else { key };
            ["kind", "title", "body"].contains(&key) || needed.contains(&key) || known.contains(&key)
        };
        let strange: Vec<String> = self.keys.keys().filter(|key| !knows(key)).cloned().collect();
        for key in lacks {
            let or = if key == "secret" { " or `secret_file`" } else { "" };
            self.wrong(key, &format!("is missing{or}: a channel of kind {} needs it", kind.as_str()));
        }
        for key in strange {
            self.wrong(&key, &format!("means nothing to a channel of kind {}", kind.as_str()));
        }
    }

    fn secret(&mut self) -> Option<SecretPlace> {
        let file = self.text("secret_file").map(|path| SecretPlace::File(self.resolver.beside_file(&path)));
        // Not by `text`: what stands there may be the secret itself, and is not to be shown.
        match self.keys.get("secret") {
            None => file,
            Some((FileValue::Text(text), _)) if file.is_none() => match text.strip_prefix("secret:").filter(|name| is_line(name)) {
                Some(name) => {
                    let place = SecretPlace::Vault(name.to_owned());
                    self.note("secret", json!(text));
                    Some(place)
                }
                None => {
                    self.wrong("secret", "must be `secret:NAME`, a name of the vault; a secret itself does not belong here");
                    None
                }
            },
            Some(_) => {
                self.wrong("secret", "must be one text, and not stand beside `secret_file`");
                None
            }
        }
    }

    fn url(&mut self, kind: ChannelKind) -> Option<Url> {
        let text = self.text("url").or_else(|| kind.usual_url().map(str::to_owned))?;
        let url = match Url::parse(&text) {
            Ok(url) => url,
            Err(error) => {
                self.wrong("url", &format!("cannot be read: {error}"));
                return None;
            }
        };
        let schemes: &[&str] = if kind == ChannelKind::Email { &["smtp", "smtps"] } else { &["https", "http"] };
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let why = if !schemes.contains(&url.scheme()) {
            format!("must begin with {}", schemes.iter().map(|scheme| format!("`{scheme}://`")).collect::<Vec<_>>().join(" or "))
        } else if url.host_str().is_none_or(str::is_empty) {
            "names no host".to_owned()
        } else if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            "must hold no user, password or fragment".to_owned()
        } else if kind != ChannelKind::Webhook && !is_bare {
            "must be scheme, host and port alone".to_owned()
        } else if url.scheme() == "http" && !self.is_excepted(&url, 80) {
            format!("is not https; plain http needs the exception `{PURPOSE}=HOST:PORT` for this very host and port in egress.private")
        } else {
            return Some(url);
        };
        self.wrong("url", &why);
        None
    }

    fn tls(&mut self, kind: ChannelKind, url: Option<&Url>) -> MailTls {
        let word = self.text("tls");
        let (Some(url), ChannelKind::Email) = (url, kind) else { return MailTls::StartTls };
        match (url.scheme(), word.as_deref()) {
            ("smtps", None | Some("implicit")) => MailTls::Implicit,
            ("smtp", None | Some("starttls")) => MailTls::StartTls,
            ("smtp", Some("none")) if self.is_excepted(url, 587) => MailTls::Plain,
            ("smtp", Some("none")) => {
                self.wrong("tls", &format!("can be `none` only with the exception `{PURPOSE}=HOST:PORT` for this very host and port in egress.private"));
                MailTls::StartTls
            }
            _ => {
                self.wrong("tls", "must be `starttls` or `none` for smtp, `implicit` for smtps");
                MailTls::StartTls
            }
        }
    }

    fn is_excepted(&self, url: &Url, usual: u16) -> bool {
        let place = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(usual));
        self.private.iter().any(|entry| {
            entry.split_once('=').is_some_and(|(purpose, excepted)| purpose.trim() == PURPOSE && excepted.trim().eq_ignore_ascii_case(&place))
        })
    }

    fn recipients(&mut self) -> Vec<String> {
        let Some((value, _)) = self.keys.get("recipients") else { return Vec::new() };
        let FileValue::List(all) = value else {
            self.wrong("recipients", "must be a list of addresses");
            return Vec::new();
        };
        let all = all.clone();
        self.note("recipients", json!(all));
        let bad = all.iter().find(|entry| entry.parse::<Recipients>().is_err());
        if let Some(bad) = bad {
            self.wrong("recipients", &format!("has `{}`, which is neither an address nor `*@domain`", bad.escape_debug()));
        } else if all.is_empty() || all.len() > MOST_RECIPIENTS {
            self.wrong("recipients", &format!("must have 1 to {MOST_RECIPIENTS} entries"));
        }
        all
    }

    fn template(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let environment = minijinja::Environment::new();
        let why = match environment.template_from_str(&text) {
            _ if text.len() > LONGEST_TEMPLATE => format!("is longer than {LONGEST_TEMPLATE} bytes"),
            Err(error) => format!("is no template: {error}"),
            Ok(template) => match template.undeclared_variables(false).into_iter().find(|name| !VARIABLES.contains(&name.as_str())) {
                Some(name) => format!("names `{}`; there are {}", name.escape_debug(), VARIABLES.join(", ")),
                None => return Some(text),
            },
        };
        self.wrong(key, &why);
        None
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 32
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
}

fn is_topic(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
