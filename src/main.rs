//! The program: one runtime, the command line, an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use toolgate::app::{FrontDoor, SystemClock};

#[tokio::main]
async fn main() -> ExitCode {
    toolgate::cli::main(&FrontDoor, Arc::new(SystemClock)).await
}
