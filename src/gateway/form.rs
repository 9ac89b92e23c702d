//! A question as a form in the client, for the human in front of it.
//!
//! INVARIANT: there is a form only for principals whose client's human the operator trusts, only for their own questions, and only one
//! that wants something typed: a client that accepts forms by itself, empty, does not get through. It is a convenience, not proof of a
//! human: whoever can read the form can fill it in.

use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, Role};
use crate::store::{ApprovalRow, ApprovalStatus, Channel};

use super::{Amount, Answer, Gateway, describe};

/// Characters of the question that a form shows.
const LONGEST: usize = 6_000;

/// A form to be shown. Not clonable: each is answered once.
#[derive(Debug)]
#[must_use = "a form that is not shown asks nobody"]
pub struct Form {
    approval: ApprovalId,
    actor: Actor,
    /// What the human has to type.
    typed: String,
    /// What is asked, rendered from what would be executed.
    pub message: String,
    /// What the field is to hold, in words.
    pub field: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// The human agreed and typed this.
    Accepted(String),
    /// The human said no.
    Declined,
    /// The form was closed without an answer.
    Closed,
}

impl Gateway {
    /// Whether questions of this actor may be put to the human in front of its client.
    #[must_use]
    pub fn trusts_the_human_of(&self, actor: &Actor) -> bool {
        actor.role == Role::Agent && self.inner.approvals.trusted.contains(&actor.principal)
    }

    /// The form of a question; `None` where the client's human is not trusted, or no such question of this actor waits.
    ///
    /// # Errors
    /// Where the question cannot be read.
    pub async fn form(&self, actor: &Actor, approval: &ApprovalId) -> Result<Option<Form>, Fault> {
        if !self.trusts_the_human_of(actor) {
            return Ok(None);
        }
        let row = self.inner.store.approval(approval).await?;
        let row = row.filter(|row| row.principal == actor.principal && row.status == ApprovalStatus::Pending);
        Ok(row.map(|row| self.form_of(actor, &row)))
    }

    fn form_of(&self, actor: &Actor, row: &ApprovalRow) -> Form {
        let digest = row.digest.to_string();
        let typed: String = digest.chars().skip(digest.chars().count().saturating_sub(4)).collect();
        let question = describe(row, self.inner.clock.now(), Amount::Short);
        let is_long = question.chars().count() > LONGEST;
        let mut message: String = question.chars().take(LONGEST).collect();
        if is_long {
            message.push_str(&format!("\n… too long for a form. Read all of it by `toolgate approvals show {} --full`.\n", row.id));
        }
        let field = format!("the last 4 characters of the digest ({typed})");
        Form { approval: row.id, actor: actor.clone(), typed, message, field }
    }

    /// Takes the answer. What was typed wrongly, like a form that was closed, is no answer: the question goes on waiting.
    ///
    /// # Errors
    /// `INVALID_INPUT` for what was typed wrongly; `UNKNOWN_APPROVAL` where the question waits no more.
    pub async fn answer_form(&self, form: Form, filled: Filled) -> Result<(), Fault> {
        let answer = match filled {
            Filled::Accepted(typed) if typed.trim().eq_ignore_ascii_case(&form.typed) => Answer::yes(),
            Filled::Accepted(_) => {
                return Err(Fault::new(ErrorCode::InvalidInput, "the form was accepted without what had to be typed, which is no answer")
                    .hint("the question still waits"));
            }
            Filled::Declined => Answer::Deny { reason: "declined in the client".into() },
            Filled::Closed => return Ok(()),
        };
        self.inner.answered(form.approval, answer, form.actor, Channel::Elicitation).await.map(drop)
    }
}
