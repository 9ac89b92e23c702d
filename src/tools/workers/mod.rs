//! The built-in workers: `worker.plan`, `worker.research` and `worker.codegen`, which answer agent steps where no agent drives.
//!
//! INVARIANT: functions of their input, and of what other tools answer them: no clock, no chance, no file, no network of their own. What they
//! are given is data; none of it is run as a template or followed as an instruction.

mod codegen;
mod finds;
mod names;
mod pack;
mod passages;
mod plan;
mod ports;
mod purposes;
mod reading;
mod research;

#[cfg(test)]
mod research_tests;
#[cfg(test)]
mod tests;

pub use codegen::WorkerCodegen;
pub use pack::Template;
pub use plan::WorkerPlan;
pub use ports::ToolCalls;
pub use research::WorkerResearch;

/// One line of plain text of at most `most` characters.
fn line(text: &str, most: usize) -> String {
    let whole = crate::tools::plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if whole.chars().count() <= most { whole } else { whole.chars().take(most.saturating_sub(1)).chain(['…']).collect() }
}
