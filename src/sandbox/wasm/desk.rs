//! The guest's desk at its host: what it asks for goes out here, and what has finished is handed over.
//!
//! INVARIANT: operations are numbered in the order asked; a recorded program is held to its record, operation by operation; what waits
//! here is bounded by the call's limits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::domain::{Digest, ErrorCode, Fault, Timestamp};
use crate::sandbox::{Answer, Asked, GuestHost, HttpAnswer, HttpRequest, Operation, Powers, Recorded, Reply, Tape};

use super::guest::Guest;
use super::guest::bindings::toolgate::python::host as wit;

/// The most bytes of operations that wait for their turn.
const MOST_WAITING: usize = 32 << 20;

/// What the outcome tells of a desk, when the guest is gone.
#[derive(Default)]
pub(super) struct DeskReport {
    pub(super) asked: AtomicU32,
    pub(super) struck: AtomicBool,
}

/// One guest's desk.
pub(super) struct Desk {
    host: Option<Arc<dyn GuestHost>>,
    tape: Arc<Tape>,
    recorded: VecDeque<Recorded>,
    most: u32,
    at_once: usize,
    report: Arc<DeskReport>,
    /// By number, with the digest of what was asked.
    under_way: BTreeMap<u32, Digest>,
    waiting: VecDeque<Asked>,
    waiting_bytes: usize,
    finished: VecDeque<(u32, Answer)>,
    sender: mpsc::UnboundedSender<(u32, Answer)>,
    receiver: mpsc::UnboundedReceiver<(u32, Answer)>,
}

/// A recorded program asked for something else than before; ends the guest.
#[derive(Debug, thiserror::Error)]
#[error("operation {number} is not what it was before the interruption")]
pub(super) struct Diverged {
    pub(super) number: u32,
}

impl Desk {
    pub(super) fn new(
        host: Option<Arc<dyn GuestHost>>,
        tape: Arc<Tape>,
        recorded: Vec<Recorded>,
        (most, at_once): (u32, u32),
        report: Arc<DeskReport>,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            host,
            tape,
            recorded: recorded.into(),
            most,
            at_once: usize::try_from(at_once).unwrap_or(usize::MAX).max(1),
            report,
            under_way: BTreeMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            finished: VecDeque::new(),
            sender,
            receiver,
        }
    }

    /// A desk where nobody sits.
    pub(super) fn closed() -> Self {
        Self::new(None, Arc::new(Tape::new(None, Timestamp::from_unix_millis(0))), Vec::new(), (0, 0), Arc::default())
    }

    fn powers(&self) -> Powers {
        self.host.as_ref().map(|host| host.powers()).unwrap_or_default()
    }

    fn submit(&mut self, operation: Operation) -> Result<Result<u32, Fault>, Diverged> {
        let Some(host) = self.host.clone().filter(|host| allows(host.powers(), &operation)) else {
            return Ok(Err(not_given(&operation)));
        };
        let number = self.report.asked.load(Ordering::Relaxed);
        if number >= self.most {
            self.report.struck.store(true, Ordering::Relaxed);
            let fault = Fault::new(ErrorCode::LimitExceeded, format!("the program asked its host for more than {} things", self.most));
            return Ok(Err(fault.hint("do more in each call, or split the work over several calls")));
        }
        let bytes = weight(&operation);
        if self.waiting_bytes.saturating_add(bytes) > MOST_WAITING {
            self.report.struck.store(true, Ordering::Relaxed);
            let fault = Fault::new(ErrorCode::LimitExceeded, format!("more than {} MB wait for their turn", MOST_WAITING >> 20));
            return Ok(Err(fault.hint("await some calls before beginning more")));
        }
        self.report.asked.store(number + 1, Ordering::Relaxed);
        let digest = operation.digest();
        match self.recorded.pop_front() {
            Some(before) if before.digest.is_some_and(|before| before != digest) => return Err(Diverged { number }),
            Some(Recorded { answer: Some(answer), .. }) => self.finished.push_back((number, answer)),
            Some(Recorded { answer: None, .. }) | None => {
                self.waiting_bytes += bytes;
                self.waiting.push_back(Asked { number, operation, digest, seen: self.tape.take() });
                self.begin(&host);
            }
        }
        Ok(Ok(number))
    }

    /// Begins what waits, as far as there is room.
    fn begin(&mut self, host: &Arc<dyn GuestHost>) {
        while self.under_way.len() < self.at_once {
            let Some(asked) = self.waiting.pop_front() else { return };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(weight(&asked.operation));
            self.under_way.insert(asked.number, asked.digest);
            let reply = Reply::new(asked.number, self.sender.clone());
            host.begin(asked, reply);
        }
    }

    fn arrived(&mut self, (number, answer): (u32, Answer)) {
        let digest = self.under_way.remove(&number);
        if let (Answer::Http(answer), Some(digest)) = (&answer, digest) {
            self.tape.http(number, digest, answer);
        }
        self.finished.push_back((number, answer));
        if let Some(host) = self.host.clone() {
            self.begin(&host);
        }
    }

    /// Takes in what has finished meanwhile, without waiting.
    fn collect(&mut self) {
        while let Ok(arrived) = self.receiver.try_recv() {
            self.arrived(arrived);
        }
    }

    fn take(&mut self, number: u32) -> Option<Answer> {
        let at = self.finished.iter().position(|(finished, _)| *finished == number)?;
        self.finished.remove(at).map(|(_, answer)| answer)
    }

    fn is_pending(&self, number: u32) -> bool {
        self.under_way.contains_key(&number) || self.waiting.iter().any(|asked| asked.number == number)
    }

    async fn wait_for(&mut self, number: u32) -> Result<Answer, Fault> {
        self.collect();
        loop {
            if let Some(answer) = self.take(number) {
                return Ok(answer);
            }
            if !self.is_pending(number) {
                return Err(Fault::new(ErrorCode::InvalidInput, format!("operation {number} was never begun, or was handed over already")));
            }
            match self.receiver.recv().await {
                Some(arrived) => self.arrived(arrived),
                None => return Err(Fault::internal("the desk's own end is closed")),
            }
        }
    }

    async fn next_finished(&mut self, timeout: Option<Duration>) -> Option<(u32, Answer)> {
        match self.tape.due() {
            Some(None) => return None,
            // What was asked anew may take longer than it took before: the order is kept all the same.
            Some(Some(number)) => return self.wait_for(number).await.ok().map(|answer| (number, answer)),
            None => {}
        }
        self.collect();
        let next = self.next_live(timeout).await;
        self.tape.handed(next.as_ref().map(|(number, _)| *number));
        next
    }

    async fn next_live(&mut self, timeout: Option<Duration>) -> Option<(u32, Answer)> {
        if let Some(next) = self.finished.pop_front() {
            return Some(next);
        }
        if self.under_way.is_empty() {
            return None;
        }
        let arrived = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, self.receiver.recv()).await.ok()?,
            None => self.receiver.recv().await,
        };
        self.arrived(arrived?);
        self.finished.pop_front()
    }
}

fn allows(powers: Powers, operation: &Operation) -> bool {
    match operation {
        Operation::Call { .. } => powers.tools,
        Operation::Http(_) => powers.network,
    }
}

fn not_given(operation: &Operation) -> Fault {
    match operation {
        Operation::Call { tool, .. } => Fault::new(ErrorCode::UnknownTool, format!("this program may not call `{tool}`"))
            .hint("name the tool in the `tools` of python.run"),
        Operation::Http(_) => {
            Fault::new(ErrorCode::EgressDenied, "the network is off").hint("call python.run with allow_network true and allowed_hosts")
        }
    }
}

/// About how much memory an operation takes.
fn weight(operation: &Operation) -> usize {
    match operation {
        Operation::Call { tool, arguments } => tool.len() + value_weight(arguments),
        Operation::Http(request) => {
            request.url.len() + request.body.len() + request.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        }
    }
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => text.len() + 24,
        Value::Array(items) => items.iter().map(value_weight).sum::<usize>() + 24,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 48 + value_weight(value)).sum(),
    }
}

impl wit::Host for Guest {
    async fn get_powers(&mut self) -> wasmtime::Result<wit::Powers> {
        let powers = self.desk.powers();
        Ok(wit::Powers { network: powers.network, tools: powers.tools })
    }

    async fn tools(&mut self) -> wasmtime::Result<String> {
        Ok(self.desk.host.as_ref().map_or_else(|| "[]".to_owned(), |host| host.tools().to_string()))
    }

    async fn submit(&mut self, operation: wit::Operation) -> wasmtime::Result<Result<u32, wit::Refusal>> {
        let operation = match operation {
            wit::Operation::Call(call) => match serde_json::from_str(&call.arguments) {
                Ok(arguments) => Operation::Call { tool: call.tool, arguments },
                Err(error) => {
                    let fault = Fault::new(ErrorCode::InvalidInput, format!("the arguments of `{}` are not JSON: {error}", call.tool));
                    return Ok(Err(refusal(&fault)));
                }
            },
            wit::Operation::Http(request) => Operation::Http(HttpRequest {
                method: request.method,
                url: request.url,
                headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
                body: request.body,
                timeout_ms: request.timeout_ms,
            }),
        };
        Ok(self.desk.submit(operation)?.map_err(|fault| refusal(&fault)))
    }

    async fn wait_for(&mut self, number: u32) -> wasmtime::Result<Result<wit::Answer, wit::Refusal>> {
        Ok(self.desk.wait_for(number).await.map(answer).map_err(|fault| refusal(&fault)))
    }

    async fn next_finished(&mut self, timeout_ms: Option<u64>) -> wasmtime::Result<Option<wit::Finished>> {
        let next = self.desk.next_finished(timeout_ms.map(Duration::from_millis)).await;
        Ok(next.map(|(number, found)| wit::Finished { number, answer: answer(found) }))
    }
}

fn answer(answer: Answer) -> wit::Answer {
    match answer {
        Answer::Output(value) => wit::Answer::Output(value.to_string()),
        Answer::Http(HttpAnswer { status, reason, headers, body, url }) => {
            let headers = headers.into_iter().map(|(name, value)| wit::Header { name, value }).collect();
            wit::Answer::Http(wit::HttpAnswer { status, reason, headers, body, url })
        }
        Answer::Refused(fault) => wit::Answer::Refused(refusal(&fault)),
    }
}

fn refusal(fault: &Fault) -> wit::Refusal {
    wit::Refusal {
        code: fault.code.as_str().to_owned(),
        message: fault.message.clone(),
        hint: fault.hint.clone().unwrap_or_default(),
        details: fault.details.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
