//! What a panic says: one line on stderr, without secrets.

use std::io::Write as _;

use crate::call::Redact;
use crate::cli::text::printable;
use crate::secrets::redact::Redactor;

/// From now on panics of this process are told so.
pub(super) fn tell_without_secrets(redactor: Redactor) {
    std::panic::set_hook(Box::new(move |panic| {
        let _ = std::io::stderr().lock().write_all(line(&redactor, &panic.to_string()).as_bytes());
    }));
}

fn line(redact: &dyn Redact, panic: &str) -> String {
    format!("toolgate panicked: {}\n", printable(&redact.text(panic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::live::LiveSecrets;

    #[test]
    fn a_panic_is_one_line_without_secrets() {
        let live = LiveSecrets::new();
        live.add("canary", &"the-canary-value".into());
        let redactor = Redactor::new(live).unwrap();
        let said = "panicked at src/x.rs:1:2:\nno `the-canary-value`\u{1b}[2K";
        assert_eq!(line(&redactor, said), "toolgate panicked: panicked at src/x.rs:1:2:\\nno `[REDACTED:canary]`\\u{1b}[2K\n");
    }
}
