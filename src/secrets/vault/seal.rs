//! One secret sealed: AES-256-GCM under a key of its own, bound to all that the record says of itself.
//!
//! `magic | version | key id | salt | nonce | ciphertext and tag`. The record's key is HKDF-SHA256 of the master key with a random salt, and
//! the nonce is random, both new with every write.
//!
//! INVARIANT: a blob opens only in the record, under the name, in the version and with the terms that it was sealed for; whatever else is
//! tried ends in one and the same error.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::domain::{ErrorCode, Fault, SecretId};

use super::key::{KEY_ID, KeyId, MasterKey, Ring};

const MAGIC: &[u8; 4] = b"TGvt";
const VERSION: u8 = 1;
const SALT: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
const HEAD: usize = MAGIC.len() + 1 + KEY_ID + SALT + NONCE;

/// What a blob is bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) id: SecretId,
    pub(super) name: &'a str,
    pub(super) version: u64,
    /// As they are stored.
    pub(super) terms: &'a str,
}

impl Bound<'_> {
    /// Each part behind its length, so that no two lists of parts give the same bytes.
    fn associated(&self, key: KeyId) -> Vec<u8> {
        let (id, version) = (self.id.to_string(), self.version.to_be_bytes());
        let parts: [&[u8]; 7] =
            [b"toolgate/vault", &[VERSION], key.bytes(), id.as_bytes(), self.name.as_bytes(), &version, self.terms.as_bytes()];
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn info(&self) -> Vec<u8> {
        format!("toolgate/vault/v1|{}", self.id).into_bytes()
    }
}

/// Seals a value.
pub(super) fn seal(key: &MasterKey, bound: &Bound<'_>, value: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut salt, mut nonce) = ([0_u8; SALT], [0_u8; NONCE]);
    rand::fill(&mut salt);
    rand::fill(&mut nonce);
    let cipher = cipher(key, &salt, bound)?;
    let payload = Payload { msg: value, aad: &bound.associated(key.id()) };
    let sealed = cipher.encrypt(&Nonce::<U12>::from(nonce), payload).map_err(|_| Fault::internal("a secret cannot be sealed"))?;
    let mut blob = Vec::with_capacity(HEAD + sealed.len());
    blob.extend_from_slice(MAGIC);
    blob.push(VERSION);
    blob.extend_from_slice(key.id().bytes());
    blob.extend_from_slice(&salt);
    blob.extend_from_slice(&nonce);
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

/// Opens a blob.
///
/// # Errors
/// `VAULT_BROKEN`, the same whatever is wrong.
pub(super) fn open(ring: &Ring, bound: &Bound<'_>, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    try_open(ring, bound, blob).ok_or_else(|| {
        Fault::new(ErrorCode::VaultBroken, format!("secret `{}` cannot be opened", bound.name))
            .hint("it was changed or damaged, or it belongs to another vault; set it anew with `toolgate vault set`, or restore a backup")
    })
}

fn try_open(ring: &Ring, bound: &Bound<'_>, blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (id, rest) = parse(blob)?;
    let (salt, rest) = rest.split_at_checked(SALT)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
    let key = ring.find(id)?;
    let cipher = cipher(key, salt, bound).ok()?;
    let payload = Payload { msg: sealed, aad: &bound.associated(id) };
    cipher.decrypt(&Nonce::<U12>::from(*nonce), payload).ok().map(Zeroizing::new)
}

/// The key a blob says it was sealed with.
pub(super) fn key_of(blob: &[u8]) -> Option<KeyId> {
    (blob.len() >= HEAD + TAG).then(|| parse(blob).map(|(id, _)| id)).flatten()
}

fn parse(blob: &[u8]) -> Option<(KeyId, &[u8])> {
    let rest = blob.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
    let (id, rest) = rest.split_first_chunk::<KEY_ID>()?;
    Some((KeyId::of(*id), rest))
}

fn cipher(key: &MasterKey, salt: &[u8], bound: &Bound<'_>) -> Result<Aes256Gcm, Fault> {
    let key = key.for_record(salt, &bound.info())?;
    Aes256Gcm::new_from_slice(key.as_slice()).map_err(|_| Fault::internal("a record's key has a wrong length"))
}
