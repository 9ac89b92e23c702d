//! toolgate: one MCP server that gives an agent a whole build platform as governed tools.
//!
//! The rooms, from the bottom up; `ARCHITECTURE.md` says who may enter which, and a test holds it.

pub mod domain;

pub mod audit;
pub mod call;
pub mod manifest;
pub mod policy;
pub mod run;
pub mod schema;
pub mod workflow;

pub mod confine;
pub mod egress;
pub mod packages;
pub mod sandbox;
pub mod secrets;
pub mod store;
pub mod telemetry;

pub mod tools;

pub mod registry;

pub mod gateway;
pub mod keeping;

pub mod engine;

pub mod cli;
pub mod mcp;

pub mod app;
pub mod config;
