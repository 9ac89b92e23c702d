//! Where a passphrase comes from: a terminal or an inherited descriptor; never arguments, never the environment.

use std::io::Read as _;

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{ErrorCode, Fault};

/// No passphrase is longer, in bytes.
const LONGEST: u64 = 4096;

/// What the operator knows. Not shown by `Debug`, wiped when dropped.
#[derive(Debug, Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// A passphrase that was read.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Whether both are the same: for the second typing of a new one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }

    /// As what it is for another use: a value or passphrase that was typed.
    #[must_use]
    pub fn secret(self) -> SecretString {
        self.0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }

    pub(super) fn chars(&self) -> usize {
        self.0.expose_secret().chars().count()
    }
}

/// Somebody or something that gives a passphrase.
pub trait Ask: Send + Sync {
    /// Asks once.
    ///
    /// # Errors
    /// `OPERATOR_LOCKED` where there is no answer.
    fn ask(&self, prompt: &str) -> Result<Passphrase, Fault>;

    /// Whether a person types, who may be asked twice and whose terminal may stay unlocked.
    fn is_a_person(&self) -> bool;
}

/// The terminal of this process, without echo.
pub struct FromTerminal;

impl Ask for FromTerminal {
    fn ask(&self, prompt: &str) -> Result<Passphrase, Fault> {
        rpassword::prompt_password(prompt).map(Passphrase::new).map_err(|error| {
            Fault::new(ErrorCode::OperatorLocked, format!("no passphrase can be read from a terminal: {error}"))
                .hint("run it on a terminal, or give the passphrase by `--passphrase-fd N`")
        })
    }

    fn is_a_person(&self) -> bool {
        true
    }
}

/// An inherited descriptor that holds the passphrase as its first line.
pub struct FromDescriptor(pub u32);

impl FromDescriptor {
    #[cfg(unix)]
    fn open(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(format!("/dev/fd/{}", self.0))
    }

    #[cfg(not(unix))]
    fn open(&self) -> std::io::Result<std::fs::File> {
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "this system has no such descriptors"))
    }
}

impl Ask for FromDescriptor {
    fn ask(&self, _prompt: &str) -> Result<Passphrase, Fault> {
        let refuse = |why: String| {
            Fault::new(ErrorCode::OperatorLocked, format!("no passphrase can be read from descriptor {}: {why}", self.0))
                .hint("for example `--passphrase-fd 3 3< passphrase-file`")
        };
        let mut bytes = Vec::new();
        let read = self.open().and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
        read.map_err(|error| refuse(error.to_string()))?;
        if bytes.len() as u64 > LONGEST {
            return Err(refuse(format!("it holds more than {LONGEST} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8 text".into()))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Passphrase::new(line.to_owned())),
            Some(_) | None => Err(refuse("it is empty".into())),
        }
    }

    fn is_a_person(&self) -> bool {
        false
    }
}
