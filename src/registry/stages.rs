//! The stages of a call that need the tool: parse, prepare, execute, check.

use std::io::Write;

use serde_json::{Map, Value};

use super::{Entry, Registry};
use crate::call::{ParsedCall, Preparation, PreparedCall, RawCall, RawOutput, TOOL_CALL, ToolRef};
use crate::domain::{CallId, ErrorCode, Fault, RunId};
use crate::policy::Grant;
use crate::tools::CallContext;

impl Registry {
    /// Finds the tool and reads the arguments, once: policy and handler see the same value. Arguments that are missing (`null`) are
    /// `{}`. A `run_id` among the arguments is the run whose workspace is meant, and so the run the call belongs to (not for tools that are
    /// about runs, where it is what they look at); whether the caller may use it is the gateway's question.
    ///
    /// # Errors
    /// `UNKNOWN_TOOL` with what may have been meant; `INVALID_INPUT` naming the fields; whatever the handler's own reading finds.
    pub fn parse(&self, raw: RawCall, id: CallId) -> Result<ParsedCall, Fault> {
        let entry = self.find(&raw.tool).ok_or_else(|| self.unknown(&raw.tool))?;
        let def = &entry.def;
        let arguments = if raw.arguments.is_null() { Value::Object(Map::new()) } else { raw.arguments };
        def.input.check(&arguments).map_err(|fault| Fault { message: format!("`{}`: {}", def.name, fault.message), ..fault })?;
        let is_about_runs = entry.is_about_runs();
        let run = match arguments.get("run_id") {
            Some(Value::String(text)) if !is_about_runs => run_id(text)?,
            _ => raw.run,
        };
        let args = entry.handler.parse(arguments)?;
        Ok(ParsedCall {
            id,
            tool: ToolRef { name: def.name.clone(), version: def.version.clone(), manifest: def.digest },
            widest: def.effects.clone(),
            args,
            actor: raw.actor,
            origin: raw.origin,
            run,
            tokens: raw.tokens,
            along: raw.along,
            limits: def.limits,
            cancel: raw.cancel,
            asking: raw.asking,
            progress: raw.progress,
        })
    }

    /// The call that one of `tool.call` stands for; `None` where this is no such call.
    ///
    /// # Errors
    /// `INVALID_INPUT` where its arguments do not fit, or it may not be used here. That the tool it names exists is for [`Self::parse`].
    pub fn put_through(&self, raw: &RawCall) -> Result<Option<RawCall>, Fault> {
        let Some(entry) = self.find(&raw.tool).filter(|entry| entry.def.name.as_str() == TOOL_CALL) else { return Ok(None) };
        let checked = entry.def.input.check(&raw.arguments);
        checked.map_err(|fault| Fault { message: format!("`{TOOL_CALL}`: {}", fault.message), ..fault })?;
        raw.put_through().map(Some)
    }

    /// The effects and target of this very call, found by reading only.
    ///
    /// # Errors
    /// What the handler finds.
    pub async fn prepare(&self, call: &ParsedCall, context: &CallContext) -> Result<Preparation, Fault> {
        self.entry(&call.tool)?.handler.prepare(&call.args, context).await
    }

    /// Runs the call and uses the Grant up.
    ///
    /// # Errors
    /// `INTERNAL` where the Grant is for another call: nothing runs then. Else what the handler finds.
    pub async fn execute(&self, call: &PreparedCall, grant: Grant, context: &CallContext) -> Result<RawOutput, Fault> {
        if !grant.covers(call) {
            return Err(Fault::internal(format!("the grant does not cover this call of `{}`", call.parsed().tool.name)));
        }
        self.entry(&call.parsed().tool)?.handler.execute(&call.parsed().args, context).await
    }

    /// Checks what a handler gave back against the tool's limits and output schema.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED` where it is larger than the limit; `INVALID_OUTPUT` naming the fields.
    pub fn check(&self, call: &PreparedCall, output: RawOutput) -> Result<Value, Fault> {
        let parsed = call.parsed();
        let entry = self.entry(&parsed.tool)?;
        let RawOutput(value) = output;
        let (size, limit) = (size_of(&value), parsed.limits.output.0);
        if size > limit {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("the answer of `{}` has {size} bytes, at most {limit} are allowed", parsed.tool.name),
            )
            .hint("ask for less at once"));
        }
        match entry.def.output.check(&value) {
            Ok(()) => Ok(value),
            Err(fault) => {
                let message = format!("the answer of `{}` does not fit its output schema: {}", parsed.tool.name, fault.message);
                Err(Fault { code: ErrorCode::InvalidOutput, message, hint: None, details: fault.details })
            }
        }
    }

    /// The tool that a call was parsed for; another version or manifest is another tool.
    fn entry(&self, tool: &ToolRef) -> Result<&Entry, Fault> {
        self.tools
            .get(&tool.name)
            .filter(|entry| entry.def.digest == tool.manifest)
            .ok_or_else(|| Fault::internal(format!("`{}` was parsed for another set of tools", tool.name)))
    }

    fn unknown(&self, name: &str) -> Fault {
        let shown: String = name.chars().take(80).collect();
        let near = self.suggest(name);
        let hint = if near.is_empty() {
            "list the tools to see their names".to_owned()
        } else {
            format!("did you mean {}?", near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
        };
        Fault::new(ErrorCode::UnknownTool, format!("there is no tool `{shown}`"))
            .hint(hint)
            .details(serde_json::json!({ "suggestions": near }))
    }
}

fn run_id(text: &str) -> Result<RunId, Fault> {
    text.parse().map_err(|error| {
        Fault::new(ErrorCode::InvalidInput, format!("at `/run_id`: {error}"))
            .hint("use a run's id as `run.start` or `run.list` gave it, or leave it out")
            .details(serde_json::json!({ "errors": [{ "path": "/run_id", "message": "not a run id" }], "more": false }))
    })
}

/// Bytes of the value as JSON, without making the text.
fn size_of(value: &Value) -> u64 {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len() as u64);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => u64::MAX,
    }
}
