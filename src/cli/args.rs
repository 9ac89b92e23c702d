//! What can be typed: verbs, options, and their help.

mod approvals;
mod audit;
mod drive;
mod evidence;
mod install;
mod keep;
mod log_level;
mod policy;
pub mod raise;
mod tokens;
mod vault;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::domain::RunId;
use crate::run::RunStatus;

use super::inputs::Assignment;

pub use approvals::{Allow, Approvals};
pub use audit::Audit;
pub use drive::Drive;
pub use evidence::VerifyBundle;
pub use install::{Client, Install};
pub use keep::{Archive, Backup, Export, Redact, Restore, Storage};
pub use log_level::LogLevel;
pub use policy::{Asker, LabelWord, Policy, Recorded};
pub use tokens::{End, Tokens, TokensCreate};
pub use vault::{Vault, VaultExport, VaultImport, VaultSet};

/// The heading of options that every verb has.
const EVERYWHERE: &str = "For every verb";

/// Governed tools for AI agents: policy, sandbox, approvals and a log that shows every change.
#[derive(Debug, Parser)]
#[command(name = "toolgate", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Invocation {
    /// Folder of everything toolgate keeps [env: TOOLGATE_HOME]
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub home: Option<PathBuf>,
    /// Settings file, if not toolgate.toml in the home [env: TOOLGATE_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub config: Option<PathBuf>,
    /// Log level: off, error, warn, info, debug or trace [env: TOOLGATE_LOG]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = EVERYWHERE)]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create the home and a commented settings file
    Init(Init),
    /// Write toolgate into a client's settings
    Install(Install),
    /// Serve MCP over standard input and output, or over HTTP
    Serve(Serve),
    /// Start a workflow and follow it
    Run(Run),
    /// Everything about runs
    #[command(subcommand)]
    Runs(Runs),
    /// The workflows there are
    #[command(subcommand)]
    Workflows(Workflows),
    /// The tools there are, and calling them by hand
    #[command(subcommand)]
    Tools(Tools),
    /// What waits for a human's yes
    #[command(subcommand)]
    Approvals(Approvals),
    /// The rules that decide on calls: check, test, explain, replay, trials
    #[command(subcommand)]
    Policy(Policy),
    /// The log that shows every change
    #[command(subcommand)]
    Audit(Audit),
    /// What the home takes on the disk
    #[command(subcommand)]
    Storage(Storage),
    /// Copy the home while it is at work
    Backup(Backup),
    /// Put a copy back in the home's place
    Restore(Restore),
    /// Check a file of evidence that `runs export` wrote; needs no home
    VerifyBundle(VerifyBundle),
    /// Secrets, for those who may use them without seeing them
    #[command(subcommand)]
    Vault(Vault),
    /// The drives there are, and the login at Google Drive
    #[command(subcommand)]
    Drive(Drive),
    /// Who may come in over HTTP, and how far
    #[command(subcommand)]
    Tokens(Tokens),
    /// Settings and where they come from
    #[command(subcommand)]
    Config(Config),
    /// Change the log's level of the processes that run now, as the operator
    LogLevel(LogLevel),
    /// What works on this machine
    Doctor(Doctor),
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Json {
    /// Print data as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where the operator's passphrase comes from.
#[derive(Debug, Clone, Copy, Args)]
pub struct PassphraseFrom {
    /// Read the operator's passphrase from this descriptor, not the terminal
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Serve over HTTP at this address instead, at the path /mcp
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// How tools are named to the client: underscore or dotted
    #[arg(long, value_name = "FORM")]
    pub tool_names: Option<String>,
    /// Which toolsets are listed, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub toolsets: Option<Vec<String>>,
    /// Serve the tools that this suite asks for besides. A release does not have them
    #[cfg(debug_assertions)]
    #[arg(long, hide = true, value_name = "SUITE", value_parser = ["conformance"])]
    pub fixtures: Option<String>,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// A workflow's name, or a file (a path with `/`, or ending in .yaml or .yml)
    pub workflow: String,
    /// An input; repeat for more. Text stays text, other types are read as JSON
    #[arg(short = 'i', long = "input", value_name = "KEY=VALUE")]
    pub inputs: Vec<Assignment>,
    #[command(flatten)]
    pub follow: Follow,
}

/// How a run is followed.
#[derive(Debug, Args)]
pub struct Follow {
    /// Answers for steps that wait for data: a JSON or YAML file `{step: output}`. Approvals are never answered from it
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    #[command(flatten)]
    pub from: PassphraseFrom,
    /// Print every event as a line of JSON, then the result
    #[arg(long)]
    pub json: bool,
}

/// `runs`
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, the newest first
    List {
        /// Only those that have not ended
        #[arg(long)]
        open: bool,
        /// Also those that hold toolgate's own records (checkpoints, rules, secrets)
        #[arg(long)]
        all: bool,
        /// Only in this state
        #[arg(long, value_parser = status)]
        status: Option<RunStatus>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Show one run with its steps
    Show {
        /// The run
        run: RunId,
        #[command(flatten)]
        json: Json,
    },
    /// Print a run's events
    Events {
        /// The run
        run: RunId,
        /// Go on until the run ends
        #[arg(long)]
        follow: bool,
        /// Only those after this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        json: Json,
    },
    /// Go on with a run and follow it
    Watch {
        /// The run
        run: RunId,
        #[command(flatten)]
        follow: Follow,
    },
    /// Write everything that proves a run to one file
    Export(Export),
    /// Take a value away from a run's record; proofs stay valid
    Redact(Redact),
    /// Put old runs aside: their evidence goes to the home's archive, their values leave the database
    Archive(Archive),
    /// Raise what a run may use up, as the operator
    Raise(raise::Raise),
    /// Stop a run
    Cancel {
        /// The run
        run: RunId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        json: Json,
    },
}

/// `workflows`
#[derive(Debug, Subcommand)]
pub enum Workflows {
    /// List workflows
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Show one workflow: inputs and steps
    Show {
        /// Its name, or a file
        workflow: String,
        #[command(flatten)]
        json: Json,
    },
    /// Check a workflow file
    Validate {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

/// `tools`
#[derive(Debug, Subcommand)]
pub enum Tools {
    /// List tools
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Show one tool with its schemas
    Show {
        /// Its name, dotted or with underscores
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Call a tool, on the same path as an agent's call
    Call {
        /// Its name, dotted or with underscores
        name: String,
        /// The arguments: JSON, `@FILE`, or `-` for standard input
        #[arg(value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
        arguments: String,
        #[command(flatten)]
        json: Json,
    },
    /// Check a tool's manifest file
    Check {
        /// The file
        manifest: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every setting and where it comes from
    Show {
        #[command(flatten)]
        json: Json,
    },
    /// Say whether the settings are right
    Check {
        #[command(flatten)]
        json: Json,
    },
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also search the web with each configured service, and fetch a page
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    pub json: Json,
}

fn status(word: &str) -> Result<RunStatus, String> {
    serde_json::from_value(serde_json::Value::from(word))
        .map_err(|_| "none of running, waiting, succeeded, failed, cancelled, closed".to_owned())
}

impl Verb {
    /// Whether data is printed as JSON, and errors with it.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Init(Init { json, .. })
            | Self::VerifyBundle(VerifyBundle { json, .. })
            | Self::Storage(Storage::Collect { json, .. })
            | Self::Backup(Backup { json, .. })
            | Self::Restore(Restore { json, .. })
            | Self::Runs(Runs::Redact(Redact { json, .. }) | Runs::Archive(Archive { json, .. }))
            | Self::Install(Install { json, .. })
            | Self::Doctor(Doctor { json, .. })
            | Self::LogLevel(LogLevel { json, .. })
            | Self::Runs(Runs::List { json, .. } | Runs::Show { json, .. } | Runs::Events { json, .. } | Runs::Cancel { json, .. })
            | Self::Runs(Runs::Raise(raise::Raise { json, .. }))
            | Self::Workflows(Workflows::List { json } | Workflows::Show { json, .. } | Workflows::Validate { json, .. })
            | Self::Tools(Tools::List { json } | Tools::Show { json, .. } | Tools::Call { json, .. } | Tools::Check { json, .. })
            | Self::Approvals(
                Approvals::List { json, .. }
                | Approvals::Show { json, .. }
                | Approvals::Approve { json, .. }
                | Approvals::Deny { json, .. }
                | Approvals::Forget { json, .. }
                | Approvals::Grants { json, .. }
                | Approvals::Revoke { json, .. }
                | Approvals::Release { json, .. },
            )
            | Self::Config(Config::Show { json } | Config::Check { json }) => json.json,
            Self::Audit(audit) => audit.json(),
            Self::Run(Run { follow, .. }) | Self::Runs(Runs::Watch { follow, .. }) => follow.json,
            Self::Policy(policy) => policy.json().json,
            Self::Vault(vault) => vault.json(),
            Self::Tokens(tokens) => tokens.json(),
            Self::Drive(drive) => drive.json(),
            Self::Serve(_) | Self::Runs(Runs::Export(_)) => false,
        }
    }
}
