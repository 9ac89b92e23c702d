//! Where the master key lies: in the operating system's keyring, or in a file that belongs to its owner alone.
//!
//! INVARIANT: a key never comes from arguments or from a variable's value; a file that others can read, a link or anything that is not a
//! key is refused, never used and never overwritten.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::{ErrorCode, Fault};

use super::super::files;
use super::key::Ring;

/// Under which name the keyring knows our keys.
const SERVICE: &str = "toolgate";

/// Which place the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// The file where one is named or there already, else the keyring where there is one, else the file.
    #[default]
    Auto,
    /// The keyring or nothing.
    Keyring,
    /// The file or nothing.
    File,
}

/// A keyring of the operating system. Its calls may block.
pub trait Keyring: Send + Sync {
    /// What is kept under this name; `None` where nothing is.
    ///
    /// # Errors
    /// Why there is no keyring to ask.
    fn get(&self, user: &str) -> Result<Option<Zeroizing<String>>, String>;

    /// Keeps this.
    ///
    /// # Errors
    /// Why it was not kept.
    fn set(&self, user: &str, text: &str) -> Result<(), String>;
}

/// The keyring of this machine's user.
pub struct SystemKeyring;

impl Keyring for SystemKeyring {
    fn get(&self, user: &str) -> Result<Option<Zeroizing<String>>, String> {
        let entry = keyring::Entry::new(SERVICE, user).map_err(|error| why(&error))?;
        match entry.get_password() {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(why(&error)),
        }
    }

    fn set(&self, user: &str, text: &str) -> Result<(), String> {
        let entry = keyring::Entry::new(SERVICE, user).map_err(|error| why(&error))?;
        entry.set_password(text).map_err(|error| why(&error))
    }
}

/// The error's kind alone: some of them carry what was stored.
fn why(error: &keyring::Error) -> String {
    let words = if matches!(error, keyring::Error::NoDefaultStore) {
        "this session has no keyring"
    } else if matches!(error, keyring::Error::NoStorageAccess(_)) {
        "the keyring is locked or does not answer"
    } else {
        "the keyring cannot be used"
    };
    words.to_owned()
}

/// Where the key lies, as it turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lies {
    /// In the keyring.
    InKeyring,
    /// In this file.
    InFile(PathBuf),
}

impl std::fmt::Display for Lies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InKeyring => f.write_str("the keyring"),
            Self::InFile(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// Where to look for the key.
pub struct KeyPlace {
    wanted: Wanted,
    /// The file's path was named by the operator.
    named: bool,
    file: PathBuf,
    folder: PathBuf,
    user: String,
    keyring: Box<dyn Keyring>,
}

impl KeyPlace {
    /// The place for this home; `file` where the operator named one.
    #[must_use]
    pub fn new(home: &Path, wanted: Wanted, file: Option<PathBuf>, keyring: Box<dyn Keyring>) -> Self {
        let folder = home.join("vault");
        let user = format!("vault of {}", home.display());
        Self { wanted, named: file.is_some(), file: file.unwrap_or_else(|| folder.join("key")), folder, user, keyring }
    }

    /// Keeps other processes from changing the key until what this returns is dropped.
    pub(super) fn turn(&self) -> Result<std::fs::File, Fault> {
        let lock = self.folder.join("lock");
        let turn = files::folder(&self.folder).and_then(|()| files::turn(&lock));
        turn.map_err(|error| Fault::new(ErrorCode::VaultLocked, format!("`{}` cannot be locked: {error}", lock.display())))
    }

    /// The keys, and where they lie; `None` where there are none anywhere.
    pub(super) fn load(&self) -> Result<Option<(Ring, Lies)>, Fault> {
        if self.wanted != Wanted::Keyring
            && let Some(ring) = self.read_file()?
        {
            return Ok(Some((ring, Lies::InFile(self.file.clone()))));
        }
        if self.wanted == Wanted::File || self.named {
            return Ok(None);
        }
        match self.keyring.get(&self.user) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => {
                let ring = Ring::parse(text.as_bytes()).map_err(|why| {
                    Fault::new(ErrorCode::VaultLocked, format!("what the keyring holds for `{}` is not a key of ours: {why}", self.user))
                        .hint("remove that entry of the keyring, if it is not needed, or restore it")
                })?;
                Ok(Some((ring, Lies::InKeyring)))
            }
            Err(_) if self.wanted == Wanted::Auto => Ok(None),
            Err(why) => Err(no_keyring(&why)),
        }
    }

    /// Keeps new keys: in the keyring where that is wanted or there is one, else in the file.
    pub(super) fn create(&self, ring: &Ring) -> Result<Lies, Fault> {
        let by_file = self.wanted == Wanted::File || self.named;
        if !by_file {
            match self.keyring.set(&self.user, &ring.text()) {
                Ok(()) => return Ok(Lies::InKeyring),
                Err(why) if self.wanted == Wanted::Keyring => return Err(no_keyring(&why)),
                Err(why) => tracing::debug!(why, "the vault's key goes into a file"),
            }
        }
        let lies = Lies::InFile(self.file.clone());
        self.save(ring, &lies)?;
        Ok(lies)
    }

    /// Keeps these keys where they lie.
    pub(super) fn save(&self, ring: &Ring, lies: &Lies) -> Result<(), Fault> {
        let path = match lies {
            Lies::InKeyring => return self.keyring.set(&self.user, &ring.text()).map_err(|why| no_keyring(&why)),
            Lies::InFile(path) => path,
        };
        let made = path.parent().map_or(Ok(()), |folder| if folder.is_dir() { Ok(()) } else { files::folder(folder) });
        made.and_then(|()| files::write(path, ring.text().as_bytes())).map_err(|error| {
            Fault::new(ErrorCode::VaultLocked, format!("the vault's key cannot be kept in `{}`: {error}", path.display()))
                .hint("mend the folder's rights, or name another file by `vault.key_file`")
        })
    }

    fn read_file(&self) -> Result<Option<Ring>, Fault> {
        let path = self.file.display();
        let bytes = files::read(&self.file).map_err(|error| {
            Fault::new(ErrorCode::VaultLocked, format!("the vault's key file `{path}` is refused: {error}")).hint(
                "it must be a plain file that belongs to you and that only you can read: `chmod 600`; others may have read it, so rotate",
            )
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let ring = Ring::parse(&bytes).map_err(|why| {
            Fault::new(ErrorCode::VaultLocked, format!("the vault's key file `{path}` is refused: {why}"))
                .hint("each line is 32 random bytes in base64, as `openssl rand -base64 32` writes them; restore the file from a backup")
        })?;
        Ok(Some(ring))
    }

    /// What to do where the key is missing.
    pub(super) fn missing(&self) -> Fault {
        let places = match (self.wanted, self.named) {
            (Wanted::Keyring, _) => "the keyring".to_owned(),
            (Wanted::File, _) | (Wanted::Auto, true) => format!("`{}`", self.file.display()),
            (Wanted::Auto, false) => format!("neither `{}` nor the keyring", self.file.display()),
        };
        Fault::new(ErrorCode::VaultLocked, format!("the vault holds secrets, and its key is not there ({places})"))
            .hint("restore the key from a backup, or unlock the keyring; without it the secrets cannot be opened by anybody")
    }
}

fn no_keyring(why: &str) -> Fault {
    Fault::new(ErrorCode::VaultLocked, format!("the vault's key is to lie in the keyring, and {why}"))
        .hint("unlock the keyring, or set `vault.key = \"file\"`")
}
