//! What the verbs on drives need of the house.

use async_trait::async_trait;
use serde::Serialize;

use crate::domain::{Fault, Timestamp};
use crate::secrets::operator::OperatorProof;

/// How a person says yes to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginWay {
    /// In a browser of this machine.
    Browser,
    /// With a code, in a browser anywhere.
    Code,
}

/// What the person is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginPrompt {
    /// Open this address on this machine.
    Browser {
        /// The address.
        url: String,
    },
    /// Open this address anywhere and type the code.
    Code {
        /// The address.
        url: String,
        /// The code.
        code: String,
    },
}

/// How a drive stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DriveView {
    /// Its name.
    pub name: String,
    /// Whether calls that name none mean it.
    pub usual: bool,
    /// `ready`, `logged_in`, `configured`, `not_configured`, `login_required`, or what is wrong.
    pub state: String,
    /// The same in words.
    pub detail: String,
    /// What a login is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whose login it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Bytes that are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Bytes that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Since when the login is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Drives as the operator sees them.
#[async_trait]
pub trait DriveDesk: Send + Sync {
    /// Has the person log in at Google Drive, and keeps the login: `CONFIG_INVALID`, `DRIVE_REFUSED`, `TIMEOUT`.
    async fn login(&self, way: LoginWay, tell: &(dyn Fn(LoginPrompt) + Send + Sync), proof: OperatorProof) -> Result<DriveView, Fault>;

    /// How each drive stands; asks the services where `asks` says so.
    async fn status(&self, asks: bool) -> Result<Vec<DriveView>, Fault>;

    /// Takes the login back at Google and removes it; with `forget` removes it even where Google cannot be told.
    async fn logout(&self, forget: bool, proof: OperatorProof) -> Result<(), Fault>;
}
