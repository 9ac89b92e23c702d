//! What the operator says of a service that is reached by `opendal`, and which hosts that means.
//!
//! INVARIANT: every option is known to `config` already; secrets are names. A key goes to the service's own places alone.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::{ErrorCode, Fault};

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A bucket of Amazon S3, or of a store that speaks like it.
    S3,
    /// A folder of a WebDAV server, such as Nextcloud.
    WebDav,
    /// OneDrive, by Microsoft Graph.
    OneDrive,
    /// Dropbox.
    Dropbox,
}

impl Service {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::S3, Self::WebDav, Self::OneDrive, Self::Dropbox].into_iter().find(|service| service.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::WebDav => "webdav",
            Self::OneDrive => "onedrive",
            Self::Dropbox => "dropbox",
        }
    }

    /// Where its tokens are given, as `opendal` has it.
    pub(super) fn token_place(self) -> Option<&'static str> {
        match self {
            Self::OneDrive => Some("https://login.microsoftonline.com/common/oauth2/v2.0/token"),
            Self::Dropbox => Some("https://api.dropboxapi.com/oauth2/token"),
            Self::S3 | Self::WebDav => None,
        }
    }

    /// Its own places, as `opendal` has them; none where they are the endpoint.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::OneDrive => &["https://graph.microsoft.com", "https://login.microsoftonline.com"],
            Self::Dropbox => &["https://api.dropboxapi.com", "https://content.dropboxapi.com"],
            Self::S3 | Self::WebDav => &[],
        }
    }

    /// Where its answers may lead: content lies there, and no key goes there.
    fn content(self) -> &'static [&'static str] {
        match self {
            Self::OneDrive => &["*.sharepoint.com", "*.1drv.com", "*.microsoftpersonalcontent.com", "api.onedrive.com"],
            Self::S3 | Self::WebDav | Self::Dropbox => &[],
        }
    }
}

/// One service.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Which.
    pub service: Service,
    /// What it is told; secrets by their names.
    pub options: BTreeMap<String, String>,
}

impl StoreSettings {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Its address, where it has one of its own.
    pub(super) fn endpoint(&self) -> Result<Option<Url>, Fault> {
        let said = match (self.service, self.option("endpoint")) {
            (_, Some(endpoint)) => endpoint.to_owned(),
            (Service::S3, None) => format!("https://s3.{}.amazonaws.com", self.option("region").unwrap_or("us-east-1")),
            (Service::WebDav | Service::OneDrive | Service::Dropbox, None) => return Ok(None),
        };
        Url::parse(&said).map(Some).map_err(|error| wrong(self.service, &error.to_string()))
    }

    /// The places that its keys may go to, each as `opendal` has it and as it is.
    pub(super) fn places(&self) -> Result<Vec<(Url, Url)>, Fault> {
        let endpoint = self.endpoint()?;
        let own = self.service.own();
        if own.is_empty() {
            return Ok(endpoint.map(|endpoint| (endpoint.clone(), endpoint)).into_iter().collect());
        }
        own.iter()
            .map(|own| {
                let own = Url::parse(own).map_err(|error| Fault::internal(error.to_string()))?;
                Ok((own.clone(), endpoint.clone().unwrap_or(own)))
            })
            .collect()
    }

    /// The hosts that may be reached.
    pub(super) fn hosts(&self) -> Result<Vec<String>, Fault> {
        let mut hosts: Vec<String> = self.places()?.iter().map(|(_, place)| crate::tools::drive::keys::rule(place)).collect();
        // Where the operator says where it is, nothing leads elsewhere.
        if self.option("endpoint").is_none() {
            hosts.extend(self.service.content().iter().map(|host| (*host).to_owned()));
        }
        hosts.dedup();
        Ok(hosts)
    }
}

pub(super) fn wrong(service: Service, why: &str) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`drive.{}`: {why}", service.as_str()))
        .hint("`toolgate config show` says where the value comes from")
}
