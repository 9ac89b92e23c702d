//! The port through which a request's secrets are put in on the way out and taken out on the way back.
//!
//! INVARIANT: it is asked for each hop anew, with the origin that is dialled, and what it put in is in neither record nor error.

use bytes::Bytes;

use crate::domain::Fault;

use super::{Answer, HeaderList, Origin};

/// What goes out on one hop.
pub struct Outgoing<'a> {
    /// Where it goes.
    pub origin: &'a Origin,
    /// The caller's headers, to be changed in place.
    pub headers: &'a mut HeaderList,
    /// The caller's body.
    pub body: Bytes,
    /// Whether a redirect asked for this hop, and not the caller.
    pub redirected: bool,
}

/// Puts secrets into requests and takes them out of answers.
pub trait Fill: Send + Sync {
    /// The body to send. Headers are changed by [`HeaderList::fill`].
    ///
    /// # Errors
    /// Where the hop may not be sent.
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<Bytes, Fault>;

    /// Takes out of the answer what its caller must not see.
    ///
    /// # Errors
    /// Where that cannot be done for sure; then there is no answer.
    fn scrub(&self, answer: Answer) -> Result<Answer, Fault>;
}

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFill;

impl Fill for NoFill {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<Bytes, Fault> {
        Ok(outgoing.body)
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        Ok(answer)
    }
}
