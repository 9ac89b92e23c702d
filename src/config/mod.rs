//! Settings: options, environment and one file, in that order, each value with the place it comes from.
//!
//! INVARIANT: nothing else in the house reads the environment or a settings file, and what cannot be understood is a [`Problem`]
//! with its place, never a default in its stead. Does not act on settings: it hands out a typed [`Config`].
//!
//! [`Problem`]: crate::domain::Problem

mod ambient;
mod budgets;
mod drive;
mod file;
mod http;
mod installer;
mod keys;
mod notify;
mod principals;
mod resolve;
mod serving;
mod value;
mod web;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::domain::{Bytes, Globs, Millis, Problem, Problems, Profile};

pub use ambient::{Ambient, Platform, own_program, process_args};
pub use budgets::BudgetSettings;
pub use drive::DriveSettings;
pub use http::HttpSettings;
pub use installer::Installer;
pub use keys::{KEYS, Key, template};
pub use notify::{ChannelKind, ChannelSettings, MailTls, NotifySettings, PURPOSE as NOTIFY_PURPOSE, SecretPlace};
pub use principals::Principals;
pub use serving::Serving;

pub use resolve::{Location, SettingsFile, locate, resolve};
pub use value::{LogLevel, PII, Patterns, Source, Sourced, ToolNames, VaultKeyPlace};
pub use web::WebSettings;

/// The name of the settings file in the home.
pub const FILE_NAME: &str = "toolgate.toml";

/// What the command line says; each stands above environment and file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--home`.
    pub home: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--log`.
    pub log: Option<String>,
    /// `--tool-names`.
    pub tool_names: Option<String>,
    /// `--toolsets`.
    pub toolsets: Option<Vec<String>>,
    /// `--fixtures`, which no release has.
    #[cfg(debug_assertions)]
    pub fixtures: bool,
}

/// Every setting, checked, with the place it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder that holds everything toolgate keeps.
    pub home: Sourced<PathBuf>,
    /// The settings file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// How much is logged; `None` leaves it to the verb.
    pub log: Sourced<Option<LogLevel>>,
    /// The folder behind the `local` drive provider.
    pub drive_local_root: Sourced<PathBuf>,
    /// Which drives there are, and how their services are reached.
    pub drive: DriveSettings,
    /// Who commits: name.
    pub git_author_name: Sourced<String>,
    /// Who commits: address.
    pub git_author_email: Sourced<String>,
    /// Where compiled Python runtimes are kept between starts.
    pub python_cache_dir: Sourced<PathBuf>,
    /// The only proxy that requests go through, if any.
    pub egress_proxy: Sourced<Option<String>>,
    /// Private hosts that may be reached: `purpose=host:port`.
    pub egress_private: Sourced<Vec<String>>,
    /// A file of root certificates, trusted besides the platform's.
    pub egress_extra_roots: Sourced<Option<PathBuf>>,
    /// A control group folder that was delegated to this server.
    pub sandbox_cgroup: Sourced<Option<PathBuf>>,
    /// Whether no native program runs without a control group.
    pub sandbox_require_cgroup: Sourced<bool>,
    /// Native programs at the same time.
    pub sandbox_jobs_at_once: Sourced<usize>,
    /// What installers of Python packages may see of the environment.
    pub installer: Installer,
    /// How long a call waits for a human before it answers `APPROVAL_REQUIRED`.
    pub approvals_wait: Sourced<Millis>,
    /// How long a question to a human, and its answer, stay good.
    pub approvals_expire: Sourced<Millis>,
    /// How many questions of one run may wait, and how many one principal may ask within a minute.
    pub approvals_limits: (Sourced<u32>, Sourced<u32>),
    /// The longest that something may be allowed for at once.
    pub approvals_longest_grant: Sourced<Millis>,
    /// Whether questions may be answered in the clients of [`Config::approvals_trusted`].
    pub approvals_elicitation: Sourced<bool>,
    /// Principals whose client's human is trusted.
    pub approvals_trusted: Sourced<Vec<String>>,
    /// What hears of every question.
    pub approvals_webhook: Sourced<Option<String>>,
    /// The file with the secret that signs what it hears.
    pub approvals_webhook_secret: Sourced<Option<PathBuf>>,
    /// Which shipped rules are in force.
    pub policy_profile: Sourced<Profile>,
    /// Who has which roles.
    pub principals: Principals,
    /// Files that mark a run as private when they are read.
    pub private_paths: Sourced<Globs>,
    /// After how many records a checkpoint is signed at the latest.
    pub audit_checkpoint_events: Sourced<u64>,
    /// After how long.
    pub audit_checkpoint_every: Sourced<Millis>,
    /// The key that signs checkpoints, where it is not in the home.
    pub audit_key_file: Sourced<Option<PathBuf>>,
    /// A folder elsewhere that gets every checkpoint.
    pub audit_witness: Sourced<Option<PathBuf>>,
    /// Whether no call runs while the witness cannot be reached.
    pub audit_witness_required: Sourced<bool>,
    /// What runs and principals may use up, each number with its place; 0 is no limit.
    pub budgets: BudgetSettings,
    /// How much the home may take; 0 is no limit.
    pub storage_max: Sourced<Bytes>,
    /// How much a run's workspace may take; 0 is no limit.
    pub storage_run_max: Sourced<Bytes>,
    /// How much must be free on the home's disk for new calls.
    pub storage_min_free: Sourced<Bytes>,
    /// How much of an output is shown inline.
    pub inline_output: Sourced<Bytes>,
    /// What is taken out of what is recorded and shown, by its shape.
    pub redaction_patterns: Sourced<Patterns>,
    /// Kinds of personal data that are taken out as well: words of [`PII`].
    pub redaction_pii: Sourced<Vec<String>>,
    /// Names of fields whose texts are taken out as well; `default` stands for those that are shipped.
    pub redaction_fields: Sourced<Vec<String>>,
    /// How tools are named to clients.
    pub tool_names: Sourced<ToolNames>,
    /// Which toolsets are listed.
    pub toolsets: Sourced<Vec<String>>,
    /// How soon clients are answered, and how much one principal may ask over HTTP.
    pub serving: Serving,
    /// The collector of traces and figures.
    pub otlp_endpoint: Sourced<Option<String>>,
    /// The file with the collector's header Authorization.
    pub otlp_authorization_file: Sourced<Option<PathBuf>>,
    /// How many of a hundred traces that begin here are recorded.
    pub otlp_sample_percent: Sourced<u64>,
    /// Where the vault's master key lies.
    pub vault_key: Sourced<VaultKeyPlace>,
    /// The file of the vault's master key, where the operator names one.
    pub vault_key_file: Sourced<Option<PathBuf>>,
    /// What the web is searched and read with.
    pub web: WebSettings,
    /// The channels that messages leave by.
    pub notify: NotifySettings,
    /// How others than this machine reach the server.
    pub http: HttpSettings,
    /// Whether the tools that a conformance suite asks for are served besides. Only an option can say so, and no release has it.
    #[cfg(debug_assertions)]
    pub fixtures: bool,
    /// What is odd but not wrong, such as a variable that nothing reads.
    pub notes: Vec<String>,
}

/// Reads the settings of this process: [`locate`], the file, [`resolve()`].
///
/// # Errors
/// Everything that is wrong with options, environment and file, at once.
pub fn load(options: &Options, ambient: &Ambient) -> Result<Config, Problems> {
    let location = locate(options, ambient)?;
    let file = match std::fs::read(&location.file) {
        Ok(bytes) => Some(SettingsFile::new(&location, bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !location.named => None,
        Err(error) => {
            let problem = Problem::new(location.file.display().to_string(), format!("cannot be read: {error}"));
            return Err(problem.hint("create it with `toolgate init`, or leave `--config` and `TOOLGATE_CONFIG` out").into());
        }
    };
    resolve(options, ambient, file.as_ref())
}
