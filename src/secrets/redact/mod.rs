//! The one place where secrets are taken out of what is recorded or shown: values of live secrets in every encoding, credentials by
//! their shape, and personal data where that is wanted.
//!
//! INVARIANT: what is executed or digested never passes here. A mark never holds any part of what it stands for.
//! Cannot find what is written in an encoding it does not know, cut into parts, or enciphered.

mod exact;
mod forms;
mod pii;
mod spans;
mod stream;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::call::{Redact, RedactStream};
use crate::domain::Fault;

use super::live::LiveSecrets;
use super::scan::{Scanner, Sureness};

pub use pii::Pii;
pub use stream::Stream;

use exact::Exact;
use spans::Span;

/// What is taken out besides the values of live secrets, which always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Credentials by their shape; `None` leaves them.
    pub shapes: Option<Sureness>,
    /// Kinds of personal data.
    pub pii: Pii,
}

impl Default for Settings {
    fn default() -> Self {
        Self { shapes: Some(Sureness::Shapes), pii: Pii::NONE }
    }
}

/// The redactor of a process. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Redactor {
    core: Arc<Core>,
}

struct Core {
    live: LiveSecrets,
    scanner: Scanner,
    settings: RwLock<Settings>,
    exact: RwLock<Arc<Exact>>,
}

impl Redactor {
    /// Of these live secrets.
    ///
    /// # Errors
    /// Where the rules of the program cannot be read.
    pub fn new(live: LiveSecrets) -> Result<Self, Fault> {
        let core = Core {
            live,
            scanner: Scanner::shipped()?,
            settings: RwLock::new(Settings::default()),
            exact: RwLock::new(Arc::new(Exact::default())),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// What is taken out from now on.
    pub fn configure(&self, settings: Settings) {
        *self.core.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The secrets whose values are looked for.
    #[must_use]
    pub fn live(&self) -> &LiveSecrets {
        &self.core.live
    }

    /// For bytes that come in pieces.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    fn settings(&self) -> Settings {
        *self.core.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to look for now: built anew after a secret came or went.
    fn exact(&self) -> Arc<Exact> {
        let core = &self.core;
        let built = Arc::clone(&core.exact.read().unwrap_or_else(PoisonError::into_inner));
        if built.generation == core.live.generation() {
            return built;
        }
        let built = Arc::new(Exact::of(&core.live));
        *core.exact.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&built);
        built
    }

    /// What is to be replaced, in order and without overlap.
    fn find(&self, bytes: &[u8]) -> Vec<Span> {
        let mut spans = Vec::new();
        self.exact().find(bytes, &mut spans);
        self.find_shapes(bytes, &mut spans);
        spans::merged(spans)
    }

    fn find_shapes(&self, bytes: &[u8], spans: &mut Vec<Span>) {
        let Settings { shapes, pii } = self.settings();
        if let Some(sureness) = shapes {
            self.core.scanner.find(bytes, sureness, &mut |rule, range| {
                spans.push(Span { start: range.start, end: range.end, mark: format!("[REDACTED:{rule}]").into() });
            });
        }
        pii.find(bytes, spans);
    }

    /// A key can hold a secret as well; then it is one that is known, as a key that merely looks odd is the data's own structure.
    fn known_text(&self, text: &str) -> Option<(String, usize)> {
        let mut spans = Vec::new();
        self.exact().find(text.as_bytes(), &mut spans);
        cleaned(text, spans)
    }

    fn all_text(&self, text: &str) -> Option<(String, usize)> {
        cleaned(text, self.find(text.as_bytes()))
    }
}

/// The text with its marks, and how many; `None` where there are none.
fn cleaned(text: &str, spans: Vec<Span>) -> Option<(String, usize)> {
    let spans = spans::merged(spans);
    let count = spans.len();
    (count > 0).then(|| (String::from_utf8_lossy(&spans::replaced(text.as_bytes(), &spans)).into_owned(), count))
}

/// Changes every string below `value`. `clean` sees values, `clean_key` keys.
fn walk(value: &mut Value, clean: &dyn Fn(&str) -> Option<(String, usize)>, clean_key: &dyn Fn(&str) -> Option<(String, usize)>) -> usize {
    match value {
        Value::String(text) => match clean(text) {
            Some((cleaned, count)) => {
                *text = cleaned;
                count
            }
            None => 0,
        },
        Value::Array(items) => items.iter_mut().map(|item| walk(item, clean, clean_key)).sum(),
        Value::Object(fields) => {
            let below: usize = fields.values_mut().map(|field| walk(field, clean, clean_key)).sum();
            below + clean_keys(fields, clean_key)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn clean_keys(fields: &mut Map<String, Value>, clean: &dyn Fn(&str) -> Option<(String, usize)>) -> usize {
    let dirty: Vec<(String, String, usize)> =
        fields.keys().filter_map(|key| clean(key).map(|(cleaned, count)| (key.clone(), cleaned, count))).collect();
    let mut count = 0;
    for (key, cleaned, found) in dirty {
        count += found;
        let Some(field) = fields.remove(&key) else { continue };
        let free = std::iter::once(cleaned.clone()).chain((2_u64..).map(|n| format!("{cleaned} {n}")));
        if let Some(name) = free.into_iter().find(|name| !fields.contains_key(name)) {
            fields.insert(name, field);
        }
    }
    count
}

impl Redact for Redactor {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.all_text(text).map_or(Cow::Borrowed(text), |(cleaned, _)| Cow::Owned(cleaned))
    }

    fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let spans = self.find(bytes);
        if spans.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned(spans::replaced(bytes, &spans)) }
    }

    fn value(&self, value: &mut Value) -> usize {
        walk(value, &|text| self.all_text(text), &|key| self.known_text(key))
    }

    fn known(&self, value: &mut Value) -> usize {
        if self.exact().is_empty() {
            return 0;
        }
        walk(value, &|text| self.known_text(text), &|key| self.known_text(key))
    }

    fn may_touch(&self, bytes: &[u8]) -> bool {
        let Settings { shapes, pii } = self.settings();
        self.exact().is_in(bytes) || !pii.is_none() || shapes.is_some_and(|sureness| self.core.scanner.may_find(bytes, sureness))
    }

    fn stream(&self) -> Box<dyn RedactStream> {
        Box::new(Self::stream(self))
    }
}
