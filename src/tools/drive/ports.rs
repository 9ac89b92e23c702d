//! What drives of services need of the house.

use std::sync::Arc;

use crate::domain::Clock;
use crate::egress::Egress;
use crate::tools::network::HttpEvents;

use super::Index;
use super::keys::Keys;

/// Ports of the drives that are services.
#[derive(Clone)]
pub struct DrivePorts {
    /// HTTP.
    pub egress: Egress,
    /// Where the requests of calls are recorded.
    pub http_events: Arc<dyn HttpEvents>,
    /// Their keys.
    pub keys: Arc<dyn Keys>,
    /// How far uploads are.
    pub index: Arc<dyn Index>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}
