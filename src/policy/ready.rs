//! A rule's condition, made ready once, so that a call only evaluates it.
//!
//! INVARIANT: it holds exactly where the rule matches, and fails exactly where the rule cannot be evaluated. Cedar's authorizer puts
//! scope and conditions of each rule together anew for each request and sorts what it finds; the verdict needs neither.

use cedar_policy::{
    ActionConstraint, Entities, EvalResult, Expression, Policy, PrincipalConstraint, Request, ResourceConstraint, eval_expression,
};

/// When a rule matches.
pub(super) struct Ready(Option<Expression>);

impl Ready {
    /// Of a rule whose tool is settled. What is left of its scope is evaluated with its conditions.
    pub(super) fn of(rule: &Policy) -> Self {
        let anyone = matches!(rule.principal_constraint(), PrincipalConstraint::Any);
        let anywhere = matches!(rule.resource_constraint(), ResourceConstraint::Any);
        let anything = matches!(rule.action_constraint(), ActionConstraint::Any);
        let inner = rule.as_ref();
        Self(match anyone && anywhere && anything {
            true => inner.non_scope_constraints().cloned().map(Expression::from),
            false => Some(Expression::from(inner.condition())),
        })
    }

    /// Whether the rule matches.
    ///
    /// # Errors
    /// Why it cannot be evaluated.
    pub(super) fn matches(&self, request: &Request, entities: &Entities) -> Result<bool, String> {
        let Some(condition) = &self.0 else { return Ok(true) };
        let found = eval_expression(request, entities, condition).map_err(|error| error.to_string())?;
        let EvalResult::Bool(holds) = found else { return Err("its condition is neither true nor false".to_owned()) };
        Ok(holds)
    }
}
