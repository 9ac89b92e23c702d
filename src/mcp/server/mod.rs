//! One server for one client: how its requests go down the path, and how they end when it does. What it answers is in [`handler`].

mod call;
mod handler;
mod skills;
mod streams;
mod tasks;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use rmcp::model::{Icon, Implementation, MetaObject, Tool};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Asking, NoProgress, Origin, Progress, RawCall, Redact, Reply, Trace, meant};
use crate::domain::{Actor, ErrorCode, Fault, Principal};

use super::auth::Admitted;
use super::notices::NoticeListener;
use super::options::{INSTRUCTIONS, ServeOptions};
use super::resources::{Reader, Refused};
use super::subscriptions::{Holder, Subscriptions};
use super::tasks::Tasks;
use super::{Catalog, Gate, Pace, asking, convert, http};

/// A gate, drawn in lines.
const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="none" stroke="#777" stroke-width="2" d="M4 21V9a8 8 0 0 1 16 0v12M9 21V9m6 12V9M4 14h16"/></svg>"##;

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
    passing: Passing,
    catalog: Arc<Catalog>,
    pace: Pace,
    instructions: Arc<str>,
    listener: Arc<NoticeListener>,
    redact: Arc<dyn Redact>,
    beside: Beside,
    /// What this client subscribed to, where it is of the older generation.
    holder: Holder,
}

/// What goes on beside the requests of all clients.
#[derive(Clone, Default)]
pub(super) struct Beside {
    tasks: Arc<Tasks>,
    subscriptions: Arc<Subscriptions>,
}

impl Beside {
    /// Goes on for as long as the server lives; never ends by itself.
    pub(super) async fn go_on(&self, gate: &dyn Gate) {
        tokio::join!(self.tasks.drive(), self.subscriptions.tell(gate));
    }
}

/// Who makes a call, and what stands beside its arguments.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    /// By which token, where there is one.
    pub(super) admitted: Option<Admitted>,
    pub(super) asking: Asking,
    pub(super) tokens: u64,
    pub(super) along: Along,
}

/// The way down the path, for whoever outlives a request.
#[derive(Clone)]
pub(super) struct Passing {
    pub(super) gate: Arc<dyn Gate>,
    catalog: Arc<Catalog>,
    /// How long a client waits for an answer.
    answer: Duration,
    ending: Ending,
}

impl Passing {
    /// Why this token does not reach the tool that is meant, if so. What does not exist is refused on the path.
    fn beyond(&self, tool: &str, arguments: &Value, admitted: Option<&Admitted>) -> Option<Fault> {
        let tool = meant(tool, arguments).0;
        let (admitted, entry) = (admitted?, self.catalog.find(tool)?);
        (!admitted.scopes.allow(entry.needs)).then(|| http::beyond(&format!("`{tool}`"), entry.needs, admitted))
    }

    /// Takes one call down the path. `Err` where there is no reply to show: no run could be opened, or the process ends.
    pub(super) async fn pass(
        &self,
        tool: &str,
        arguments: Value,
        Caller { actor, admitted, asking, tokens, along }: Caller,
        cancel: CancellationToken,
        notes: Arc<dyn Progress>,
    ) -> Result<Reply, Fault> {
        let path = async {
            let run = self.gate.adhoc_run(&actor).await?;
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
            match self.beyond(tool, &raw.arguments, admitted.as_ref()) {
                // Who polls a task waits for as long as it takes.
                None if raw.along.call.is_some() => Ok(self.gate.call(raw).await),
                None => Ok(self.gate.call_within(raw, self.answer).await),
                Some(fault) => Ok(self.gate.refuse(raw, fault).await),
            }
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

impl Server {
    /// Of everything that `gate` publishes, shown as `options` say.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a toolset that does not exist.
    pub(super) fn new(gate: Arc<dyn Gate>, options: ServeOptions, ending: Ending) -> Result<Self, Fault> {
        let tools = gate.tools();
        options.toolset.check(&tools)?;
        let beside = Beside::default();
        let catalog = Arc::new(Catalog::new(&tools, options.naming, &options.toolset));
        Ok(Self {
            catalog: catalog.clone(),
            redact: options.redaction(),
            pace: options.pace,
            instructions: options.instructions.map_or_else(|| INSTRUCTIONS.into(), Into::into),
            listener: Arc::default(),
            passing: Passing { gate, catalog, answer: options.answer, ending },
            holder: beside.subscriptions.holder(),
            beside,
        })
    }

    /// The same server for one more client, whose notices go to `listener`.
    pub(super) fn again(&self, listener: Arc<NoticeListener>) -> Self {
        Self {
            passing: self.passing.clone(),
            catalog: self.catalog.clone(),
            pace: self.pace,
            instructions: self.instructions.clone(),
            listener,
            redact: self.redact.clone(),
            holder: self.beside.subscriptions.holder(),
            beside: self.beside.clone(),
        }
    }

    /// What goes on beside the requests.
    pub(super) fn beside(&self) -> Beside {
        self.beside.clone()
    }

    fn gate(&self) -> &dyn Gate {
        &*self.passing.gate
    }

    /// What is published.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    /// By which token this request came; `None` over lines.
    fn admitted(cx: &RequestContext<RoleServer>) -> Result<Option<&Admitted>, ErrorData> {
        http::admitted_of(&cx.extensions).map_err(|fault| convert::protocol_error(&fault, &format!("request {}", cx.id)))
    }

    /// Who sent this request.
    fn actor(cx: &RequestContext<RoleServer>) -> Result<Actor, ErrorData> {
        Ok(Actor::agent(Self::admitted(cx)?.map_or_else(Principal::local, |admitted| admitted.principal.clone())))
    }

    /// What is listed to whoever sent this request. Those who can sign in for more see all of it.
    fn listed(&self, cx: &RequestContext<RoleServer>) -> Result<Vec<Tool>, ErrorData> {
        let Some(admitted) = Self::admitted(cx)? else { return Ok(self.catalog.listed().to_vec()) };
        let scopes = Some(&admitted.scopes).filter(|_| !admitted.access.can_widen());
        Ok(self.catalog.listed_for(admitted.toolset.as_ref(), scopes))
    }

    fn implementation() -> Implementation {
        Implementation::new("toolgate", env!("CARGO_PKG_VERSION"))
    }

    /// The same with what a person sees, told once.
    fn presentation() -> Implementation {
        let icon = Icon::new(format!("data:image/svg+xml;base64,{}", STANDARD.encode(ICON)))
            .with_mime_type("image/svg+xml")
            .with_sizes(vec!["any".to_owned()]);
        Self::implementation()
            .with_title("toolgate")
            .with_description("Python, files, git, drive, web and workflows as tools under a policy.")
            .with_icons(vec![icon])
    }

    /// Metadata that every answer to a client of the newer generation carries.
    fn stamp(meta: &mut Option<MetaObject>, cx: &RequestContext<RoleServer>) {
        if is_modern(cx)
            && let Ok(info) = serde_json::to_value(Self::implementation())
        {
            meta.get_or_insert_default().insert("io.modelcontextprotocol/serverInfo".to_owned(), info);
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
        Ok(Calls { server: self, actor: Self::actor(cx)?, admitted: Self::admitted(cx)?.cloned(), along: along_of(cx), cancel: cx.ct.clone() })
    }

    /// Whether a question of this request can be put to the human in front of the client.
    fn may_ask(&self, actor: &Actor, cx: &RequestContext<RoleServer>) -> bool {
        self.gate().may_ask(actor) && asking::shows_forms(cx)
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
    admitted: Option<Admitted>,
    cancel: CancellationToken,
}

impl Reader for Calls<'_> {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Refused> {
        let (actor, admitted, along) = (self.actor.clone(), self.admitted.clone(), self.along.clone());
        let caller = Caller { actor, admitted, asking: Asking::default(), tokens: 0, along };
        let reply = self.server.passing.pass(tool, arguments, caller, self.cancel.child_token(), Arc::new(NoProgress)).await?;
        let call = reply.call;
        reply.outcome.map(|output| output.value).map_err(|fault| Refused { fault, call: Some(call) })
    }
}
