//! A value that its service replaces by itself, as a login does when it is used.
//!
//! INVARIANT: only a secret that is there already gets another value, and its terms stay as the operator set them. No argument of a call
//! leads here: what is put in came from the service that the old value went to.

use secrecy::SecretString;

use crate::domain::{Fault, VaultWrite};

use super::{SecretName, SecretView, Vault, check_value, state, told_set, unknown, view};

impl Vault {
    /// Puts the value that the service gave in the place of the old one.
    ///
    /// # Errors
    /// `UNKNOWN_SECRET` where there is none of this name; those of [`Vault::set`].
    pub async fn renew(&self, name: &SecretName, value: &SecretString) -> Result<SecretView, Fault> {
        check_value(value)?;
        let _turn = self.turn().await?;
        self.inner.parts.live.add(name.as_str(), value);
        self.change(|kept, opened| {
            let before = kept.secrets.iter().find(|row| row.name == name.as_str()).ok_or_else(|| unknown(name))?;
            let row = self.next_row(kept, opened, name, value, &state::terms(before)?)?;
            Ok((vec![VaultWrite::Put(row.clone())], vec![told_set(&row, name, opened)?], view(&row)?))
        })
        .await
    }
}
