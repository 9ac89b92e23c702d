//! `serve`: hands the settings to the MCP face; over lines also wrong ones, which the client is told.

use std::net::SocketAddr;

use crate::config::Config;
use crate::domain::{ErrorCode, Problems};

use super::exit::{Ending, Exit, Stop};
use super::ports::Door;

pub(super) async fn run(config: Result<Config, Problems>, http: Option<SocketAddr>, door: &dyn Door) -> Ending {
    match http {
        None => door.serve(config).await?,
        Some(address) => {
            let config = config.map_err(|problems| Stop::Fault(problems.into_fault(ErrorCode::ConfigInvalid)))?;
            door.serve_http(&config, address).await?;
        }
    }
    Ok(Exit::Ok)
}
