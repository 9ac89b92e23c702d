//! A letter as mail (RFC 5322). Pure.
//!
//! INVARIANT: headers are written by the library from values of their own types; no text of a message can begin a header or a recipient. The
//! same letter gives the same `Message-ID` at every attempt.

use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};

use crate::domain::{ErrorCode, Fault, MailAddress};

use super::{Mail, Parcel};

/// Mail ready to be handed over.
pub(super) struct Written {
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

/// The mail that a letter is.
pub(super) fn written(parcel: &Parcel, mail: &Mail) -> Result<Written, Fault> {
    let letter = &parcel.letter;
    let broken = |why: String| Fault::new(ErrorCode::InvalidInput, format!("the message cannot be written as mail: {why}"));
    let mailbox = |address: &MailAddress| -> Result<Mailbox, Fault> {
        let address: Address = address.to_string().parse().map_err(|error| broken(format!("{error}")))?;
        Ok(Mailbox::new(None, address))
    };
    let id = format!("<{}@{}>", parcel.id, mail.from.host());
    let queued = SystemTime::UNIX_EPOCH + Duration::from_millis(parcel.queued.unix_millis());
    let mut builder = Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(letter.title.as_str())
        .date(queued)
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN)
        // Nobody's automatic answer is wanted (RFC 3834).
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for to in &letter.to {
        builder = builder.to(mailbox(to)?);
    }
    let message = builder.body(letter.text.clone()).map_err(|error| broken(error.to_string()))?;
    Ok(Written { envelope: message.envelope().clone(), bytes: message.formatted() })
}
