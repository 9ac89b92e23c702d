//! The only HTTP client: every outgoing request passes one set of host rules, one address guard and one set of caps, hop by hop.
//!
//! INVARIANT: a host is decided on, resolved and dialled in one canonical form; only addresses that were checked are dialled; nothing
//! a request carries can widen what the operator's options and the caller's terms allow.
//!
//! It decides nothing about who may ask (policy does) and keeps no record itself (see [`RequestLog`]).

pub mod address;
pub mod fill;
pub mod headers;
pub mod linked;
pub mod probe;
pub mod proxy;
pub mod record;
pub mod request;
pub mod resolve;
pub mod rules;
pub mod secure;
pub mod target;
pub mod tunnel;

mod cache;
mod client;
mod decode;
mod failure;
mod hop;
mod mask;
mod pace;
mod patience;
mod send;

pub use crate::domain::host::{Host, host_and_port};

pub use cache::Cache;
pub use decode::decoded;
pub use fill::{Fill, NoFill, Outgoing};
pub use headers::{Credentials, Filled, HeaderList, NoCredentials};
pub use linked::LinkedResolver;
pub use pace::Pace;
pub use patience::{Patience, wanted as retry_after};
pub use proxy::{ProxyTerms, serve};
pub use record::{RequestLog, RequestRecord};
pub use request::{Answer, Caps, Request, Terms};
pub use resolve::{PrivateException, Resolve, SystemResolver};
pub use rules::HostRules;
pub use secure::{Roots, Secured};
pub use send::{Egress, EgressOptions};
pub use target::{Origin, Scheme};
pub use tunnel::Tunnel;

#[cfg(test)]
mod tests;
