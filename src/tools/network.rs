//! The network of one sandboxed program: HTTP to the hosts it may reach, with secrets put in and taken out on the host's side.
//!
//! INVARIANT: only hosts that the call's rules name are reached; each request is recorded before its answer is handed on; what is under
//! way when the program ends is cancelled.
//! Does not say which hosts those are: the call does (`python.run`), or the manifest (a script).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{Redact, Spawner};
use crate::domain::{ErrorCode, Fault, Millis, SecretName};
use crate::egress::{Caps, Egress, HostRules, Request, RequestLog, Terms};
use crate::sandbox::{Answer, Asked, GuestHost, HttpAnswer, HttpRequest, Operation, Powers, Reply};
use crate::secrets::source::SecretSource;

use super::CallContext;
use super::borrowed::Borrowed;

/// What egress calls the requests of programs.
const PURPOSE: &str = "python";

/// The longest that one HTTP exchange may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Refusals of one script that are kept, to tell why it failed.
const MOST_KEPT: usize = 32;

/// Where the HTTP requests of a call are recorded.
pub trait HttpEvents: Send + Sync {
    /// The record for this call.
    fn of(&self, context: &CallContext) -> Arc<dyn RequestLog>;
}

/// What programs with a network are made with.
#[derive(Clone)]
pub struct NetworkPorts {
    /// HTTP.
    pub egress: Egress,
    /// Where HTTP requests are recorded.
    pub http_events: Arc<dyn HttpEvents>,
    /// Secrets by name.
    pub secrets: Arc<dyn SecretSource>,
    /// Takes their values out of answers.
    pub redact: Arc<dyn Redact>,
    /// Where what programs ask for is done.
    pub spawner: Arc<dyn Spawner>,
}

/// Who uses the network, for the vault and for whoever is refused.
#[derive(Clone, Copy)]
pub(super) struct User<'a> {
    /// The tool's id: what a secret's terms name.
    pub(super) tool: &'a str,
    /// Where it is said which secrets it may use.
    pub(super) secrets_stand_in: &'static str,
}

/// Network for one program.
pub(super) struct Network {
    egress: Egress,
    rules: HostRules,
    log: Arc<dyn RequestLog>,
    borrowed: Borrowed,
}

impl NetworkPorts {
    /// The network of one call, with these hosts and these secrets on loan.
    pub(super) async fn open(
        &self,
        rules: HostRules,
        secrets: &[SecretName],
        user: User<'_>,
        context: &CallContext,
    ) -> Result<Network, Fault> {
        let lent = self.secrets.lend(secrets, user.tool).await?;
        let borrowed = Borrowed { lent, redact: self.redact.clone(), stand_in: user.secrets_stand_in };
        Ok(Network { egress: self.egress.clone(), rules, log: self.http_events.of(context), borrowed })
    }
}

impl Network {
    /// One exchange.
    pub(super) async fn exchange(&self, request: HttpRequest, ended: CancellationToken) -> Result<HttpAnswer, Fault> {
        let HttpRequest { method, url, headers, body, timeout_ms } = request;
        let wanted = timeout_ms.map_or(LONGEST, Duration::from_millis).min(LONGEST);
        // Redirects are the program's to follow, as its library is used to: each is a request of its own, checked like any other.
        let caps = Caps { redirects: 0, wall: Millis(u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX)), ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: self.rules.clone(), caps };
        let request = Request { method, url, headers, body: body.into() };
        let answer = self.egress.send_filled(request, &terms, &self.borrowed, &ended, &*self.log).await?;
        Ok(HttpAnswer {
            status: answer.status,
            reason: answer.reason,
            headers: answer.headers,
            body: answer.body.to_vec(),
            url: answer.url,
        })
    }
}

/// The host of a program that has a network and no tools.
pub(super) struct NetworkHost {
    network: Arc<Network>,
    spawner: Arc<dyn Spawner>,
    ended: CancellationToken,
    refused: Arc<Mutex<Vec<Fault>>>,
}

impl NetworkHost {
    /// A host, and the guard that ends what it has under way.
    pub(super) fn new(network: Network, spawner: Arc<dyn Spawner>, cancel: &CancellationToken) -> (Arc<Self>, DropGuard) {
        let ended = cancel.child_token();
        let guard = ended.clone().drop_guard();
        (Arc::new(Self { network: Arc::new(network), spawner, ended, refused: Arc::default() }), guard)
    }

    /// What the program was refused so far, the newest last.
    pub(super) fn refused(&self) -> Vec<Fault> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl GuestHost for NetworkHost {
    fn powers(&self) -> Powers {
        Powers { network: true, tools: false }
    }

    fn tools(&self) -> Value {
        json!([])
    }

    fn begin(&self, asked: Asked, reply: Reply) {
        let request = match asked.operation {
            Operation::Http(request) => request,
            Operation::Call { .. } => {
                return reply.answer(Answer::Refused(Fault::new(ErrorCode::UnknownTool, "this program may call no tools")));
            }
        };
        let (network, refused, ended) = (self.network.clone(), self.refused.clone(), self.ended.child_token());
        let work = async move {
            reply.answer(match network.exchange(request, ended).await {
                Ok(answer) => Answer::Http(answer),
                Err(fault) => {
                    let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                    if refused.len() == MOST_KEPT {
                        refused.remove(0);
                    }
                    refused.push(fault.clone());
                    Answer::Refused(fault)
                }
            });
        };
        self.spawner.spawn("request of a program", work.boxed());
    }
}
