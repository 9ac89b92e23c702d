//! How the process begins: as a launcher of the process sandbox or a reader of files where it was started as one, else with a runtime.

use std::future::Future;
use std::process::ExitCode;

use crate::sandbox::process::init;
use crate::tools::web::pdf;

use super::{FrontDoor, panic};

/// Runs the launcher or a reader of files, if this process was started as one. To be asked before any thread exists.
#[must_use]
pub fn launcher() -> Option<ExitCode> {
    let word = crate::config::process_args().into_iter().next()?;
    if word == init::VERB {
        return Some(init::main().into());
    }
    (word == pdf::VERB).then(|| pdf::main().into())
}

/// The way in, with what takes secrets out of everything that the process says from now on, panics included.
#[must_use]
pub fn front_door() -> FrontDoor {
    let door = FrontDoor::new();
    panic::tell_without_secrets(door.redactor().clone());
    door
}

/// Runs the program's one future to its end. Before it begins the process's memory is closed to others, as every verb may open the vault.
#[must_use]
pub fn on_runtime(program: impl Future<Output = ExitCode>) -> ExitCode {
    super::hygiene::close_memory();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(program),
        // A system that gives no threads: nothing else would run either.
        Err(_) => ExitCode::from(1),
    }
}
