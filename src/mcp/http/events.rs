//! A stream of server-sent events, each without secrets.
//!
//! INVARIANT: an event leaves only whole, so that a secret cannot pass in two parts.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::{StreamExt, stream};

use crate::call::Redact;
use crate::mcp::wire;

/// No event is longer: messages are cut long before. A stream that goes on without an end of event is ended.
const LONGEST_EVENT: usize = 64 * 1024 * 1024;

struct Events {
    from: BodyDataStream,
    /// What came after the last whole event.
    rest: Vec<u8>,
    redact: Arc<dyn Redact>,
}

/// The same events, redacted. Each goes out as soon as it is whole.
pub(super) fn without_secrets(body: Body, redact: Arc<dyn Redact>) -> Body {
    let events = Events { from: body.into_data_stream(), rest: Vec::new(), redact };
    Body::from_stream(stream::unfold(events, |mut events| async move {
        let next = events.next().await?;
        Some((next, events))
    }))
}

impl Events {
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        loop {
            let whole = self.rest.windows(2).rposition(|pair| pair == b"\n\n").map(|at| at + 2);
            if let Some(end) = whole {
                let rest = self.rest.split_off(end);
                let events = std::mem::replace(&mut self.rest, rest);
                return Some(self.redacted(&events));
            }
            if self.rest.len() > LONGEST_EVENT {
                return Some(Err(axum::Error::new(std::io::Error::other("an event without an end"))));
            }
            match self.from.next().await? {
                Ok(part) => self.rest.extend_from_slice(&part),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn redacted(&self, events: &[u8]) -> Result<Bytes, axum::Error> {
        let mut out = Vec::with_capacity(events.len());
        for line in events.split_inclusive(|byte| *byte == b'\n') {
            let Some(data) = line.strip_prefix(b"data:") else {
                out.extend_from_slice(line);
                continue;
            };
            match wire::redacted(data.trim_ascii(), &*self.redact).map_err(axum::Error::new)? {
                Some(redacted) => {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(&redacted);
                    out.push(b'\n');
                }
                None => out.extend_from_slice(line),
            }
        }
        Ok(Bytes::from(out))
    }
}
