//! `transform.jq`: a jq filter over a JSON value.
//!
//! INVARIANT: a filter sees its input and nothing else (no environment, clock, file, log or further input), and is stopped when it takes
//! too many steps, too much memory or too long, wherever it is. See `budget` for how. Touches nothing outside the call.

mod budget;
mod compare;
mod functions;
mod run;
mod tool;
mod value;
mod value_ops;

#[cfg(test)]
mod tests;

pub use tool::TransformJq;
