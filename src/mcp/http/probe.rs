//! One connection's bytes through guard and reader, for [`crate::mcp::probe`].

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::call::{NoRedaction, Redact};
use crate::domain::Principal;

use super::{Doorkeeper, accept, exchange, guard};

/// The one token that is good here.
pub const TOKEN: &str = "a-token-of-forty-letters-and-some-more-xx";
/// The port that the server seems to listen on.
const PORT: u16 = 8801;
/// Bytes on their way at once.
const PIPE: usize = 64 * 1024;

/// A request that came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its method.
    pub method: String,
    /// What it asks for, as it stood in the request line.
    pub uri: String,
    /// Names and values of its headers; what is no text is written lossily.
    pub headers: Vec<(String, String)>,
    /// Who sent it.
    pub principal: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

struct OneToken;

impl Doorkeeper for OneToken {
    fn principal(&self, token: &str) -> Option<Principal> {
        (token == TOKEN).then(Principal::local)
    }
}

/// Sends these bytes over one connection and ends it: what came through, and all that was answered.
pub async fn requests(bytes: &[u8]) -> (Vec<Passed>, Vec<u8>) {
    let passed: Arc<Mutex<Vec<Passed>>> = Arc::default();
    let redact: Arc<dyn Redact> = Arc::new(NoRedaction);
    let seen = passed.clone();
    let router = Router::new()
        .fallback(async move |request: Request| {
            let one = look(request).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            "through"
        })
        .layer(from_fn_with_state(redact, exchange::exchange))
        .layer(from_fn_with_state(Arc::new(guard::Guard::new(PORT, Arc::new(OneToken))), guard::admit));
    let (near, far) = duplex(PIPE);
    let (mut reading, mut writing) = tokio::io::split(near);
    let send = async {
        // A server that has answered and gone reads no more.
        let _gone = writing.write_all(bytes).await;
        let _gone = writing.shutdown().await;
    };
    let mut answer = Vec::new();
    let receive = async {
        let _broken = reading.read_to_end(&mut answer).await;
    };
    tokio::join!(accept::one(far, router), send, receive);
    let all = std::mem::take(&mut *passed.lock().unwrap_or_else(PoisonError::into_inner));
    (all, answer)
}

async fn look(request: Request) -> Passed {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Passed {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: headers.collect(),
        principal: parts.extensions.get::<Principal>().map(ToString::to_string),
        body: to_bytes(body, exchange::LARGEST_BODY).await.map(|bytes| bytes.to_vec()).unwrap_or_default(),
    }
}
