//! Master keys: 32 random bytes each, and the few of them that a vault has at a time.
//!
//! INVARIANT: a key is wiped when it is dropped and has no text form but the one that is stored; its id and its proof tell nothing of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::Fault;

/// Bytes of a key.
pub(super) const KEY: usize = 32;

/// Bytes of a key's id.
pub(super) const KEY_ID: usize = 8;

/// Bytes of the value by which a key is known to be the right one.
pub(super) const PROOF: usize = 32;

/// The most keys of one ring: one, and those that a rotation has not done away with yet.
const MOST_KEYS: usize = 8;

/// A key's id: derived from the key, so that a key cannot take another's place under the same id by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID]);

impl KeyId {
    /// The id of these bytes.
    #[must_use]
    pub(super) fn of(bytes: [u8; KEY_ID]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8; KEY_ID] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for KeyId {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 2 * KEY_ID && text.is_ascii());
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| Fault::internal("a text is not the id of a key"))
    }
}

/// One master key.
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY]>,
    id: KeyId,
    proof: [u8; PROOF],
}

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// Never in practice: `INTERNAL` where the derivation of its id fails.
    pub(super) fn random() -> Result<Self, Fault> {
        let mut bytes = Zeroizing::new([0_u8; KEY]);
        rand::fill(bytes.as_mut_slice());
        Self::of(bytes)
    }

    pub(super) fn of(bytes: Zeroizing<[u8; KEY]>) -> Result<Self, Fault> {
        let (mut id, mut proof) = ([0; KEY_ID], [0; PROOF]);
        derive(&bytes, None, b"toolgate/vault/v1|key id", &mut id)?;
        derive(&bytes, None, b"toolgate/vault/v1|check", &mut proof)?;
        Ok(Self { bytes, id: KeyId(id), proof })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the vault keeps to know it again. An AES-GCM text could be made to open under two keys; under this value there is one.
    #[must_use]
    pub(super) fn proof(&self) -> &[u8; PROOF] {
        &self.proof
    }

    /// The key of one record.
    pub(super) fn for_record(&self, salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; KEY]>, Fault> {
        let mut key = Zeroizing::new([0_u8; KEY]);
        derive(&self.bytes, Some(salt), info, key.as_mut_slice())?;
        Ok(key)
    }
}

fn derive(key: &[u8; KEY], salt: Option<&[u8]>, info: &[u8], into: &mut [u8]) -> Result<(), Fault> {
    Hkdf::<Sha256>::new(salt, key).expand(info, into).map_err(|_| Fault::internal("a key of this length cannot be derived"))
}

/// The keys of a vault, the one that seals first.
pub struct Ring {
    keys: Vec<MasterKey>,
}

/// Why a text is no ring; never holds any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRing {
    #[error("it is empty")]
    Empty,
    #[error("line {0} is not 32 bytes in base64")]
    Line(usize),
    #[error("it holds more than {MOST_KEYS} keys")]
    TooMany,
    #[error("it is not text")]
    NotText,
    #[error("a key stands in it twice")]
    Twice,
}

impl Ring {
    /// A ring of one key.
    pub(super) fn of(key: MasterKey) -> Self {
        Self { keys: vec![key] }
    }

    /// Reads one key a line, each 32 bytes in base64, the one that seals first.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoRing> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoRing::NotText)?;
        let mut keys: Vec<MasterKey> = Vec::new();
        for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty()) {
            if keys.len() == MOST_KEYS {
                return Err(NoRing::TooMany);
            }
            let mut bytes = Zeroizing::new([0_u8; KEY]);
            let mut decoded = Zeroizing::new(BASE64.decode(line).map_err(|_| NoRing::Line(at))?);
            if decoded.len() != KEY {
                return Err(NoRing::Line(at));
            }
            bytes.copy_from_slice(&decoded);
            decoded.zeroize();
            let key = MasterKey::of(bytes).map_err(|_| NoRing::Line(at))?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(NoRing::Twice);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(NoRing::Empty) } else { Ok(Self { keys }) }
    }

    /// As [`Ring::parse`] reads it.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.keys.len() * 48));
        for key in &self.keys {
            let line = Zeroizing::new(BASE64.encode(key.bytes.as_slice()));
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The key that seals.
    pub(super) fn current(&self) -> Result<&MasterKey, Fault> {
        self.keys.first().ok_or_else(|| Fault::internal("a ring without a key"))
    }

    /// The key of this id.
    pub(super) fn find(&self, id: KeyId) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// Every key.
    pub(super) fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        self.keys.iter()
    }

    /// With a new key in front of the others.
    pub(super) fn begin_with(&mut self, key: MasterKey) {
        self.keys.insert(0, key);
    }

    /// Without the keys that are told; never without the one that seals.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(KeyId) -> bool) {
        let current = self.keys.first().map(MasterKey::id);
        self.keys.retain(|key| Some(key.id) == current || wanted(key.id));
    }
}
