//! What is remembered of each hop, and the port that remembers it.
//!
//! INVARIANT: no query, no header and no body is in a record, and no character that could forge a line of a log.

use std::net::SocketAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{Bytes, ErrorCode, Fault, Millis};

/// Most characters of a path, and of the other texts, in a record.
const MAX_PATH: usize = 1024;
const MAX_WORD: usize = 64;

/// One hop that was tried or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// For what the request was made: the caller's word.
    pub purpose: String,
    /// The method of this hop.
    pub method: String,
    /// `http` or `https`; empty where the URL could not be read.
    pub scheme: String,
    /// The canonical host; empty where the URL could not be read.
    pub host: String,
    /// The port; 0 where the URL could not be read.
    pub port: u16,
    /// The path without query.
    pub path: String,
    /// 0 for the request itself, then one more with each redirect.
    pub hop: u8,
    /// The address that answered, or was tried where there was but one; the proxy's where `proxied`.
    pub address: Option<SocketAddr>,
    /// Whether it went to the operator's proxy, which then chose the address.
    pub proxied: bool,
    /// Whether it was answered from what was kept, and nothing was sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The status, as soon as there was one; also when the answer was given up afterwards.
    pub status: Option<u16>,
    /// Why the hop was refused or failed.
    pub error: Option<ErrorCode>,
    /// Bytes of the caller's headers and body, counted when they are handed to the connection.
    pub bytes_out: Bytes,
    /// Of these, how many were reserved before they were sent.
    #[serde(skip)]
    pub reserved: u64,
    /// Bytes of headers and body that were received.
    pub bytes_in: Bytes,
    /// Wall time of the hop.
    pub duration: Millis,
}

/// The port through which each hop is remembered.
#[async_trait]
pub trait RequestLog: Send + Sync {
    /// Keeps a record; returns when it is kept. After an error the answer is not handed on.
    async fn record(&self, record: RequestRecord) -> Result<(), Fault>;

    /// Asks whether so many bytes more may leave; they do only after this says so.
    ///
    /// # Errors
    /// `BUDGET_EXCEEDED`.
    async fn reserve(&self, _bytes: Bytes) -> Result<(), Fault> {
        Ok(())
    }
}

/// A text fit for messages and records: control characters and what reverses the direction of writing are escaped, the rest is cut at
/// `max` characters.
pub(super) fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == max {
            out.push('…');
            break;
        }
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || hidden {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A path as it stands in a record.
pub(super) fn shown_path(path: &str) -> String {
    shown(path, MAX_PATH)
}

/// A method or purpose as it stands in a record.
pub(super) fn shown_word(word: &str) -> String {
    shown(word, MAX_WORD)
}
