//! `notify.send`: a message to the people who watch.
//!
//! INVARIANT: what is delivered is plain text; it cannot move a cursor, forge a line or turn text around. What leaves the machine goes to
//! channels and recipients that the operator named, and is in the outbox before the call ends.
//! Sends nothing itself: local channels are behind [`Notifier`], the others behind [`Outbox`].

mod channel;
mod courier;
mod desktop;
mod email;
mod hub;
mod letter;
pub mod schedule;
mod services;
mod smtp;
mod template;

#[cfg(test)]
mod tests;

pub use channel::{Channel, Channels, MOST_RECIPIENTS, Mail, MailTls, SecretOf, Service, origin_of};
pub use courier::{Courier, PURPOSE};
pub use desktop::Desktop;
pub use hub::{NotifyHub, Sink, WriterSink};
pub use letter::{Attempt, Fate, Letter, NoOutbox, Outbox, Parcel};
pub use template::Template;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, ErrorCode, Fault, MailAddress, Principal, RunId};
use crate::tools::{CallContext, Tool, plain};

/// How much it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Level {
    /// To be known.
    #[default]
    Info,
    /// Something is done.
    Success,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
}

impl Level {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A message on its way; its texts are plain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The run that sends it.
    pub run: RunId,
    /// Whose run that is: nobody else's client is told. `None` for what toolgate tells everybody.
    pub whose: Option<Principal>,
    /// How much it matters.
    pub level: Level,
    /// One line.
    pub title: Option<String>,
    /// The text, where `\n` ends a line.
    pub message: String,
}

/// Where messages on this machine go; implemented by [`NotifyHub`] and by fakes.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The channels there are now.
    fn channels(&self) -> Vec<String>;
    /// Delivers to one channel, or to all; which ones took it.
    async fn notify(&self, notice: &Notice, channel: Option<&str>) -> Result<Vec<String>, Fault>;
}

/// The tool.
pub struct NotifySend {
    notifier: Arc<dyn Notifier>,
    leaving: Leaving,
}

/// What leaves the machine, and how.
#[derive(Clone)]
pub struct Leaving {
    /// The channels.
    pub channels: Arc<Channels>,
    /// Where messages are put that leave.
    pub outbox: Arc<dyn Outbox>,
    /// Where a message goes that names no channel; empty: everywhere on this machine.
    pub default: Vec<String>,
    /// How long a call waits to hear that its message was taken.
    pub patience: Duration,
}

impl Leaving {
    /// Nothing does.
    #[must_use]
    pub fn nothing() -> Self {
        Self { channels: Arc::default(), outbox: Arc::new(NoOutbox), default: Vec::new(), patience: Duration::ZERO }
    }
}

impl NotifySend {
    /// Sends through `notifier`, and nothing out of the machine.
    #[must_use]
    pub fn new(notifier: Arc<dyn Notifier>) -> Self {
        Self { notifier, leaving: Leaving::nothing() }
    }

    /// The same, with channels that leave.
    #[must_use]
    pub fn leaving(self, leaving: Leaving) -> Self {
        Self { leaving, ..self }
    }
}

/// What to say.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SendInput {
    /// One line.
    #[serde(default)]
    #[schemars(length(max = 200))]
    title: Option<String>,
    #[schemars(length(min = 1, max = 4000))]
    message: String,
    #[serde(default)]
    #[schemars(schema_with = "levels")]
    level: Level,
    /// Default: those of this machine.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,31}$"))]
    channel: Option<String>,
    /// E-mail addresses, for a channel that has recipients.
    #[serde(default)]
    #[schemars(length(max = MOST_RECIPIENTS))]
    to: Vec<String>,
    /// Same key, same outcome.
    #[serde(default)]
    #[schemars(length(max = 128))]
    #[expect(dead_code, reason = "read by the gateway, which looks for the call that used it before")]
    idempotency_key: Option<String>,
}

/// The words alone, without a sentence for each.
fn levels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["info", "success", "warning", "error"] })
}

/// Who got it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct SendOutput {
    /// The channels that took it.
    delivered: Vec<String>,
    /// Those that will be tried until they take it.
    queued: Vec<String>,
    /// Those that did not take it and will not.
    failed: Vec<Failed>,
}

/// Where it failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Failed {
    channel: String,
    why: String,
}

/// Where a message goes.
struct Chosen {
    /// On this machine; `None` is everywhere.
    here: Option<Vec<String>>,
    /// Out of it, and to whom.
    out: Vec<(Arc<Channel>, Vec<MailAddress>)>,
}

impl NotifySend {
    fn chosen(&self, input: &SendInput) -> Result<Chosen, Fault> {
        let here = self.notifier.channels();
        let names = match &input.channel {
            Some(name) => std::slice::from_ref(name),
            None => self.leaving.default.as_slice(),
        };
        let mut chosen = Chosen { here: (!names.is_empty()).then(Vec::new), out: Vec::new() };
        for name in names {
            if let Some(channel) = self.leaving.channels.get(name) {
                chosen.out.push((Arc::clone(channel), channel.addressed(&input.to)?));
            } else if let (true, Some(chosen)) = (here.contains(name) || input.channel.is_none(), &mut chosen.here) {
                chosen.push(name.clone());
            } else {
                let all = here.iter().map(String::as_str).chain(self.leaving.channels.iter().map(|channel| channel.name.as_str()));
                return Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` is not a channel", plain(name)))
                    .hint(format!("channels now: {}", all.collect::<Vec<_>>().join(", "))));
            }
        }
        if !input.to.is_empty() && (input.channel.is_none() || chosen.out.is_empty()) {
            return Err(Fault::new(ErrorCode::InvalidInput, "`to` needs the `channel` whose recipients are meant")
                .hint("name a channel of kind email, or leave `to` out"));
        }
        Ok(chosen)
    }
}

/// The message as plain text. What would end a header's line is refused, not mended: whoever wrote it meant something by it.
fn notice(input: &SendInput, context: &CallContext) -> Result<Notice, Fault> {
    let title = input.title.as_deref().unwrap_or_default();
    if title.contains(['\r', '\n', '\0']) {
        return Err(Fault::new(ErrorCode::InvalidInput, "`title` holds a line break or a NUL")
            .hint("a title is one line; put the rest into `message`"));
    }
    let message = plain(&input.message).trim().to_owned();
    if message.is_empty() {
        return Err(Fault::new(ErrorCode::InvalidInput, "`message` holds nothing that can be shown"));
    }
    let title = plain(title).split_whitespace().collect::<Vec<_>>().join(" ");
    let whose = Some(context.actor.principal.clone());
    Ok(Notice { run: context.run, whose, level: input.level, title: Some(title).filter(|title| !title.is_empty()), message })
}

#[async_trait]
impl Tool for NotifySend {
    type Input = SendInput;
    type Output = SendOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        let chosen = self.chosen(input)?;
        let notice = notice(input, context)?;
        for (channel, _) in &chosen.out {
            channel.template.render(&notice, &channel.name)?;
        }
        if chosen.out.is_empty() {
            return Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "channel": input.channel })));
        }
        let here = (chosen.here != Some(Vec::new())).then_some(Effect::Write);
        let targets: Vec<_> = chosen.out.iter().map(|(channel, to)| channel.target(to)).collect();
        let effects = Effects::of([Effect::Egress, Effect::ExternalWrite].into_iter().chain(here));
        Ok(Preparation::of(effects)
            .about(json!({ "here": chosen.here, "out": targets }))
            .reaching(chosen.out.iter().map(|(channel, _)| channel.host())))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let chosen = self.chosen(input)?;
        let notice = notice(input, context)?;
        let mut letters = Vec::with_capacity(chosen.out.len());
        for (channel, to) in &chosen.out {
            let (title, text) = channel.template.render(&notice, &channel.name)?;
            let (kind, level, to) = (channel.kind(), notice.level, to.clone());
            letters.push(Letter { channel: channel.name.clone(), kind, level, title, text, to });
        }
        let ids = if letters.is_empty() { Vec::new() } else { self.leaving.outbox.queue(letters, context).await? };
        let mut output = SendOutput { delivered: Vec::new(), queued: Vec::new(), failed: Vec::new() };
        match &chosen.here {
            None => output.delivered = self.notifier.notify(&notice, None).await?,
            Some(names) => {
                for name in names {
                    output.delivered.extend(self.notifier.notify(&notice, Some(name)).await?);
                }
            }
        }
        if ids.is_empty() {
            return Ok(output);
        }
        let fates = self.leaving.outbox.fates(&ids, context, self.leaving.patience).await?;
        for ((channel, _), fate) in chosen.out.iter().zip(fates) {
            let channel = channel.name.clone();
            match fate {
                Fate::Sent => output.delivered.push(channel),
                Fate::Waiting => output.queued.push(channel),
                Fate::Failed(why) => output.failed.push(Failed { channel, why }),
            }
        }
        match output.failed.first() {
            Some(first) if output.delivered.is_empty() && output.queued.is_empty() => {
                Err(Fault::new(ErrorCode::NotifyFailed, format!("no channel took the message; `{}`: {}", first.channel, first.why))
                    .hint("the run's events tell each attempt; the operator looks after channels"))
            }
            _ => Ok(output),
        }
    }
}
