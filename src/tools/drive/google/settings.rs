//! What the operator says of Google Drive.

use url::Url;

use crate::domain::{Fault, SecretName};

/// The vault's name for the login.
pub const LOGIN: &str = "DRIVE_GOOGLE_LOGIN";

/// Where Google is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where a person says yes.
    pub auth: Url,
    /// Where tokens are given.
    pub token: Url,
    /// Where a machine without a browser asks for a code.
    pub device: Url,
    /// Where tokens are taken back.
    pub revoke: Url,
    /// The drive itself: the part before `/drive/v3`.
    pub api: Url,
}

impl Places {
    /// Google's own.
    ///
    /// # Errors
    /// `INTERNAL`, which cannot be.
    pub fn usual() -> Result<Self, Fault> {
        let url = |text: &str| Url::parse(text).map_err(|error| Fault::internal(error.to_string()));
        Ok(Self {
            auth: url("https://accounts.google.com/o/oauth2/v2/auth")?,
            token: url("https://oauth2.googleapis.com/token")?,
            device: url("https://oauth2.googleapis.com/device/code")?,
            revoke: url("https://oauth2.googleapis.com/revoke")?,
            api: url("https://www.googleapis.com")?,
        })
    }
}

/// Which drives are searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// The person's own, and what was shared with it.
    No,
    /// Shared drives as well.
    All,
    /// One shared drive alone.
    One(String),
}

/// Everything that is said of it.
#[derive(Debug, Clone)]
pub struct GoogleSettings {
    /// The id of the program.
    pub client: String,
    /// Its secret in the vault.
    pub client_secret: Option<SecretName>,
    /// What is asked for: the last word of the scope's address.
    pub scope: String,
    /// Which drives are searched.
    pub shared: Shared,
    /// Where Google is.
    pub places: Places,
    /// Bytes of one part of an upload.
    pub chunk: usize,
}

impl GoogleSettings {
    /// The scope as Google has it.
    #[must_use]
    pub fn scope_address(&self) -> String {
        format!("https://www.googleapis.com/auth/{}", self.scope)
    }

    /// The vault's name for the login.
    ///
    /// # Errors
    /// Never.
    pub fn login() -> Result<SecretName, Fault> {
        LOGIN.parse()
    }
}
