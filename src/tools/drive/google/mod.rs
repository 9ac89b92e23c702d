//! The provider `google`: Google Drive by its interface v3.
//!
//! INVARIANT: it reaches Google's sign-in service and the drive's own origin, both of the operator's settings, and nothing else. It sees what the
//! login was given, which is what was asked for and no more.

mod api;
mod faults;
mod files;
pub mod login;
mod loopback;
mod oauth;
mod query;
mod settings;
mod tokens;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};
use crate::tools::CallContext;

use super::{Document, DrivePorts, Finds, Provider, Query, Sending, Sent, Wanted, keys};

use api::{Api, Caller};

pub use settings::{GoogleSettings, LOGIN, Places, Shared};

/// Google Drive.
pub struct GoogleDrive {
    api: Api,
    busy: upload::Busy,
}

impl GoogleDrive {
    /// By these settings. Nothing is asked yet.
    ///
    /// # Errors
    /// `INVALID_INPUT` for a place that cannot be one.
    pub fn new(settings: Arc<GoogleSettings>, ports: DrivePorts) -> Result<Self, Fault> {
        Ok(Self { api: Api::new(settings, ports)?, busy: upload::Busy::default() })
    }

    fn caller<'a>(&self, tool: &'a str, context: &'a CallContext) -> Caller<'a> {
        Caller { tool: Some(tool), cancel: &context.cancel, log: self.api.ports.http_events.of(context) }
    }
}

#[async_trait]
impl Provider for GoogleDrive {
    fn name(&self) -> &'static str {
        "google"
    }

    fn hosts(&self) -> Vec<String> {
        let places = &self.api.settings.places;
        let mut hosts = vec![keys::rule(&places.token), keys::rule(&places.api)];
        hosts.dedup();
        hosts
    }

    fn has_paths(&self) -> bool {
        false
    }

    async fn search(&self, query: &Query, context: &CallContext) -> Result<Finds, Fault> {
        self.api.search(query, &self.caller("drive.search", context)).await
    }

    async fn fetch(&self, id: &str, wanted: Option<Wanted>, context: &CallContext) -> Result<Document, Fault> {
        self.api.fetch(id, wanted, &self.caller("drive.get", context)).await
    }

    async fn target(&self, name: &str, folder: Option<&str>) -> Result<Value, Fault> {
        let fits = |c: char| !c.is_control() && !crate::confine::is_invisible(c);
        if name.trim().is_empty() || name.chars().count() > 255 || !name.chars().all(fits) || name.contains(['/', '\\']) {
            return Err(Fault::new(ErrorCode::InvalidInput, "`name` cannot be a document's name in Google Drive")
                .hint("give a name of at most 255 visible characters without slashes, and the folder's id as `folder`"));
        }
        let folder = folder.map(query::id).transpose()?;
        Ok(json!({ "name": name, "folder": folder }))
    }

    async fn send(&self, sending: Sending, context: &CallContext) -> Result<Sent, Fault> {
        self.api.upload(&sending, &self.busy, context, &self.caller("drive.upload", context)).await
    }
}
