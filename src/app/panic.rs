//! What a panic says: one line on stderr, without secrets.

use std::io::Write as _;

use crate::call::Redact;
use crate::cli::text::printable;
use crate::secrets::redact::Redactor;

/// From now on panics of this process are told so.
pub(super) fn tell_without_secrets(redactor: Redactor) {
    std::panic::set_hook(Box::new(move |panic| {
        let line = printable(&redactor.text(&panic.to_string()));
        let _ = std::io::stderr().lock().write_all(format!("toolgate panicked: {line}\n").as_bytes());
    }));
}
