//! Requests made again where that can help: a server that is busy, a connection that broke.
//!
//! INVARIANT: only what changes nothing is repeated; every try is a request of its own, with its own record; the caller's wall time holds
//! for all tries together. A server that says when to come back is not asked before.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault, Millis};

use super::{Answer, Caps, Egress, Fill, Request, RequestLog, Terms};

/// How often, and how long, to wait for a better answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Requests in all, from 1.
    pub tries: u32,
    /// The first pause, doubled from try to try; up to as much again by chance.
    pub pause: Millis,
    /// The longest pause. A server that asks for more is left alone, and its answer is the answer.
    pub longest: Millis,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 3, pause: Millis(300), longest: Millis(5_000) }
    }
}

impl Egress {
    /// As [`Egress::send_filled`], and once more where the answer is 429, 502, 503 or 504 or the connection failed, if the method changes nothing.
    ///
    /// # Errors
    /// Those of the last try.
    pub async fn send_patiently(
        &self,
        request: Request,
        terms: &Terms,
        secrets: &dyn Fill,
        patience: Patience,
        (cancel, log): (&CancellationToken, &dyn RequestLog),
    ) -> Result<Answer, Fault> {
        let deadline = Instant::now() + terms.caps.wall.duration();
        let repeatable = ["GET", "HEAD"].iter().any(|method| method.eq_ignore_ascii_case(&request.method));
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(patience.pause.duration())
            .with_max_delay(patience.longest.duration())
            .with_max_times(if repeatable { usize::try_from(patience.tries.saturating_sub(1)).unwrap_or(0) } else { 0 })
            .with_jitter()
            .build();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wall = Millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            let terms = Terms { caps: Caps { wall, ..terms.caps }, ..terms.clone() };
            let outcome = self.send_filled(request.clone(), &terms, secrets, cancel, log).await;
            let asked = match &outcome {
                Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => wanted(answer),
                Err(fault) if fault.code == ErrorCode::EgressFailed => None,
                Ok(_) | Err(_) => return outcome,
            };
            let Some(own) = pauses.next() else { return outcome };
            let pause = asked.map_or(own, |asked| asked.max(own));
            let left = deadline.saturating_duration_since(Instant::now());
            if asked.is_some_and(|asked| asked > patience.longest.duration()) || pause >= left {
                return outcome;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "the request was cancelled while waiting to be made again")),
            }
        }
    }
}

/// What `Retry-After` asks for: seconds, or a date, which is held against the server's own.
pub fn wanted(answer: &Answer) -> Option<Duration> {
    let header = |wanted: &str| answer.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.trim());
    let asked = header("retry-after")?;
    if let Ok(seconds) = asked.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<Timestamp> { DateTimeParser::new().parse_timestamp(text).ok() };
    let (then, now) = (date(asked)?, date(header("date")?)?);
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 429, reason: String::new(), headers, body: bytes::Bytes::new(), url: String::new(), hops: 0 }
    }

    #[test]
    fn the_time_a_server_asks_for_is_read_in_both_forms() {
        let now = ("date", "Mon, 30 Nov 2026 10:00:00 GMT");
        type Row<'t> = (&'t [(&'t str, &'t str)], Option<u64>);
        let table: &[Row<'_>] = &[
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", "Mon, 30 Nov 2026 10:00:30 GMT"), now], Some(30)),
            (&[("retry-after", "Mon, 30 Nov 2026 09:00:00 GMT"), now], Some(0)),
            (&[("retry-after", "Mon, 30 Nov 2026 10:00:30 GMT")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[], None),
        ];
        for (headers, seconds) in table {
            assert_eq!(wanted(&answer(headers)), seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
