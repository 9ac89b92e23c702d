//! Secrets on their way from one vault to another: a file sealed with `age` for a recipient or under a passphrase.
//!
//! INVARIANT: outside the seal there is nothing but what age writes; what is read is bounded and checked like typed values.

use std::io::{Read as _, Write as _};

use age::secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::{ErrorCode, Fault};

use super::terms::{SecretName, Terms};

/// The largest file that is read.
pub const LARGEST: u64 = 64 << 20;

/// scrypt with 2^16 × 8 × 128 bytes: 64 MiB, some tenths of a second.
const WORK: u8 = 16;

/// More work than this is not done for a file: 2^20 is a gibibyte.
const MOST_WORK: u8 = 20;

/// For whom a file is sealed, or by what it is opened.
pub enum Carrier {
    /// A public key, `age1…`: whoever has its secret key can open the file.
    Recipient(Box<age::x25519::Recipient>),
    /// A secret key.
    Identity(Box<age::x25519::Identity>),
    /// A passphrase.
    Passphrase(SecretString),
}

impl Carrier {
    /// Reads a recipient.
    ///
    /// # Errors
    /// `INVALID_INPUT`.
    pub fn recipient(text: &str) -> Result<Self, Fault> {
        text.trim().parse().map(|recipient| Self::Recipient(Box::new(recipient))).map_err(|_| {
            Fault::new(ErrorCode::InvalidInput, "this is not a recipient").hint("an age public key: `age1…`, as `age-keygen` prints it")
        })
    }

    /// Reads the first secret key of an age identity file.
    ///
    /// # Errors
    /// `INVALID_INPUT`; the text is not repeated.
    pub fn identity(text: &str) -> Result<Self, Fault> {
        let line = text.lines().map(str::trim).find(|line| line.starts_with("AGE-SECRET-KEY-1"));
        line.and_then(|line| line.parse().ok()).map(|identity| Self::Identity(Box::new(identity))).ok_or_else(|| {
            Fault::new(ErrorCode::InvalidInput, "the identity file holds no secret key that can be used")
                .hint("a line `AGE-SECRET-KEY-1…`, as `age-keygen` writes it")
        })
    }

    /// How a log names it.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Recipient(recipient) => recipient.to_string(),
            Self::Identity(_) => "identity".to_owned(),
            Self::Passphrase(_) => "passphrase".to_owned(),
        }
    }
}

/// One secret in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Carried {
    pub(super) name: SecretName,
    pub(super) value: String,
    pub(super) terms: Terms,
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    secrets: Vec<Carried>,
}

const FORMAT: &str = "toolgate-vault-export/v1";

/// Seals secrets into a file's bytes (age's binary form).
pub(super) fn pack(secrets: Vec<Carried>, carrier: &Carrier) -> Result<Vec<u8>, Fault> {
    let failed = || Fault::internal("the export cannot be sealed");
    let text = Zeroizing::new(serde_json::to_vec(&File { format: FORMAT.to_owned(), secrets }).map_err(|_| failed())?);
    let scrypt;
    let recipient: &dyn age::Recipient = match carrier {
        Carrier::Recipient(recipient) => recipient.as_ref(),
        Carrier::Passphrase(passphrase) => {
            let mut made = age::scrypt::Recipient::new(passphrase.clone());
            made.set_work_factor(WORK);
            scrypt = made;
            &scrypt
        }
        Carrier::Identity(_) => return Err(Fault::internal("an export is sealed for a recipient, not for a secret key")),
    };
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).map_err(|_| failed())?;
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|_| failed())?;
    writer.write_all(&text).and_then(|()| writer.finish().map(drop)).map_err(|_| failed())?;
    Ok(sealed)
}

/// Opens a file's bytes.
///
/// # Errors
/// `VAULT_BROKEN` where it does not open, `INVALID_INPUT` where it is something else.
pub(super) fn unpack(bytes: &[u8], carrier: &Carrier) -> Result<Vec<Carried>, Fault> {
    let refuse = || {
        Fault::new(
            ErrorCode::VaultBroken,
            "the file cannot be opened: it is damaged, or sealed for somebody else or under another passphrase",
        )
        .hint("nothing was imported")
    };
    let scrypt;
    let identity: &dyn age::Identity = match carrier {
        Carrier::Identity(identity) => identity.as_ref(),
        Carrier::Passphrase(passphrase) => {
            let mut made = age::scrypt::Identity::new(passphrase.clone());
            made.set_max_work_factor(MOST_WORK);
            scrypt = made;
            &scrypt
        }
        Carrier::Recipient(_) => return Err(Fault::internal("a file is opened with a secret key, not with a recipient")),
    };
    let reader = age::Decryptor::new(bytes).and_then(|decryptor| decryptor.decrypt(std::iter::once(identity))).map_err(|_| refuse())?;
    let mut text = Zeroizing::new(Vec::new());
    reader.take(LARGEST + 1).read_to_end(&mut text).map_err(|_| refuse())?;
    let foreign = || Fault::new(ErrorCode::InvalidInput, "the file opens, and it is not an export of a vault").hint("nothing was imported");
    // What serde says would repeat a part of the text.
    let file: File = serde_json::from_slice(&text).map_err(|_| foreign())?;
    if file.format != FORMAT {
        return Err(foreign());
    }
    Ok(file.secrets)
}

/// The text of a passphrase, for [`Carrier::Passphrase`].
pub(super) fn is_long_enough(passphrase: &SecretString) -> bool {
    passphrase.expose_secret().chars().count() >= super::super::operator::SHORTEST
}
