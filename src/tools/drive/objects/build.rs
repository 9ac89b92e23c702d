//! An `opendal` operator for one call, with the keys that it needs.
//!
//! INVARIANT: it is told everything: neither environment, nor files, nor the cloud's own metadata are asked. A key that cannot stand in a header
//! is refused before it gets there.

use opendal::services::{DropboxConfig, OnedriveConfig, S3Config, WebdavConfig};
use opendal::{HttpTransporter, OperationContext, Operator};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::domain::{ErrorCode, Fault, SecretName};
use crate::tools::drive::{DrivePorts, keys};

use super::settings::{Service, StoreSettings, wrong};
use super::transport::{Granted, Transport};

/// The keys of one call, by option.
struct Lent<'a> {
    settings: &'a StoreSettings,
    ports: &'a DrivePorts,
    tool: &'a str,
    places: &'a [(Url, Url)],
}

impl Lent<'_> {
    /// The value of an option that is a secret, where it is set and may go to all the places it is for.
    async fn get(&self, option: &str) -> Result<Option<String>, Fault> {
        let Some(name) = self.settings.option(option) else { return Ok(None) };
        let name: SecretName = name.parse()?;
        let lent = self.ports.keys.lend(&name, Some(self.tool)).await?;
        let mut value = None;
        for (_, place) in self.places {
            value = Some(keys::for_place(
                crate::secrets::vault::Lent { name: lent.name.clone(), value: lent.value.clone(), terms: lent.terms.clone() },
                place,
            )?);
        }
        let value = value.ok_or_else(|| Fault::internal("a service without a place"))?;
        if value.expose_secret().chars().any(|c| c.is_control() || c == ' ') {
            return Err(Fault::new(
                ErrorCode::SecretRefused,
                format!("the secret `{name}` holds a blank or a line break, so it cannot be sent"),
            )
            .hint("set it anew, without what stands around it"));
        }
        Ok(Some(value.expose_secret().to_owned()))
    }
}

/// Places of a service, each with where it is reached.
type Places = Vec<(Url, Url)>;

/// Where the service's data and where its tokens are.
fn split(settings: &StoreSettings, places: &[(Url, Url)]) -> (Places, Places) {
    let at_token = |own: &Url| settings.service.token_place().is_some_and(|place| place.starts_with(own.as_str()));
    let (token, data): (Vec<_>, Vec<_>) = places.iter().cloned().partition(|(own, _)| at_token(own));
    // Dropbox has its tokens where one half of its data is.
    if settings.service == Service::Dropbox { (places.to_vec(), token) } else { (data, token) }
}

/// The operator, by an access token where one is good still.
pub(super) async fn operator(
    settings: &StoreSettings,
    ports: &DrivePorts,
    tool: &str,
    granted: Option<&Granted>,
    transport: Transport,
) -> Result<Operator, Fault> {
    let (data, token) = split(settings, &transport.places);
    let at_data = Lent { settings, ports, tool, places: &data };
    let at_token = Lent { settings, ports, tool, places: &token };
    let text = |name: &str| settings.option(name).map(str::to_owned);
    let access = match granted {
        Some(granted) => Some(granted.value.expose_secret().to_owned()),
        None => at_data.get("access_token").await?,
    };
    let refresh = if access.is_some() { None } else { at_token.get("refresh_token").await? };
    let client_secret = if access.is_some() { None } else { at_token.get("client_secret").await? };
    let built = match settings.service {
        Service::S3 => {
            let mut config = S3Config::default();
            config.bucket = text("bucket").unwrap_or_default();
            config.region = text("region");
            config.root = text("root");
            config.endpoint = settings.endpoint()?.map(|endpoint| endpoint.as_str().trim_end_matches('/').to_owned());
            config.access_key_id = at_data.get("access_key_id").await?;
            config.secret_access_key = at_data.get("secret_access_key").await?;
            config.session_token = at_data.get("session_token").await?;
            config.disable_config_load = true;
            config.disable_ec2_metadata = true;
            Operator::from_config(config)
        }
        Service::WebDav => {
            let mut config = WebdavConfig::default();
            config.endpoint = settings.endpoint()?.map(|endpoint| endpoint.as_str().trim_end_matches('/').to_owned());
            config.root = text("root");
            config.username = text("username");
            config.password = at_data.get("password").await?;
            config.token = at_data.get("token").await?;
            Operator::from_config(config)
        }
        Service::OneDrive => {
            let mut config = OnedriveConfig::default();
            config.root = text("root");
            config.client_id = text("client_id");
            (config.access_token, config.refresh_token, config.client_secret) = (access, refresh, client_secret);
            Operator::from_config(config)
        }
        Service::Dropbox => {
            let mut config = DropboxConfig::default();
            config.root = text("root");
            config.client_id = text("client_id");
            (config.access_token, config.refresh_token, config.client_secret) = (access, refresh, client_secret);
            Operator::from_config(config)
        }
    };
    let operator = built.map_err(|error| wrong(settings.service, &format!("it cannot be used ({})", error.kind())))?;
    Ok(operator.with_context(OperationContext::new().with_http_transport(HttpTransporter::new(transport))))
}

/// The login that a service renews, where it is one.
pub(super) fn login(settings: &StoreSettings) -> Result<Option<(Url, SecretName)>, Fault> {
    match (settings.service.token_place(), settings.option("refresh_token"), settings.option("access_token")) {
        (Some(place), Some(name), None) => {
            let place = Url::parse(place).map_err(|error| Fault::internal(error.to_string()))?;
            Ok(Some((place, name.parse()?)))
        }
        _ => Ok(None),
    }
}
