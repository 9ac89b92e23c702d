//! The house's HTTP client, from the operator's settings.

use std::sync::Arc;

use crate::config::Config;
use crate::domain::{ErrorCode, Fault};
use crate::egress::{Egress, EgressOptions, NoCredentials, PrivateException, SystemResolver};

/// The client; nothing is set up before its first request.
///
/// # Errors
/// `CONFIG_INVALID` for a setting that cannot be used.
pub(super) fn egress(config: &Config) -> Result<Egress, Fault> {
    let proxy = match config.egress_proxy.value.as_deref() {
        None => None,
        Some(text) => Some(url::Url::parse(text).map_err(|error| wrong("egress.proxy", &error.to_string()))?),
    };
    let private = config.egress_private.value.iter().map(|entry| exception(entry)).collect::<Result<_, _>>()?;
    let extra_roots_pem = match &config.egress_extra_roots.value {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| wrong("egress.extra_roots", &format!("{}: {error}", path.display())))?),
    };
    Egress::new(EgressOptions {
        proxy,
        private,
        extra_roots_pem,
        resolver: Arc::new(SystemResolver),
        // The place where the vault will put what programs never see.
        credentials: Arc::new(NoCredentials),
    })
}

/// `purpose=host:port`.
fn exception(entry: &str) -> Result<PrivateException, Fault> {
    let parts = entry.split_once('=').and_then(|(purpose, place)| {
        let (host, port) = place.rsplit_once(':')?;
        Some(PrivateException { purpose: purpose.trim().to_owned(), host: host.trim().to_owned(), port: port.trim().parse().ok()? })
    });
    parts.ok_or_else(|| wrong("egress.private", &format!("`{}` is not `purpose=host:port`", entry.escape_debug())))
}

fn wrong(key: &str, why: &str) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{key}`: {why}")).hint("`toolgate config show` says where the value comes from")
}
