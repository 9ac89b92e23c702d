//! `notify.send`: a message to the people who watch.
//!
//! INVARIANT: what is delivered is plain text; it cannot move a cursor, forge a line or turn text around. Knows no channel itself:
//! they are behind [`Notifier`].

mod hub;

#[cfg(test)]
mod tests;

pub use hub::{NotifyHub, Sink, WriterSink};

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, ErrorCode, Fault, Principal, RunId};
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

/// Where messages go; implemented by [`NotifyHub`] and by fakes.
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
}

impl NotifySend {
    /// Sends through `notifier`.
    #[must_use]
    pub fn new(notifier: Arc<dyn Notifier>) -> Self {
        Self { notifier }
    }
}

/// What to say.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SendInput {
    #[serde(default)]
    #[schemars(length(max = 200))]
    title: Option<String>,
    #[schemars(length(min = 1, max = 4000))]
    message: String,
    #[serde(default)]
    #[schemars(schema_with = "levels")]
    level: Level,
    /// Default: all.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,31}$"))]
    channel: Option<String>,
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
}

#[async_trait]
impl Tool for NotifySend {
    type Input = SendInput;
    type Output = SendOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        let channels = self.notifier.channels();
        if let Some(channel) = &input.channel
            && !channels.contains(channel)
        {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` is not a channel", plain(channel)))
                .hint(format!("channels now: {}", channels.join(", "))));
        }
        Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "channel": input.channel })))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let message = plain(&input.message).trim().to_owned();
        if message.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "`message` holds nothing that can be shown"));
        }
        let title = input.title.as_deref().map(|title| plain(title).split_whitespace().collect::<Vec<_>>().join(" "));
        let notice = Notice {
            run: context.run,
            whose: Some(context.actor.principal.clone()),
            level: input.level,
            title: title.filter(|title| !title.is_empty()),
            message,
        };
        let delivered = self.notifier.notify(&notice, input.channel.as_deref()).await?;
        Ok(SendOutput { delivered })
    }
}
