//! Runs that outlive their process: [`Control`] writes what people and agents want into the log, [`Driver`] does what follows from it.
//!
//! INVARIANT: the log is the only memory; a step that ended is never worked on again; every call of a step walks the one path.
//! What follows is decided in `run`, whether a call may run in `policy`.

mod approval;
mod calls;
mod control;
mod direct;
mod drive;
mod driver;
mod limits;
mod log;
mod raise;
mod steps;
mod view;
mod work;

#[cfg(test)]
mod tests;

pub use calls::CallPath;
pub use control::{Control, StopCalls};
pub use driver::{Driver, DriverParts, DriverSettings, ProgressOf};
pub use log::Log;
pub use view::budget as budget_lines;

pub use crate::tools::control::types::BudgetLine;
