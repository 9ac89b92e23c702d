//! One connection's bytes through guard and reader, for [`crate::mcp::probe`].

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::call::{NoRedaction, RawCall, Reply};
use crate::domain::{Actor, CallId, Fault, Principal, RunId, Timestamp};
use crate::mcp::auth::{Admitted, Denied, Doorkeeper};
use crate::mcp::{Catalog, Gate, Naming, PublishedTool, Toolset};

use super::bounds::Bounds;
use super::place::Place;
use super::{accept, exchange, guard};

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

#[async_trait]
impl Doorkeeper for OneToken {
    async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        if token == TOKEN { Ok(Admitted::home()) } else { Err(Denied::Token) }
    }

    async fn stays(&self, _admitted: &Admitted) -> bool {
        true
    }
}

/// A gate with nothing behind it: bodies are held against what the token may ask for, and nothing is called.
struct Nowhere;

impl Nowhere {
    fn reply(fault: Fault) -> Reply {
        let never = Timestamp::from_unix_millis(0);
        Reply { call: CallId::mint(never), run: RunId::mint(never), outcome: Err(fault) }
    }
}

#[async_trait]
impl Gate for Nowhere {
    async fn call(&self, _raw: RawCall) -> Reply {
        Self::reply(Fault::internal("nothing is behind this gate"))
    }

    async fn adhoc_run(&self, _actor: &Actor) -> Result<RunId, Fault> {
        Err(Fault::internal("nothing is behind this gate"))
    }

    async fn refuse(&self, _raw: RawCall, fault: Fault) -> Reply {
        Self::reply(fault)
    }

    fn tools(&self) -> Vec<PublishedTool> {
        Vec::new()
    }
}

/// Sends these bytes over one connection and ends it: what came through, and all that was answered.
pub async fn requests(bytes: &[u8]) -> (Vec<Passed>, Vec<u8>) {
    let passed: Arc<Mutex<Vec<Passed>>> = Arc::default();
    let doorkeeper: Arc<dyn Doorkeeper> = Arc::new(OneToken);
    let catalog = Arc::new(Catalog::new(&[], Naming::Underscore, &Toolset::All));
    let bounds = Bounds { gate: Arc::new(Nowhere), catalog, doorkeeper: doorkeeper.clone() };
    let bodies = Arc::new(exchange::Exchange { redact: Arc::new(NoRedaction), bounds });
    let guard = Arc::new(guard::Guard::new(Place::new(true, PORT, false, None), doorkeeper));
    let seen = passed.clone();
    let router = Router::new()
        .fallback(async move |request: Request| {
            let one = look(request).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            "through"
        })
        .layer(from_fn_with_state(bodies, exchange::exchange))
        .layer(from_fn_with_state(guard, guard::admit));
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
