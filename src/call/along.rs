//! What travels with a call and is no part of it: the client's trace context, and by which way the call named its tool.
//!
//! INVARIANT: nothing here is decided on, digested or executed. Trace context is whatever a client sent: it is read strictly, bounded,
//! and left out where it is not what the W3C says; it never makes a call fail.

use std::fmt;

use crate::domain::CallId;

/// Beside a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Along {
    /// The client's trace.
    pub trace: Trace,
    /// The call's id, where whoever makes it had to know it beforehand; minted by the gateway, used once.
    pub call: Option<CallId>,
    /// The call came as an argument of `tool.call`, and was put in that one's place before anything was looked at.
    pub through: bool,
}

/// W3C trace context as a request carried it. Empty where there was none, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    parent: Option<TraceParent>,
    state: Option<String>,
    baggage: Option<String>,
}

/// The span that the call belongs to, in the client's trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace, 16 bytes, not all zero.
    pub trace_id: u128,
    /// The span, 8 bytes, not all zero.
    pub span_id: u64,
    /// Whether the client records this trace.
    pub sampled: bool,
}

/// The most characters of `tracestate` that are carried, and its most members: what the W3C asks for.
const STATE: (usize, usize) = (512, 32);
/// The most bytes of `baggage` that are carried, and its most members.
const BAGGAGE: (usize, usize) = (8192, 180);

impl Trace {
    /// Reads the three values. What is not well formed is left out; without a parent there is no state.
    #[must_use]
    pub fn read(parent: Option<&str>, state: Option<&str>, baggage: Option<&str>) -> Self {
        let parent = parent.and_then(TraceParent::read);
        let state = parent.and(state).filter(|text| is_list(text, STATE));
        Self { parent, state: state.map(str::to_owned), baggage: baggage.filter(|text| is_list(text, BAGGAGE)).map(str::to_owned) }
    }

    /// The span that the call belongs to.
    #[must_use]
    pub fn parent(&self) -> Option<TraceParent> {
        self.parent
    }

    /// `tracestate`, as it came.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// `baggage`, as it came. A client's words: never to be recorded or sent on without a reason.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.baggage.as_deref()
    }
}

impl TraceParent {
    /// Reads `VERSION-TRACE-SPAN-FLAGS`; a later version may have more after it.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_well_formed = text.len() <= 256 && hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let has_more = parts.next().is_some();
        if !is_well_formed || version == "ff" || (version == "00" && has_more) {
            return None;
        }
        let read = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (read.trace_id != 0 && read.span_id != 0).then_some(read)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// `key=value` members between commas, within these numbers of characters and members.
fn is_list(text: &str, (longest, most): (usize, usize)) -> bool {
    let member = |part: &str| part.trim().is_empty() || part.trim().split_once('=').is_some_and(|(key, _)| !key.trim().is_empty());
    let is_plain = text.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7e));
    !text.trim().is_empty() && text.len() <= longest && is_plain && text.split(',').count() <= most && text.split(',').all(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_exactly() {
        let read = Trace::read(Some(PARENT), Some("vendor=1, other=2"), Some("user=a;p=1"));
        let parent = read.parent().unwrap();
        assert_eq!((parent.to_string().as_str(), parent.sampled), (PARENT, true));
        assert_eq!((read.state(), read.baggage()), (Some("vendor=1, other=2"), Some("user=a;p=1")));
        let later = PARENT.replacen("00-", "01-", 1) + "-more";
        assert!(Trace::read(Some(&later), None, None).parent().is_some(), "a later version may say more");
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let upper = PARENT.to_uppercase();
        let longer = format!("{PARENT}-x");
        for bad in ["", "00", &zero_trace, &zero_span, &upper, &longer, &PARENT.replacen("00-", "ff-", 1), &PARENT.replace('-', "_")] {
            let read = Trace::read(Some(bad), Some("vendor=1"), None);
            assert_eq!((read.parent(), read.state()), (None, None), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_list_is_left_out() {
        let many = "a=1,".repeat(33);
        let long = format!("a={}", "x".repeat(512));
        for bad in ["", "nothing", "=1", "a=1\nb=2", "ä=1", many.trim_end_matches(','), &long] {
            assert_eq!(Trace::read(Some(PARENT), Some(bad), None).state(), None, "{bad}");
        }
        let huge = "a=1,".repeat(1 << 18);
        assert_eq!(Trace::read(Some(&huge), Some(&huge), Some(&huge)), Trace::default());
    }
}
