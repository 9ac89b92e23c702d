//! What the process tells of itself to those who watch over it: figures and, where the operator wants them, traces.
//!
//! INVARIANT: only what a [`Meter`](crate::domain::Meter) is told, and spans of the target [`SPANS`](crate::domain::SPANS), get here: names
//! of tools, ids, codes, sizes and times. No argument, no output and no text of a caller's.
//!
//! The log is `cli`'s, the record of what was done `store`'s.

mod figures;
mod process;

pub use figures::Figures;
