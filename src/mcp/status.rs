//! What is served where toolgate's own files are wrong: one tool that says what is wrong.
//!
//! A server that runs has a tool of the same name (`tools/status`), which answers in the same words.
//!
//! INVARIANT: nothing else can be called, nothing is read or written; the person sees the problems in the client, not a dead server.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::{CheckedOutput, RawCall, Reply};
use crate::domain::{Actor, CallId, Clock, Effect, Effects, ErrorCode, Fault, Problems, RunId, TaskUse, ToolName};

use super::stdio;
use super::{Gate, PublishedTool, ServeOptions, Toolset};

const STATUS: &str = "toolgate.status";

/// Serves the one tool `toolgate.status` over standard input and output until the input ends or `shutdown` fires.
///
/// # Errors
/// As [`super::serve_stdio`].
pub async fn serve_broken(
    problems: Problems,
    clock: Arc<dyn Clock>,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let (gate, options) = broken(problems, clock, options)?;
    stdio::serve_stdio(gate, options, shutdown).await
}

/// The gate and options that stand in for a working toolgate.
pub(super) fn broken(problems: Problems, clock: Arc<dyn Clock>, options: ServeOptions) -> Result<(Arc<dyn Gate>, ServeOptions), Fault> {
    let name: ToolName = STATUS.parse().map_err(|error| Fault::internal(format!("{error}")))?;
    let run = RunId::mint(clock.now());
    let instructions = format!(
        "toolgate could not start: {} in its files. Call {} to see what, and tell the user; no other tool works until the files are \
         mended and the server is started again.",
        count(&problems),
        name.exposed(),
    );
    let options = ServeOptions { toolset: Toolset::All, instructions: Some(instructions), notices: None, ..options };
    Ok((Arc::new(Broken { problems, clock, name, run }), options))
}

fn count(problems: &Problems) -> String {
    match problems.list().len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    }
}

struct Broken {
    problems: Problems,
    clock: Arc<dyn Clock>,
    name: ToolName,
    run: RunId,
}

#[async_trait]
impl Gate for Broken {
    async fn call(&self, raw: RawCall) -> Reply {
        let known = raw.tool == self.name.as_str() || raw.tool == self.name.exposed();
        let outcome = if known {
            Ok(CheckedOutput { value: self.report(), artifact: None })
        } else {
            let tool: String = raw.tool.chars().take(80).collect();
            Err(Fault::new(ErrorCode::UnknownTool, format!("toolgate could not start, so `{tool}` is not there"))
                .hint(format!("call `{}` for what is wrong", self.name.exposed())))
        };
        Reply { call: CallId::mint(self.clock.now()), run: self.run, outcome }
    }

    async fn refuse(&self, _raw: RawCall, fault: Fault) -> Reply {
        Reply { call: CallId::mint(self.clock.now()), run: self.run, outcome: Err(fault) }
    }

    async fn adhoc_run(&self, _actor: &Actor) -> Result<RunId, Fault> {
        Ok(self.run)
    }

    fn tools(&self) -> Vec<PublishedTool> {
        vec![PublishedTool {
            name: self.name.clone(),
            title: STATUS.to_owned(),
            description: format!(
                "Tells why toolgate could not start: {}. No other tool works until the files are mended.",
                count(&self.problems)
            ),
            input: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            output: json!({
                "type": "object",
                "properties": {
                    "ready": { "type": "boolean" },
                    "problems": { "type": "array", "items": { "type": "object" } },
                    "next": { "type": "string" },
                },
                "required": ["ready", "problems", "next"],
            }),
            effects: Effects::only(Effect::Read),
            scopes: vec!["toolgate".to_owned()],
            idempotent: true,
            task: TaskUse::Never,
            search_hint: None,
        }]
    }
}

impl Broken {
    fn report(&self) -> Value {
        json!({
            "ready": false,
            "problems": self.problems,
            "next": "mend the files named here, check them with `toolgate doctor`, then start the server again from the client",
        })
    }
}
