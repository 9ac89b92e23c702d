//! The host's side of one program: its tool calls go to the one path, its HTTP requests to egress.
//!
//! INVARIANT: only tools and hosts that the call named are reached; what is under way when the program ends is cancelled.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{Paused, Progress, Spawner, WallTime};
use crate::domain::{Digest, ErrorCode, Fault};
use crate::sandbox::{Answer, Asked, GuestHost, HttpRequest, Operation, Powers, Reply, Seen};
use crate::tools::CallContext;

use super::super::network::Network;
use super::ports::{CodeCall, CodeCalls, CodeTool};

/// One program's host.
pub(super) struct ProgramHost {
    pub(super) context: CallContext,
    pub(super) tools: Vec<CodeTool>,
    pub(super) calls: Arc<dyn CodeCalls>,
    pub(super) network: Option<Arc<Network>>,
    pub(super) spawner: Arc<dyn Spawner>,
    /// Fires when the program has ended.
    pub(super) ended: CancellationToken,
    /// What was seen before HTTP requests: recorded with the next call of a tool, as requests have no intent.
    pub(super) unrecorded: Mutex<Seen>,
}

impl ProgramHost {
    /// A host, and the guard that ends what it has under way.
    pub(super) fn new(
        context: CallContext,
        tools: Vec<CodeTool>,
        calls: Arc<dyn CodeCalls>,
        network: Option<Network>,
        spawner: Arc<dyn Spawner>,
    ) -> (Arc<Self>, DropGuard) {
        let ended = context.cancel.child_token();
        let guard = ended.clone().drop_guard();
        let network = network.map(Arc::new);
        (Arc::new(Self { context, tools, calls, network, spawner, ended, unrecorded: Mutex::default() }), guard)
    }

    fn find(&self, name: &str) -> Result<&CodeTool, Fault> {
        self.tools.iter().find(|tool| tool.name.as_str() == name || tool.exposed == name).ok_or_else(|| {
            let known: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
            Fault::new(ErrorCode::UnknownTool, format!("this program may not call `{name}`"))
                .hint(format!("it may call {}; name others in the `tools` of python.run", known.join(", ")))
        })
    }

    /// What is recorded with a call: its own digest, and all that was seen since the last one.
    fn record(&self, digest: Digest, seen: Seen) -> Value {
        let mut all = std::mem::take(&mut *self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner));
        all.extend(seen);
        json!({ "operation": digest, "seen": all })
    }

    fn begin_call(&self, tool: &str, arguments: Value, (number, digest, seen): (u32, Digest, Seen), reply: Reply) {
        let tool = match self.find(tool) {
            Ok(tool) => tool.name.clone(),
            Err(fault) => {
                self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
                return reply.answer(Answer::Refused(fault));
            }
        };
        let call = CodeCall {
            tool,
            arguments,
            number,
            seen: self.record(digest, seen),
            cancel: self.ended.child_token(),
            progress: Arc::new(Asking::new(self.context.wall.clone())),
        };
        let (calls, context) = (self.calls.clone(), self.context.clone());
        let work = async move {
            reply.answer(match calls.call(&context, call).await {
                Ok(value) => Answer::Output(value),
                Err(fault) => Answer::Refused(fault),
            });
        };
        self.spawner.spawn("call of a program", work.boxed());
    }

    fn begin_http(&self, request: HttpRequest, reply: Reply) {
        let Some(network) = self.network.clone() else {
            return reply.answer(Answer::Refused(Fault::new(ErrorCode::EgressDenied, "the network is off")));
        };
        let ended = self.ended.child_token();
        let work = async move {
            reply.answer(match network.exchange(request, ended).await {
                Ok(answer) => Answer::Http(answer),
                Err(fault) => Answer::Refused(fault),
            });
        };
        self.spawner.spawn("request of a program", work.boxed());
    }
}

impl GuestHost for ProgramHost {
    fn powers(&self) -> Powers {
        Powers { network: self.network.is_some(), tools: !self.tools.is_empty() }
    }

    fn tools(&self) -> Value {
        self.tools.iter().map(|tool| tool.shown.clone()).collect()
    }

    fn begin(&self, asked: Asked, reply: Reply) {
        let Asked { number, operation, digest, seen } = asked;
        match operation {
            Operation::Call { tool, arguments } => self.begin_call(&tool, arguments, (number, digest, seen), reply),
            Operation::Http(request) => {
                self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
                self.begin_http(request, reply);
            }
        }
    }
}

/// Stops the program's wall time while a human is asked about one of its calls.
struct Asking {
    wall: Arc<WallTime>,
    paused: Mutex<Option<Paused>>,
}

impl Asking {
    fn new(wall: Arc<WallTime>) -> Self {
        Self { wall, paused: Mutex::new(None) }
    }
}

impl Progress for Asking {
    fn note(&self, _message: &str, _done: Option<f64>, _total: Option<f64>) {}

    fn waits_for_human(&self, waiting: bool) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = waiting.then(|| self.wall.pause());
    }
}
