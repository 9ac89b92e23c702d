//! A run's evidence, ready to leave the house.

use toolgate_evidence::bundle;

use crate::domain::{ErrorCode, Fault, RunId};

use super::Keeper;

impl Keeper {
    /// The run's bundle as text, verified as a stranger would verify it.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`; `AUDIT_BROKEN` where what the home holds does not verify; `STORE_FAILED`.
    pub async fn export(&self, run: &RunId, with_values: bool) -> Result<String, Fault> {
        self.sign().await?;
        let evidence = self.store.evidence(run, with_values).await?;
        let text = evidence.to_text().map_err(|error| Fault::internal(format!("the bundle has no canonical form: {error}")))?;
        bundle::verify(&text, &[]).map_err(|wrong| {
            Fault::new(ErrorCode::AuditBroken, format!("run `{run}` does not verify: {wrong}"))
                .hint("`toolgate audit verify` reads the whole log again; keep the database as it is and compare it with a copy")
        })?;
        Ok(text)
    }
}
