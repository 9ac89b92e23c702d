//! From a lock to a folder: every wheel by its hash, nothing else, with bytecode.

use std::path::PathBuf;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault};
use crate::packages::lock::Lock;
use crate::packages::resolve::clean;
use crate::packages::{pip, resolve as room, uv};

use super::MOUNTED_AT;
use super::resolve::{Said, no_installer};
use super::settings::{Settings, Tool};
use super::workshop::{Reach, Step, Workshop};

/// How long it may take, in seconds; `uv` fetches the wheels in it.
const SECONDS: u64 = 600;

/// Fills `folder`, which is empty. `wheels` has what `pip` chose.
///
/// # Errors
/// `REQUIREMENT_REFUSED` where a wheel has another hash, `REQUIREMENTS_UNRESOLVED` where one is not there any more,
/// `INSTALLER_UNAVAILABLE`; those of [`Workshop::run`].
pub(super) async fn make(
    workshop: &Workshop,
    settings: &Settings,
    lock: &Lock,
    reach: &Reach,
    (folder, wheels): (PathBuf, PathBuf),
    cancel: &CancellationToken,
) -> Result<(), Fault> {
    let lines: String = lock.packages().iter().map(|one| format!("{}=={} --hash=sha256:{}\n", one.name, one.version, one.sha256)).collect();
    let with_uv = matches!(settings.tool, Tool::Uv(_));
    // What `pip` has fetched it needs not fetch again, so it reaches nobody.
    let (arguments, read_only, reach) = match with_uv {
        true => (settings.arguments.clone(), Vec::new(), reach.clone()),
        false => {
            let arguments = ["--no-index", "--find-links", "/wheels"].map(str::to_owned).to_vec();
            (arguments, vec![(wheels, "/wheels".into())], Reach::default())
        }
    };
    let step = Step {
        task: json!({
            "do": "make", "uv": with_uv.then_some("/installer/uv"), "some": !lock.packages().is_empty(), "arguments": arguments,
        }),
        files: vec![("lock.txt".into(), lines.into_bytes())],
        writable: Some((folder, MOUNTED_AT)),
        read_only,
        reach,
        seconds: SECONDS,
    };
    let said: Said = workshop.run(step, settings, cancel).await?;
    let plain = settings.scrubbed(&said.words);
    if said.ok {
        Ok(())
    } else if said.missing {
        Err(no_installer())
    } else if ["DO NOT MATCH THE HASHES", "Hash mismatch"].iter().any(|sign| said.words.contains(sign)) {
        let message = format!("a wheel does not have the hash it was locked with: {}", clean(&plain));
        Err(Fault::new(ErrorCode::RequirementRefused, message)
            .hint("what was published was changed between two looks at it; try again, and ask the index's operator if it stays so"))
    } else if uv::is_unreachable(&said.words) || pip::is_unreachable(&said.words) {
        Err(room::unreachable(&plain))
    } else {
        let message = format!("wheels that were resolved cannot be installed: {}", clean(&plain));
        Err(Fault::new(ErrorCode::RequirementsUnresolved, message).hint("try again; if it stays so, pin another version"))
    }
}
