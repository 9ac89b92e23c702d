//! The connections below: `reqwest` with everything switched off that would decide by itself.
//!
//! INVARIANT: a connection dials only the addresses pinned by the hop that opens it, and serves that hop alone; without a pin no name
//! resolves. No redirect, retry, cookie, decompression or proxy of the environment happens here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Proxy, redirect};
use tokio::sync::Mutex;
use url::Url;

use crate::domain::{ErrorCode, Fault, Millis};

use super::Host;
use super::resolve::{Resolve as HostResolver, look_up};

/// Most clients kept; they differ only in their time to connect and in whether they use the proxy.
const MAX_CLIENTS: usize = 8;

tokio::task_local! {
    /// What the hop that runs in this task may dial.
    static PIN: Pin;
}

/// A name and the addresses that stand for it during one hop.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    pub(super) name: Option<String>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Pin {
    /// Whether the other end of a connection is one of these.
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        self.addresses.iter().any(|known| known.ip() == address.ip().to_canonical() && known.port() == address.port())
    }

    /// Sends a request that can dial nothing but these.
    pub(super) async fn execute(self, client: Client, request: reqwest::Request) -> Result<reqwest::Response, reqwest::Error> {
        // Without a pool the connection is opened inside this future; were it ever opened in another task, it would find no pin and fail.
        PIN.scope(self, async move { client.execute(request).await }).await
    }
}

/// Knows no name but the pinned one.
struct Pinned;

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let found = PIN.try_with(|pin| (pin.name.as_deref() == Some(name.as_str())).then(|| pin.addresses.clone())).ok().flatten();
        Box::pin(std::future::ready(match found {
            Some(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
            None => Err("the name was not resolved for this hop".into()),
        }))
    }
}

/// The operator's proxy.
#[derive(Clone)]
pub(super) struct ProxyHost {
    pub(super) url: Url,
    host: Host,
    port: u16,
}

impl ProxyHost {
    /// The URL is not repeated in errors: it may hold a password.
    pub(super) fn new(url: Url) -> Result<Self, Fault> {
        let fault = |why: &str| {
            Fault::new(ErrorCode::ConfigInvalid, format!("the outgoing proxy cannot be used: {why}"))
                .hint("give a URL like http://proxy.example:3128")
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("only http and https proxies are supported"));
        }
        let host = Host::parse(url.host_str().unwrap_or_default()).map_err(|why| fault(&format!("its host cannot be used: {why}")))?;
        let mut url = url;
        url.set_host(Some(&host.to_string())).map_err(|_| fault("its host cannot be used"))?;
        let port = url.port_or_known_default().ok_or_else(|| fault("it has no port"))?;
        Ok(Self { url, host, port })
    }

    /// The proxy's own addresses; the operator named it, so they may be private.
    pub(super) async fn pin(&self, resolver: &dyn HostResolver) -> Result<Pin, Fault> {
        let addresses: Vec<IpAddr> = match &self.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => look_up(resolver, name).await?,
        };
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, self.port)).collect();
        Ok(Pin { name: self.host.as_name().map(str::to_owned), addresses })
    }
}

/// Builds clients when they are first needed, and keeps them.
pub(super) struct Clients {
    settings: Arc<Settings>,
    built: Mutex<Vec<(Key, Client)>>,
}

struct Settings {
    proxy: Option<ProxyHost>,
    roots: Vec<Certificate>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    connect: Millis,
    proxied: bool,
}

impl Clients {
    pub(super) fn new(proxy: Option<ProxyHost>, extra_roots_pem: Option<&[u8]>) -> Result<Self, Fault> {
        let roots = match extra_roots_pem {
            None => Vec::new(),
            Some(pem) => match Certificate::from_pem_bundle(pem) {
                Ok(roots) if !roots.is_empty() => roots,
                Ok(_) | Err(_) => {
                    return Err(Fault::new(
                        ErrorCode::ConfigInvalid,
                        "the extra root certificates hold no PEM certificate that can be read",
                    )
                    .hint("give one or more `BEGIN CERTIFICATE` blocks"));
                }
            },
        };
        Ok(Self { settings: Arc::new(Settings { proxy, roots }), built: Mutex::new(Vec::new()) })
    }

    pub(super) fn proxy(&self) -> Option<&ProxyHost> {
        self.settings.proxy.as_ref()
    }

    /// The client with this time to connect. The first call reads the platform's root certificates.
    pub(super) async fn get(&self, connect: Millis, proxied: bool) -> Result<Client, Fault> {
        let key = Key { connect, proxied };
        let mut built = self.built.lock().await;
        if let Some((_, client)) = built.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let settings = Arc::clone(&self.settings);
        let client = tokio::task::spawn_blocking(move || settings.build(key))
            .await
            .map_err(|_| Fault::internal("building the HTTP client was broken off"))??;
        if built.len() == MAX_CLIENTS {
            built.remove(0);
        }
        built.push((key, client.clone()));
        Ok(client)
    }
}

impl Settings {
    fn build(&self, key: Key) -> Result<Client, Fault> {
        // `reqwest` takes the process's provider; a second install only says that there is one.
        if rustls::crypto::CryptoProvider::get_default().is_none() && rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("another thread installed the TLS provider first");
        }
        let fault = |e: reqwest::Error| {
            tracing::warn!(error = %e.without_url(), "the HTTP client cannot be built");
            Fault::new(ErrorCode::EgressFailed, "the HTTP client cannot be built: TLS cannot be set up on this machine")
                .hint("the operator finds the cause in the log; most often the system's root certificates are missing")
        };
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(key.connect.duration())
            .tcp_nodelay(true)
            .dns_resolver(Pinned)
            .tls_certs_merge(self.roots.iter().cloned());
        if let (true, Some(proxy)) = (key.proxied, &self.proxy) {
            builder = builder.proxy(Proxy::all(proxy.url.clone()).map_err(fault)?);
        }
        builder.build().map_err(fault)
    }
}
