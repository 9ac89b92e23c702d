//! What the operator and the faces do about limits of runs: raising them, and telling that one was hit.
//!
//! INVARIANT: raising is the operator's alone; the face that calls it has checked who asks. Does not count: that is the store's.

use crate::domain::{Actor, Amounts, ErrorCode, Fault, Overrun, Problems, Quantity, RunId};
use crate::run::raised_draft;
use crate::store::Append;
use crate::tools::control::types::Accepted;
use crate::workflow::Plan;

use super::Control;

impl Control {
    /// Raises a run's limits by so much, as the operator.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`; `RUN_STATE` where it is over; `INVALID_INPUT` where it has no such limit.
    pub async fn raise(&self, run: &RunId, by: &Amounts) -> Result<Accepted, Fault> {
        let who = Actor::operator();
        self.row(&who, run).await?;
        self.append_to(run, &[], |state| {
            if let Some(end) = &state.end {
                return Err(Fault::new(ErrorCode::RunState, format!("run `{run}` is over: {}", end.status.as_str())));
            }
            let unlimited = |what: &Quantity| by.get(*what) > 0 && state.budget.allowed().get(*what).is_none();
            match Quantity::ALL.into_iter().find(unlimited) {
                Some(what) => Err(Fault::new(ErrorCode::InvalidInput, format!("run `{run}` has no limit on {}", what.words()))
                    .hint("`toolgate runs show` tells what a run may use up")),
                None if by.is_nothing() => Err(Fault::new(ErrorCode::InvalidInput, "nothing is to be raised")
                    .hint("name at least one of `--steps`, `--calls`, `--tokens`, `--wall`, `--bytes`")),
                None => Ok(raised_draft(by, who.clone())),
            }
        })
        .await
    }

    /// Whether every tool that a definition names is there.
    ///
    /// # Errors
    /// A problem for each that is not.
    pub fn check_tools(&self, file: &str, plan: &Plan) -> Result<(), Problems> {
        self.tools.as_ref().map_or(Ok(()), |tools| plan.unknown_tools(file, tools))
    }

    /// Records that a limit of the run was hit, where the fault says so and it is not recorded yet; gives the fault back.
    pub(super) async fn tell_limit(&self, run: &RunId, who: &Actor, fault: Fault) -> Fault {
        let Some(over) = Overrun::of_fault(&fault) else { return fault };
        match self.log.append(Append::telling(*run, over, who.clone())).await {
            Err(broken) if broken.code != ErrorCode::RunState => broken,
            Ok(_) | Err(_) => fault,
        }
    }
}
