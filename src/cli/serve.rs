//! `serve`: hands the settings, right or wrong, to the MCP face.

use crate::config::Config;
use crate::domain::Problems;

use super::exit::{Ending, Exit};
use super::ports::Door;

pub(super) async fn run(config: Result<Config, Problems>, door: &dyn Door) -> Ending {
    door.serve(config).await?;
    Ok(Exit::Ok)
}
