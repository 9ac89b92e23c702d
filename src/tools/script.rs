//! A tool written in Python: a manifest with a script beside it. The script reads its input as JSON from standard input, or under the name
//! `toolgate_input`, and answers with JSON: in the variable `result`, or on standard output.
//!
//! INVARIANT: a script runs in the sandbox with nothing but its input, so its effect is pure whatever it does.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::call::{ParsedArgs, Preparation, RawOutput};
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault};
use crate::sandbox::{Entry, GuestFile, LimitHit, Sandbox, SandboxOutcome, SandboxSpec};

use super::{CallContext, Handler};

/// Memory of a script.
const MEMORY: Bytes = Bytes(256 << 20);

/// How much of a failed script's standard error is told.
const TOLD: usize = 2_000;

/// The script and the schemas of its manifest.
pub struct Script {
    /// The script's file name, as its tracebacks show it.
    pub name: String,
    /// Its text.
    pub source: Arc<str>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the answer.
    pub output_schema: Value,
    /// Where it runs.
    pub sandbox: Arc<dyn Sandbox>,
}

#[async_trait]
impl Handler for Script {
    fn input_schema(&self) -> Value {
        self.input_schema.clone()
    }

    fn output_schema(&self) -> Value {
        self.output_schema.clone()
    }

    fn parse(&self, arguments: Value) -> Result<ParsedArgs, Fault> {
        Ok(ParsedArgs::new(arguments.clone(), arguments))
    }

    async fn prepare(&self, _arguments: &ParsedArgs, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<RawOutput, Fault> {
        let input: &Value = arguments.typed()?;
        let mut limits = super::guest_limits(context.limits.wall, MEMORY, context.limits.output);
        // The answer is the output itself, so it may be as large.
        limits.stdout = context.limits.output;
        limits.result = context.limits.output;
        let spec = SandboxSpec {
            stdin: input.to_string().into_bytes(),
            input: Some(input.clone()),
            files: vec![GuestFile { path: self.name.clone(), bytes: self.source.as_bytes().into() }],
            limits,
            wall: context.wall.clone(),
            nested: context.from_code,
            ..SandboxSpec::new(Entry::File(self.name.clone()))
        };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        self.answer(outcome).map(RawOutput)
    }
}

impl Script {
    fn answer(&self, outcome: SandboxOutcome) -> Result<Value, Fault> {
        let name = &self.name;
        if outcome.return_code != 0 {
            let said = outcome.stderr.text();
            let told: String = said.chars().skip(said.chars().count().saturating_sub(TOLD)).collect();
            let fault = |code, why: &str| Err(Fault::new(code, format!("the script `{name}` {why}: {}", told.trim())));
            return match outcome.limit {
                Some(LimitHit::Time) => fault(ErrorCode::Timeout, "ran out of time"),
                Some(LimitHit::Memory | LimitHit::Stack | LimitHit::Disk | LimitHit::Calls | LimitHit::Host) => {
                    fault(ErrorCode::LimitExceeded, "used more than it may")
                }
                Some(LimitHit::Output) | None => fault(ErrorCode::InvalidOutput, "failed"),
            };
        }
        if let Some(result) = outcome.result {
            return Ok(result);
        }
        if outcome.stdout.truncated {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("the script `{name}` wrote more than its manifest's output limit")));
        }
        serde_json::from_slice(&outcome.stdout.bytes).map_err(|error| {
            Fault::new(ErrorCode::InvalidOutput, format!("the script `{name}` left neither `result` nor JSON on standard output: {error}"))
        })
    }
}

#[cfg(test)]
mod tests;
