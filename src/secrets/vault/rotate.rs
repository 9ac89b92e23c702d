//! Changing the master key, one durable step at a time: the new key is kept first, then each secret is sealed anew, then the old key goes.
//!
//! INVARIANT: at every point each secret opens with a key that is kept, and going on leads to the same end.

use secrecy::ExposeSecret as _;

use std::sync::Arc;

use crate::domain::{ErrorCode, Fault, SecretRow, VaultWrite};
use crate::secrets::operator::OperatorProof;

use super::key::{MasterKey, Ring};
use super::ring::{Opened, blocking, is_known, key_row};
use super::shelf::{Kept, Told};
use super::{Rotation, TRIES, Vault, bound, busy, seal};

impl Vault {
    /// Makes a new key and seals every secret anew with it, or finishes a rotation that was broken off. Until it is done the old key
    /// opens what it sealed, and seals nothing.
    ///
    /// # Errors
    /// `VAULT_LOCKED`, `VAULT_BROKEN`; what the shelf says. Called again it goes on where it stopped.
    pub async fn rotate(&self, _by: &OperatorProof) -> Result<Rotation, Fault> {
        let _turn = self.turn().await?;
        let kept = self.load().await?;
        self.forget_ring();
        let resumed = match self.ring_or_none(&kept).await? {
            None => return Err(Fault::new(ErrorCode::VaultLocked, "the vault has no key yet").hint("`toolgate vault set` makes one")),
            Some(opened) => self.begin_rotation(&kept, &opened).await?,
        };
        let (mut rewrapped, mut key) = (0, String::new());
        while let Some((told, current)) = self.rotate_one().await? {
            rewrapped += usize::from(told);
            key = current;
        }
        self.tidy_ring().await?;
        Ok(Rotation { key, rewrapped, resumed })
    }

    /// Puts a new key in front, unless there is one that waits for its rotation to end; tells which it was.
    async fn begin_rotation(&self, kept: &Kept, opened: &Opened) -> Result<bool, Fault> {
        let current = opened.ring.current()?;
        let unfinished = !is_known(kept, current) || kept.keys.len() > 1;
        if unfinished {
            return Ok(true);
        }
        let (inner, lies, text) = (self.inner.clone(), opened.lies.clone(), opened.ring.text());
        let begun = blocking(move || {
            let mut ring = Ring::parse(text.as_bytes()).map_err(|why| Fault::internal(why.to_string()))?;
            ring.begin_with(MasterKey::random()?);
            inner.parts.place.save(&ring, &lies)?;
            Ok(Arc::new(Opened { ring, lies }))
        })
        .await?;
        self.cache(Some(begun));
        Ok(false)
    }

    /// One step of a rotation: whether a secret was sealed anew, and the key's id; `None` when nothing is left to do.
    async fn rotate_one(&self) -> Result<Option<(bool, String)>, Fault> {
        for _ in 0..TRIES {
            let kept = self.load().await?;
            let opened = self.ring(&kept).await?;
            let current = opened.ring.current()?;
            let (write, told, rewrapped) = if !is_known(&kept, current) {
                (VaultWrite::AddKey(key_row(current)), Told::KeyAdded { key: current.id().to_string() }, false)
            } else if let Some(row) = kept.secrets.iter().find(|row| seal::key_of(&row.blob) != Some(current.id())) {
                let (row, told) = self.rewrapped(&opened, row)?;
                (VaultWrite::Put(row), told, true)
            } else if let Some(old) = kept.keys.iter().find(|row| row.id != current.id().to_string()) {
                (VaultWrite::RemoveKey(old.id.clone()), Told::KeyRetired { key: old.id.clone() }, false)
            } else {
                return Ok(None);
            };
            if self.inner.parts.shelf.keep(kept.last, vec![write], vec![told]).await? {
                return Ok(Some((rewrapped, current.id().to_string())));
            }
        }
        Err(busy())
    }

    /// The same value under the key that seals, one version on.
    fn rewrapped(&self, opened: &Opened, row: &SecretRow) -> Result<(SecretRow, Told), Fault> {
        let value = self.open(opened, row)?;
        let mut next = SecretRow { version: row.version + 1, ..row.clone() };
        let current = opened.ring.current()?;
        next.blob = seal::seal(current, &bound(&next), value.expose_secret().as_bytes())?;
        let key = current.id().to_string();
        let told = Told::Rewrapped { secret: next.id, name: next.name.parse()?, version: next.version, key };
        Ok((next, told))
    }

    /// Seals anew what a rotation that was broken off left behind. What does not work now is done another time.
    pub(super) async fn rewrap_some(&self, kept: &Kept, opened: &Opened) {
        let Ok(current) = opened.ring.current() else { return };
        if kept.keys.len() < 2 || !is_known(kept, current) {
            return;
        }
        let stale: Vec<_> = kept.secrets.iter().filter(|row| seal::key_of(&row.blob) != Some(current.id())).collect();
        let done: Result<Vec<_>, Fault> = stale.into_iter().map(|row| self.rewrapped(opened, row)).collect();
        let Ok(done) = done else { return };
        let (writes, told) = done.into_iter().map(|(row, told)| (VaultWrite::Put(row), told)).unzip();
        if let Err(fault) = self.inner.parts.shelf.keep(kept.last, writes, told).await {
            tracing::warn!("the vault's rotation does not go on: {fault}");
        }
    }

    /// Does away with keys that nothing needs.
    async fn tidy_ring(&self) -> Result<(), Fault> {
        let kept = self.load().await?;
        let opened = self.ring(&kept).await?;
        if opened.ring.iter().count() < 2 {
            return Ok(());
        }
        let (inner, lies, text) = (self.inner.clone(), opened.lies.clone(), opened.ring.text());
        let tidied = blocking(move || {
            let mut ring = Ring::parse(text.as_bytes()).map_err(|why| Fault::internal(why.to_string()))?;
            ring.keep_only(|id| kept.keys.iter().any(|row| row.id == id.to_string()));
            inner.parts.place.save(&ring, &lies)?;
            Ok(Arc::new(Opened { ring, lies }))
        })
        .await?;
        self.cache(Some(tidied));
        Ok(())
    }
}
