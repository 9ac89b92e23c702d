//! Which policy files count: those of the profile and those of the home's folder; and those an operator names to try.
//!
//! INVARIANT: whoever loads rules reads them here, so that verbs, start and reload agree on what is in force.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::domain::{ErrorCode, Fault, Problems, Profile};
use crate::manifest::{self, ToolDef};
use crate::policy::{self, CaseOutcome, PolicySet, PolicySource, Principals, tests_of};

/// What rules are loaded from.
#[derive(Clone)]
pub(super) struct Policies {
    profile: Profile,
    /// Who has which roles, and which roles rules may name.
    principals: Principals,
    shipped: Vec<PolicySource>,
    own: Vec<PolicySource>,
    folder: PathBuf,
}

/// The endings of policies and of their tests.
const RULES: &str = ".cedar";
const TESTS: &str = ".test.yaml";

impl Policies {
    /// Reads all that is in force.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub(super) fn read(config: &Config) -> Result<Self, Problems> {
        let profile = config.policy_profile.value;
        let principals = Principals::new(config.principals.roles.clone(), profile.roles().iter().copied());
        let policies = Self::of(&config.home.value, profile, principals)?;
        #[cfg(debug_assertions)]
        let policies = policies.with_fixtures(config);
        Ok(policies)
    }

    fn of(home: &Path, profile: Profile, principals: Principals) -> Result<Self, Problems> {
        let folder = home.join("policies");
        Ok(Self { profile, principals, shipped: policy::shipped(profile), own: policy::read_folder(&folder)?, folder })
    }

    /// The same with the rule for fixtures, where they are served.
    #[cfg(debug_assertions)]
    fn with_fixtures(mut self, config: &Config) -> Self {
        self.shipped.extend(config.fixtures.then(policy::fixtures));
        self
    }

    /// The default profile and a home's own rules, where nobody has a role.
    #[cfg(test)]
    pub(super) fn at(home: &Path) -> Result<Self, Problems> {
        Self::of(home, Profile::Default, Principals::default())
    }

    /// Where the home's own lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a file of this name is a policy.
    pub(super) fn is_policy(name: &std::ffi::OsStr) -> bool {
        let name = name.to_string_lossy();
        name.ends_with(RULES) && !name.starts_with('.')
    }

    /// The home's own read again; its folder must be there.
    ///
    /// # Errors
    /// Every file that cannot be read; the folder, where it cannot.
    pub(super) fn again(&self) -> Result<Self, Problems> {
        Ok(Self { own: policy::read_present_folder(&self.folder)?, ..self.clone() })
    }

    /// Whether both have the same files with the same texts.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        (&self.shipped, &self.own) == (&other.shipped, &other.own)
    }

    /// Without any of the home's own.
    pub(super) fn without_own(&self) -> Self {
        Self { own: Vec::new(), ..self.clone() }
    }

    /// The rules.
    ///
    /// # Errors
    /// Every problem of every file.
    pub(super) fn load(&self, tools: &[ToolDef]) -> Result<PolicySet, Problems> {
        let sources: Vec<PolicySource> = self.shipped.iter().chain(&self.own).cloned().collect();
        PolicySet::load_for(&sources, tools, &self.principals)
    }

    /// The same with these files and folders: a file takes the place of the home's file of that name, or is added to them.
    /// Returned with what was named, as the rules name it.
    fn with(&self, named: &[PathBuf]) -> Result<(Self, Vec<String>), Problems> {
        let mut changed = self.clone();
        let mut names = Vec::new();
        for path in named {
            for source in sources_at(path)? {
                let file = |name: &str| Path::new(name).file_name().map(ToOwned::to_owned);
                changed.own.retain(|own| file(&own.name) != file(&source.name));
                names.push(source.name.clone());
                changed.own.push(source);
            }
        }
        Ok((changed, names))
    }

    /// The same with a file added or replaced, or with another folder in the place of the home's.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub(super) fn changed(&self, path: &Path) -> Result<Self, Problems> {
        if path.is_dir() {
            return Ok(Self { own: policy::read_folder(path)?, ..self.clone() });
        }
        Ok(self.with(&[path.to_owned()])?.0)
    }
}

/// The policies a path names: a file, or those in a folder. A test file names none.
fn sources_at(path: &Path) -> Result<Vec<PolicySource>, Problems> {
    if path.is_dir() {
        return policy::read_folder(path);
    }
    if is_tests(path) { Ok(Vec::new()) } else { policy::read_file(path).map(|source| vec![source]) }
}

fn is_tests(path: &Path) -> bool {
    path.to_string_lossy().ends_with(TESTS)
}

/// The tests a path names: itself, those in a folder, or those beside a policy file.
fn tests_at(path: &Path) -> Result<Vec<PolicySource>, Problems> {
    if path.is_dir() {
        return policy::read_test_folder(path);
    }
    let tests = if is_tests(path) { path.to_owned() } else { path.with_extension("test.yaml") };
    if tests.exists() { policy::read_file(&tests).map(|source| vec![source]) } else { Ok(Vec::new()) }
}

/// The tools rules speak of.
pub(super) fn tools(config: &Config) -> Result<Vec<ToolDef>, Fault> {
    let files = super::files::manifest_files(&config.home.value);
    files.and_then(|files| manifest::load(&files)).map_err(|problems| problems.into_fault(ErrorCode::ManifestInvalid))
}

/// Rules, their tools, and what came of their tests.
pub(super) struct Tested {
    pub(super) set: PolicySet,
    pub(super) tools: Vec<ToolDef>,
    pub(super) outcomes: Vec<CaseOutcome>,
    /// The policy files that were named.
    pub(super) named: Vec<String>,
}

/// Loads what is in force, with the named files, and runs the tests: those named, or all. The program's own tests hold for its own rules
/// alone, as the home's may be stricter.
pub(super) fn tested(config: &Config, named: &[PathBuf]) -> Result<Tested, Fault> {
    let tools = tools(config)?;
    let invalid = |problems: Problems| problems.into_fault(ErrorCode::PolicyInvalid);
    let in_force = Policies::read(config).map_err(invalid)?;
    let (policies, files) = in_force.with(named).map_err(invalid)?;
    let set = policies.load(&tools).map_err(invalid)?;
    let mut outcomes = Vec::new();
    if named.is_empty() {
        // They speak of whoever has no role, whatever roles are given here.
        let roleless = Principals::new([], policies.profile.roles().iter().copied());
        let shipped = PolicySet::load_for(&policies.shipped, &tools, &roleless).map_err(invalid)?;
        outcomes.extend(tests_of(&shipped, &tools, &policy::shipped_tests(policies.profile)).map_err(invalid)?);
        let own = policy::read_test_folder(&policies.folder).map_err(invalid)?;
        outcomes.extend(tests_of(&set, &tools, &own).map_err(invalid)?);
    }
    for path in named {
        let tests = tests_at(path).map_err(invalid)?;
        outcomes.extend(tests_of(&set, &tools, &tests).map_err(invalid)?);
    }
    Ok(Tested { set, tools, outcomes, named: files })
}
