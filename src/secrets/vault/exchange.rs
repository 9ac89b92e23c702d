//! Taking secrets out to another vault, and taking them in.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{ErrorCode, Fault, VaultWrite};
use crate::secrets::operator::OperatorProof;

use super::super::files;
use super::carry::{self, Carried, Carrier};
use super::shelf::Told;
use super::{SecretView, TRIES, Vault, busy, check_value, state, told_set, view};

/// Writes an export into a new file for its owner alone.
///
/// # Errors
/// `PATH_REFUSED` where the file is there or cannot be made.
pub fn save_export(path: &Path, sealed: &[u8]) -> Result<(), Fault> {
    files::write_new(path, sealed).map_err(|error| {
        Fault::new(ErrorCode::PathRefused, format!("`{}` cannot be written: {error}", path.display()))
            .hint("name a new file in a folder of yours")
    })
}

impl Vault {
    /// Everything in the vault, sealed for whoever `carrier` names.
    ///
    /// # Errors
    /// `INVALID_INPUT` for a short passphrase; `VAULT_LOCKED`, `VAULT_BROKEN`; what the shelf says.
    pub async fn export(&self, carrier: &Carrier, _by: &OperatorProof) -> Result<Vec<u8>, Fault> {
        if let Carrier::Passphrase(passphrase) = carrier
            && !carry::is_long_enough(passphrase)
        {
            return Err(Fault::new(ErrorCode::InvalidInput, "the file's passphrase has fewer than 8 characters"));
        }
        for _ in 0..TRIES {
            let kept = self.load().await?;
            let opened = self.ring(&kept).await?;
            let carried = kept
                .secrets
                .iter()
                .map(|row| {
                    let value = self.open(&opened, row)?.expose_secret().to_owned();
                    Ok(Carried { name: row.name.parse()?, value, terms: state::terms(row)? })
                })
                .collect::<Result<Vec<_>, Fault>>()?;
            let names = carried.iter().map(|secret| secret.name.clone()).collect();
            let packed = carry::pack(carried, carrier)?;
            let told = Told::Exported { secrets: names, sealed_for: carrier.word() };
            // Values leave only once the log says so.
            if self.inner.parts.shelf.keep(kept.last, Vec::new(), vec![told]).await? {
                return Ok(packed);
            }
        }
        Err(busy())
    }

    /// Takes in an export: all of it, or nothing. Names that are there already are replaced only where `replace` says so.
    ///
    /// # Errors
    /// `VAULT_BROKEN` where it does not open; `INVALID_INPUT` where a name is there already, or a value cannot be; those of [`Vault::set`].
    pub async fn import(&self, bytes: &[u8], carrier: &Carrier, replace: bool, _by: &OperatorProof) -> Result<Vec<SecretView>, Fault> {
        let mut carried = Vec::new();
        for mut secret in carry::unpack(bytes, carrier)? {
            let value = SecretString::from(std::mem::take(&mut secret.value));
            check_value(&value)?;
            secret.terms.check()?;
            self.inner.parts.live.add(secret.name.as_str(), &value);
            carried.push((secret.name.clone(), value, secret.terms.clone()));
        }
        let _turn = self.turn().await?;
        self.change(|kept, opened| {
            let (mut writes, mut told, mut views) = (Vec::new(), Vec::new(), Vec::new());
            for (name, value, terms) in &carried {
                if !replace && kept.secrets.iter().any(|row| row.name == name.as_str()) {
                    return Err(Fault::new(ErrorCode::InvalidInput, format!("secret `{name}` is in this vault already"))
                        .hint("nothing was imported; `--replace` takes the file's values in place of those here"));
                }
                let row = self.next_row(kept, opened, name, value, terms)?;
                told.push(told_set(&row, name, opened)?);
                views.push(view(&row)?);
                writes.push(VaultWrite::Put(row));
            }
            Ok((writes, told, views))
        })
        .await
    }
}
