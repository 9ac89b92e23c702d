//! The vault's shelf in the house's database: rows beside the journal, told of by the events of one run that every home has.
//!
//! INVARIANT: a row changes only in the transaction of its event, and only if no other event came before it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, VaultKeyPlace};
use crate::domain::{Actor, Clock, ErrorCode, Fault, RunId, VaultWrite};
use crate::run::{EventDraft, EventKind, RunKind};
use crate::secrets::live::LiveSecrets;
use crate::secrets::reference::reference;
use crate::secrets::vault::{Kept, KeyPlace, Shelf, SystemKeyring, Told, Vault, VaultParts, Wanted};
use crate::store::{Append, Change, Guard, Store};

/// The run that the vault's events belong to, the same in every home. It sorts before all others.
const RUN: &str = "run_00000000000070008000007661756c74";

/// The vault of this home.
pub(super) fn vault(config: &Config, store: &Store, live: &LiveSecrets, clock: &Arc<dyn Clock>) -> Result<Vault, Fault> {
    let wanted = match config.vault_key.value {
        VaultKeyPlace::Auto => Wanted::Auto,
        VaultKeyPlace::Keyring => Wanted::Keyring,
        VaultKeyPlace::File => Wanted::File,
    };
    let file = config.vault_key_file.value.clone();
    Ok(Vault::new(VaultParts {
        shelf: Arc::new(StoreShelf::new(store.clone())?),
        place: KeyPlace::new(&config.home.value, wanted, file, Box::new(SystemKeyring)),
        live: live.clone(),
        clock: clock.clone(),
    }))
}

/// The settings with the values of the secrets that they refer to. A proxy that cannot be read is none that answers: without it nothing goes
/// out by another way, and the verb that mends it still works.
pub(super) async fn with_secrets(config: &Config, vault: &Vault) -> Config {
    let mut config = config.clone();
    let Some(text) = config.egress_proxy.value.clone() else { return config };
    match setting(&text, vault).await {
        Ok(None) => {}
        Ok(Some(value)) => config.egress_proxy.value = Some(value.expose_secret().to_owned()),
        Err(fault) => {
            tracing::error!(code = %fault.code, "`egress.proxy` refers to a secret that cannot be had, so nothing goes out: {fault}");
            config.egress_proxy.value = Some(NO_PROXY.to_owned());
        }
    }
    config
}

/// The value that a setting refers to; `None` for an ordinary one.
async fn setting(text: &str, vault: &Vault) -> Result<Option<SecretString>, Fault> {
    let Some(name) = reference(text)? else { return Ok(None) };
    let lent = vault.lend(&[name], None).await?;
    Ok(lent.into_iter().next().map(|lent| lent.value))
}

/// A proxy that never answers.
const NO_PROXY: &str = "http://secret-not-set.invalid:9";

/// How often a server looks for secrets that others set.
const LOOK: Duration = Duration::from_secs(2);

/// Keeps the redactor knowing every secret, also those that other processes set, until `stop`.
pub(super) async fn keep_live(vault: Vault, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(fault) = vault.refresh().await {
            tracing::debug!(code = %fault.code, "the vault cannot be looked at: {fault}");
        }
    }
}

/// A shelf in this store.
pub struct StoreShelf {
    store: Store,
    run: RunId,
}

impl StoreShelf {
    /// The vault's place in this store.
    ///
    /// # Errors
    /// Never in practice: `INTERNAL` where the run's id does not read.
    pub fn new(store: Store) -> Result<Self, Fault> {
        let run = RUN.parse().map_err(|error| Fault::internal(format!("{error}")))?;
        Ok(Self { store, run })
    }
}

#[async_trait]
impl Shelf for StoreShelf {
    async fn load(&self) -> Result<Kept, Fault> {
        let rows = self.store.vault(&self.run).await?;
        let last = rows.events.last().map_or(0, |event| event.seq);
        let mut kept = Kept { last, secrets: rows.secrets, keys: rows.keys, ..Kept::default() };
        for event in rows.events {
            let Ok(told) = serde_json::from_value::<Told>(Value::Object(event.payload)) else { continue };
            if matches!(told, Told::KeyAdded { .. }) {
                kept.keyed = Some(event.ts);
            }
            kept.told.push(told);
        }
        Ok(kept)
    }

    async fn last(&self) -> Result<u64, Fault> {
        Ok(self.store.run(&self.run).await?.map_or(0, |run| run.last_seq))
    }

    async fn keep(&self, after: u64, writes: Vec<VaultWrite>, told: Vec<Told>) -> Result<bool, Fault> {
        let mut changes: Vec<Change> = writes.into_iter().map(Change::Vault).collect();
        let mut events = told.iter().map(draft).collect::<Result<Vec<_>, Fault>>()?;
        let mut guards = vec![Guard::LastSeq(after)];
        if after == 0 {
            // A run that is there already fails the creation as the guard would.
            guards.clear();
            events.insert(0, EventDraft::new(EventKind::RunCreated, Actor::system()).field("kind", "adhoc").field("about", "vault"));
            changes.insert(0, Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: Actor::system().principal });
        }
        match self.store.append(Append { run: Some(self.run), events, guards, changes }).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.code == ErrorCode::RunState => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// What the operator does is the operator's; going on with a rotation is the house's.
fn draft(told: &Told) -> Result<EventDraft, Fault> {
    let actor = match told {
        Told::Rewrapped { .. } => Actor::system(),
        Told::Set { .. } | Told::Removed { .. } | Told::KeyAdded { .. } | Told::KeyRetired { .. } | Told::Exported { .. } => {
            Actor::operator()
        }
    };
    let fields = serde_json::to_value(told).map_err(|error| Fault::internal(format!("an event has no JSON form: {error}")))?;
    let mut draft = EventDraft::new(EventKind::SystemEvent, actor);
    draft.payload = fields.as_object().cloned().unwrap_or_default();
    Ok(draft)
}
