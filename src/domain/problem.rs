//! What is wrong with a file, all at once and with its place.

use std::fmt;

use super::{ErrorCode, Fault};

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as the user would name it.
    pub file: String,
    /// Line, from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong: lower case, no final period, user input in backticks.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a file as a whole.
    #[must_use]
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into(), hint: None }
    }

    /// The same, at this line.
    #[must_use]
    pub fn at(mut self, line: Option<u64>) -> Self {
        self.line = line;
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// All that is wrong with a set of files. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Err` with the problems where there are any.
    ///
    /// # Errors
    /// Where the list is not empty.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// One problem.
    #[must_use]
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// In the order found.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// As one fault of this code: the message holds every problem, one a line.
    #[must_use]
    pub fn into_fault(self, code: ErrorCode) -> Fault {
        let details = serde_json::to_value(&self).unwrap_or_default();
        Fault::new(code, self.to_string()).details(serde_json::json!({ "problems": details }))
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self::one(problem)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
