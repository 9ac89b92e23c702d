//! The key that signs checkpoints, and what it signs: size, root and the last record's hash.
//!
//! INVARIANT: the key's bytes leave this file only as the text of the key file. Does not read or write files.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use toolgate_evidence::checkpoint::{self, Checkpoint, PublicKey, Signer};
use toolgate_evidence::tree::Hash;
use zeroize::Zeroizing;

use crate::domain::{Digest, Fault};

/// How a private key's text begins, as other tools for signed notes write it.
const PRIVATE: &str = "PRIVATE+KEY+";
/// The number of Ed25519 in a note's key.
const ED25519: u8 = 1;
/// The extension line that names the hash of the last record.
const HEAD: &str = "head ";

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// The tree's root over them.
    pub root: Digest,
    /// The hash of the last of them.
    pub head: Option<Digest>,
    /// The id of the key that signed.
    pub key: String,
    /// The signed note itself.
    pub note: String,
}

/// The private key of a home.
pub(in crate::store) struct AuditKey {
    signer: Signer,
    private: SecretString,
}

impl AuditKey {
    /// A new key for the log `name`.
    pub(in crate::store) fn draw(name: &str) -> Result<Self, Fault> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut *seed);
        Self::of(name, &seed)
    }

    fn of(name: &str, seed: &[u8; 32]) -> Result<Self, Fault> {
        let signer = Signer::new(name, seed).map_err(|error| Fault::internal(format!("no audit key can be made: {error}")))?;
        let mut bytes = Zeroizing::new(vec![ED25519]);
        bytes.extend_from_slice(seed);
        let text = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
        let private = SecretString::from(format!("{PRIVATE}{name}+{}+{}\n", signer.public().id(), text.as_str()));
        Ok(Self { signer, private })
    }

    /// Reads the text of a key file.
    pub(in crate::store) fn parse(text: &SecretString) -> Option<Self> {
        let (name, rest) = text.expose_secret().trim_end().strip_prefix(PRIVATE)?.split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(key).ok()?);
        let (_, seed) = bytes.split_first().filter(|(kind, _)| **kind == ED25519)?;
        let key = Self::of(name, seed.try_into().ok()?).ok()?;
        (key.public().id() == id).then_some(key)
    }

    /// The text of the key file.
    pub(in crate::store) fn private(&self) -> &SecretString {
        &self.private
    }

    /// The public half.
    pub(in crate::store) fn public(&self) -> &PublicKey {
        self.signer.public()
    }

    /// Signs that the first `size` records have this root, and the last of them this hash.
    pub(in crate::store) fn sign(&self, size: u64, root: Hash, head: Digest) -> Result<SignedCheckpoint, Fault> {
        let origin = self.public().name().to_owned();
        let extensions = if size == 0 { Vec::new() } else { vec![format!("{HEAD}{head}")] };
        let note = self.signer.sign(&Checkpoint { origin, size, root, extensions });
        let note = note.map_err(|error| Fault::internal(format!("the checkpoint cannot be signed: {error}")))?;
        let head = (size > 0).then_some(head);
        Ok(SignedCheckpoint { size, root: Digest::from_bytes(root), head, key: self.public().id(), note })
    }
}

/// A public key of the home, and the sizes that it may sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct KnownKey {
    pub(in crate::store) public: PublicKey,
    /// From this size on.
    pub(in crate::store) since: u64,
    /// Up to this size, where another key came after it.
    pub(in crate::store) until: Option<u64>,
    /// `first`, `rotated` or `accepted`.
    pub(in crate::store) why: String,
}

/// Reads a signed note: by a key of the home, for a size that this key may sign for.
///
/// # Errors
/// What is wrong with it, in words.
pub(in crate::store) fn open(note: &str, keys: &[KnownKey]) -> Result<SignedCheckpoint, String> {
    let mut why = "this home has no audit key".to_owned();
    for key in keys.iter().rev() {
        match checkpoint::open(note, &key.public) {
            Ok(found) if found.size < key.since || key.until.is_some_and(|until| found.size > until) => {
                why = format!("the key {} may not sign for {} records", key.public.id(), found.size);
            }
            Ok(found) => return signed(found, key.public.id(), note),
            Err(checkpoint::CheckpointError::NotSigned(_)) => "it is not signed by a key of this home".clone_into(&mut why),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(why)
}

/// How many records a note speaks of, whoever signed it.
pub(in crate::store) fn size_of(note: &(impl AsRef<str> + ?Sized)) -> Option<u64> {
    checkpoint::peek(note.as_ref()).ok().map(|found| found.size)
}

fn signed(found: Checkpoint, key: String, note: &str) -> Result<SignedCheckpoint, String> {
    let head = found.extensions.iter().find_map(|line| line.strip_prefix(HEAD)).map(str::parse::<Digest>).transpose();
    let head = head.map_err(|_| "its `head` line is not a hash".to_owned())?;
    if head.is_none() != (found.size == 0) {
        return Err("its `head` line is missing".to_owned());
    }
    Ok(SignedCheckpoint { size: found.size, root: Digest::from_bytes(found.root), head, key, note: note.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_and_no_other_text_does() {
        let key = AuditKey::draw("toolgate/00").unwrap();
        let text = key.private().expose_secret().to_owned();
        assert_eq!(AuditKey::parse(&text.clone().into()).unwrap().public(), key.public());
        for bad in
            ["", "PRIVATE+KEY+", text.trim_start_matches('P'), &text.replacen('A', "B", 1), &text.replacen("toolgate/00", "toolgate/01", 1)]
        {
            assert!(AuditKey::parse(&bad.to_owned().into()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_signs_only_for_its_time() {
        let (old, new) = (AuditKey::draw("toolgate/00").unwrap(), AuditKey::draw("toolgate/00").unwrap());
        let known = |key: &AuditKey, since, until| KnownKey { public: key.public().clone(), since, until, why: "first".into() };
        let keys = [known(&old, 0, Some(10)), known(&new, 10, None)];
        let note = |key: &AuditKey, size| key.sign(size, [1; 32], Digest::of(b"head")).unwrap();
        for (key, size, fine) in
            [(&old, 1, true), (&old, 10, true), (&old, 11, false), (&new, 9, false), (&new, 10, true), (&new, 99, true)]
        {
            let signed = note(key, size);
            assert_eq!(open(&signed.note, &keys).ok(), fine.then_some(signed), "{size}");
        }
        let stranger = note(&AuditKey::draw("toolgate/00").unwrap(), 20);
        assert!(open(&stranger.note, &keys).unwrap_err().contains("not signed by a key of this home"));
        let bent = note(&new, 20).note.replace("\n20\n", "\n21\n");
        assert!(open(&bent, &keys).is_err());
    }
}
