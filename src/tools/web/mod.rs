//! `web.search` and `web.fetch`: what is on the web, as results and as readable text.
//!
//! INVARIANT: every request goes through `egress`, to the hosts that the call's preparation named; what comes back is data from outside
//! and is told as such. Keys of services are put in by the host and stand in no answer.

mod charset;
mod fetch;
pub mod markdown;
mod page;
pub mod pdf;
mod ports;
pub mod providers;
mod quota;
mod results;
mod robots;
mod search;
mod tree;

pub use fetch::WebFetch;
pub use page::{Link, Page};
pub use ports::{Robots, WebPorts};
pub use quota::{Quotas, Tally};
pub use search::WebSearch;

/// What egress calls the requests of these tools.
const PURPOSE: &str = "web";

/// How these tools name themselves to a server.
const AGENT: &str = concat!("toolgate/", env!("CARGO_PKG_VERSION"), " (+https://github.com/toolgate/toolgate)");

/// The word by which a robots file may address them.
const ROBOT: &str = "toolgate";
