//! Events as JSON for programs that read the log: always `ts`, `level`, `event`, `run_id`, `step_id`, `call_id`, then the message and fields.
//!
//! INVARIANT: the ids of a line come from the house's own events and from spans of [`SPANS`] alone; a library's field of the same name
//! stands apart. What is not known is `null`, so that every line has the same keys.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::domain::{Clock, SPANS};

use super::{LONGEST, LONGEST_VALUE, Lines, shown};

/// The keys of every line that no field may take.
const RESERVED: [&str; 6] = ["ts", "level", "event", "run_id", "step_id", "call_id"];

/// Writes each event as one line.
pub(super) struct Json {
    pub(super) lines: Arc<Lines>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What a span belongs to, with what the spans around it say.
#[derive(Debug, Clone, Default)]
struct Ids {
    run: Option<String>,
    step: Option<String>,
    call: Option<String>,
}

impl Ids {
    fn set(&mut self, name: &str, value: impl FnOnce() -> String) {
        match name {
            "run_id" => self.run = Some(value()),
            "step_id" => self.step = Some(value()),
            "call_id" => self.call = Some(value()),
            _ => {}
        }
    }
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), || value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), || format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Json {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let around = span.parent().and_then(|parent| parent.extensions().get::<Ids>().cloned());
        let mut ids = around.unwrap_or_default();
        if attributes.metadata().target() == SPANS {
            attributes.record(&mut ids);
        }
        span.extensions_mut().insert(ids);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.metadata().target() == SPANS) else { return };
        if let Some(ids) = span.extensions_mut().get_mut::<Ids>() {
            values.record(ids);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let is_ours = metadata.target().split("::").next() == Some("toolgate");
        let around = context.event_span(event).and_then(|span| span.extensions().get::<Ids>().cloned());
        let mut line = Line { is_ours, ids: around.unwrap_or_default(), message: None, event: None, fields: Map::new() };
        event.record(&mut line);
        self.lines.write(&line.text(metadata, &*self.clock, &self.lines));
    }
}

/// One event on its way to a line.
struct Line {
    is_ours: bool,
    ids: Ids,
    message: Option<Value>,
    event: Option<Value>,
    fields: Map<String, Value>,
}

impl Line {
    fn put(&mut self, name: &str, value: Value) {
        match name {
            "message" => self.message = Some(value),
            "run_id" | "step_id" | "call_id" if self.is_ours => self.ids.set(name, || value.as_str().unwrap_or_default().to_owned()),
            "event" if self.is_ours => self.event = Some(value),
            name if RESERVED.contains(&name) => _ = self.fields.insert(format!("field.{name}"), value),
            name => _ = self.fields.insert(name.to_owned(), value),
        }
    }

    /// The line: its fixed keys first, in this order.
    fn text(self, metadata: &Metadata<'_>, clock: &dyn Clock, lines: &Lines) -> String {
        let id = |id: Option<String>| id.map_or(Value::Null, Value::String);
        let event = self.event.unwrap_or_else(|| name_of(metadata).into());
        let mut head = [
            ("ts", clock.now().to_string().into()),
            ("level", metadata.level().as_str().to_lowercase().into()),
            ("event", event),
            ("run_id", id(self.ids.run)),
            ("step_id", id(self.ids.step)),
            ("call_id", id(self.ids.call)),
            ("message", self.message.unwrap_or(Value::Null)),
        ];
        for (_, value) in &mut head {
            lines.scrub(value);
        }
        let mut rest = Value::Object(self.fields);
        lines.scrub(&mut rest);
        let [most, less] = LONGEST_VALUE;
        let fits = |text: &String| text.len() <= LONGEST;
        let all = Some(written(&head, rest.as_object(), most)).filter(fits);
        // The last: more fields than any event of ours has.
        all.or_else(|| Some(written(&head, rest.as_object(), less)).filter(fits)).unwrap_or_else(|| written(&head, None, less))
    }
}

fn written(head: &[(&str, Value)], rest: Option<&Map<String, Value>>, most: usize) -> String {
    let mut text = String::from("{");
    for (name, value) in head.iter().filter(|(name, value)| *name != "message" || !value.is_null()) {
        let _ = write!(text, "\"{name}\":{},", shown(value, most));
    }
    for (name, value) in rest.into_iter().flatten() {
        let _ = write!(text, "{}:{},", shown(&Value::String(name.clone()), most), shown(value, most));
    }
    text.pop();
    text.push('}');
    text
}

/// What happened: the event's own name, else the place in the program that tells it.
fn name_of(metadata: &Metadata<'_>) -> String {
    if metadata.name().starts_with("event ") {
        metadata.target().trim_start_matches("toolgate::").replace("::", ".")
    } else {
        metadata.name().to_owned()
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}
