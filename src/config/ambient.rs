//! What surrounds the process: environment variables and the platform's folders, read once, then passed as a value.
//!
//! INVARIANT: the only place that touches the process environment. Does not interpret what it reads.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The platform's folders for this user; absent where the platform does not say (no home folder).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// Where programs keep data.
    pub data_dir: Option<PathBuf>,
    /// Where programs keep what can be made again.
    pub cache_dir: Option<PathBuf>,
    /// The user's home folder, for `~/` in paths.
    pub user_home: Option<PathBuf>,
    /// The current folder, against which relative options are read.
    pub current_dir: Option<PathBuf>,
}

/// Environment and platform, as a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ambient {
    /// The environment. Names that are not UTF-8 cannot be ours and are left out; values are kept as they are.
    pub vars: BTreeMap<String, OsString>,
    /// The platform's folders.
    pub platform: Platform,
}

impl Ambient {
    /// What surrounds this process.
    #[must_use]
    pub fn of_process() -> Self {
        let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let strategy = etcetera::base_strategy::choose_native_strategy().ok();
        let platform = Platform {
            data_dir: strategy.as_ref().map(BaseStrategy::data_dir),
            cache_dir: strategy.as_ref().map(BaseStrategy::cache_dir),
            user_home: strategy.as_ref().map(|strategy| strategy.home_dir().to_owned()),
            current_dir: std::env::current_dir().ok(),
        };
        Self { vars, platform }
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Whether colours are unwelcome: `NO_COLOR` is set, or the terminal is `dumb`.
    #[must_use]
    pub fn refuses_colour(&self) -> bool {
        self.var("NO_COLOR").is_some() || self.var("TERM").is_some_and(|term| term == "dumb")
    }
}

/// The whole path of this program.
///
/// # Errors
/// Where the system does not tell.
pub fn own_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// The arguments of this process, without its name.
#[must_use]
pub fn process_args() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}
