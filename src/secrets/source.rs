//! The port through which tools use secrets.
//!
//! INVARIANT: a tool is lent what it names and the operator's terms allow it, and told of nothing else.

use async_trait::async_trait;

use crate::domain::Fault;

use super::vault::{Lent, SecretName, SecretView, Vault};

/// Where tools get secrets from.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secrets that may go to some host, without their values; with a tool those that this tool may use.
    ///
    /// # Errors
    /// Where the vault cannot be read.
    async fn usable(&self, tool: Option<&str>) -> Result<Vec<SecretView>, Fault>;

    /// The values of these names, for this tool.
    ///
    /// # Errors
    /// `UNKNOWN_SECRET`; where the vault cannot be read or opened.
    async fn lend(&self, names: &[SecretName], tool: &str) -> Result<Vec<Lent>, Fault>;
}

#[async_trait]
impl SecretSource for Vault {
    async fn usable(&self, tool: Option<&str>) -> Result<Vec<SecretView>, Fault> {
        let mut all = self.list().await?;
        all.retain(|secret| !secret.terms.hosts.is_empty() && tool.is_none_or(|tool| secret.terms.allows_tool(tool)));
        Ok(all)
    }

    async fn lend(&self, names: &[SecretName], tool: &str) -> Result<Vec<Lent>, Fault> {
        Self::lend(self, names, Some(tool)).await
    }
}

/// A house without a vault.
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn usable(&self, _tool: Option<&str>) -> Result<Vec<SecretView>, Fault> {
        Ok(Vec::new())
    }

    async fn lend(&self, names: &[SecretName], _tool: &str) -> Result<Vec<Lent>, Fault> {
        names.first().map_or(Ok(Vec::new()), |name| Err(super::vault::unknown(name)))
    }
}
