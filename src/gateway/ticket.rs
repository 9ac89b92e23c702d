//! What a client of the newer protocol generation is given with a form, and has to bring back with its answer.
//!
//! INVARIANT: a ticket is good for one principal, one method, one tool with the same arguments, one question, a while, and once. The
//! client may not read it and need not be trusted with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, Timestamp};
use crate::secrets::sealed::Sealer;

use super::Gateway;

/// Tickets that may be out at the same time; the count of spent ones is bounded by it as well.
const MOST: usize = 4_096;

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

#[derive(Serialize, Deserialize)]
struct Content {
    approval: ApprovalId,
    nonce: u128,
    expires: Timestamp,
}

/// The key, and which tickets are still out.
#[derive(Default)]
pub(super) struct Tickets {
    sealer: Sealer,
    /// Those not yet brought back, with their ends: what is not here is spent or over.
    out: Mutex<HashMap<u128, Timestamp>>,
}

impl Gateway {
    /// A ticket for this question and request.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL`; `LIMIT_EXCEEDED` where too many are out.
    pub async fn ticket(&self, retry: &Retry<'_>, approval: ApprovalId) -> Result<String, Fault> {
        let none = || Fault::new(ErrorCode::UnknownApproval, format!("no approval `{approval}` is waiting"));
        let row = self.inner.store.approval(&approval).await?.filter(|row| row.principal == retry.actor.principal).ok_or_else(none)?;
        let nonce = rand::random::<u128>();
        let content = serde_json::to_vec(&Content { approval, nonce, expires: row.expires });
        let content = content.map_err(|error| Fault::internal(format!("a ticket has no JSON form: {error}")))?;
        let sealed = self.inner.tickets.sealer.seal(&content, &retry.bytes()?)?;
        let now = self.inner.clock.now();
        let mut out = self.inner.tickets.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|_, end| *end > now);
        if out.len() >= MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, "too many questions are open in clients").hint("answer some of them first"));
        }
        out.insert(nonce, row.expires);
        Ok(sealed)
    }

    /// Takes a ticket back; the question it is for.
    ///
    /// # Errors
    /// `INVALID_INPUT` for one that was changed, is another's, is for another tool or other arguments, is over, or was brought back
    /// before: which of these is not told.
    pub fn redeem(&self, retry: &Retry<'_>, ticket: &str) -> Result<ApprovalId, Fault> {
        let refused = || {
            Fault::new(ErrorCode::InvalidInput, "the request's state is not one that this server gave for this request, or no longer")
                .hint("make the call again without it")
        };
        let tickets = &self.inner.tickets;
        let content = tickets.sealer.open(ticket, &retry.bytes()?).ok_or_else(refused)?;
        let content: Content = serde_json::from_slice(&content).map_err(|_| refused())?;
        let spent = tickets.out.lock().unwrap_or_else(PoisonError::into_inner).remove(&content.nonce).is_none();
        if spent || content.expires <= self.inner.clock.now() {
            return Err(refused());
        }
        Ok(content.approval)
    }
}
