//! What a client of the newer protocol generation is given with questions, and has to bring back with their answers.
//!
//! INVARIANT: a ticket is good for one principal, one method, one tool with the same arguments, the questions it was given with, a while, and
//! once. What it stands for stays here: the client has a sealed number.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::call::Answers;
use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, Millis, Timestamp};
use crate::secrets::sealed::Sealer;

use super::Gateway;
use super::journal::larger_than;

/// Tickets that may be out at the same time; the count of spent ones is bounded by it as well.
const MOST: usize = 4_096;
/// Bytes of the answers that one ticket keeps.
const LARGEST: usize = 16 << 10;
/// How long the questions of a tool may stay open.
const PATIENCE: Millis = Millis(900_000);

/// The request a ticket is for.
#[derive(Debug, Clone, Copy)]
pub struct Retry<'a> {
    /// Who asks.
    pub actor: &'a Actor,
    /// The protocol's method.
    pub method: &'a str,
    /// The tool as the client named it.
    pub tool: &'a str,
    /// The arguments.
    pub arguments: &'a Value,
}

impl Retry<'_> {
    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        let bound = json!(["toolgate/ticket/v1", self.actor, self.method, self.tool, self.arguments]);
        serde_json_canonicalizer::to_vec(&bound)
            .map_err(|error| Fault::new(ErrorCode::InvalidInput, format!("the arguments have no canonical form: {error}")))
    }
}

/// What a ticket stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ticket {
    /// The question that policy put, where it is for one.
    pub approval: Option<ApprovalId>,
    /// The questions of the tool that it was given with, by name.
    pub asked: BTreeSet<String>,
    /// What the tool's questions were answered before.
    pub answers: Answers,
}

/// A ticket that is out.
struct Out {
    ticket: Ticket,
    expires: Timestamp,
}

/// The key, and which tickets are still out.
#[derive(Default)]
pub(super) struct Tickets {
    sealer: Sealer,
    /// Those not yet brought back: what is not here is spent or over.
    out: Mutex<HashMap<u128, Out>>,
}

impl Gateway {
    /// What the client is given for this ticket of this request.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL`; `LIMIT_EXCEEDED` where too many are out or the answers are too long to keep.
    pub async fn ticket(&self, retry: &Retry<'_>, ticket: Ticket) -> Result<String, Fault> {
        let now = self.inner.clock.now();
        let expires = match &ticket.approval {
            None => now.plus(PATIENCE),
            Some(approval) => {
                let none = || Fault::new(ErrorCode::UnknownApproval, format!("no approval `{approval}` is waiting"));
                let row = self.inner.store.approval(approval).await?.filter(|row| row.principal == retry.actor.principal);
                row.ok_or_else(none)?.expires
            }
        };
        if larger_than(&json!(ticket.answers), LARGEST) {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("the answers so far have more than {LARGEST} bytes"))
                .hint("answer more briefly"));
        }
        let number = rand::random::<u128>();
        let sealed = self.inner.tickets.sealer.seal(&number.to_be_bytes(), &retry.bytes()?)?;
        let mut out = self.inner.tickets.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|_, out| out.expires > now);
        if out.len() >= MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, "too many questions are open in clients").hint("answer some of them first"));
        }
        out.insert(number, Out { ticket, expires });
        Ok(sealed)
    }

    /// Takes a ticket back; what it stands for.
    ///
    /// # Errors
    /// `INVALID_INPUT` for one that was changed, is another's, is for another tool or other arguments, is over, or was brought back
    /// before: which of these is not told.
    pub fn redeem(&self, retry: &Retry<'_>, sealed: &str) -> Result<Ticket, Fault> {
        let refused = || {
            Fault::new(ErrorCode::InvalidInput, "the request's state is not one that this server gave for this request, or no longer")
                .hint("make the call again without it")
        };
        let tickets = &self.inner.tickets;
        let number = tickets.sealer.open(sealed, &retry.bytes()?).ok_or_else(refused)?;
        let number = number.try_into().map(u128::from_be_bytes).map_err(|_| refused())?;
        let back = tickets.out.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        back.filter(|out| out.expires > self.inner.clock.now()).map(|out| out.ticket).ok_or_else(refused)
    }
}
