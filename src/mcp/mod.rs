//! The MCP face: one hand-written server for both protocol generations, over standard input and output and over HTTP.
//!
//! INVARIANT: converts and calls, decides nothing. Whatever a client asks for that touches a tool, a run or an artifact becomes a
//! `RawCall` down the one path, and standard output carries protocol lines only.
//!
//! Not here: approving (never an MCP tool), policy, records.

mod asking;
mod catalog;
mod convert;
mod cut;
mod http;
mod lean;
mod notices;
mod options;
mod ports;
pub mod probe;
mod progress;
mod prompts;
mod resources;
mod server;
mod status;
mod stdio;
mod strict;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Naming, Toolset};
pub use http::{Doorkeeper, serve_http};
pub use options::ServeOptions;
pub use ports::{Gate, Notice, NoticeLevel, Notices, PublishedTool};
pub use progress::Pace;
pub use status::serve_broken;
pub use stdio::{serve_over, serve_stdio};
