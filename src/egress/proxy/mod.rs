//! The HTTP proxy of a program that has no network: `CONNECT` for tunnels and absolute URLs for plain http, over a listener that the
//! program's own loopback leads to.
//!
//! INVARIANT: a connection asks for one thing, its head is read once, and the host read there is the one decided on, resolved once and
//! dialled; with no rules nothing leaves. Credentials are never attached here.
//!
//! Not its job: what a program says inside a tunnel. Who may speak to an allowed host may speak to whatever that host hands on to.

pub(super) mod ask;
pub(super) mod body;
mod fetch;
mod head;
mod refusal;
mod relay;
mod serve;
mod talk;

pub use serve::serve;

use crate::domain::{Bytes, Millis};

use super::Terms;

/// What one program may do through its proxy.
#[derive(Debug, Clone)]
pub struct ProxyTerms {
    /// Purpose, hosts and caps. Of the caps these count: `connect`; `wall`, the longest life of one connection; for plain http also `url`
    /// and `answer_headers`.
    pub terms: Terms,
    /// Connections served at once, at least one; more wait to be accepted.
    pub connections: usize,
    /// Connections served in all. One more is refused and recorded, then no other is accepted.
    pub total: usize,
    /// Bytes between program and hosts, both ways, of all connections together. What is beyond does not pass, and breaks its connection.
    pub bytes: Bytes,
    /// Longest time from a connection to the end of its request's head.
    pub head: Millis,
    /// Longest time in which no byte passes on a connection, either way.
    pub idle: Millis,
}

impl ProxyTerms {
    /// Middling limits: 32 connections at once, 1000 in all, 256 MiB, 10 s for a head, 60 s of silence.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, connections: 32, total: 1000, bytes: Bytes(256 << 20), head: Millis(10_000), idle: Millis(60_000) }
    }
}
