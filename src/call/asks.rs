//! What a tool may ask of the client that made its call, and the answers.
//!
//! INVARIANT: an answer counts only where it fits its question. It is data from outside, like an argument: the client's word, never a
//! human's leave. What needs leave is asked by the gateway, before a tool runs.
//! Not here: how a question reaches a client, which is the face's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};
use crate::schema::Schema;

/// Answers as the client gave them, by the names of their questions.
pub type Answers = BTreeMap<String, Value>;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A form for the human in front of the client. Nobody is asked for anything secret by one.
    Form {
        /// What the human reads.
        message: String,
        /// An object of plain members, as the protocol's forms are.
        schema: Value,
    },
    /// A request that the protocol gives up: sampling and roots. Only fixtures make one.
    #[cfg(debug_assertions)]
    GivenUp {
        /// The protocol's method.
        method: &'static str,
        /// Its parameters.
        params: Value,
    },
}

impl Question {
    /// The protocol's method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Form { .. } => "elicitation/create",
            #[cfg(debug_assertions)]
            Self::GivenUp { method, .. } => method,
        }
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> Value {
        match self {
            Self::Form { message, schema } => json!({ "message": message, "requestedSchema": schema }),
            #[cfg(debug_assertions)]
            Self::GivenUp { params, .. } => params.clone(),
        }
    }

    /// What a client must have said that it can do: the first part of the method.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        self.method().split('/').next().unwrap_or_default()
    }

    /// Whether this can be the answer: a form that was filled in must be filled in as its schema says.
    #[must_use]
    pub fn takes(&self, answer: &Value) -> bool {
        match self {
            Self::Form { schema, .. } => match answer.get("action").and_then(Value::as_str) {
                Some("accept") => {
                    let content = answer.get("content").filter(|content| content.is_object());
                    content.is_some_and(|content| Schema::compile(schema).is_ok_and(|schema| schema.check(content).is_ok()))
                }
                Some("decline" | "cancel") => true,
                Some(_) | None => false,
            },
            #[cfg(debug_assertions)]
            Self::GivenUp { .. } => answer.is_object(),
        }
    }

    /// Why a client that cannot be asked this is not.
    #[must_use]
    pub fn unanswerable(&self) -> Fault {
        let capability = self.capability();
        Fault::new(ErrorCode::ClientCapability, format!("the tool must ask the client, which did not say that it can do `{capability}`"))
            .hint("make the call from a client that can")
            .details(json!({ "requiredCapabilities": { capability: {} } }))
    }
}

/// Questions that are put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inquiry {
    /// By name.
    pub questions: BTreeMap<String, Question>,
    /// Whether answers count also where a client gives them before it was asked, as if they were arguments.
    pub unbidden: bool,
}

impl Inquiry {
    /// One question.
    #[must_use]
    pub fn of(name: &str, question: Question) -> Self {
        Self::default().and(name, question)
    }

    /// With one more.
    #[must_use]
    pub fn and(mut self, name: &str, question: Question) -> Self {
        self.questions.insert(name.to_owned(), question);
        self
    }

    /// What comes of it where there is nobody to ask.
    ///
    /// # Errors
    /// `CLIENT_CAPABILITY`, unless nothing is asked.
    pub fn by_nobody(&self) -> Result<Answers, Fault> {
        match self.questions.values().next() {
            Some(question) => Err(question.unanswerable()),
            None => Ok(Answers::new()),
        }
    }

    /// The same, where answers count also if nobody asked.
    #[must_use]
    pub fn or_unbidden(self) -> Self {
        Self { unbidden: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_fit_its_form() {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let form = Question::Form { message: "Who?".into(), schema };
        for good in [json!({"action": "accept", "content": {"name": "Ann"}}), json!({"action": "decline"}), json!({"action": "cancel"})] {
            assert!(form.takes(&good), "{good}");
        }
        for bad in [
            json!({"action": "accept", "content": {"name": 1}}),
            json!({"action": "accept", "content": {}}),
            json!({"action": "accept", "content": "Ann"}),
            json!({"action": "accept"}),
            json!({"action": "approve", "content": {"name": "Ann"}}),
            json!({"content": {"name": "Ann"}}),
            json!(12345),
            json!(null),
            json!([]),
        ] {
            assert!(!form.takes(&bad), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_what_is_missing() {
        let fault = Question::GivenUp { method: "sampling/createMessage", params: json!({}) }.unanswerable();
        assert_eq!(fault.code, ErrorCode::ClientCapability);
        assert_eq!(fault.details.as_deref(), Some(&json!({"requiredCapabilities": {"sampling": {}}})));
    }
}
