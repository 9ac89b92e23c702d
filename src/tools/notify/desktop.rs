//! The desktop of this machine, where there is one.
//!
//! INVARIANT: without a desktop nothing is shown and nothing fails. A text is shown, never read as markup.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify_rust::Notification;

use super::{Level, Notice, Sink, Template};

/// The longest that the desktop may take to take a message.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who it says the message is from.
const APP: &str = "toolgate";

/// Shows messages on the desktop.
pub struct Desktop {
    channel: String,
    template: Template,
}

impl Desktop {
    /// As the channel of this name.
    #[must_use]
    pub fn new(channel: &str, template: Template) -> Arc<Self> {
        Arc::new(Self { channel: channel.to_owned(), template })
    }
}

#[async_trait]
impl Sink for Desktop {
    async fn show(&self, notice: &Notice) -> bool {
        let (title, text) = match self.template.render(notice, &self.channel) {
            Ok(rendered) => rendered,
            Err(fault) => {
                tracing::warn!(code = %fault.code, "a message cannot be shown on the desktop: {fault}");
                return false;
            }
        };
        let shown = tokio::time::timeout(PATIENCE, show(notification(&title, &text, notice.level))).await;
        if let Ok(Err(error)) = &shown {
            tracing::debug!("the desktop does not show messages: {error}");
        }
        matches!(shown, Ok(Ok(())))
    }
}

fn notification(title: &str, text: &str, level: Level) -> Notification {
    let mut notification = Notification::new();
    notification.appname(APP).summary(title).body(&unmarked(text));
    #[cfg(all(unix, not(target_os = "macos")))]
    notification.urgency(match level {
        Level::Info | Level::Success => notify_rust::Urgency::Normal,
        Level::Warning | Level::Error => notify_rust::Urgency::Critical,
    });
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    let _ = level;
    notification.finalize()
}

/// Desktops may read the text as markup, with links and pictures in it.
fn unmarked(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(all(unix, not(target_os = "macos")))]
async fn show(notification: Notification) -> Result<(), String> {
    notification.show_async().await.map(drop).map_err(|error| error.to_string())
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
async fn show(notification: Notification) -> Result<(), String> {
    let shown = tokio::task::spawn_blocking(move || notification.show().map(drop).map_err(|error| error.to_string()));
    shown.await.unwrap_or_else(|error| Err(error.to_string()))
}
