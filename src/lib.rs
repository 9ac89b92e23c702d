//! toolgate: one MCP server that gives an agent a whole build platform as governed tools.
//!
//! The rooms, from the bottom up; `ARCHITECTURE.md` says who may enter which, and a test holds it.

pub mod call;
pub mod confine;
pub mod domain;
pub mod run;
pub mod sandbox;
pub mod store;
pub mod tools;
