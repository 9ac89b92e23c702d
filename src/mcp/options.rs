//! How a server shows itself, over whatever it is reached.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{NoRedaction, Redact};
use crate::domain::{Meter, NoMeter};

use super::{HttpLimits, Metrics, Naming, Notices, Pace, Toolset};

/// How a server shows itself.
#[derive(Clone)]
pub struct ServeOptions {
    /// Under which names tools are listed.
    pub naming: Naming,
    /// Which tools are listed.
    pub toolset: Toolset,
    /// How often waiting clients are told of progress.
    pub pace: Pace,
    /// How long a client waits for the answer of a tool that can take long, before it gets a handle.
    pub answer: Duration,
    /// Where notices for the person come from.
    pub notices: Option<Arc<dyn Notices>>,
    /// How much one principal may ask over HTTP.
    pub limits: HttpLimits,
    /// What takes secrets out of everything that clients are told.
    pub redact: Option<Arc<dyn Redact>>,
    /// What models are told of the server as a whole; its own text where there is none.
    pub instructions: Option<String>,
    /// Who counts requests and connections over HTTP.
    pub meter: Arc<dyn Meter>,
    /// Where `/metrics` has its text from; without it nothing is there.
    pub metrics: Option<Arc<dyn Metrics>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            naming: Naming::default(),
            toolset: Toolset::default(),
            pace: Pace::default(),
            answer: Duration::from_secs(45),
            notices: None,
            limits: HttpLimits::default(),
            redact: None,
            instructions: None,
            meter: Arc::new(NoMeter),
            metrics: None,
        }
    }
}

impl ServeOptions {
    /// What takes secrets out of what is said.
    pub(super) fn redaction(&self) -> Arc<dyn Redact> {
        self.redact.clone().unwrap_or_else(|| Arc::new(NoRedaction))
    }
}

/// What a model reads before it uses any tool.
pub(super) const INSTRUCTIONS: &str = "\
toolgate runs code, files, git, drive and web tools under a policy, and workflows made of them.
To build a service: run_start {workflow: \"build_service\", inputs: {resource: \"Listing\"}}, then repeat run_watch {run_id, cursor, \
wait_sec: 30}. For each entry of `waiting` with waiting_for \"agent\" do what its prompt says and answer with run_submit {run_id, step_id, \
output}, where output fits its output_schema. Stop when `done`. Entries that wait for a human are not yours to answer: tell the user.
An error is {error: {code, message, hint}}: do what the hint says. After APPROVAL_REQUIRED tell the user what `details.how` says, then make \
the same call again.
{status: \"running\", run_id, cursor} means that a call goes on: run_watch with both tells in `calls` what came of it.
`run_id` names a run, by default the current one. The same `idempotency_key` and arguments again give the recorded outcome.
Long answers are cut: artifact_read gives the whole. tool_search finds tools that are not listed; tool_call calls them.";
