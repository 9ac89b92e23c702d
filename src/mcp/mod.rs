//! The MCP face: one hand-written server for both protocol generations, over standard input and output and over HTTP.
//!
//! INVARIANT: converts and calls, decides nothing. Whatever a client asks for that touches a tool, a run or an artifact becomes a
//! `RawCall` down the one path, and standard output carries protocol lines only.
//!
//! Not here: approving (never an MCP tool), policy, records.

mod asking;
pub mod auth;
mod catalog;
mod complete;
mod convert;
mod cut;
#[cfg(debug_assertions)]
mod fixtures;
mod http;
mod inquiry;
mod lean;
mod notices;
mod options;
mod ports;
pub mod probe;
mod progress;
mod prompts;
mod resources;
mod server;
mod skills;
mod status;
mod stdio;
mod strict;
mod subscriptions;
mod tasks;
mod tokens;
mod wire;
mod workflows;

#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Naming, Toolset};
pub use http::{Entrance, HttpLimits, Tls, TlsFault, serve_http};
pub use options::ServeOptions;
pub use ports::{Gate, Metrics, Notice, NoticeLevel, Notices, PublishedTool};
pub use progress::Pace;
pub use status::serve_broken;
pub use stdio::{serve_over, serve_stdio};
