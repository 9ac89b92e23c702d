//! Loads natively compiled code: the one place of this room that needs `unsafe`.
//!
//! INVARIANT: what comes here was made by this engine in this process, or its SHA-256 was checked against the name it was stored under in a
//! folder that only its owner can write to.

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

/// Maps a verified file into memory as code.
///
/// # Errors
/// Where the file was made by another version of the engine or for another machine.
#[expect(unsafe_code, reason = "loading native code is trusting it; `cache` verifies the file before")]
pub(super) fn map(engine: &Engine, verified: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file holds what `Engine::precompile_component` returned: `cache` made it, or checked that it is what it made, and
    // nobody but the owner can change it.
    unsafe { Component::deserialize_file(engine, verified) }
}

/// Takes over code that this process has just compiled.
///
/// # Errors
/// Where there is no memory for it.
#[expect(unsafe_code, reason = "loading native code is trusting it; these bytes never left this process")]
pub(super) fn take(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` returned to the caller.
    unsafe { Component::deserialize(engine, compiled) }
}
