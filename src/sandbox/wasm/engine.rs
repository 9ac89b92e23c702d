//! The engine, the linked component and how both are made ready.
//!
//! INVARIANT: the linker holds clocks, randomness, streams and the file system in memory; sockets are there because the interpreter was
//! linked with them, and every address is refused.

use std::hash::{Hash as _, Hasher};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random, sockets};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};

use crate::domain::{Digest, Fault};

use super::cache::Cache;
use super::files::{Files, Library, library};
use super::guest::bindings::toolgate::python::host;
use super::guest::{Guest, bindings};
use super::ticker::Ticker;
use super::unavailable;

/// How many guests may live at once; more wait.
pub(super) const MOST_GUESTS: usize = 32;

/// How many guests may live at once that other guests wait for.
pub(super) const MOST_NESTED: usize = 8;

/// Places in the pool: for all of those, and for those that are kept ready.
const POOL: u32 = 48;

/// The most memory any guest may be given, in bytes.
pub(super) const MOST_MEMORY: usize = 2 << 30;

/// All that a call starts from.
pub(super) struct Ready {
    pub(super) engine: Engine,
    pub(super) component: bindings::SandboxPre<Guest>,
    pub(super) library: Library,
    pub(super) ticker: Ticker,
}

/// Loads the compiled component from the cache, or compiles it and stores it there. Takes seconds the first time.
///
/// # Errors
/// `SANDBOX_UNAVAILABLE`.
pub(super) fn prepare(cache: &Path) -> Result<Ready, Fault> {
    let engine = Engine::new(&config()).map_err(|error| unavailable(format!("the engine does not start: {error:#}")))?;
    let component = component(&engine, cache)?;
    let linked = linker(&engine).and_then(|linker| bindings::SandboxPre::new(linker.instantiate_pre(&component)?));
    let component = linked.map_err(|error| unavailable(format!("the component does not link: {error:#}")))?;
    let ticker = Ticker::start(&engine).map_err(|error| unavailable(format!("no thread for the clock: {error}")))?;
    Ok(Ready { engine, component, library: library()?, ticker })
}

pub(super) fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let guests = POOL;
    pool.total_component_instances(guests)
        .total_core_instances(guests * 24)
        .total_memories(guests)
        .total_tables(guests * 4)
        .total_stacks(guests)
        .table_elements(40_000)
        .max_memory_size(MOST_MEMORY)
        .max_core_instance_size(2 << 20)
        .max_component_instance_size(2 << 20)
        .max_unused_warm_slots(4)
        .linear_memory_keep_resident(8 << 20)
        .table_keep_resident(1 << 20)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(24 << 20)
        .async_stack_size(25 << 20)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None);
    config
}

fn component(engine: &Engine, cache: &Path) -> Result<Component, Fault> {
    let key = key(engine);
    let cache = Cache::open(cache)
        .inspect_err(|error| tracing::warn!(path = %cache.display(), "compiled code is not kept, each start compiles anew: {error}"))
        .ok();
    if let Some(found) = cache.as_ref().and_then(|cache| cache.find(engine, &key)) {
        return Ok(found);
    }
    let bytes = toolgate_python_runtime::component().map_err(|error| unavailable(format!("the component does not unpack: {error}")))?;
    let compiled =
        engine.precompile_component(&bytes).map_err(|error| unavailable(format!("the component does not compile: {error:#}")))?;
    drop(bytes);
    if let Some(cache) = cache {
        match cache.store(&key, &compiled) {
            // Mapped from its file, the code is shared with other processes and needs no memory of its own.
            Ok(()) => {
                if let Some(found) = cache.find(engine, &key) {
                    return Ok(found);
                }
            }
            Err(error) => tracing::warn!("compiled code is not kept: {error}"),
        }
    }
    super::native::take(engine, &compiled).map_err(|error| unavailable(format!("the compiled component does not load: {error:#}")))
}

/// Names what compiled code was made for: this engine's version and settings, this machine's processor, this component.
pub(super) fn key(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    let made_by: [u8; 32] = sha.0.finalize().into();
    let digest = Digest::of_parts("toolgate/native/v1", &[&made_by, toolgate_python_runtime::COMPONENT_SHA256]);
    format!("python-{}", digest.short())
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::<Guest>::new(engine);
    let l = &mut linker;
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(l)?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    host::add_to_linker::<_, HasSelf<Guest>>(l, |guest| guest)?;
    filesystem::types::add_to_linker::<_, Files>(l, Guest::files)?;
    filesystem::preopens::add_to_linker::<_, Files>(l, Guest::files)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(l, &Default::default(), Guest::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    Ok(linker)
}
