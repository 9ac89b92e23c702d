//! What a call's digest covers, listed once.

use serde_json::json;

use crate::domain::{Digest, Fault};

use super::{Origin, ParsedCall, Preparation};

/// The digest over tool, version, manifest, arguments, principal, target state, hosts and policy, and for the calls of a run's step or of a
/// program the run and step as well. Two calls with the same digest are the same deed under the same rules; an approval of one is an
/// approval of the other. A client's call is not bound to its run: after a restart the same call belongs to another one.
///
/// # Errors
/// Where the arguments have no canonical form (RFC 8785), as with a number beyond double precision.
pub fn call_digest(call: &ParsedCall, preparation: &Preparation, policy: &Digest) -> Result<Digest, Fault> {
    let (run, step) = match &call.origin {
        Origin::Client | Origin::Cli => (None, None),
        Origin::Step { run, step } => (Some(run), Some(step)),
        Origin::Code { .. } => (Some(&call.run), None),
    };
    let covered = json!({
        "tool": call.tool.name,
        "version": call.tool.version,
        "manifest": call.tool.manifest,
        "arguments": call.args.value(),
        "principal": call.actor.principal,
        "role": call.actor.role,
        "target": preparation.target,
        "hosts": preparation.hosts,
        "policy": policy,
        "run": run,
        "step": step,
    });
    let bytes = serde_json_canonicalizer::to_vec(&covered).map_err(|error| {
        Fault::new(crate::domain::ErrorCode::InvalidInput, format!("the arguments have no canonical form: {error}"))
            .hint("numbers must fit a double")
    })?;
    Ok(Digest::of_parts("toolgate/call/v1", &[&bytes]))
}
