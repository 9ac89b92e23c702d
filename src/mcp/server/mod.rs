//! One server for one client: how its requests go down the path, and how they end when it does. What it answers is in [`handler`].

mod handler;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rmcp::model::{CallToolRequestParams, Implementation, MetaObject};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Asking, NoProgress, Origin, Progress, RawCall, Redact, Reply, Trace};
use crate::domain::{Actor, ErrorCode, Fault, Principal};

use super::notices::NoticeListener;
use super::options::{INSTRUCTIONS, ServeOptions};
use super::resources::{Reader, Refused};
use super::{Catalog, Gate, Pace, asking, convert, http};

/// When and how calls end because the connection does.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// The input is at its end, or the process was told to stop.
    pub(super) ended: CancellationToken,
    /// The process was told to stop: calls get no time of grace.
    pub(super) hurry: CancellationToken,
}

impl Ending {
    /// How long calls may still run to their end after the input ended: enough for `printf … | toolgate serve`.
    const GRACE: Duration = Duration::from_millis(300);
    /// How long a cancelled call may take to record that.
    const RECORD: Duration = Duration::from_millis(350);

    /// Waits for the end, then cancels, then waits until nobody may wait any longer.
    async fn enforce(&self, cancel: &CancellationToken) {
        self.ended.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(Self::GRACE) => {}
            () = self.hurry.cancelled() => {}
        }
        cancel.cancel();
        tokio::time::sleep(Self::RECORD).await;
    }
}

/// What a server is made of.
pub(super) struct Server {
    gate: Arc<dyn Gate>,
    catalog: Arc<Catalog>,
    pace: Pace,
    instructions: Arc<str>,
    ending: Ending,
    listener: Arc<NoticeListener>,
    redact: Arc<dyn Redact>,
}

/// Who makes a call, and what stands beside its arguments.
struct Caller<'a> {
    actor: &'a Actor,
    asking: Asking,
    tokens: u64,
    along: Along,
}

impl Server {
    /// Of everything that `gate` publishes, shown as `options` say.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a toolset that does not exist.
    pub(super) fn new(gate: Arc<dyn Gate>, options: ServeOptions, ending: Ending) -> Result<Self, Fault> {
        let tools = gate.tools();
        options.toolset.check(&tools)?;
        Ok(Self {
            catalog: Arc::new(Catalog::new(&tools, options.naming, &options.toolset)),
            redact: options.redaction(),
            pace: options.pace,
            instructions: options.instructions.map_or_else(|| INSTRUCTIONS.into(), Into::into),
            listener: Arc::default(),
            gate,
            ending,
        })
    }

    /// The same server for one more client, whose notices go to `listener`.
    pub(super) fn again(&self, listener: Arc<NoticeListener>) -> Self {
        Self {
            gate: self.gate.clone(),
            catalog: self.catalog.clone(),
            pace: self.pace,
            instructions: self.instructions.clone(),
            ending: self.ending.clone(),
            listener,
            redact: self.redact.clone(),
        }
    }

    /// Who sent this request.
    fn actor(cx: &RequestContext<RoleServer>) -> Result<Actor, ErrorData> {
        let principal =
            http::principal_of(&cx.extensions).map_err(|fault| convert::protocol_error(&fault, &format!("request {}", cx.id)))?;
        Ok(Actor::agent(principal.unwrap_or_else(Principal::local)))
    }

    fn implementation() -> Implementation {
        Implementation::new("toolgate", env!("CARGO_PKG_VERSION"))
    }

    /// Metadata that every answer to a client of the newer generation carries.
    fn stamp(meta: &mut Option<MetaObject>, cx: &RequestContext<RoleServer>) {
        if is_modern(cx)
            && let Ok(info) = serde_json::to_value(Self::implementation())
        {
            meta.get_or_insert_default().insert("io.modelcontextprotocol/serverInfo".to_owned(), info);
        }
    }

    /// Takes one call down the path. `Err` where there is no reply to show: no run could be opened, or the process ends.
    async fn pass(
        &self,
        tool: &str,
        arguments: Value,
        Caller { actor, asking, tokens, along }: Caller<'_>,
        cancel: CancellationToken,
        notes: Arc<dyn Progress>,
    ) -> Result<Reply, Fault> {
        let path = async {
            let run = self.gate.adhoc_run(actor).await?;
            let raw = RawCall {
                tool: tool.to_owned(),
                arguments,
                origin: Origin::Client,
                actor: actor.clone(),
                run,
                tokens,
                along,
                cancel: cancel.clone(),
                asking,
                progress: notes,
            };
            Ok(self.gate.call(raw).await)
        };
        tokio::select! {
            biased;
            caught = AssertUnwindSafe(path).catch_unwind() => caught.unwrap_or_else(|_| Err(Fault::internal("a call panicked"))),
            () = self.ending.enforce(&cancel) => {
                Err(Fault::new(ErrorCode::Interrupted, "the server ended before the call did")
                    .hint("start the server again and see `run.list` for what was recorded"))
            }
        }
    }
}

/// The model's own reason for a call, where it gives one beside the arguments.
fn reason_of(cx: &RequestContext<RoleServer>) -> Option<String> {
    cx.meta.get("toolgate/reason").and_then(Value::as_str).map(str::to_owned)
}

/// The client's trace, where it told one.
fn along_of(cx: &RequestContext<RoleServer>) -> Along {
    let of = |name: &str| cx.meta.get(name).and_then(Value::as_str);
    Along { trace: Trace::read(of("traceparent"), of("tracestate"), of("baggage")), ..Along::default() }
}

impl Server {
    /// The way to read by calling tools, for this request.
    fn calls(&self, cx: &RequestContext<RoleServer>) -> Result<Calls<'_>, ErrorData> {
        Ok(Calls { server: self, actor: Self::actor(cx)?, along: along_of(cx), cancel: cx.ct.clone() })
    }

    /// Whether a question of this request can be put to the human in front of the client.
    fn may_ask(&self, actor: &Actor, cx: &RequestContext<RoleServer>) -> bool {
        self.gate.may_ask(actor) && asking::shows_forms(cx)
    }

    /// Takes a call down the path; where it needs a human and an older client can ask hers, asks and takes it down once more.
    async fn pass_asking(
        &self,
        request: &CallToolRequestParams,
        (actor, arguments, tokens): (&Actor, &Value, u64),
        cx: &RequestContext<RoleServer>,
        notes: Arc<dyn Progress>,
    ) -> Result<Reply, Fault> {
        let asking = Asking { reason: reason_of(cx), elsewhere: self.may_ask(actor, cx) };
        let pass = || {
            let caller = Caller { actor, asking: asking.clone(), tokens, along: along_of(cx) };
            self.pass(&request.name, arguments.clone(), caller, cx.ct.child_token(), notes.clone())
        };
        let reply = pass().await?;
        if !asking.elsewhere || is_modern(cx) {
            return Ok(reply);
        }
        let Some(question) = asking::question(&reply) else { return Ok(reply) };
        tokio::select! {
            asked = asking::ask(&*self.gate, actor, &question, cx) => asked?,
            () = self.ending.ended.cancelled() => return Ok(reply),
        }
        pass().await
    }
}

/// Whether the client speaks the generation without `initialize`.
fn is_modern(cx: &RequestContext<RoleServer>) -> bool {
    cx.protocol_version().is_some_and(|version| !version.has_initialize())
}

/// Reads by calling tools, for one request.
struct Calls<'a> {
    server: &'a Server,
    actor: Actor,
    along: Along,
    cancel: CancellationToken,
}

impl Reader for Calls<'_> {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Refused> {
        let caller = Caller { actor: &self.actor, asking: Asking::default(), tokens: 0, along: self.along.clone() };
        let reply = self.server.pass(tool, arguments, caller, self.cancel.child_token(), Arc::new(NoProgress)).await?;
        let call = reply.call;
        reply.outcome.map(|output| output.value).map_err(|fault| Refused { fault, call: Some(call) })
    }
}
