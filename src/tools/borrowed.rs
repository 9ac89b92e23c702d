//! `{{secret:NAME}}` in the requests of a program: put in on the host's side, taken out of what comes back.
//!
//! INVARIANT: the program sees no value. A value goes only to an origin that its terms name, as that origin is dialled, in a header or a
//! body; an answer that cannot be searched for values is not handed on.
//! Not its job: values that a host gives back in a form of its own (enciphered, cut, reversed). Only the choice of hosts helps there.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::call::Redact;
use crate::domain::{ErrorCode, Fault};
use crate::egress::{Answer, Fill, Filled, Origin, Outgoing};
use crate::secrets::reference::{CLOSE, OPEN, Piece, pieces};
use crate::secrets::vault::{Lent, SecretName};

/// The most placeholders of one request.
const MOST: usize = 32;

/// A placeholder as forms and `urlencode` write it.
const FORM_OPEN: &str = "%7B%7Bsecret%3A";
const FORM_CLOSE: &str = "%7D%7D";

/// Headers that would bring an answer in pieces or packed, in which no value is found.
const NOT_SENT: &[&str] = &["accept-encoding", "range", "if-range"];

/// What one call was lent.
pub(super) struct Borrowed {
    pub(super) lent: Vec<Lent>,
    pub(super) redact: Arc<dyn Redact>,
    /// Where it is said which secrets a call may use.
    pub(super) stand_in: &'static str,
}

/// How a value is written where its placeholder stands.
#[derive(Clone, Copy)]
enum Spelling {
    AsItIs,
    Form,
    Json,
}

impl Fill for Borrowed {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<Bytes, Fault> {
        let Outgoing { origin, headers, body, redirected } = outgoing;
        let mut left = MOST;
        let mut is_json = false;
        headers.fill(|name, value| {
            if !self.lent.is_empty() && NOT_SENT.contains(&name) {
                return Ok(Filled::LeftOut);
            }
            is_json |= name == "content-type" && String::from_utf8_lossy(value).to_ascii_lowercase().contains("json");
            match self.header(name, value, origin, &mut left) {
                Ok(None) => Ok(Filled::AsItWas),
                Ok(Some(filled)) => Ok(Filled::With(filled)),
                // A redirect leads where the program did not ask to go: it goes on there without the secret.
                Err(fault) if redirected && fault.code == ErrorCode::SecretRefused => Ok(Filled::LeftOut),
                Err(fault) => Err(fault),
            }
        })?;
        if self.lent.is_empty() {
            return Ok(body);
        }
        headers.set("accept-encoding", "identity")?;
        let spelling = if is_json { Spelling::Json } else { Spelling::AsItIs };
        let plain = self.put_in(&body, (OPEN, CLOSE), spelling, origin, &mut left)?;
        let body = plain.map_or(body, |filled| Bytes::copy_from_slice(&filled));
        let form = self.put_in(&body, (FORM_OPEN, FORM_CLOSE), Spelling::Form, origin, &mut left)?;
        Ok(form.map_or(body, |filled| Bytes::copy_from_slice(&filled)))
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        if self.lent.is_empty() {
            return Ok(answer);
        }
        let packed = |(name, value): &&(String, String)| {
            (name == "content-encoding" && !value.eq_ignore_ascii_case("identity")) || name == "content-range"
        };
        if let Some((name, _)) = answer.headers.iter().find(packed) {
            return Err(Fault::new(
                ErrorCode::EgressFailed,
                format!("the answer has a `{name}`, though it was asked for whole and unpacked"),
            )
            .hint("where a call uses secrets, answers must come so that secrets can be taken out of them"));
        }
        let headers = answer.headers.into_iter().map(|(name, value)| {
            let clean = self.redact.text(&value).into_owned();
            if self.redact.text(&name) == name { (name, clean) } else { ("redacted".to_owned(), clean) }
        });
        let mut headers: Vec<(String, String)> = headers.collect();
        let body = self.scrub_body(&answer.body);
        // What it told of the length was true of the body as it came.
        headers.retain(|(name, _)| name != "content-length");
        headers.push(("content-length".to_owned(), body.len().to_string()));
        let url = self.redact.text(&answer.url).into_owned();
        Ok(Answer { headers, body, url, ..answer })
    }
}

impl Borrowed {
    fn header(&self, name: &str, value: &[u8], origin: &Origin, left: &mut usize) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        if let Some(filled) = self.put_in(value, (OPEN, CLOSE), Spelling::AsItIs, origin, left)? {
            return Ok(Some(filled));
        }
        let Some(packed) = (name == "authorization").then(|| value.strip_prefix(b"Basic ")).flatten() else { return Ok(None) };
        let Ok(pair) = BASE64.decode(packed) else { return Ok(None) };
        let Some(filled) = self.put_in(&pair, (OPEN, CLOSE), Spelling::AsItIs, origin, left)? else { return Ok(None) };
        let packed = Zeroizing::new(BASE64.encode(filled.as_slice()));
        Ok(Some(Zeroizing::new([b"Basic ".as_slice(), packed.as_bytes()].concat())))
    }

    /// The bytes with values in their places; `None` where there is no place.
    fn put_in(
        &self,
        bytes: &[u8],
        (open, close): (&str, &str),
        spelling: Spelling,
        origin: &Origin,
        left: &mut usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let Some(pieces) = pieces(bytes, open.as_bytes(), close.as_bytes())? else { return Ok(None) };
        let mut filled = Zeroizing::new(Vec::with_capacity(bytes.len()));
        for piece in &pieces {
            match piece {
                Piece::Plain(plain) => filled.extend_from_slice(plain),
                Piece::Secret(name) => {
                    *left = left.checked_sub(1).ok_or_else(|| {
                        Fault::new(ErrorCode::LimitExceeded, format!("more than {MOST} secrets in one request")).hint("send fewer at once")
                    })?;
                    let value = self.find(name, origin)?.value.expose_secret();
                    match spelling {
                        Spelling::AsItIs => filled.extend_from_slice(value.as_bytes()),
                        Spelling::Form => filled.extend(url::form_urlencoded::byte_serialize(value.as_bytes()).flat_map(str::bytes)),
                        Spelling::Json => {
                            let quoted = Zeroizing::new(serde_json::to_string(value).unwrap_or_default());
                            filled.extend_from_slice(quoted.trim_start_matches('"').as_bytes().strip_suffix(b"\"").unwrap_or_default());
                        }
                    }
                }
            }
        }
        Ok(Some(filled))
    }

    /// The secret, if the call was lent it and it may go there.
    fn find(&self, name: &SecretName, origin: &Origin) -> Result<&Lent, Fault> {
        let lent = self.lent.iter().find(|lent| lent.name == *name).ok_or_else(|| {
            Fault::new(ErrorCode::SecretRefused, format!("this call may not use secret `{name}`"))
                .hint(format!("name it in the `secrets` of {}; `secret.list` shows those there are", self.stand_in))
        })?;
        if lent.terms.hosts.iter().any(|host| host.allows(origin)) {
            return Ok(lent);
        }
        let allowed: Vec<String> = lent.terms.hosts.iter().map(ToString::to_string).collect();
        Err(Fault::new(ErrorCode::SecretRefused, format!("secret `{name}` may not go to `{origin}`; nothing was sent"))
            .hint(format!("it may go to {}; the operator sets this with `toolgate vault set --hosts`", allowed.join(", "))))
    }

    fn scrub_body(&self, body: &Bytes) -> Bytes {
        match self.redact.bytes(body) {
            std::borrow::Cow::Borrowed(_) => body.clone(),
            std::borrow::Cow::Owned(clean) => Bytes::from(clean),
        }
    }
}

#[cfg(test)]
mod tests;
