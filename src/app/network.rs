//! The house's HTTP client, from the operator's settings.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::Config;
use crate::domain::{ErrorCode, Fault};
use crate::egress::{Egress, EgressOptions, NoCredentials, Pace, PrivateException, SystemResolver};

/// The client; nothing is set up before its first request.
///
/// # Errors
/// `CONFIG_INVALID` for a setting that cannot be used.
pub(super) fn egress(config: &Config) -> Result<Egress, Fault> {
    let private = config.egress_private.value.iter().map(|entry| exception(entry)).collect::<Result<_, _>>()?;
    let egress = Egress::new(options(config, private, &[])?)?;
    let (per_second, burst) = (NonZeroU32::new(config.web.per_second.value), NonZeroU32::new(config.web.burst.value));
    Ok(match per_second {
        Some(per_second) => egress.paced(Pace::new(per_second, burst.unwrap_or(per_second))),
        None => egress,
    })
}

/// The client's options with these private hosts. Where no proxy is set, one that the installers are set up for serves their own requests.
///
/// # Errors
/// `CONFIG_INVALID` for a setting that cannot be used.
pub(super) fn options(config: &Config, private: Vec<PrivateException>, installer: &[(OsString, OsString)]) -> Result<EgressOptions, Fault> {
    let of_installer = || {
        let is_proxy = |name: &OsString| name.to_str().is_some_and(|name| name.eq_ignore_ascii_case("https_proxy"));
        installer.iter().find(|(name, _)| is_proxy(name)).and_then(|(_, value)| value.to_str())
    };
    let proxy = match config.egress_proxy.value.as_deref() {
        Some(text) => Some(url::Url::parse(text).map_err(|error| wrong("egress.proxy", &error.to_string()))?),
        None => of_installer().and_then(|text| url::Url::parse(text).ok()),
    };
    Ok(EgressOptions {
        proxy,
        private,
        extra_roots_pem: extra_roots(config)?,
        resolver: Arc::new(SystemResolver),
        // The place where the vault will put what programs never see.
        credentials: Arc::new(NoCredentials),
    })
}

/// Root certificates that are trusted besides the platform's.
///
/// # Errors
/// `CONFIG_INVALID` for a file that cannot be read.
pub(super) fn extra_roots(config: &Config) -> Result<Option<Vec<u8>>, Fault> {
    let Some(path) = &config.egress_extra_roots.value else { return Ok(None) };
    std::fs::read(path).map(Some).map_err(|error| wrong("egress.extra_roots", &format!("{}: {error}", path.display())))
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
