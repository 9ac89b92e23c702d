//! The JSON Schemas of the built-in tools, made from their Rust types, for `schemas/` and the test that holds it to the code.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::domain::{Clock, Digest, Fault, OwnerId};
use crate::engine::Control;
use crate::gateway::CodeGate;
use crate::registry;
use crate::sandbox::wasm::{WasmOptions, WasmSandbox};
use crate::store::{Durability, OpenOptions, Store};
use crate::tools::control::RunControl;
use crate::tools::notify::{Leaving, NotifyHub};
use crate::workflow::Library;

use super::policy_door::PolicyDoor;
use super::{SystemClock, Tasks, audit_room, handlers, http_events, native, network};

/// File name → text of every schema file. Reads no manifest, so it works while they are being written.
///
/// # Errors
/// Where the rooms the tools need cannot be made.
pub async fn generated_schemas(config: &Config) -> Result<BTreeMap<String, String>, Fault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(OpenOptions {
        home: None,
        owner: OwnerId::mint(clock.now()),
        clock: clock.clone(),
        durability: Durability::Relaxed,
        redact: Arc::new(crate::call::NoRedaction),
    })
    .await?;
    let workflows = Library::open(None).map_err(|problems| problems.into_fault(crate::domain::ErrorCode::WorkflowInvalid))?;
    let control = Control::new(Arc::new(store.clone()), Arc::new(workflows), clock.clone(), Arc::new(|| Digest::ZERO));
    let sandbox = WasmSandbox::new(WasmOptions {
        cache: config.python_cache_dir.value.join("native"),
        clock: clock.clone(),
        threads: 1,
        kept_ready: 0,
    })?;
    let builtin = handlers::builtin(&handlers::Ports {
        spawner: Arc::new(Tasks::default()),
        egress: network::egress(config)?,
        http_events: Arc::new(http_events::JournalledRequests { store: store.clone(), budgets: crate::domain::Budgets::default() }),
        secrets: Arc::new(crate::secrets::source::NoSecrets),
        redact: Arc::new(crate::call::NoRedaction),
        calls: Arc::new(CodeGate::default()),
        worker_calls: Arc::new(CodeGate::default()),
        clock,
        journal: Arc::new(audit_room::Room::new(store.clone())),
        sandbox: Arc::new(sandbox),
        process: Arc::new(native::process_sandbox(config, Arc::new(Tasks::default()))),
        notifier: Arc::new(NotifyHub::new()),
        leaving: Leaving::nothing(),
        control: Arc::new(control) as Arc<dyn RunControl>,
        explain: Arc::new(PolicyDoor::default()),
        index: Arc::new([]),
        meter: Arc::new(crate::domain::NoMeter),
        state: Arc::new(PolicyDoor::default()),
        drive: super::drive::DriveRoom::new(config, &(Arc::new(SystemClock) as Arc<dyn Clock>), Arc::new(super::drive::NoKeys))?,
        config,
    })?;
    Ok(registry::generated_schemas(&builtin))
}
