//! What is known of a secret besides its value: where it may be used.
//!
//! INVARIANT: a host is compared in the one canonical form in which it is dialled; plain http is allowed only where the operator wrote it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::{ErrorCode, Fault};
use crate::egress::{Host, Origin, Scheme, host_and_port};

pub use crate::domain::SecretName;

/// The most hosts or tools of one secret.
const MOST: usize = 64;

/// The longest description, in bytes.
const LONGEST_TEXT: usize = 500;

/// One host that a secret may go to: over https, or over plain http where it says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHost {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl SecretHost {
    /// The one origin that it means.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host.clone(), port: self.port }
    }

    /// Whether the secret may go to this origin.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        self.scheme == origin.scheme && self.host == origin.host && self.port == origin.port
    }
}

impl FromStr for SecretHost {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(ErrorCode::InvalidInput, format!("host `{}` cannot be used for a secret: {why}", text.escape_debug()))
                .hint("write `api.example.com`, `api.example.com:8443`, or `http://…` to allow that very host without TLS")
        };
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err(refuse("its scheme is neither https nor http")),
        };
        let (host, port) = host_and_port(rest).map_err(refuse)?;
        let host = Host::parse(host).map_err(refuse)?;
        Ok(Self { scheme, host, port: port.unwrap_or_else(|| scheme.port()) })
    }
}

impl TryFrom<String> for SecretHost {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<SecretHost> for String {
    fn from(host: SecretHost) -> Self {
        host.to_string()
    }
}

impl fmt::Display for SecretHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Http {
            f.write_str("http://")?;
        }
        write!(f, "{}", self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Where a secret may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The hosts it may go to; without any it goes to none.
    #[serde(default)]
    pub hosts: Vec<SecretHost>,
    /// The tools that may use it, by their ids; without any every tool that takes secrets may.
    #[serde(default)]
    pub tools: Vec<String>,
    /// For people and agents; never the value.
    #[serde(default)]
    pub description: String,
}

impl Terms {
    /// Within bounds.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED`, `INVALID_INPUT`.
    pub fn check(&self) -> Result<(), Fault> {
        if self.hosts.len() > MOST || self.tools.len() > MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("more than {MOST} hosts or tools for one secret")));
        }
        if self.description.len() > LONGEST_TEXT || self.description.chars().any(char::is_control) {
            return Err(Fault::new(ErrorCode::InvalidInput, "the description must be one line of at most 500 bytes"));
        }
        match self.tools.iter().find(|tool| tool.parse::<crate::domain::ToolName>().is_err()) {
            Some(tool) => Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` is not the id of a tool", tool.escape_debug()))
                .hint("for example `python.run`; `toolgate tools list` shows all")),
            None => Ok(()),
        }
    }

    /// Whether this tool may use it.
    #[must_use]
    pub fn allows_tool(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|allowed| allowed == tool)
    }
}
