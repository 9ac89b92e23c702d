//! TLS of the server: one certificate, which can be replaced while it serves.
//!
//! INVARIANT: a certificate is shown only with the key that belongs to it; what cannot be used replaces nothing. HTTP/1.1 and nothing else
//! is agreed on. Does not read files: whoever has them hands over what is in them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig};

/// Certificates in a chain.
const LONGEST_CHAIN: usize = 16;

/// Why a certificate and its key cannot be used, as the rest of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificates' file.
    Chain(String),
    /// The key's file.
    Key(String),
    /// The two do not belong together.
    Mismatch,
}

/// The certificate that is shown now, and the terms of every connection.
#[derive(Clone)]
pub struct Tls {
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
    provider: Arc<CryptoProvider>,
}

struct Shown(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// With this certificate chain and key, both PEM.
    ///
    /// # Errors
    /// Which of the two cannot be used, and why.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, TlsFault> {
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified(chain, key, &provider)?))));
        let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| TlsFault::Chain(format!("TLS cannot be set up: {error}")))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { shown, acceptor: TlsAcceptor::from(Arc::new(config)), provider })
    }

    /// Shows another certificate from now on. Connections that are open keep theirs.
    ///
    /// # Errors
    /// As [`Tls::new`]; then the old one stays.
    pub fn renew(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsFault> {
        let renewed = Arc::new(certified(chain, key, &self.provider)?);
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

fn certified(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(chain).take(LONGEST_CHAIN + 1).collect();
    let chain = chain.map_err(|error| TlsFault::Chain(format!("is not PEM: {error}")))?;
    match chain.len() {
        0 => return Err(TlsFault::Chain("holds no `BEGIN CERTIFICATE` block".to_owned())),
        1..=LONGEST_CHAIN => {}
        _ => return Err(TlsFault::Chain(format!("holds more than {LONGEST_CHAIN} certificates"))),
    }
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsFault::Key("holds no `BEGIN PRIVATE KEY` block that can be read".to_owned()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsFault::Mismatch,
        Error::InvalidCertificate(error) => TlsFault::Chain(format!("does not begin with a certificate that can be read ({error})")),
        error => TlsFault::Key(format!("is of a kind that cannot be used ({error})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_does_not_belong_together_or_is_none_is_told_apart() {
        let ((chain, key), (other, _)) = (made(), made());
        let why = |chain: &str, key: &str| Tls::new(chain.as_bytes(), key.as_bytes()).err();
        assert_eq!(why(&chain, &key), None);
        assert_eq!(why(&other, &key), Some(TlsFault::Mismatch));
        for bad in ["", "x", &key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(why(bad, &key), Some(TlsFault::Chain(_))), "{bad}: {:?}", why(bad, &key));
        }
        for bad in ["", "x", &chain, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(why(&chain, bad), Some(TlsFault::Key(_))), "{bad}: {:?}", why(&chain, bad));
        }
        assert!(matches!(why(&chain.repeat(LONGEST_CHAIN + 1), &key), Some(TlsFault::Chain(_))));
    }

    #[test]
    fn what_cannot_be_used_replaces_nothing() {
        let ((chain, key), (other, other_key)) = (made(), made());
        let tls = Tls::new(chain.as_bytes(), key.as_bytes()).unwrap();
        let shown = || tls.shown.0.read().unwrap().cert.clone();
        let first = shown();
        assert_eq!(tls.renew(other.as_bytes(), key.as_bytes()), Err(TlsFault::Mismatch));
        assert_eq!(shown(), first);
        tls.renew(other.as_bytes(), other_key.as_bytes()).unwrap();
        assert_ne!(shown(), first);
    }
}
