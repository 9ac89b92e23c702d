//! Checkpoints of C2SP tlog-checkpoint: the tree's size and root as a note signed with Ed25519, and the keys that sign and verify them.
//!
//! INVARIANT: [`open`] gives a checkpoint only where the key it was asked about signed exactly these bytes; one checkpoint has one
//! spelling. Does not draw keys and does not know the time.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use signed_note::{Note, NoteError, VerificationError, VerifierList};

use crate::tree::Hash;

/// Longest checkpoint that is read, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// The number of Ed25519 in a note's key.
const ED25519: u8 = 1;

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log: `toolgate/<home id>`; also the name of the key that signs.
    pub origin: String,
    /// How many records the tree has.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Further lines that are signed with it.
    pub extensions: Vec<String>,
}

/// Why a checkpoint or a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not spelled as the format has it.
    #[error("the checkpoint is not one: {0}")]
    Malformed(&'static str),
    /// No signature of the key that was asked about.
    #[error("the checkpoint is not signed by the key {0}")]
    NotSigned(String),
    /// The key's signature is not over these bytes.
    #[error("the checkpoint's signature by the key {0} does not verify")]
    BadSignature(String),
    /// It is signed, but is another log's.
    #[error("the checkpoint is of the log `{0}`, not of the key's")]
    OtherLog(String),
    /// Not a public key in the verifier's form.
    #[error("not a public key of the form NAME+ID+KEY")]
    Key,
}

impl Checkpoint {
    /// The text that is signed.
    ///
    /// # Errors
    /// Where a line is empty or holds a control character, so that it would read as something else.
    pub fn body(&self) -> Result<String, CheckpointError> {
        let is_line = |line: &String| !line.is_empty() && !line.chars().any(char::is_control);
        if !is_line(&self.origin) || !self.extensions.iter().all(is_line) {
            return Err(CheckpointError::Malformed("a line is empty or holds a control character"));
        }
        let mut body = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64_STANDARD.encode(self.root));
        for line in &self.extensions {
            body.push_str(line);
            body.push('\n');
        }
        Ok(body)
    }

    /// Reads the text that is signed.
    ///
    /// # Errors
    /// Where it is not spelled as [`Self::body`] spells it.
    pub fn parse(body: &str) -> Result<Self, CheckpointError> {
        let malformed = |what| move || CheckpointError::Malformed(what);
        let mut lines = body.strip_suffix('\n').ok_or_else(malformed("its last line has no end"))?.split('\n');
        let origin = lines.next().unwrap_or_default().to_owned();
        let size = lines.next().and_then(|line| line.parse().ok()).ok_or_else(malformed("its second line is not a size"))?;
        let root = lines.next().and_then(|line| BASE64_STANDARD.decode(line).ok()?.try_into().ok());
        let root = root.ok_or_else(malformed("its third line is not a root in base64"))?;
        let found = Self { origin, size, root, extensions: lines.map(str::to_owned).collect() };
        if found.body()? == body { Ok(found) } else { Err(CheckpointError::Malformed("a line is not in its one spelling")) }
    }
}

/// A public key with the name of its log: `NAME+ID+KEY`, the verifier key of C2SP signed-note.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl PublicKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        let bytes = [&[ED25519], key.as_bytes().as_slice()].concat();
        Self { name: name.to_owned(), id: signed_note::key_id(name, &bytes), key }
    }

    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's short id, as people compare it: eight hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:08x}", self.id)
    }

    /// The keys of a file: one a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// Where a line is not a key, or there is none.
    pub fn list(text: &str) -> Result<Vec<Self>, CheckpointError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Self> = lines.map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(CheckpointError::Key) } else { Ok(keys) }
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signed_note::new_ed25519_verifier_key(&self.name, &self.key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (_, key) = rest.split_once('+')?;
            let bytes = BASE64_STANDARD.decode(key).ok()?;
            let (_, key) = bytes.split_first().filter(|(kind, _)| **kind == ED25519)?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok().filter(|key| !key.is_weak())?;
            signed_note::is_key_name_valid(name).then(|| Self::new(name, key))
        };
        // The id follows from the rest: another one, or another spelling, is a mistake or worse.
        read().filter(|key| key.to_string() == text && !text.chars().any(char::is_control)).ok_or(CheckpointError::Key)
    }
}

/// The verifier that is given to [`Note::verify`]; stricter than the note's own about how a signature is spelled.
struct Verifier(PublicKey);

impl signed_note::Verifier for Verifier {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn key_id(&self) -> u32 {
        self.0.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.key.verify_strict(text, &signature).is_ok())
    }
}

/// A key that signs checkpoints of one log. Its bytes are wiped when it is dropped.
pub struct Signer {
    public: PublicKey,
    key: SigningKey,
}

impl Signer {
    /// The key that 32 random bytes make, for the log `name`.
    ///
    /// # Errors
    /// Where the name cannot stand in a note: empty, or with a space, `+` or control character.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, CheckpointError> {
        if !signed_note::is_key_name_valid(name) || name.chars().any(char::is_control) {
            return Err(CheckpointError::Malformed("a name with a space, `+` or control character"));
        }
        let key = SigningKey::from_bytes(seed);
        Ok(Self { public: PublicKey::new(name, key.verifying_key()), key })
    }

    /// Its public part.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signed note.
    ///
    /// # Errors
    /// Where the checkpoint is another log's or cannot be spelled.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        if checkpoint.origin != self.public.name {
            return Err(CheckpointError::OtherLog(checkpoint.origin.clone()));
        }
        let body = checkpoint.body()?;
        let signature = self.key.sign(body.as_bytes()).to_bytes();
        let signed = [self.public.id.to_be_bytes().as_slice(), &signature].concat();
        Ok(format!("{body}\n\u{2014} {} {}\n", self.public.name, BASE64_STANDARD.encode(signed)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public)
    }
}

/// Reads a signed checkpoint and verifies the key's signature on it. Signatures of others (witnesses) are left alone.
///
/// # Errors
/// Where it is not one, the key did not sign it, or it is another log's.
pub fn open(note: &str, key: &PublicKey) -> Result<Checkpoint, CheckpointError> {
    let (note, checkpoint) = read(note)?;
    if checkpoint.origin != key.name {
        return Err(CheckpointError::OtherLog(checkpoint.origin));
    }
    let verifier = Verifier(key.clone());

    match note.verify(&VerifierList::new(vec![Box::new(verifier)])) {
        Ok(_) => Ok(checkpoint),
        Err(NoteError::InvalidSignature { .. }) => Err(CheckpointError::BadSignature(key.id())),
        Err(NoteError::UnverifiedNote | NoteError::VerificationError(VerificationError::UnknownKey { .. })) => {
            Err(CheckpointError::NotSigned(key.id()))
        }
        Err(_) => Err(CheckpointError::Malformed("its signatures")),
    }
}

/// What a checkpoint says, whoever signed it: to show, or to choose the key. Proves nothing.
///
/// # Errors
/// Where it is not one.
pub fn peek(note: &str) -> Result<Checkpoint, CheckpointError> {
    read(note).map(|(_, checkpoint)| checkpoint)
}

fn read(note: &str) -> Result<(Note, Checkpoint), CheckpointError> {
    if note.len() > MAX_BYTES {
        return Err(CheckpointError::Malformed("it is too long"));
    }
    let parsed = Note::from_bytes(note.as_bytes()).map_err(|_| CheckpointError::Malformed("it is not a signed note"))?;
    let body = std::str::from_utf8(parsed.text()).map_err(|_| CheckpointError::Malformed("it is not UTF-8"))?;
    let checkpoint = Checkpoint::parse(body)?;
    Ok((parsed, checkpoint))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::new("toolgate/00112233445566778899aabbccddeeff", &[7; 32]).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: signer().public().name().to_owned(), size: 42, root: [9; 32], extensions: vec!["time 2026-01-02".to_owned()] }
    }

    #[test]
    fn what_was_signed_opens_with_the_key_and_no_other() {
        let note = signer().sign(&checkpoint()).unwrap();
        let key: PublicKey = signer().public().to_string().parse().unwrap();
        assert_eq!(open(&note, &key), Ok(checkpoint()));
        assert_eq!(peek(&note), Ok(checkpoint()));

        let stranger = Signer::new(&checkpoint().origin, &[8; 32]).unwrap();
        assert_eq!(open(&note, stranger.public()), Err(CheckpointError::NotSigned(stranger.public().id())));
        let elsewhere = Signer::new("toolgate/other", &[7; 32]).unwrap();
        assert!(matches!(open(&note, elsewhere.public()), Err(CheckpointError::OtherLog(_))));
        assert!(matches!(elsewhere.sign(&checkpoint()), Err(CheckpointError::OtherLog(_))));

        // A witness's signature beside ours changes nothing.
        let mut both = note.clone();
        both.push_str(stranger.sign(&checkpoint()).unwrap().rsplit_once("\n\n").unwrap().1);
        assert_eq!(open(&both, &key), Ok(checkpoint()));
    }

    /// The note that the specification's own example signs, with its published keys.
    #[test]
    fn the_published_note_and_key_read() {
        let key: PublicKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        assert_eq!(key.id(), "c74f20a3");
        let seed = BASE64_STANDARD.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
        let signer = Signer::new("PeterNeumann", &seed[1..].try_into().unwrap()).unwrap();
        assert_eq!(signer.public(), &key);
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signed = [0xc74f_20a3_u32.to_be_bytes().as_slice(), &signer.key.sign(text.as_bytes()).to_bytes()].concat();
        assert_eq!(
            BASE64_STANDARD.encode(signed),
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        );
    }

    #[test]
    fn every_byte_of_a_signed_checkpoint_counts() {
        let note = signer().sign(&checkpoint()).unwrap();
        let key = signer().public().clone();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bent = note.clone().into_bytes();
                bent[at] ^= 1 << bit;
                if let Ok(bent) = String::from_utf8(bent) {
                    assert!(open(&bent, &key).is_err(), "byte {at} bit {bit} of:\n{bent}");
                }
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let root = BASE64_STANDARD.encode([9; 32]);
        for body in [
            format!("o\n042\n{root}\n"),
            format!("o\n+42\n{root}\n"),
            format!("o\n42\n{root}"),
            format!("o\n42\n{}\n", root.trim_end_matches('=')),
            format!("\n42\n{root}\n"),
            format!("o\n42\n{root}\n\n"),
            format!("o\n42\n{root}\nx\u{85}\n"),
            format!("o\n-1\n{root}\n"),
            "o\n42\n".to_owned(),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&body).is_err(), "{body:?}");
        }
        assert!(Checkpoint::parse(&format!("o\n42\n{root}\n")).is_ok());
        let two_lines = Checkpoint { extensions: vec!["a\nb".to_owned()], ..checkpoint() };
        assert!(signer().sign(&two_lines).is_err());
        for name in ["", "a b", "a+b", "a\u{7}"] {
            assert!(Signer::new(name, &[1; 32]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn keys_have_one_spelling() {
        let text = signer().public().to_string();
        assert!(text.parse::<PublicKey>().is_ok());
        let (name, rest) = text.split_once('+').unwrap();
        let (id, key) = rest.split_once('+').unwrap();
        for bad in [
            format!("{name}+{}+{key}", id.to_uppercase()),
            format!("{name}+00000000+{key}"),
            format!("{name}x+{id}+{key}"),
            format!("{text}\n"),
            format!("{name}+{id}"),
            // The neutral point: a signature by it would verify under many messages.
            {
                let mut weak = [0_u8; 33];
                weak[..2].copy_from_slice(&[ED25519, 1]);
                format!("n+{:08x}+{}", signed_note::key_id("n", &weak), BASE64_STANDARD.encode(weak))
            },
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(CheckpointError::Key), "{bad}");
        }
        // The seed stands in no debug text.
        assert!(!format!("{:?}", signer()).contains("7, 7"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text: String, size: u64, root: [u8; 32]) {
            let _ = peek(&text);
            let _ = text.parse::<PublicKey>();
            let checkpoint = Checkpoint { origin: "o".to_owned(), size, root, extensions: vec![text] };
            if let Ok(body) = checkpoint.body() {
                prop_assert_eq!(Checkpoint::parse(&body), Ok(checkpoint));
            }
        }
    }
}
