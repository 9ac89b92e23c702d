//! The channels by which messages leave this machine, as the operator set them up.
//!
//! INVARIANT: a channel goes to one host and port, and mail only to whom its list names. Holds no secret, only where one lies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use crate::domain::{Digest, ErrorCode, Fault, MailAddress, Recipients, SecretName};
use crate::egress::{Host, Origin, Scheme};
use crate::tools::plain;

use super::Template;

/// Most recipients of one message.
pub const MOST_RECIPIENTS: usize = 16;

/// Where a channel's secret lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOf {
    /// In the vault.
    Vault(SecretName),
    /// In a file that its owner alone reads.
    File(PathBuf),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// Secured before anything but greetings is said.
    StartTls,
    /// In plain text, as the operator excepted this host and port.
    Plain,
}

/// A mail server and who may be written to.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Whose mail it is.
    pub from: MailAddress,
    /// Who logs in, with the channel's secret.
    pub user: Option<String>,
    /// How it is spoken to.
    pub tls: MailTls,
    /// Who may be written to.
    pub recipients: Vec<Recipients>,
}

/// What speaks at the other end.
#[derive(Debug, Clone)]
pub enum Service {
    /// Any address; requests are signed with the secret.
    Webhook(Url),
    /// Slack; the secret is the whole address.
    Slack,
    /// Discord; the secret is the whole address.
    Discord,
    /// An ntfy server and a topic; the secret, where there is one, is a token.
    Ntfy(Url, String),
    /// A mail server; the secret, where there is one, is the password.
    Email(Mail),
}

/// A channel that leaves this machine.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What speaks there.
    pub service: Service,
    /// The one place it goes to. Mail counts as https where it is secured.
    pub origin: Origin,
    /// Where its secret lies.
    pub secret: Option<SecretOf>,
    /// How messages read there.
    pub template: Template,
    /// Of all its settings: what an approval is bound to.
    pub settings: Digest,
}

impl Channel {
    /// The kind, as it is written in settings.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.service {
            Service::Webhook(_) => "webhook",
            Service::Slack => "slack",
            Service::Discord => "discord",
            Service::Ntfy(..) => "ntfy",
            Service::Email(_) => "email",
        }
    }

    /// Host and port.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.origin.host, self.origin.port)
    }

    /// Host, with the port where it is not the scheme's own, as policy sees it.
    #[must_use]
    pub fn host(&self) -> String {
        if self.origin.port == self.origin.scheme.port() { self.origin.host.to_string() } else { self.place() }
    }

    /// Whom a message goes to that names these; without any, all who are written out in the channel's list.
    ///
    /// # Errors
    /// `INVALID_INPUT` for what is no address, is not on the list, or does not belong to a channel without recipients.
    pub fn addressed(&self, to: &[String]) -> Result<Vec<MailAddress>, Fault> {
        let Service::Email(mail) = &self.service else {
            return match to.first() {
                None => Ok(Vec::new()),
                Some(_) => {
                    Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` has no recipients, so `to` means nothing there", self.name))
                        .hint("leave `to` out, or name a channel of kind email"))
                }
            };
        };
        let usual = || mail.recipients.iter().filter_map(|entry| if let Recipients::One(one) = entry { Some(one.clone()) } else { None });
        let mut wanted: Vec<MailAddress> = Vec::new();
        for text in to {
            let address: MailAddress = text.parse().map_err(|why| {
                Fault::new(ErrorCode::InvalidInput, format!("`to`: `{}` is not an address: {why}", plain(text).escape_debug()))
                    .hint("one address such as `ann@example.com` in each entry, without a name or brackets")
            })?;
            if !mail.recipients.iter().any(|entry| entry.has(&address)) {
                return Err(Fault::new(
                    ErrorCode::InvalidInput,
                    format!("`to`: `{address}` is not among the recipients of `{}`", self.name),
                )
                .hint("the operator names who may be written to in `recipients` of the channel"));
            }
            if !wanted.contains(&address) {
                wanted.push(address);
            }
        }
        if wanted.is_empty() {
            wanted = usual().take(MOST_RECIPIENTS).collect();
        }
        if wanted.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` needs `to`: its list names domains only", self.name)));
        }
        Ok(wanted)
    }

    /// What a message on this channel depends on besides its text.
    #[must_use]
    pub fn target(&self, to: &[MailAddress]) -> Value {
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        json!({ "channel": self.name, "kind": self.kind(), "goes_to": self.place(), "to": to, "settings": self.settings })
    }
}

/// Every channel that leaves, by name.
#[derive(Debug, Clone, Default)]
pub struct Channels(BTreeMap<String, Arc<Channel>>);

impl Channels {
    /// These.
    #[must_use]
    pub fn of(channels: impl IntoIterator<Item = Channel>) -> Self {
        Self(channels.into_iter().map(|channel| (channel.name.clone(), Arc::new(channel))).collect())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Channel>> {
        self.0.get(name)
    }

    /// All, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.0.values()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The place that a URL leads to.
///
/// # Errors
/// `CONFIG_INVALID` where it has no host that can be used.
pub fn origin_of(host: &str, port: u16, is_plain: bool) -> Result<Origin, Fault> {
    let host = Host::parse(host).map_err(|why| Fault::new(ErrorCode::ConfigInvalid, format!("a channel's host cannot be used: {why}")))?;
    Ok(Origin { scheme: if is_plain { Scheme::Http } else { Scheme::Https }, host, port })
}
