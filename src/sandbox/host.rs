//! What a guest may ask of its host: tools of the platform and HTTP. Whoever starts a guest answers; without an answerer all is refused.
//!
//! INVARIANT: everything asked is numbered from 0 in the order the guest asked, whatever the order of the answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::domain::{Digest, Fault};

use super::tape::Seen;

/// Something a guest asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A call of a tool.
    Call {
        /// The tool, as the program named it.
        tool: String,
        /// The arguments.
        arguments: Value,
    },
    /// An HTTP exchange.
    Http(HttpRequest),
}

/// An HTTP request; redirects are the program's to follow.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Header names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long the program wants to wait, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Its phrase.
    pub reason: String,
    /// Header names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "super::tape::base64_bytes")]
    pub body: Vec<u8>,
    /// The URL that answered.
    pub url: String,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A tool's output.
    Output(Value),
    /// An HTTP answer.
    Http(HttpAnswer),
    /// It was refused or failed.
    Refused(Fault),
}

/// What a guest may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Powers {
    /// HTTP.
    pub network: bool,
    /// Calls of tools.
    pub tools: bool,
}

/// An operation with its place in the program.
#[derive(Debug)]
pub struct Asked {
    /// From 0, in the order asked.
    pub number: u32,
    /// What is asked.
    pub operation: Operation,
    /// [`Operation::digest`] of it.
    pub digest: Digest,
    /// What the program had seen since its last operation.
    pub seen: Seen,
}

/// Where the answer goes, once.
#[derive(Debug)]
pub struct Reply {
    number: u32,
    to: mpsc::UnboundedSender<(u32, Answer)>,
}

impl Reply {
    pub(super) fn new(number: u32, to: mpsc::UnboundedSender<(u32, Answer)>) -> Self {
        Self { number, to }
    }

    /// Gives the answer. A guest that has ended meanwhile does not hear it.
    pub fn answer(self, answer: Answer) {
        let _unheard = self.to.send((self.number, answer));
    }
}

/// Answers one guest.
pub trait GuestHost: Send + Sync {
    /// What the guest may ask for.
    fn powers(&self) -> Powers;

    /// The tools it may call, as it is shown them: a JSON array.
    fn tools(&self) -> Value;

    /// Begins an operation and returns at once. Ends it when the guest's cancel fires.
    fn begin(&self, asked: Asked, reply: Reply);
}

impl Operation {
    /// What a repeated program is held to: the same operation has the same digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Call { tool, arguments } => {
                let arguments = serde_json_canonicalizer::to_vec(arguments).unwrap_or_else(|_| arguments.to_string().into_bytes());
                Digest::of_parts("toolgate/guest-call/v1", &[tool.as_bytes(), &arguments])
            }
            Self::Http(request) => {
                let headers = serde_json::json!(request.headers).to_string();
                let parts: [&[u8]; 4] = [request.method.as_bytes(), request.url.as_bytes(), headers.as_bytes(), &request.body];
                Digest::of_parts("toolgate/guest-http/v1", &parts)
            }
        }
    }
}
