//! Landlock: the second wall around files. The namespace shows a job only what it may see; this says again what it may do with it.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};

/// What has to be there.
const LEAST: ABI = ABI::V2;
/// What is used where it is there.
const BEST: ABI = ABI::V6;

/// Allows reading and running below `readable`, everything below `writable`, using what is in `devices`; nothing else. Gives the version
/// of Landlock that is in force.
pub(super) fn apply(readable: &[&str], writable: &[&str], devices: &[&str]) -> Result<i32, String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))
        .map_err(text)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(BEST))
        .map_err(text)?
        .scope(Scope::from_all(BEST))
        .map_err(text)?
        .create()
        .map_err(text)?;
    // The root is a fresh one, so what is in it may be listed.
    let ruleset = allow(ruleset, &["/"], AccessFs::ReadDir.into())?;
    let ruleset = allow(ruleset, readable, AccessFs::from_read(BEST))?;
    let ruleset = allow(ruleset, writable, AccessFs::from_all(BEST))?;
    let ruleset = allow(ruleset, devices, AccessFs::ReadFile | AccessFs::WriteFile)?;
    let status = ruleset.restrict_self().map_err(text)?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
        LandlockStatus::NotEnabled => Err("it is not enabled at boot".into()),
        LandlockStatus::NotImplemented => Err("the kernel does not have it".into()),
    }
}

/// A path that is not there gives no right.
fn allow(mut ruleset: RulesetCreated, paths: &[&str], access: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
    for path in paths {
        let Ok(fd) = PathFd::new(path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access)).map_err(|error| error.to_string())?;
    }
    Ok(ruleset)
}
