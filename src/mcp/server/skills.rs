//! `skills/list`, `skills/get`, `resources/directory/read`.

use rmcp::model::{CacheScope, GetSkillResult, ListResourcesResult, ListSkillsResult};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};

use crate::domain::ErrorCode;
use crate::mcp::resources::Refused;
use crate::mcp::skills;

use super::Server;
use super::handler::{LIST_TTL_MS, refusal};

/// In both generations a skill that is not there is a wrong parameter, not a resource that is missing.
fn refused(refused: &Refused, cx: &RequestContext<RoleServer>) -> ErrorData {
    let error = refusal(refused, cx);
    if refused.fault.code == ErrorCode::NotFound { ErrorData::invalid_params(error.message, error.data) } else { error }
}

impl Server {
    pub(super) async fn skills(&self, cx: &RequestContext<RoleServer>) -> Result<ListSkillsResult, ErrorData> {
        let found = skills::list(&self.calls(cx)?, &self.catalog).await.map_err(|refused| refusal(&refused, cx))?;
        let mut result = ListSkillsResult::with_all_items(found).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, cx);
        Ok(result)
    }

    pub(super) async fn skill(&self, uri: &str, cx: &RequestContext<RoleServer>) -> Result<GetSkillResult, ErrorData> {
        let found = skills::get(&self.calls(cx)?, &self.catalog, uri).await.map_err(|fault| refused(&fault, cx))?;
        let mut result = GetSkillResult::new(found).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, cx);
        Ok(result)
    }

    pub(super) async fn skill_folder(&self, uri: &str, cx: &RequestContext<RoleServer>) -> Result<ListResourcesResult, ErrorData> {
        let found = skills::directory(&self.calls(cx)?, &self.catalog, uri).await.map_err(|fault| refused(&fault, cx))?;
        let mut result = ListResourcesResult::with_all_items(found).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        Self::stamp(&mut result.meta, cx);
        Ok(result)
    }
}
