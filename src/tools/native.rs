//! What tools need to run native programs: the process sandbox, environments of packages, and a proxy to the hosts that a call names.
//!
//! INVARIANT: a program reaches only the hosts of its call, through the one HTTP client's rules and guard, and each connection is recorded.

use std::net::TcpListener;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::call::Spawner;
use crate::domain::{Fault, Millis};
use crate::egress::{Caps, Egress, HostRules, ProxyTerms, RequestLog, Terms, proxy};
use crate::packages::{Environment, Environments, Requirement};
use crate::sandbox::{Door, Sandbox};

use super::CallContext;

/// The part of the house that native programs need.
#[derive(Clone)]
pub struct Native {
    /// Where they run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Their packages.
    pub environments: Arc<Environments>,
    /// The way out, for those that have one.
    pub egress: Egress,
    /// Where proxies are served.
    pub spawner: Arc<dyn Spawner>,
}

impl Native {
    /// The environment of these packages, made now if it has to be; nothing where none are asked for.
    ///
    /// # Errors
    /// Those of [`Environments::get`].
    pub async fn environment(&self, pins: &[Requirement], context: &CallContext) -> Result<Option<Arc<Environment>>, Fault> {
        if pins.is_empty() {
            return Ok(None);
        }
        let progress = context.progress.clone();
        let note = move |message: &str| progress.note(message, None, None);
        self.environments.get(pins, &context.cancel, &note).await.map(Some)
    }

    /// A door to these hosts. Each connection is recorded when it ends.
    #[must_use]
    pub fn door(&self, rules: HostRules, wall: Millis, log: Arc<dyn RequestLog>) -> Arc<dyn Door> {
        let terms = Terms { purpose: "python".into(), rules, caps: Caps { wall, ..Caps::default() } };
        let (egress, spawner) = (self.egress.clone(), self.spawner.clone());
        Arc::new(ProxyDoor { egress, terms: ProxyTerms::new(terms), log, spawner, name: "proxy of a program" })
    }
}

/// The way out of one job: a proxy that is served while the job runs.
pub struct ProxyDoor {
    /// The client behind it.
    pub egress: Egress,
    /// Where it leads, and how much may pass.
    pub terms: ProxyTerms,
    /// Where each connection is recorded.
    pub log: Arc<dyn RequestLog>,
    /// Where it is served.
    pub spawner: Arc<dyn Spawner>,
    /// What its task is called.
    pub name: &'static str,
}

impl Door for ProxyDoor {
    fn open(&self, listener: TcpListener, over: CancellationToken) {
        let serving = proxy::serve(self.egress.clone(), listener, self.terms.clone(), self.log.clone(), over);
        self.spawner.spawn(self.name, serving.boxed());
    }
}
