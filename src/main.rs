//! The program: one runtime, the command line, an exit code. Started with the launcher's word, it is the process sandbox's launcher.

use std::process::ExitCode;
use std::sync::Arc;

use toolgate::app::SystemClock;

fn main() -> ExitCode {
    // Before any thread exists: the launcher forks.
    if let Some(code) = toolgate::app::launcher() {
        return code;
    }
    let door = toolgate::app::front_door();
    toolgate::app::on_runtime(toolgate::cli::main(&door, Arc::new(SystemClock), door.redact()))
}
