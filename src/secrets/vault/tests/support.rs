//! A vault over a store in memory, with a folder for its key and an operator who is there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::app::{StoreShelf, SystemClock};
use crate::domain::{Clock, ErrorCode, Fault, OwnerId, VaultWrite};
use crate::secrets::live::LiveSecrets;
use crate::secrets::operator::{Ask, Operator, OperatorProof, Passphrase};
use crate::secrets::vault::*;
use crate::store::{Durability, OpenOptions, Store};

/// Somebody who knows the passphrase.
struct Person;

impl Ask for Person {
    fn ask(&self, _prompt: &str) -> Result<Passphrase, Fault> {
        Ok(Passphrase::new("correct horse".into()))
    }
    fn is_a_person(&self) -> bool {
        false
    }
}

/// Proof of the operator of a throw-away home.
pub(super) fn proof() -> OperatorProof {
    let home = tempfile::tempdir().unwrap();
    Operator::in_session(home.path(), Arc::new(SystemClock), None).prove(&Person).unwrap()
}

/// A keyring that is not there, or one in memory.
#[derive(Clone, Default)]
pub(super) struct TestKeyring(pub(super) Option<Arc<Mutex<Option<String>>>>);

impl Keyring for TestKeyring {
    fn get(&self, _user: &str) -> Result<Option<Zeroizing<String>>, String> {
        let kept = self.0.as_ref().ok_or("this session has no keyring")?;
        Ok(kept.lock().unwrap().clone().map(Zeroizing::new))
    }
    fn set(&self, _user: &str, text: &str) -> Result<(), String> {
        let kept = self.0.as_ref().ok_or("this session has no keyring")?;
        *kept.lock().unwrap() = Some(text.to_owned());
        Ok(())
    }
}

/// A shelf whose power goes off at a certain write: before it, or after it was made and before anybody heard of it.
pub(super) struct Breaking {
    pub(super) inner: StoreShelf,
    /// Writes until then; negative for never.
    pub(super) left: Arc<AtomicI64>,
    pub(super) after: Arc<std::sync::atomic::AtomicBool>,
}

#[async_trait]
impl Shelf for Breaking {
    async fn load(&self) -> Result<Kept, Fault> {
        self.inner.load().await
    }
    async fn last(&self) -> Result<u64, Fault> {
        self.inner.last().await
    }
    async fn keep(&self, after: u64, writes: Vec<VaultWrite>, told: Vec<Told>) -> Result<bool, Fault> {
        let breaks = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        if breaks && !self.after.load(Ordering::SeqCst) {
            return Err(Fault::new(ErrorCode::StoreFailed, "the power went off"));
        }
        let kept = self.inner.keep(after, writes, told).await;
        if breaks { Err(Fault::new(ErrorCode::StoreFailed, "the power went off")) } else { kept }
    }
}

/// A vault and all that is around it.
pub(super) struct World {
    pub(super) home: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) live: LiveSecrets,
    pub(super) left: Arc<AtomicI64>,
    pub(super) after: Arc<std::sync::atomic::AtomicBool>,
    pub(super) wanted: Wanted,
    pub(super) keyring: TestKeyring,
}

pub(super) async fn memory() -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let redact = Arc::new(crate::call::NoRedaction);
    let options = OpenOptions { home: None, owner: OwnerId::mint(clock.now()), clock, durability: Durability::Relaxed, redact };
    Store::open(options).await.unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Wanted::Auto, TestKeyring::default()).await
    }

    pub(super) async fn with(wanted: Wanted, keyring: TestKeyring) -> Self {
        let (home, store, live) = (tempfile::tempdir().unwrap(), memory().await, LiveSecrets::new());
        let (left, after) = (Arc::new(AtomicI64::new(-1)), Arc::default());
        let vault = vault_of(home.path(), &store, &live, (wanted, None, keyring.clone()), (&left, &after));
        Self { home, store, vault, live, left, after, wanted, keyring }
    }

    /// Another process on the same home: nothing in memory is left.
    pub(super) fn reopen(&mut self) {
        self.left.store(-1, Ordering::SeqCst);
        self.vault = self.another();
    }

    pub(super) fn another(&self) -> Vault {
        let place = (self.wanted, None, self.keyring.clone());
        vault_of(self.home.path(), &self.store, &self.live, place, (&self.left, &self.after))
    }

    pub(super) fn key_file(&self) -> PathBuf {
        self.home.path().join("vault/key")
    }

    pub(super) fn shelf(&self) -> StoreShelf {
        StoreShelf::new(self.store.clone()).unwrap()
    }
}

type Place = (Wanted, Option<PathBuf>, TestKeyring);

pub(super) fn vault_of(
    home: &Path,
    store: &Store,
    live: &LiveSecrets,
    (wanted, file, keyring): Place,
    (left, after): (&Arc<AtomicI64>, &Arc<std::sync::atomic::AtomicBool>),
) -> Vault {
    let inner = StoreShelf::new(store.clone()).unwrap();
    Vault::new(VaultParts {
        shelf: Arc::new(Breaking { inner, left: left.clone(), after: after.clone() }),
        place: KeyPlace::new(home, wanted, file, Box::new(keyring)),
        live: live.clone(),
        clock: Arc::new(SystemClock),
    })
}

pub(super) fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

pub(super) fn terms(hosts: &[&str]) -> Terms {
    Terms { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), ..Terms::default() }
}

impl World {
    pub(super) async fn set(&self, text: &str, value: &str, by: &OperatorProof) -> Result<SecretView, Fault> {
        self.vault.set(&name(text), &SecretString::from(value), &terms(&["api.example.com"]), by).await
    }
}

pub(super) async fn value(vault: &Vault, text: &str) -> Result<String, Fault> {
    let lent = vault.lend(&[name(text)], None).await?;
    Ok(lent[0].value.expose_secret().to_owned())
}
