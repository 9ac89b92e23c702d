//! `policy`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;
use crate::domain::RunId;

/// Which recorded calls are looked at.
#[derive(Debug, Clone, Args)]
pub struct Recorded {
    /// Only calls of this run
    #[arg(long)]
    pub run: Option<RunId>,
    /// Only calls since then: a time (2026-01-31T12:00:00Z) or a span (30m, 12h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say what is odd about rules: unreachable, shadowed, too broad, untested
    Check {
        /// Only these policy files or folders, as if they lay in the home's; without any, all rules in force
        files: Vec<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Run the tests that stand beside policies
    Test {
        /// Test files (*.test.yaml), policy files with the tests beside them, or folders; without any, all there are
        files: Vec<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Say why a call would be decided so, and what would have to differ
    Explain {
        /// The tool's name, dotted or with underscores
        name: String,
        /// The arguments: JSON, `@FILE`, or `-` for standard input
        #[arg(value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
        arguments: String,
        /// Who asks: agent, operator or system, and a name, as in agent/ci
        #[arg(long = "as", value_name = "ROLE[/PRINCIPAL]", default_value = "agent", value_parser = asker)]
        who: Asker,
        /// A label that its run holds; repeat for more
        #[arg(long = "label", value_name = "LABEL")]
        labels: Vec<LabelWord>,
        /// The run it would belong to; without one, a new run
        #[arg(long)]
        run: Option<RunId>,
        #[command(flatten)]
        json: Json,
    },
    /// Say which recorded calls a changed policy would decide otherwise
    Replay {
        /// The changed policy: a file as if it lay in the home's folder, or a folder in its place
        #[arg(long, value_name = "FILE|FOLDER")]
        with: PathBuf,
        #[command(flatten)]
        calls: Recorded,
        #[command(flatten)]
        json: Json,
    },
    /// Count what rules on trial (`@mode("log")`) would have made of recorded calls
    Trials {
        #[command(flatten)]
        calls: Recorded,
        #[command(flatten)]
        json: Json,
    },
}

impl Policy {
    pub(super) fn json(&self) -> Json {
        match self {
            Self::Check { json, .. } | Self::Test { json, .. } | Self::Explain { json, .. } => *json,
            Self::Replay { json, .. } | Self::Trials { json, .. } => *json,
        }
    }
}

/// A label that a run can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabelWord {
    /// It took in content from outside.
    Untrusted,
    /// It took in data that is not for everybody.
    Private,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// In which capacity.
    pub role: crate::domain::Role,
    /// Under which name; without one, the usual of the role.
    pub principal: Option<String>,
}

fn asker(text: &str) -> Result<Asker, String> {
    use crate::domain::Role;
    let (role, principal) = match text.split_once('/') {
        Some((role, principal)) => (role, Some(principal.to_owned())),
        None => (text, None),
    };
    if principal.as_deref() == Some("") {
        return Err("a name must follow the `/`".to_owned());
    }
    let known = [Role::Agent, Role::Operator, Role::System].into_iter().find(|known| known.as_str() == role);
    known.map(|role| Asker { role, principal }).ok_or_else(|| "none of agent, operator, system".to_owned())
}
