//! The headers of a hop: the caller's, checked, and those that credentials add after all checks.
//!
//! INVARIANT: neither `Debug` nor any error of this file holds a header's value.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::{ErrorCode, Fault};

use super::Origin;
use super::record::shown;

/// Most headers of one request.
const MAX_COUNT: usize = 100;

/// Ends at the next machine or is ours to write; what a caller gives of these is dropped, as libraries send them unasked.
const OURS: &[&str] =
    &["connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Bound to the origin they were meant for.
const SECRET: &[&str] =
    &["authorization", "cookie", "cookie2", "proxy-authorization", "x-api-key", "api-key", "x-auth-token", "x-csrf-token", "private-token"];

/// Says something about a body.
const BODY: &[&str] = &["content-type", "content-encoding", "content-language", "content-location", "content-disposition", "digest"];

/// Adds what a caller must never see, such as a token, to a hop that passed all checks.
pub trait Credentials: Send + Sync {
    /// Adds headers for this purpose and origin by [`HeaderList::set_secret`]. Called for each hop anew: what was added for one hop is
    /// not there in the next.
    fn attach(&self, purpose: &str, origin: &Origin, headers: &mut HeaderList);
}

/// Adds nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn attach(&self, _purpose: &str, _origin: &Origin, _headers: &mut HeaderList) {}
}

/// Headers in the order in which they are sent.
#[derive(Clone, Default)]
pub struct HeaderList {
    items: Vec<Item>,
}

#[derive(Clone)]
struct Item {
    name: HeaderName,
    value: HeaderValue,
    secret: bool,
}

impl HeaderList {
    /// The caller's headers, without those that are ours to write. `cap` is for names and values together.
    pub(super) fn of_caller(headers: &[(String, String)], cap: usize) -> Result<Self, Fault> {
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > cap || headers.len() > MAX_COUNT {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("{} request headers with {bytes} bytes, more than the {MAX_COUNT} with {cap} bytes allowed", headers.len()),
            )
            .hint("send fewer or shorter headers"));
        }
        let mut list = Self::default();
        let mut named_by_connection = Vec::new();
        for (name, value) in headers {
            let (name, value) = checked(name, value)?;
            if name == "connection" {
                named_by_connection.extend(value.to_str().unwrap_or_default().split(',').map(|n| n.trim().to_ascii_lowercase()));
            }
            if !is_ours(&name) {
                list.items.push(Item { name, value, secret: false });
            }
        }
        list.items.retain(|item| !named_by_connection.iter().any(|name| item.name == name.as_str()));
        Ok(list)
    }

    /// Puts a header in place of all of that name, and keeps its value out of records, errors and the answer.
    pub fn set_secret(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let (name, mut value) = checked(name, value)?;
        if is_ours(&name) {
            return Err(Fault::internal(format!("credentials may not set the header `{name}`")));
        }
        value.set_sensitive(true);
        self.items.retain(|item| item.name != name);
        self.items.push(Item { name, value, secret: true });
        Ok(())
    }

    /// The first value of a header, where it is text. Names compare without regard to case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.items.iter().find(|item| item.name.as_str().eq_ignore_ascii_case(name)).and_then(|item| item.value.to_str().ok())
    }

    /// The names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.name.as_str())
    }

    /// Takes out what is bound to an origin.
    pub(super) fn drop_secrets(&mut self) {
        self.items.retain(|item| !item.secret && !SECRET.contains(&item.name.as_str()));
    }

    /// Takes out what describes a body that is no longer sent.
    pub(super) fn drop_body_headers(&mut self) {
        self.items.retain(|item| !BODY.contains(&item.name.as_str()));
    }

    /// Bytes of names and values that the caller gave.
    pub(super) fn caller_bytes(&self) -> usize {
        self.items.iter().filter(|item| !item.secret).map(|item| item.name.as_str().len() + item.value.len()).sum()
    }

    /// The values that must not leave the process towards the caller.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter(|item| item.secret).map(|item| item.value.as_bytes())
    }

    /// Changes the caller's headers: `change` gets name and value of each and gives back what is sent in its place, if it is to be another
    /// value; that one is kept out of records, errors and the answer.
    ///
    /// # Errors
    /// Those of `change`; `INVALID_INPUT` for a value that no header can have, which is not repeated.
    pub fn fill(&mut self, mut change: impl FnMut(&str, &[u8]) -> Result<Filled, Fault>) -> Result<(), Fault> {
        let mut items = Vec::with_capacity(self.items.len());
        for item in std::mem::take(&mut self.items) {
            match change(item.name.as_str(), item.value.as_bytes())? {
                Filled::AsItWas => items.push(item),
                Filled::LeftOut => {}
                Filled::With(value) => {
                    let mut value = HeaderValue::from_bytes(&value).map_err(|_| bad_value(&item.name))?;
                    value.set_sensitive(true);
                    items.push(Item { name: item.name, value, secret: true });
                }
            }
        }
        self.items = items;
        Ok(())
    }

    /// Puts a header that is no secret in place of all of that name.
    ///
    /// # Errors
    /// `INVALID_INPUT` where it cannot be a header.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let (name, value) = checked(name, value)?;
        self.items.retain(|item| item.name != name);
        self.items.push(Item { name, value, secret: false });
        Ok(())
    }

    pub(super) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for item in &self.items {
            map.append(item.name.clone(), item.value.clone());
        }
        map
    }
}

/// What becomes of a header.
pub enum Filled {
    /// Nothing.
    AsItWas,
    /// It is not sent.
    LeftOut,
    /// It is sent with this value, which nobody may see.
    With(zeroize::Zeroizing<Vec<u8>>),
}

impl fmt::Debug for HeaderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Whether a header of a request, in lower case, is not the caller's to give.
pub(super) fn is_ours_to_write(name: &str) -> bool {
    OURS.contains(&name) || name.starts_with("proxy-")
}

/// Whether a header of an answer ends with this hop: the body is handed on whole, without the framing that they describe.
pub(super) fn ends_here(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade") || name.starts_with("proxy-")
}

fn is_ours(name: &HeaderName) -> bool {
    is_ours_to_write(name.as_str())
}

fn checked(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Fault::new(ErrorCode::InvalidInput, format!("`{}` is not a header name", shown(name, 60)))
            .hint("a name has letters, digits and `-`, no blank, colon or line break")
    })?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad_value(&header))?;
    Ok((header, value))
}

fn bad_value(header: &HeaderName) -> Fault {
    let message = format!("the value of header `{header}` holds a line break, a NUL or another control character");
    Fault::new(ErrorCode::InvalidInput, message).hint("send one line of text; encode anything else, for example as base64")
}

#[cfg(test)]
mod tests;
