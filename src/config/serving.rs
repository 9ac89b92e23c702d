//! The settings of serving: how soon clients are answered, and how much one principal may ask over HTTP.

use serde_json::{Value, json};

use crate::domain::Millis;

use super::resolve::Resolver;
use super::{Source, Sourced};

/// `serve.answer_sec` and the limits under `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// After how long a client's call of a tool that can take long is answered with a handle.
    pub answer: Sourced<Millis>,
    /// Requests a second of one principal; 0 is no limit.
    pub rate: Sourced<u32>,
    /// Requests of one principal at one go.
    pub burst: Sourced<u32>,
    /// Requests of one principal at the same time; 0 is no limit.
    pub concurrent: Sourced<u32>,
    /// Streams of one principal at the same time; 0 is no limit.
    pub streams: Sourced<u32>,
}

impl Serving {
    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        let number = |said: &Sourced<u32>| json!(said.value);
        Some(match key {
            "serve.answer_sec" => (json!(self.answer.value.0 / 1000), &self.answer.source),
            "http.rate" => (number(&self.rate), &self.rate.source),
            "http.burst" => (number(&self.burst), &self.burst.source),
            "http.concurrent" => (number(&self.concurrent), &self.concurrent.source),
            "http.streams" => (number(&self.streams), &self.streams.source),
            _ => return None,
        })
    }
}

pub(super) fn read(resolver: &mut Resolver<'_>) -> Serving {
    let mut number = |path, default: u32, least| {
        resolver.number(path, u64::from(default), least..=1_000_000).map(|number| u32::try_from(number).unwrap_or(default))
    };
    Serving {
        rate: number("http.rate", 1_000, 0),
        burst: number("http.burst", 2_000, 1),
        concurrent: number("http.concurrent", 256, 0),
        streams: number("http.streams", 64, 0),
        answer: resolver.number("serve.answer_sec", 45, 1..=45).map(|sec| Millis(sec * 1000)),
    }
}
