//! The log: one line an event, on stderr, without secrets.
//!
//! INVARIANT: a line holds no control, bidirectional or other hidden character, so that nothing that is logged can begin a line of its
//! own, move the cursor or reorder what is read. A line has at most [`LONGEST`] bytes.

mod json;

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::Value;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::call::Redact;
use crate::config::LogLevel;
use crate::domain::{Clock, SPANS};

use super::text::is_hidden;

/// The longest line, in bytes; the rest of a longer one is left out.
const LONGEST: usize = 16 << 10;

/// The longest value of a line that programs read, and what is left of values where the line is too long with them.
const LONGEST_VALUE: [usize; 2] = [4 << 10, 256];

/// How much of an event is looked at.
const LOOKED_AT: usize = 256 << 10;

/// What is logged at this level.
fn targets(level: LogLevel) -> Targets {
    // Libraries are one level quieter than the house.
    let (libraries, house) = match level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::ERROR, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::WARN, LevelFilter::INFO),
        LogLevel::Debug => (LevelFilter::INFO, LevelFilter::DEBUG),
        LogLevel::Trace => (LevelFilter::DEBUG, LevelFilter::TRACE),
    };
    // Of the spans only those that give lines their ids: the others are for traces.
    let spans = house.min(LevelFilter::ERROR);
    Targets::new().with_default(libraries).with_target("toolgate", house).with_target(SPANS, spans)
}

/// Starts logging. As JSON where no person reads along.
pub(super) fn start(level: LogLevel, is_terminal: bool, redact: Arc<dyn Redact>, clock: Arc<dyn Clock>) {
    let lines = Lines { redact, out: Box::new(|line| drop(io::stderr().lock().write_all(line.as_bytes()))) };
    // Colours would be control characters, and none may pass.
    let log = if is_terminal {
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines).with_filter(targets(level)).boxed()
    } else {
        json::Json { lines: Arc::new(lines), clock }.with_filter(targets(level)).boxed()
    };
    // Somebody else's subscriber is as good.
    let _ = Registry::default().with(log).try_init();
}

/// Makes a writer for each event.
struct Lines {
    redact: Arc<dyn Redact>,
    out: Box<dyn Fn(&str) + Send + Sync>,
}

/// One event, written out when it is complete.
struct Event<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { lines: self, text: Vec::new() }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LOOKED_AT.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.lines.write(&self.lines.line(&String::from_utf8_lossy(&self.text)));
        }
    }
}

impl Lines {
    /// Writes a line out, whole.
    fn write(&self, line: &str) {
        (self.out)(&format!("{line}\n"));
    }

    /// The event as a person reads it.
    fn line(&self, event: &str) -> String {
        escaped(&self.redact.text(event.trim_end_matches('\n')), LONGEST, |c| c.escape_default().to_string())
    }

    /// Takes secrets out of a value.
    fn scrub(&self, value: &mut Value) {
        if let Value::String(text) = value
            && text.len() > LOOKED_AT
        {
            *text = escaped(text, LOOKED_AT, |c| c.to_string());
        }
        self.redact.value(value);
    }
}

/// A value as JSON, and its beginning only where that is longer than `most` bytes.
fn shown(value: &Value, most: usize) -> String {
    let text = super::text::json(value, false);
    if text.len() <= most {
        return text;
    }
    let whole = value.as_str().map_or_else(|| text, str::to_owned);
    super::text::json(&escaped(&whole, most / 4, |c| c.to_string()).into(), false)
}

/// With hidden characters in another form, and its beginning only where it is long.
fn escaped(text: &str, most: usize, hidden: impl Fn(char) -> String) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        if line.len() > most {
            line.push_str("… (cut)");
            break;
        }
        if is_hidden(c) {
            line.push_str(&hidden(c));
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests;
