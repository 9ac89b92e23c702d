//! The built-in workers: `worker.plan`, `worker.research` and `worker.codegen`, which answer agent steps where no agent drives.
//!
//! INVARIANT: pure functions of their input: no clock, no chance, no file. What they are given is data; none of it is run as a template
//! or followed as an instruction.

mod codegen;
mod names;
mod pack;
mod plan;
mod purposes;
mod research;

#[cfg(test)]
mod tests;

pub use codegen::WorkerCodegen;
pub use pack::Template;
pub use plan::WorkerPlan;
pub use research::WorkerResearch;

/// One line of plain text of at most `most` characters.
fn line(text: &str, most: usize) -> String {
    let whole = crate::tools::plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if whole.chars().count() <= most { whole } else { whole.chars().take(most.saturating_sub(1)).chain(['…']).collect() }
}
