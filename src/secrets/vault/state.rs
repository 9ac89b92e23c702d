//! Holds the rows against the log: what the vault's events say must lie there, in that very version.
//!
//! INVARIANT: a row that was put back to an earlier state, taken away or slipped in is found before any value is opened, and named. Pure.

use std::collections::BTreeMap;

use crate::domain::{ErrorCode, Fault, SecretId, SecretRow};

use super::key::{KeyId, Ring};
use super::seal;
use super::shelf::{Kept, Told};
use super::terms::Terms;

/// What the log says of one secret.
struct Expected {
    name: String,
    version: u64,
    key: String,
}

/// Checks everything.
///
/// # Errors
/// `VAULT_BROKEN` with the name of the first secret that is not as it was left.
pub(super) fn check(kept: &Kept) -> Result<(), Fault> {
    let mut expected: BTreeMap<SecretId, Expected> = BTreeMap::new();
    let mut keys: Vec<&str> = Vec::new();
    for told in &kept.told {
        match told {
            Told::Set { secret, name, version, key } | Told::Rewrapped { secret, name, version, key } => {
                expected.insert(*secret, Expected { name: name.to_string(), version: *version, key: key.clone() });
            }
            Told::Removed { secret, .. } => {
                expected.remove(secret);
            }
            Told::KeyAdded { key } => keys.push(key),
            Told::KeyRetired { key } => keys.retain(|known| known != key),
            Told::Exported { .. } => {}
        }
    }
    for row in &kept.secrets {
        let Some(known) = expected.remove(&row.id) else {
            return Err(broken(&row.name, "lies in the vault, and the log says nothing of it or that it was removed"));
        };
        if known.version != row.version {
            let why = format!("lies in the vault in version {}, and the log says {}", row.version, known.version);
            return Err(broken(&row.name, &why));
        }
        let sealed_with = seal::key_of(&row.blob).map(|key| key.to_string());
        if known.name != row.name || sealed_with.as_deref() != Some(known.key.as_str()) {
            return Err(broken(&known.name, "is not the record that the log tells of"));
        }
    }
    if let Some(gone) = expected.values().next() {
        return Err(broken(&gone.name, "is gone from the vault, and the log does not say that it was removed"));
    }
    let same = kept.keys.len() == keys.len() && kept.keys.iter().all(|row| keys.contains(&row.id.as_str()));
    if same { Ok(()) } else { Err(broken("(all)", "cannot be trusted: the keys known to the vault are not those of the log")) }
}

/// Checks that these are the vault's keys: every key that a secret needs is there, and each is the very key that was used.
///
/// # Errors
/// `VAULT_LOCKED`.
pub(super) fn check_ring(kept: &Kept, ring: &Ring, lies: &dyn std::fmt::Display) -> Result<(), Fault> {
    for row in &kept.keys {
        let id: KeyId = row.id.parse().map_err(|_| broken("(all)", "cannot be trusted: a key has no id"))?;
        let needed = kept.secrets.iter().any(|secret| seal::key_of(&secret.blob) == Some(id));
        match ring.find(id) {
            Some(key) if key.proof().as_slice() == row.proof.as_slice() => {}
            None if !needed => {}
            Some(_) | None => {
                return Err(Fault::new(ErrorCode::VaultLocked, format!("the key in {lies} is not the one that sealed this vault"))
                    .hint("put the right key back; nothing was opened or changed"));
            }
        }
    }
    Ok(())
}

/// The terms of a row.
pub(super) fn terms(row: &SecretRow) -> Result<Terms, Fault> {
    serde_json::from_str(&row.terms).map_err(|_| broken(&row.name, "has terms that cannot be read"))
}

fn broken(name: &str, why: &str) -> Fault {
    Fault::new(ErrorCode::VaultBroken, format!("secret `{name}` {why}"))
        .hint("somebody changed the database; run `toolgate audit verify`, and restore the home from a backup")
}
