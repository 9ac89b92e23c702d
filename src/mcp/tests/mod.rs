//! The face over an in-memory pair of streams, before a gate of three tools and a few that stand for runs and artifacts.

mod calls;
mod lists;
mod prompts;
mod resources;
mod skills;
mod streams;
mod subscriptions;
pub(super) mod support;
mod tasks;
