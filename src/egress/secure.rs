//! TLS over a tunnel, for whoever speaks something else than HTTP over it.
//!
//! INVARIANT: the same roots are trusted as by the HTTP client: the platform's and the operator's extra ones; the certificate must be for
//! the name that was asked for.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, crypto::ring};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::{ErrorCode, Fault};

use super::Origin;

/// Who is trusted. The platform's roots are read at the first use.
#[derive(Clone)]
pub struct Roots {
    extra_pem: Option<Arc<[u8]>>,
    config: Arc<OnceCell<Arc<ClientConfig>>>,
}

/// A secured connection.
pub struct Secured(TlsStream<TcpStream>);

impl Roots {
    /// The platform's roots, and these besides.
    #[must_use]
    pub fn new(extra_pem: Option<Vec<u8>>) -> Self {
        Self { extra_pem: extra_pem.map(Arc::from), config: Arc::default() }
    }

    /// Secures a connection to this place.
    ///
    /// # Errors
    /// `EGRESS_FAILED`, in words of our own.
    pub async fn secure(&self, stream: TcpStream, origin: &Origin) -> Result<Secured, Fault> {
        let failed = |why: &str| {
            Fault::new(ErrorCode::EgressFailed, format!("no secure connection to `{}:{}`: {why}", origin.host, origin.port))
                .hint("check host and port; the operator can add the root certificate of a private authority")
        };
        let config = self.config.get_or_try_init(|| self.read()).await?;
        let name = origin.host.to_string();
        // An IPv6 address stands without brackets in a certificate.
        let name =
            ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(|_| failed("its name cannot be in a certificate"))?;
        let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        secured.map(Secured).map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            failed(match inner {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "its certificate is not valid for it, or from an authority that is not trusted"
                }
                Some(_) => "the TLS handshake failed",
                None => "the connection broke off",
            })
        })
    }

    async fn read(&self) -> Result<Arc<ClientConfig>, Fault> {
        let extra = self.extra_pem.clone();
        let read = tokio::task::spawn_blocking(move || {
            let roots = match &extra {
                None => Vec::new(),
                Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| ())?,
            };
            let provider = Arc::new(ring::default_provider());
            let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(|_| ())?;
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|_| ())?;
            Ok::<_, ()>(Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()))
        });
        read.await.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(ErrorCode::EgressFailed, "TLS cannot be set up on this machine")
                .hint("most often the system's root certificates are missing, or `egress.extra_roots` holds what is none")
        })
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured")
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
