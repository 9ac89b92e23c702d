//! What a token's scopes let its bearer ask for, before the one path is asked.
//!
//! INVARIANT: only ever narrower than policy: what is within the scopes is still decided on the path. What is beyond them is recorded
//! like every other refusal.

use std::sync::Arc;

use axum::http::Extensions;
use axum::response::Response;
use serde_json::Value;

use crate::call::{Along, Asking, NoProgress, Origin, RawCall, meant};
use crate::domain::{Actor, ErrorCode, Fault, Scope};
use crate::mcp::auth::{Admitted, Doorkeeper};
use crate::mcp::{Catalog, Gate};

use super::challenge;

/// What is needed to judge a message.
pub(super) struct Bounds {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) doorkeeper: Arc<dyn Doorkeeper>,
}

/// The fault of somebody whose token does not reach so far.
pub(in crate::mcp) fn beyond(what: &str, needed: Scope, admitted: &Admitted) -> Fault {
    let has = if admitted.scopes.iter().next().is_none() { "none".to_owned() } else { admitted.scopes.to_string() };
    let fault = Fault::new(ErrorCode::InsufficientScope, format!("{what} needs the scope `{needed}`; this token has {has}"));
    fault.hint(if admitted.access.can_widen() {
        "sign in again and ask for that scope"
    } else {
        "tell the user: the operator can make a token with that scope (`toolgate tokens create --scopes`)"
    })
}

/// What a message needs of its sender's token. Tools are known by what they do; to open a session and to see what there is needs nothing.
fn needed(message: &Value, catalog: &Catalog) -> Option<Scope> {
    match message.get("method")?.as_str()? {
        "tools/call" => {
            let params = message.get("params")?;
            let (name, _) = meant(params.get("name")?.as_str()?, params.get("arguments").unwrap_or(&Value::Null));
            // What does not exist is refused on the path.
            catalog.find(name).map(|entry| entry.needs)
        }
        "initialize" | "ping" | "server/discover" | "tools/list" | "logging/setLevel" => None,
        method if method.starts_with("notifications/") => None,
        _ => Some(Scope::ToolsRead),
    }
}

impl Bounds {
    /// Turns away what is beyond its sender's scopes. But a call of a tool with a token that no signing in can widen goes on: the tool's
    /// answer is the refusal, as a model reads that.
    pub(super) async fn refuse(&self, extensions: &Extensions, message: &Value) -> Option<Response> {
        let admitted = extensions.get::<Admitted>()?;
        let needed = needed(message, &self.catalog).filter(|needed| !admitted.scopes.allow(*needed))?;
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        if method == "tools/call" && !admitted.access.can_widen() {
            return None;
        }
        let params = message.get("params").unwrap_or(&Value::Null);
        let tool = params.get("name").and_then(Value::as_str).filter(|_| method == "tools/call");
        let fault = beyond(&format!("`{}`", tool.unwrap_or(method)), needed, admitted);
        if let Some(tool) = tool {
            let arguments = params.get("arguments").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            self.record(tool, arguments, Actor::agent(admitted.principal.clone()), fault.clone()).await;
        }
        let sign_in = self.doorkeeper.sign_in().filter(|_| admitted.access.can_widen());
        Some(challenge::insufficient(sign_in, needed, &fault))
    }

    async fn record(&self, tool: &str, arguments: Value, actor: Actor, fault: Fault) {
        match self.gate.adhoc_run(&actor).await {
            Ok(run) => {
                let raw = RawCall {
                    tool: tool.to_owned(),
                    arguments,
                    origin: Origin::Client,
                    actor,
                    run,
                    asking: Asking::default(),
                    tokens: 0,
                    along: Along::default(),
                    cancel: tokio_util::sync::CancellationToken::new(),
                    progress: Arc::new(NoProgress),
                };
                drop(self.gate.refuse(raw, fault).await);
            }
            Err(fault) => tracing::warn!(code = %fault.code, "a refusal is not recorded: {}", fault.message),
        }
    }
}
