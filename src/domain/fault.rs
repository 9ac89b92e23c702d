//! The error that crosses rooms: a code, what was wrong and where, and what to do.

use serde_json::Value;

use super::{ErrorCode, Reader};

/// A failure with its stable code. `message` says what was wrong and where, `hint` what to do next,
/// `details` carries data a program can use (an approval's id, a field's path).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The stable word for this kind of failure.
    pub code: ErrorCode,
    /// What was wrong, and where: lower case, no final period, user input in backticks.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Data for programs.
    pub details: Option<Box<Value>>,
}

impl Fault {
    /// A fault with neither hint nor details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: None }
    }

    /// A fault of our own that has no better code.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with data for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// What an agent may see of it: all, unless the fault is ours, then only a reference to the log.
    #[must_use]
    pub fn for_agent(&self, reference: &str) -> Self {
        match self.code.reader() {
            Reader::Model | Reader::Policy => self.clone(),
            Reader::Internal => Self {
                code: self.code,
                message: format!("internal error, reference {reference}"),
                hint: Some("this is not a mistake in the call; the operator finds the cause in the log".into()),
                details: None,
            },
        }
    }

    /// The fault as data: `{code, message, hint?, details?}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::json!({ "code": self.code.as_str(), "message": self.message });
        if let Some(object) = json.as_object_mut() {
            if let Some(hint) = &self.hint {
                object.insert("hint".into(), Value::String(hint.clone()));
            }
            if let Some(details) = &self.details {
                object.insert("details".into(), (**details).clone());
            }
        }
        json
    }

    /// Reads back what [`Fault::to_json`] wrote; `None` when it is not such data.
    #[must_use]
    pub fn from_json(json: &Value) -> Option<Self> {
        Some(Self {
            code: ErrorCode::from_word(json.get("code")?.as_str()?)?,
            message: json.get("message")?.as_str()?.to_owned(),
            hint: json.get("hint").and_then(Value::as_str).map(str::to_owned),
            details: json.get("details").cloned().map(Box::new),
        })
    }
}
