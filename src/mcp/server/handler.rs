//! The one `ServerHandler`, for clients that open with `initialize` and for those that do not.
//!
//! INVARIANT: no answer depends on which generation a client speaks, but for what the protocol itself says differently; nothing is
//! remembered of a connection but where an older client's notices go.

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, ConstString, CustomRequest, CustomResult,
    DiscoverResult, ErrorCode as RpcCode, GetPromptRequestParams, GetPromptResponse, InitializeRequestParams, InitializeResult, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference, ServerCapabilities, ServerConfig,
    SetLevelRequestMethod, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::call::Reply;
use crate::domain::{ErrorCode, Fault};
use crate::gateway::Retry;
use crate::mcp::prompts::{self, Sought};
use crate::mcp::resources::{self, Refused, Target};
use crate::mcp::{asking, convert, progress, tokens};

use super::{Server, is_modern};

/// How long clients may keep the list of tools: it changes only with a new start.
const LIST_TTL_MS: u64 = 3_600_000;

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

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_completions().enable_prompts().enable_resources().enable_tools().build())
            .with_server_info(Self::implementation())
            .with_instructions(&*self.instructions)
    }

    async fn initialize(&self, request: InitializeRequestParams, cx: RequestContext<RoleServer>) -> Result<InitializeResult, ErrorData> {
        cx.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        result.capabilities.logging = Some(JsonObject::new());
        self.listener.attach(Self::actor(&cx)?.principal, cx.peer);
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
            resources::list(&self.calls(&cx)?).await.map_err(|refused| refusal(&refused, &cx))?
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

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        one_page(request.as_ref())?;
        let prompts = if self.catalog.find("workflow.list").is_some() {
            prompts::list(&self.calls(&cx)?).await.map_err(|refused| refusal(&refused, &cx))?
        } else {
            Vec::new()
        };
        let mut result = ListPromptsResult::with_all_items(prompts).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, cx: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let named = |tool: &str| self.catalog.find(tool).map_or_else(|| tool.to_owned(), |entry| entry.tool.name.to_string());
        let made = prompts::get(&self.calls(&cx)?, &request.name, &arguments, named).await;
        let mut result = made.map_err(|refused| refusal(&refused, &cx))?;
        Self::stamp(&mut result.meta, &cx);
        Ok(result.into())
    }

    async fn complete(&self, request: CompleteRequestParams, cx: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let name = &*request.argument.name;
        let sought = match &request.r#ref {
            Reference::Prompt(prompt) => Sought::Argument { prompt: &prompt.name, name },
            Reference::Resource(resource) if resource.uri.starts_with("run://{id}") && name == "id" => Sought::Run,
            Reference::Resource(_) | _ => return Ok(CompleteResult::default()),
        };
        let found = prompts::complete(&self.calls(&cx)?, sought, &request.argument.value).await;
        let mut result = CompleteResult::new(found.map_err(|refused| refusal(&refused, &cx))?);
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
        let read = resources::read(&self.calls(&cx)?, &request.uri, &target).await;
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
