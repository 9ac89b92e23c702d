//! Subscribing, and listening: who may, and for how long.
//!
//! INVARIANT: whoever subscribes to a resource has read it by then, by the same calls as any reader, so policy and ownership hold as for
//! reading. A stream ends with its request, its connection or the server.

use rmcp::model::{CacheScope, ListResourcesResult, SubscriptionFilter};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer};

use crate::domain::{ErrorCode, Fault, RunId};
use crate::mcp::convert;
use crate::mcp::resources::{self, Refused, Target};
use crate::mcp::subscriptions::{Ear, MOST_EACH};

use super::handler::refusal;
use super::{Server, is_modern};

/// The run behind an address that can be subscribed to.
fn run_of(uri: &str) -> Result<(Target, RunId), Fault> {
    let target = Target::parse(uri).ok_or_else(|| resources::absent(uri))?;
    let run = target.run().ok_or_else(|| {
        Fault::new(ErrorCode::InvalidInput, "what this address names never changes")
            .hint("runs can be subscribed to: `run://{id}`, `run://{id}/events`")
    })?;
    Ok((target, run))
}

impl Server {
    /// The resources there are; whoever looked is told when there are others.
    pub(super) async fn resources(&self, cx: &RequestContext<RoleServer>) -> Result<ListResourcesResult, ErrorData> {
        let resources = if self.catalog.find("run.list").is_some() {
            resources::list(&self.calls(cx)?).await.map_err(|refused| refusal(&refused, cx))?
        } else {
            Vec::new()
        };
        #[cfg(debug_assertions)]
        let resources =
            crate::mcp::fixtures::resources(&self.catalog, &self.calls(cx)?, resources).await.map_err(|refused| refusal(&refused, cx))?;
        if !is_modern(cx) {
            let seen = resources.iter().filter_map(|resource| Target::parse(&resource.uri)?.run()).collect();
            self.holder.watch_list(&Self::actor(cx)?, seen, Ear::Older(cx.peer.clone()));
        }
        Ok(ListResourcesResult::with_all_items(resources).with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    /// An older client wants to know when this resource changes.
    pub(super) async fn subscribe_to(&self, uri: &str, cx: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let ear = Ear::Older(cx.peer.clone());
        self.watch(&self.holder, uri, ear, cx).await.map_err(|refused| refusal(&refused, cx))
    }

    /// An older client no longer wants to.
    pub(super) fn unsubscribe_from(&self, uri: &str) {
        self.holder.forget(uri);
    }

    async fn watch(
        &self,
        holder: &crate::mcp::subscriptions::Holder,
        uri: &str,
        ear: Ear,
        cx: &RequestContext<RoleServer>,
    ) -> Result<(), Refused> {
        let (target, run) = run_of(uri)?;
        let as_refused = |error: ErrorData| Fault::new(ErrorCode::Internal, error.message.into_owned());
        resources::read(&self.calls(cx).map_err(as_refused)?, uri, &target).await?;
        let actor = Self::actor(cx).map_err(as_refused)?;
        Ok(holder.watch(self.gate(), &actor, (uri, run), ear).await?)
    }

    /// What of a newer client's wishes can be met at all. Tools and prompts never change while a server runs.
    pub(super) fn acceptable(requested: &SubscriptionFilter) -> SubscriptionFilter {
        let mut accepted = SubscriptionFilter::builder();
        if requested.resources_list_changed == Some(true) {
            accepted = accepted.resources_list_changed();
        }
        let uris: Vec<&String> =
            requested.resource_subscriptions.iter().flatten().filter(|uri| run_of(uri).is_ok()).take(MOST_EACH).collect();
        if uris.is_empty() { accepted.build() } else { accepted.resource_subscriptions(uris.into_iter().cloned()).build() }
    }

    /// Tells a newer client what it listens for, until one side ends.
    pub(super) async fn listen_to(&self, context: &SubscriptionContext) -> Result<(), ErrorData> {
        let cx = context.request_context();
        let holder = self.beside.subscriptions.holder();
        let ear = Ear::Newer(context.sink().clone());
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            self.watch(&holder, uri, ear.clone(), cx).await.map_err(|refused| refusal(&refused, cx))?;
        }
        if context.accepted().resources_list_changed == Some(true) {
            let actor = Self::actor(cx)?;
            let seen = self.gate().newest_runs(&actor, resources::LISTED_RUNS).await;
            let seen = seen.map_err(|fault| convert::protocol_error(&fault, &format!("request {}", cx.id)))?;
            holder.watch_list(&actor, seen, ear);
        }
        tokio::select! {
            () = context.cancelled() => {}
            () = self.passing.ending.ended.cancelled() => {}
        }
        Ok(())
    }
}
