//! A tool that is a Python script beside its manifest: the input goes in as JSON, one JSON value comes out.
//!
//! INVARIANT: pure. The script runs in the sandbox with nothing but its input; what it prints is checked against the manifest's output
//! schema like any other tool's answer.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::call::{ParsedArgs, Preparation, RawOutput};
use crate::domain::{Effect, Effects, ErrorCode, Fault};
use crate::sandbox::{Entry, Sandbox, SandboxLimits, SandboxSpec};

use super::{CallContext, Handler};

/// Characters of the script's standard error that a fault repeats.
const MOST_SAID: usize = 2_000;

/// One such tool.
pub struct Script {
    code: String,
    input: Value,
    output: Value,
    sandbox: Arc<dyn Sandbox>,
}

impl Script {
    /// `code` is the script's text; the schemas are the manifest's.
    #[must_use]
    pub fn new(code: String, input: Value, output: Value, sandbox: Arc<dyn Sandbox>) -> Self {
        Self { code, input, output, sandbox }
    }
}

#[async_trait]
impl Handler for Script {
    fn input_schema(&self) -> Value {
        self.input.clone()
    }

    fn output_schema(&self) -> Value {
        self.output.clone()
    }

    fn parse(&self, arguments: Value) -> Result<ParsedArgs, Fault> {
        let typed = arguments.clone();
        Ok(ParsedArgs::new(arguments, typed))
    }

    async fn prepare(&self, _arguments: &ParsedArgs, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<RawOutput, Fault> {
        let mut spec = SandboxSpec::new(Entry::Code(self.code.clone()));
        spec.stdin = arguments.value().to_string().into_bytes();
        spec.input = Some(arguments.typed::<Value>()?.clone());
        spec.limits = SandboxLimits { wall: context.limits.wall, stdout: context.limits.output, ..SandboxLimits::default() };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        if outcome.return_code != 0 {
            let said: String = outcome.stderr.text().chars().take(MOST_SAID).collect();
            return Err(Fault::new(ErrorCode::ScriptFailed, format!("the tool's script ended with {}: {said}", outcome.return_code))
                .hint("this is the tool's mistake; tell its author"));
        }
        match outcome.result {
            Some(result) => Ok(RawOutput(result)),
            None => serde_json::from_slice(&outcome.stdout.bytes).map(RawOutput).map_err(|error| {
                Fault::new(ErrorCode::ScriptFailed, format!("the tool's script printed no JSON value: {error}"))
                    .hint("it must print one JSON value, or assign it to `result`")
            }),
        }
    }
}
