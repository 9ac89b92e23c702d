//! The command line: one file a verb. It converts and calls, and decides nothing.
//!
//! INVARIANT: data to stdout, everything else to stderr, and each ending has its exit code. Answers to approvals need an
//! [`OperatorProof`](crate::secrets::operator::OperatorProof), which no tool call can make.

mod approvals;
mod args;
mod audit;
mod audit_port;
mod config;
mod doctor;
mod drive;
pub mod drive_port;
mod exit;
mod follow;
mod init;
mod inputs;
mod install;
mod keep;
mod log;
mod log_level;
mod output;
mod policy;
pub mod ports;
mod raise;
mod report;
mod run;
mod runs;
mod serve;
mod start;
pub mod text;
mod tokens;
mod tools;
mod tree;
mod vault;
mod verify_bundle;
mod workflows;

#[cfg(test)]
mod tests;

pub use args::Invocation;
pub use exit::{Ending, Exit, Stop};
pub use output::{Console, Looks, Table};
pub use report::{render, report};
pub use start::{Desk, main, parse, run};
