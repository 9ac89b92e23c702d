//! `tool.call`: the one tool whose call is another's.
//!
//! INVARIANT: the call that it names is put in its place before anything else is done with it, so parsing, scope, policy, digest, approval,
//! budget and journal see that one alone. Programs and `tool.call` itself cannot use it.

use serde_json::Value;

use crate::domain::{ErrorCode, Fault};

use super::{Along, Origin, RawCall};

/// The canonical name.
pub const TOOL_CALL: &str = "tool.call";

/// Whether a name, canonical or exposed, is that of [`TOOL_CALL`].
#[must_use]
pub fn is_tool_call(name: &str) -> bool {
    name == TOOL_CALL || name == "tool_call"
}

/// The tool that a call is really of, and its arguments; as they were given, nothing is checked. For faces that show or count by tool.
#[must_use]
pub fn meant<'a>(tool: &'a str, arguments: &'a Value) -> (&'a str, &'a Value) {
    let inner = || Some((arguments.get("tool")?.as_str()?, arguments.get("arguments").unwrap_or(&Value::Null)));
    if is_tool_call(tool) { inner().unwrap_or((tool, arguments)) } else { (tool, arguments) }
}

impl RawCall {
    /// The call in the place of this `tool.call`, whose arguments have passed its schema.
    ///
    /// # Errors
    /// `INVALID_INPUT` where the call is a program's, or is itself one of `tool.call`.
    pub fn put_through(&self) -> Result<Self, Fault> {
        let refused = |message: &str, hint: &str| Err(Fault::new(ErrorCode::InvalidInput, message).hint(hint));
        if matches!(self.origin, Origin::Code { .. }) {
            return refused("a program cannot use `tool.call`", "name the tool in `tools` and call it by its own name");
        }
        let (tool, arguments) = meant(&self.tool, &self.arguments);
        if is_tool_call(tool) {
            return refused("`tool.call` cannot call itself", "give the name and arguments of the tool that you mean");
        }
        Ok(Self {
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            origin: self.origin.clone(),
            actor: self.actor.clone(),
            run: self.run,
            asking: self.asking.clone(),
            tokens: self.tokens,
            along: Along { through: true, ..self.along.clone() },
            cancel: self.cancel.clone(),
            progress: self.progress.clone(),
        })
    }
}
