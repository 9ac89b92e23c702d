//! The one `ServerHandler`, for clients that open with `initialize` and for those that do not.
//!
//! INVARIANT: no answer depends on which generation a client speaks, but for what the protocol itself says differently; nothing is
//! remembered of a connection but where an older client's notices go.

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult, ConstString,
    CreateTaskResult, CustomRequest, CustomResult, DiscoverResult, ErrorCode as RpcCode, GetPromptRequestParams, GetPromptResponse,
    GetSkillRequestParams, GetSkillResult, GetTaskParams, GetTaskResult, InitializeRequestParams, InitializeResult, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceDirectoryRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference, ServerCapabilities,
    ServerConfig, SetLevelRequestMethod, SubscribeRequestMethod, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestMethod, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::call::{Reply, meant};
use crate::domain::Fault;
use crate::mcp::complete::{self, Sought};
#[cfg(debug_assertions)]
use crate::mcp::fixtures;
use crate::mcp::resources::{self, Refused, Target};
use crate::mcp::{convert, prompts, skills, tokens};

use super::call::{Asked, Passed, TOOLS_CALL};
use super::{Server, is_modern};

/// How long clients may keep the list of tools: it changes only with a new start.
pub(super) const LIST_TTL_MS: u64 = 3_600_000;

/// Every list here is one page, so no cursor was ever given out.
fn one_page(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|params| params.cursor.as_ref()) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("unknown cursor: the list has one page", None)),
    }
}

pub(super) fn refusal(refused: &Refused, cx: &RequestContext<RoleServer>) -> ErrorData {
    let reference = refused.call.map_or_else(|| format!("request {}", cx.id), |call| call.to_string());
    convert::protocol_error(&refused.fault, &reference)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_tools()
            .enable_tasks()
            .enable_skills_with_directory_read();
        ServerConfig::new(capabilities.build()).with_server_info(Self::presentation()).with_instructions(&*self.instructions)
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
        let listed = self.listed(&cx)?;
        let mut result = ListToolsResult::with_all_items(listed).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.catalog.find(name).map(|entry| entry.tool.clone())
    }

    async fn call_tool(&self, request: CallToolRequestParams, cx: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let (arguments, tokens) = tokens::settle(&request.name, request.arguments.clone().unwrap_or_default(), &cx.meta);
        let actor = Self::actor(&cx)?;
        let known = self.catalog.find(&request.name);
        let asked = Asked {
            method: TOOLS_CALL,
            name: &request.name,
            said: &arguments,
            tool: known.map_or(&*request.name, |entry| entry.canonical.as_str()),
            arguments: &arguments,
            tokens,
            state: request.request_state.as_deref(),
            responses: request.input_responses.as_ref(),
        };
        let passed = match self.pass_request(&asked, &actor, &cx).await? {
            Passed::Wants(wanted) => return Ok(wanted.into()),
            Passed::Task(task) => {
                let mut result = CreateTaskResult::new(task);
                Self::stamp(&mut result.meta, &cx);
                return Ok(result.into());
            }
            Passed::Done(passed) => passed,
        };
        if let Some(lacking) = convert::lacking(&passed, is_modern(&cx)) {
            return Err(lacking);
        }
        let reference = format!("request {}", cx.id);
        // What may be cut of an answer is told by the tool that gave it.
        let (meant, _) = meant(asked.tool, &arguments);
        let entry = known.map(|entry| self.catalog.find(meant).unwrap_or(entry));
        let mut result = match (passed, entry) {
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
        let mut result = self.resources(&cx).await?;
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        one_page(request.as_ref())?;
        let templates = resources::templates();
        #[cfg(debug_assertions)]
        let templates = fixtures::templates(&self.catalog, &self.calls(&cx)?, templates).await.map_err(|refused| refusal(&refused, &cx))?;
        let mut result =
            ListResourceTemplatesResult::with_all_items(templates).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
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
        #[cfg(debug_assertions)]
        let prompts = fixtures::prompts(&self.catalog, &self.calls(&cx)?, prompts).await.map_err(|refused| refusal(&refused, &cx))?;
        let mut result = ListPromptsResult::with_all_items(prompts).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, cx: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        #[cfg(debug_assertions)]
        if fixtures::is_prompt(&self.catalog, &request.name) {
            return self.fixture_prompt(request, &cx).await;
        }
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
            #[cfg(debug_assertions)]
            Reference::Prompt(prompt) if fixtures::is_prompt(&self.catalog, &prompt.name) => return Ok(CompleteResult::default()),
            Reference::Prompt(prompt) => Sought::Argument { prompt: &prompt.name, name },
            Reference::Resource(resource) => Sought::Variable { template: &resource.uri, name },
            _ => return Ok(CompleteResult::default()),
        };
        let found = complete::complete(&self.calls(&cx)?, &self.catalog, sought, &request.argument.value).await;
        let mut result = CompleteResult::new(found.map_err(|refused| refusal(&refused, &cx))?);
        Self::stamp(&mut result.meta, &cx);
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        #[cfg(debug_assertions)]
        if fixtures::is_resource(&self.catalog, &request.uri) {
            let read = fixtures::read(&self.calls(&cx)?, &request.uri).await;
            let contents = read.map_err(|refused| convert::about(refusal(&refused, &cx), &request.uri))?;
            let mut result = ReadResourceResult::new(contents).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
            Self::stamp(&mut result.meta, &cx);
            return Ok(result.into());
        }
        let (calls, uri) = (self.calls(&cx)?, &*request.uri);
        let read = async {
            if uri.starts_with(skills::SCHEME) {
                // As long as the list of them: they change with what the server was started with.
                return Ok((skills::read(&calls, &self.catalog, uri).await?, LIST_TTL_MS));
            }
            let target = Target::parse(uri).ok_or_else(|| resources::absent(uri))?;
            // What never changes may be kept; a run does change.
            let ttl = if target.run().is_none() { LIST_TTL_MS } else { 0 };
            Ok((resources::read(&calls, uri, &target).await?, ttl))
        };
        let (contents, ttl) = read.await.map_err(|refused: Refused| convert::about(refusal(&refused, &cx), &request.uri))?;
        let mut result = ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, &cx);
        Ok(result.into())
    }

    async fn subscribe(&self, request: SubscribeRequestParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if is_modern(&cx) {
            return Err(ErrorData::method_not_found::<SubscribeRequestMethod>());
        }
        #[cfg(debug_assertions)]
        if fixtures::is_resource(&self.catalog, &request.uri) {
            // It never changes, so whoever can read it hears of nothing.
            let read = fixtures::read(&self.calls(&cx)?, &request.uri).await;
            return read.map(drop).map_err(|refused| convert::about(refusal(&refused, &cx), &request.uri));
        }
        self.subscribe_to(&request.uri, &cx).await
    }

    async fn unsubscribe(&self, request: UnsubscribeRequestParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if is_modern(&cx) {
            return Err(ErrorData::method_not_found::<UnsubscribeRequestMethod>());
        }
        self.unsubscribe_from(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(Self::acceptable(requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.listen_to(&context).await
    }

    async fn get_task(&self, request: GetTaskParams, cx: RequestContext<RoleServer>) -> Result<GetTaskResult, ErrorData> {
        self.task(&request.task_id, &cx).await
    }

    async fn update_task(&self, request: UpdateTaskParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.answer_task(&request.task_id, request.input_responses, &cx).await
    }

    async fn cancel_task(&self, request: CancelTaskParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.cancel_task_of(&request.task_id, &cx).await
    }

    async fn list_skills(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        one_page(request.as_ref())?;
        self.skills(&cx).await
    }

    async fn get_skill(&self, request: GetSkillRequestParams, cx: RequestContext<RoleServer>) -> Result<GetSkillResult, ErrorData> {
        self.skill(&request.uri, &cx).await
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.skill_folder(&request.uri, &cx).await
    }

    async fn on_custom_request(&self, request: CustomRequest, cx: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        // A known method arrives here when its parameters do not fit it. The newer generation has given some of them up.
        const KNOWN: [&str; 10] = [
            "tools/call",
            "prompts/get",
            "resources/read",
            "resources/directory/read",
            "subscriptions/listen",
            "skills/get",
            "tasks/get",
            "tasks/update",
            "tasks/cancel",
            "completion/complete",
        ];
        const GIVEN_UP: [&str; 4] = ["initialize", SetLevelRequestMethod::VALUE, "resources/subscribe", "resources/unsubscribe"];
        let method = request.method.as_str();
        if KNOWN.contains(&method) || (GIVEN_UP.contains(&method) && !is_modern(&cx)) {
            return Err(ErrorData::invalid_params(format!("the parameters do not fit `{method}`"), None));
        }
        Err(ErrorData::new(RpcCode::METHOD_NOT_FOUND, request.method, None))
    }
}
