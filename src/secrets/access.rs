//! The token by which this user's own programs reach the HTTP face: made once for each home, in a file that only its owner reads.
//!
//! INVARIANT: what is compared are digests, so the time that it takes tells nothing of the token.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::domain::{Digest, ErrorCode, Fault};

use super::files;

/// The file's name in the home.
const FILE_NAME: &str = "http.token";
/// Bytes of chance in a token.
const CHANCE: usize = 32;
/// What somebody may have put in its place must not be guessable either.
const SHORTEST: usize = 32;

/// The token of a home.
pub struct AccessToken {
    value: SecretString,
    digest: Digest,
    file: PathBuf,
}

impl AccessToken {
    /// The home's token; made if there is none yet.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where its file cannot be used, as when others may read it.
    pub fn of_home(home: &Path) -> Result<Self, Fault> {
        let file = home.join(FILE_NAME);
        let refused = |what: String| {
            Fault::new(ErrorCode::ConfigInvalid, format!("`{}`: {what}", file.display())).hint("mend it, or remove it for a new token")
        };
        let found = match files::read(&file).map_err(|error| refused(error.to_string()))? {
            Some(bytes) => bytes,
            None => {
                files::folder(home).map_err(|error| refused(error.to_string()))?;
                let mut chance = [0_u8; CHANCE];
                rand::fill(&mut chance);
                let made = URL_SAFE_NO_PAD.encode(chance) + "\n";
                match files::write_new(&file, made.as_bytes()) {
                    Ok(()) => made.into_bytes().into(),
                    // Another server of this home was quicker.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        files::read(&file).map_err(|error| refused(error.to_string()))?.unwrap_or_default()
                    }
                    Err(error) => return Err(refused(error.to_string())),
                }
            }
        };
        let text = std::str::from_utf8(&found).map(str::trim).unwrap_or_default();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused(format!("not a token: it must have at least {SHORTEST} letters, digits or signs and no spaces")));
        }
        Ok(Self { value: text.to_owned().into(), digest: Digest::of(text.as_bytes()), file })
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        Digest::of(shown.as_bytes()) == self.digest
    }

    /// Its value, for what takes it out of everything that is recorded or shown.
    #[must_use]
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// Where it is kept.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let made = AccessToken::of_home(home.path()).unwrap();
        let again = AccessToken::of_home(home.path()).unwrap();
        assert_eq!(made.value().expose_secret(), again.value().expose_secret());
        assert_eq!(std::fs::metadata(made.file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(made.is(again.value().expose_secret()));
        for other in ["", "x", again.value().expose_secret().get(1..).unwrap(), &again.value().expose_secret().to_uppercase()] {
            assert!(!made.is(other), "{other}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(!AccessToken::of_home(elsewhere.path()).unwrap().is(made.value().expose_secret()));
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_no_token_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = AccessToken::of_home(home.path()).unwrap().file().to_owned();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let told = |home: &Path| AccessToken::of_home(home).map(drop).unwrap_err().to_string();
        assert!(told(home.path()).contains("chmod 600"), "{}", told(home.path()));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "\n", "short", &"a b".repeat(30), "\u{e9}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            std::fs::write(&file, text).unwrap();
            assert!(told(home.path()).contains("not a token"), "{text}");
        }
    }
}
