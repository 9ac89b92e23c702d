//! The one place where secrets are taken out of what is recorded or shown: values of live secrets in every encoding, credentials by
//! their shape, and personal data where that is wanted.
//!
//! INVARIANT: what is executed or digested never passes here. A mark never holds any part of what it stands for.
//! Cannot find what is written in an encoding it does not know, cut into parts, or enciphered.

mod broken;
mod exact;
mod fields;
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

pub use fields::{FIELDS, Fields};
pub use pii::Pii;
pub use stream::Stream;

use exact::Exact;
use spans::Span;

/// What is taken out besides the values of live secrets, which always are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Credentials by their shape; `None` leaves them.
    pub shapes: Option<Sureness>,
    /// Kinds of personal data.
    pub pii: Pii,
    /// Fields whose values are secret by their name.
    pub fields: Arc<Fields>,
}

impl Settings {
    /// Nothing besides.
    #[must_use]
    pub fn none() -> Self {
        Self { shapes: None, pii: Pii::NONE, fields: Arc::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { shapes: Some(Sureness::Shapes), pii: Pii::NONE, fields: Arc::new(Fields::of(&FIELDS)) }
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
        Ok(Self::by(Scanner::shipped()?, live))
    }

    /// The same at the start of a process, which goes on while the rules are being read; see [`Redactor::is_ready`].
    #[must_use]
    pub fn beginning(live: LiveSecrets) -> Self {
        Self::by(Scanner::reading(), live)
    }

    fn by(scanner: Scanner, live: LiveSecrets) -> Self {
        let settings = RwLock::new(Settings::default());
        let core = Core { live, scanner, settings, exact: RwLock::new(Arc::new(Exact::default())) };
        Self { core: Arc::new(core) }
    }

    /// Waits until the rules are read.
    ///
    /// # Errors
    /// Where the rules of the program cannot be read.
    pub fn is_ready(&self) -> Result<(), Fault> {
        Scanner::shipped().map(drop)
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
        self.core.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let Settings { shapes, pii, fields } = self.settings();
        fields.find(bytes, &mut |found| spans.push(found.span));
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

/// What a string may become, and how many places of it changed.
type Clean<'c> = dyn Fn(&str) -> Option<(String, usize)> + 'c;

/// How strings are cleaned.
struct Cleaner<'c> {
    value: &'c Clean<'c>,
    key: &'c Clean<'c>,
    fields: &'c Fields,
}

impl Cleaner<'_> {
    /// Changes every string below `value`, which stands in a field that is secret by this name.
    fn walk(&self, value: &mut Value, named: Option<&str>) -> usize {
        match value {
            Value::String(text) => {
                let by_name = named.and_then(|name| Fields::cleaned(name, text)).map(|mark| (mark, 1));
                let Some((cleaned, count)) = by_name.or_else(|| (self.value)(text)) else { return 0 };
                *text = cleaned;
                count
            }
            Value::Array(items) => items.iter_mut().map(|item| self.walk(item, named)).sum(),
            Value::Object(fields) => {
                let below: usize = fields.iter_mut().map(|(name, field)| self.walk(field, self.fields.named(name.as_bytes()))).sum();
                below + clean_keys(fields, self.key)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }
}

fn clean_keys(fields: &mut Map<String, Value>, clean: &Clean<'_>) -> usize {
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
        let fields = self.settings().fields;
        Cleaner { value: &|text| self.all_text(text), key: &|key| self.known_text(key), fields: &fields }.walk(value, None)
    }

    fn known(&self, value: &mut Value) -> usize {
        if self.exact().is_empty() {
            return 0;
        }
        let known = |text: &str| self.known_text(text);
        Cleaner { value: &known, key: &known, fields: &Fields::default() }.walk(value, None)
    }

    fn may_touch(&self, bytes: &[u8]) -> bool {
        let Settings { shapes, pii, fields } = self.settings();
        self.exact().is_in(bytes)
            || !pii.is_none()
            || fields.may_find(bytes)
            || shapes.is_some_and(|sureness| self.core.scanner.may_find(bytes, sureness))
    }

    fn stream(&self) -> Box<dyn RedactStream> {
        Box::new(Self::stream(self))
    }
}
