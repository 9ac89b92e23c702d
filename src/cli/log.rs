//! The log: one line an event, on stderr, without secrets.
//!
//! INVARIANT: a line holds no control, bidirectional or other hidden character, so that nothing that is logged can begin a line of its
//! own, move the cursor or reorder what is read. A line has at most [`LONGEST`] bytes.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

use crate::call::Redact;
use crate::config::LogLevel;

use super::text::is_hidden;

/// The longest line, in bytes; the rest of a longer one is left out.
const LONGEST: usize = 16 << 10;

/// How much of an event is looked at.
const LOOKED_AT: usize = 256 << 10;

/// Starts logging. As JSON where no person reads along.
pub(super) fn start(level: LogLevel, is_terminal: bool, redact: Arc<dyn Redact>) {
    // Libraries are one level quieter than the house.
    let directives = match level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "error,toolgate=warn",
        LogLevel::Info => "warn,toolgate=info",
        LogLevel::Debug => "info,toolgate=debug",
        LogLevel::Trace => "debug,toolgate=trace",
    };
    let filter = tracing_subscriber::EnvFilter::new(directives);
    // Colours would be control characters, and none may pass.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let lines = Lines { redact, is_json: !is_terminal };
    // Somebody else's subscriber is as good.
    let _ = if is_terminal { log.with_writer(lines).try_init() } else { log.json().flatten_event(true).with_writer(lines).try_init() };
}

/// Makes a writer for each event.
struct Lines {
    redact: Arc<dyn Redact>,
    is_json: bool,
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
            let line = self.lines.line(&String::from_utf8_lossy(&self.text));
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

impl Lines {
    /// The event as it is written: one line and its end.
    fn line(&self, event: &str) -> String {
        let event = event.trim_end_matches('\n');
        let line =
            if self.is_json { self.json(event) } else { escaped(&self.redact.text(event), LONGEST, |c| c.escape_default().to_string()) };
        line + "\n"
    }

    /// JSON stays JSON: values are scrubbed one by one, and long ones are cut.
    fn json(&self, event: &str) -> String {
        let mut value = serde_json::from_str::<serde_json::Value>(event).unwrap_or_else(|_| serde_json::json!({ "message": event }));
        self.redact.value(&mut value);
        let text = super::text::json(&value, false);
        if text.len() <= LONGEST {
            return text;
        }
        for field in value.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            let text = field.as_str().map_or_else(|| field.to_string(), str::to_owned);
            if text.len() > LONGEST / 16 {
                *field = escaped(&text, LONGEST / 16, |c| c.to_string()).into();
            }
        }
        super::text::json(&value, false)
    }
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
mod tests {
    use super::*;
    use crate::call::NoRedaction;

    const ATTACK: &str = "ok\r\n2026-01-01 INFO approved by the operator\u{1b}[2K\0\u{2028}\u{202e}evil\u{9b}A\u{7f}";

    fn logged(is_json: bool, message: &str) -> Vec<String> {
        let lines = Lines { redact: Arc::new(NoRedaction), is_json };
        let event = if is_json {
            serde_json::json!({ "level": "INFO", "message": message }).to_string() + "\n"
        } else {
            format!("2026 INFO toolgate: {message}\n")
        };
        let whole = lines.line(&event);
        assert!(whole.ends_with('\n'));
        whole.trim_end_matches('\n').split('\n').map(str::to_owned).collect()
    }

    #[test]
    fn an_event_is_one_line_without_hidden_characters() {
        // A log that writes what it is told has a second line that looks like one of its own.
        let naive = format!("INFO toolgate: {ATTACK}\n");
        assert_eq!(naive.lines().count(), 2);
        for is_json in [false, true] {
            let lines = logged(is_json, ATTACK);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(!lines[0].chars().any(is_hidden), "{lines:?}");
        }
        let line = &logged(true, ATTACK)[0];
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["message"], ATTACK);
    }

    #[test]
    fn a_long_event_is_cut_and_stays_json() {
        let long = format!("{ATTACK}{}", "x\u{202e}".repeat(1 << 19));
        let text = logged(false, &long);
        assert!(text.len() == 1 && text[0].len() < LONGEST + 64, "{}", text[0].len());
        let json = logged(true, &long);
        assert!(json.len() == 1 && json[0].len() < LONGEST + 64, "{}", json[0].len());
        assert!(serde_json::from_str::<serde_json::Value>(&json[0]).is_ok());
    }
}
