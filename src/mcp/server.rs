//! The one `ServerHandler`, for clients that open with `initialize` and for those that do not.
//!
//! INVARIANT: no answer depends on which generation a client speaks, but for what the protocol itself says differently; nothing is
//! remembered of a connection but where an older client's notices go.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, ConstString, CustomRequest, CustomResult, DiscoverResult, ErrorCode as RpcCode,
    Implementation, InitializeRequestParams, InitializeResult, JsonObject, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    ServerCapabilities, ServerConfig, SetLevelRequestMethod, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Asking, NoProgress, Origin, Progress, RawCall, Redact, Reply};
use crate::domain::{Actor, ErrorCode, Fault, Principal};
use crate::gateway::Retry;

use super::notices::NoticeListener;
use super::options::{INSTRUCTIONS, ServeOptions};
use super::resources::{self, Reader, Refused, Target};
use super::{Catalog, Gate, Pace, asking, convert, http, progress, tokens};

/// How long clients may keep the list of tools: it changes only with a new start.
const LIST_TTL_MS: u64 = 3_600_000;

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
        Caller { actor, asking, tokens }: Caller<'_>,
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

impl Server {
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
            let caller = Caller { actor, asking: asking.clone(), tokens };
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

/// Every list here is one page, so no cursor was ever given out.
fn one_page(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|params| params.cursor.as_ref()) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("unknown cursor: the list has one page", None)),
    }
}

fn refusal(refused: &Refused, cx: &RequestContext<RoleServer>) -> ErrorData {
    let reference = refused.call.map_or_else(|| format!("request {}", cx.id), |call| call.to_string());
    convert::protocol_error(&refused.fault, &reference)
}

/// Reads resources by calling tools, for one request.
struct Calls<'a> {
    server: &'a Server,
    actor: Actor,
    cancel: CancellationToken,
}

impl Reader for Calls<'_> {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Refused> {
        let caller = Caller { actor: &self.actor, asking: Asking::default(), tokens: 0 };
        let reply = self.server.pass(tool, arguments, caller, self.cancel.child_token(), Arc::new(NoProgress)).await?;
        let call = reply.call;
        reply.outcome.map(|output| output.value).map_err(|fault| Refused { fault, call: Some(call) })
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_resources().enable_tools().build())
            .with_server_info(Self::implementation())
            .with_instructions(&*self.instructions)
    }

    async fn initialize(&self, request: InitializeRequestParams, cx: RequestContext<RoleServer>) -> Result<InitializeResult, ErrorData> {
        cx.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        result.capabilities.logging = Some(JsonObject::new());
        self.listener.attach(cx.peer);
        Ok(result)
    }

    async fn discover(&self, _cx: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info()).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    #[expect(deprecated, reason = "older clients choose by it which notices they get")]
    async fn set_level(&self, request: rmcp::model::SetLevelRequestParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if is_modern(&cx) {
            return Err(ErrorData::method_not_found::<SetLevelRequestMethod>());
        }
        self.listener.set_least(request.level);
        Ok(())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        one_page(request.as_ref())?;
        let mut result =
            ListToolsResult::with_all_items(self.catalog.listed().to_vec()).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.catalog.find(name).map(|entry| entry.tool.clone())
    }

    async fn call_tool(&self, request: CallToolRequestParams, cx: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let (arguments, tokens) = tokens::settle(&request.name, request.arguments.clone().unwrap_or_default(), &cx.meta);
        let actor = Self::actor(&cx)?;
        let retry = Retry { actor: &actor, method: "tools/call", tool: &request.name, arguments: &arguments };
        asking::take_back(&*self.gate, &actor, &retry, &request).await?;
        let (teller, listener) = progress::channel(cx.meta.get_progress_token().is_some(), &*self.redact);
        let call = self.pass_asking(&request, (&actor, &arguments, tokens), &cx, Arc::new(teller));
        let passed = progress::follow(call, listener, &cx.peer, cx.meta.get_progress_token(), self.pace).await;
        if let (Ok(reply), true, None) = (&passed, self.may_ask(&actor, &cx) && is_modern(&cx), &request.request_state)
            && let Some(question) = asking::question(reply)
        {
            let wanted = asking::input_required(&*self.gate, &actor, &retry, question).await;
            if let Some(wanted) = wanted.map_err(|fault| convert::protocol_error(&fault, &reply.call.to_string()))? {
                return Ok(wanted.into());
            }
        }
        let reference = format!("request {}", cx.id);
        let mut result = match (passed, self.catalog.find(&request.name)) {
            (Ok(reply), Some(entry)) => convert::call_result(reply, entry),
            (Err(fault), Some(_)) => convert::failure(&fault, &reference),
            // The refusal is on record like any other; the protocol wants an error of its own for it.
            (Ok(Reply { call, outcome: Err(fault), .. }), None) => return Err(convert::protocol_error(&fault, &call.to_string())),
            (Err(fault), None) => return Err(convert::protocol_error(&fault, &reference)),
            (Ok(_), None) => return Err(convert::protocol_error(&Fault::internal("a tool ran that is not in the catalog"), &reference)),
        };
        Self::stamp(&mut result.meta, &cx);
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        one_page(request.as_ref())?;
        let resources = if self.catalog.find("run.list").is_some() {
            let calls = Calls { server: self, actor: Self::actor(&cx)?, cancel: cx.ct.clone() };
            resources::list(&calls).await.map_err(|refused| refusal(&refused, &cx))?
        } else {
            Vec::new()
        };
        let mut result = ListResourcesResult::with_all_items(resources).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        one_page(request.as_ref())?;
        let mut result = ListResourceTemplatesResult::with_all_items(resources::templates())
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(target) = Target::parse(&request.uri) else {
            let uri: String = request.uri.chars().take(120).collect();
            let fault = Fault::new(ErrorCode::NotFound, format!("`{uri}` is not a resource of this server"))
                .hint("resources are `run://{id}`, `run://{id}/events` and `artifact://{sha256}`");
            return Err(convert::protocol_error(&fault, ""));
        };
        let calls = Calls { server: self, actor: Self::actor(&cx)?, cancel: cx.ct.clone() };
        let read = resources::read(&calls, &request.uri, &target).await;
        let contents = read.map_err(|refused| refusal(&refused, &cx))?;
        // An artifact never changes; a run does.
        let ttl = if matches!(target, Target::Artifact(_)) { LIST_TTL_MS } else { 0 };
        let mut result = ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result.into())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        // Nothing published here changes while the server runs, so the stream stays silent until one side ends it.
        tokio::select! {
            () = context.cancelled() => {}
            () = self.ending.ended.cancelled() => {}
        }
        Ok(())
    }

    async fn on_custom_request(&self, request: CustomRequest, _cx: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        // A known method arrives here when its parameters do not fit it.
        const KNOWN: [&str; 6] =
            ["initialize", "tools/call", "resources/read", "subscriptions/listen", SetLevelRequestMethod::VALUE, "completion/complete"];
        if KNOWN.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params(format!("the parameters do not fit `{}`", request.method), None));
        }
        Err(ErrorData::new(RpcCode::METHOD_NOT_FOUND, request.method, None))
    }
}
