//! The drives, from the operator's settings.
//!
//! INVARIANT: what a drive may reach is what stands here; nothing is asked while a home is opened.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::config::Config;
use crate::domain::{Clock, DriveChange, DriveFile, DriveHit, Fault, SecretName};
use crate::secrets::live::LiveSecrets;
use crate::secrets::vault::{Lent, Vault, unknown};
use crate::store::DriveIndex;
use crate::tools::drive::google::{GoogleDrive, GoogleSettings, Places, Shared};
use crate::tools::drive::keys::Keys;
use crate::tools::drive::objects::{Objects, Service, StoreSettings};
use crate::tools::drive::{DrivePorts, Drives, Index, LocalDrive, Provider};

use super::handlers::Ports;

/// How long an upload that was broken off can be gone on with: services forget it after a week.
const UPLOAD_GOOD: u64 = 6 * 24 * 3600;

/// What drives are made of, besides what all tools get.
#[derive(Clone)]
pub(super) struct DriveRoom {
    pub(super) local: LocalDrive,
    index: Arc<dyn Index>,
    keys: Arc<dyn Keys>,
}

impl DriveRoom {
    /// That of this home. A local drive that was not configured is an empty folder, not a missing one.
    ///
    /// # Errors
    /// `INTERNAL` where the folder cannot be made.
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>, keys: Arc<dyn Keys>) -> Result<Self, Fault> {
        let (root, home) = (&config.drive_local_root.value, &config.home.value);
        if root.starts_with(home) {
            crate::confine::Folder::create(root)?;
        }
        let index: Arc<dyn Index> = Arc::new(HomeIndex { index: DriveIndex::of(home), clock: clock.clone() });
        Ok(Self { local: LocalDrive::new(root, index.clone(), clock.clone()), index, keys })
    }
}

/// What drives of services get.
pub(super) fn ports(ports: &Ports<'_>) -> DrivePorts {
    DrivePorts {
        egress: ports.egress.clone(),
        http_events: ports.http_events.clone(),
        keys: ports.drive.keys.clone(),
        index: ports.drive.index.clone(),
        clock: ports.clock.clone(),
    }
}

/// The drives of these settings, in their order.
///
/// # Errors
/// `CONFIG_INVALID` for a setting that cannot be used.
pub(super) fn drives(given: &Ports<'_>) -> Result<Drives, Fault> {
    let settings = &given.config.drive;
    let mut all: Vec<Arc<dyn Provider>> = Vec::new();
    for name in &settings.providers.value {
        all.push(match (name.as_str(), Service::named(name)) {
            (_, Some(service)) => {
                let options = settings.stores.get(name).cloned().unwrap_or_default();
                Arc::new(Objects::new(StoreSettings { service, options }, ports(given)))
            }
            ("google", None) => {
                let google = google(given.config)?.ok_or_else(|| Fault::internal("Google Drive without a client id"))?;
                Arc::new(GoogleDrive::new(google, ports(given))?)
            }
            (_, None) => Arc::new(given.drive.local.clone()),
        });
    }
    Ok(Drives::new(all))
}

/// What is said of Google Drive; `None` where there is no client id.
///
/// # Errors
/// `INVALID_INPUT` for the name of a secret that is none.
pub(super) fn google(config: &Config) -> Result<Option<Arc<GoogleSettings>>, Fault> {
    let settings = &config.drive;
    let Some(client) = settings.google_client.value.clone() else { return Ok(None) };
    let mut places = Places::usual()?;
    for (name, place) in &settings.google_endpoints {
        let slot = match name.as_str() {
            "auth" => &mut places.auth,
            "token" => &mut places.token,
            "device" => &mut places.device,
            "revoke" => &mut places.revoke,
            _ => &mut places.api,
        };
        *slot = place.clone();
    }
    let shared = match settings.google_shared.value.as_str() {
        "no" => Shared::No,
        "all" => Shared::All,
        id => Shared::One(id.to_owned()),
    };
    Ok(Some(Arc::new(GoogleSettings {
        client,
        client_secret: settings.google_client_secret.value.as_deref().map(str::parse).transpose()?,
        scope: settings.google_scope.value.to_owned(),
        shared,
        places,
        chunk: usize::try_from(settings.google_chunk.value).unwrap_or(8 << 20),
    })))
}

/// Keys from the vault.
pub(super) struct VaultKeys {
    pub(super) vault: Vault,
    pub(super) live: LiveSecrets,
}

#[async_trait]
impl Keys for VaultKeys {
    async fn lend(&self, name: &SecretName, tool: Option<&str>) -> Result<Lent, Fault> {
        self.vault.lend(std::slice::from_ref(name), tool).await?.into_iter().next().ok_or_else(|| unknown(name))
    }

    async fn renew(&self, name: &SecretName, value: &SecretString) -> Result<(), Fault> {
        self.vault.renew(name, value).await.map(drop)
    }

    fn hide(&self, name: &str, value: &SecretString) {
        // Too short a value cannot be told from ordinary text; services give none.
        let _ = self.live.add(name, value);
    }
}

/// A house without a vault.
pub(super) struct NoKeys;

#[async_trait]
impl Keys for NoKeys {
    async fn lend(&self, name: &SecretName, _tool: Option<&str>) -> Result<Lent, Fault> {
        Err(unknown(name))
    }

    async fn renew(&self, name: &SecretName, _value: &SecretString) -> Result<(), Fault> {
        Err(unknown(name))
    }

    fn hide(&self, _name: &str, _value: &SecretString) {}
}

/// The index that lies in the home.
struct HomeIndex {
    index: DriveIndex,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Index for HomeIndex {
    async fn known(&self, under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault> {
        self.index.known(under).await
    }

    async fn apply(&self, changes: &[DriveChange]) -> Result<(), Fault> {
        self.index.apply(changes).await
    }

    async fn find(&self, words: &[String], under: Option<&str>, limit: usize) -> Result<Vec<DriveHit>, Fault> {
        self.index.find(words, under, limit).await
    }

    async fn upload(&self, key: &str) -> Result<Option<String>, Fault> {
        self.index.upload(key).await
    }

    async fn keep_upload(&self, key: &str, state: Option<&str>) -> Result<(), Fault> {
        let now = self.clock.now().unix_millis() / 1000;
        self.index.keep_upload(key, state, now, now.saturating_sub(UPLOAD_GOOD)).await
    }
}
