//! Values as the journal holds them: inline, or as a reference to an artifact where they are large.

use serde_json::{Value, json};

use crate::domain::{ArtifactId, ErrorCode, Fault};

use super::{ArtifactRef, Artifacts};

/// Values larger than this do not come back out of an artifact.
const MOST_READ: u64 = 16 << 20;

/// What stands in the journal for a value that lies in an artifact.
#[must_use]
pub fn reference(artifact: &ArtifactRef) -> Value {
    json!({ "artifact": artifact.artifact, "size": artifact.size })
}

/// Whether a value reads like such a reference. One that is none of ours may not stand in the journal as it is: see [`whole`].
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    referred(value).is_some()
}

fn referred(value: &Value) -> Option<ArtifactId> {
    let fields = value.as_object().filter(|fields| fields.len() == 2 && fields.contains_key("size"))?;
    fields.get("artifact")?.as_str()?.parse().ok()
}

/// A recorded value, fetched where the journal holds only a reference.
///
/// # Errors
/// `UNKNOWN_ARTIFACT`, `LIMIT_EXCEEDED`; where the artifact does not hold JSON.
pub async fn whole(value: Value, artifacts: &dyn Artifacts) -> Result<Value, Fault> {
    let Some(id) = referred(&value) else { return Ok(value) };
    let (bytes, size) = artifacts.read(&id, 0, MOST_READ).await?;
    if size > MOST_READ {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("the recorded value in artifact `{id}` has {size} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|error| Fault::internal(format!("artifact `{id}` does not hold JSON: {error}")))
}
