//! The certificate of the HTTP server: from its files, and anew whenever they change.
//!
//! INVARIANT: a key that everybody may read is not used; files that cannot be used leave the certificate as it is, and say so loudly.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault};
use crate::mcp::{Tls, TlsFault};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// No certificate file is larger.
const LARGEST: u64 = 1 << 20;

/// Where certificate and key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

/// By what a changed file is known.
type Seen = Vec<Option<(SystemTime, u64, u64)>>;

impl Files {
    /// TLS with what is in them.
    ///
    /// # Errors
    /// `CONFIG_INVALID` with the file and what is wrong with it.
    pub(super) fn tls(&self) -> Result<Tls, Fault> {
        let (chain, key) = (self.chain()?, self.key()?);
        Tls::new(&chain, &key).map_err(|fault| self.told(fault))
    }

    /// Shows whatever is in the files until `stop`.
    pub(super) async fn follow(self, tls: Tls, stop: CancellationToken) {
        let mut seen = self.seen();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.seen();
            if now == seen {
                continue;
            }
            // Two files are not replaced at one moment; what does not fit yet is tried again while it changes.
            match self
                .chain()
                .and_then(|chain| Ok((chain, self.key()?)))
                .and_then(|(chain, key)| tls.renew(&chain, &key).map_err(|fault| self.told(fault)))
            {
                Ok(()) => tracing::info!(certificate = %self.chain.display(), "the server shows its new certificate"),
                Err(fault) => tracing::error!(code = %fault.code, "the certificate stays as it was: {fault}"),
            }
            seen = now;
        }
    }

    fn seen(&self) -> Seen {
        [&self.chain, &self.key].into_iter().map(|path| mark(path)).collect()
    }

    fn chain(&self) -> Result<Vec<u8>, Fault> {
        read(&self.chain).map_err(|why| wrong("http.tls_cert", &self.chain, &why))
    }

    fn key(&self) -> Result<Vec<u8>, Fault> {
        private(&self.key).and_then(|()| read(&self.key)).map_err(|why| wrong("http.tls_key", &self.key, &why))
    }

    fn told(&self, fault: TlsFault) -> Fault {
        match fault {
            TlsFault::Chain(why) => wrong("http.tls_cert", &self.chain, &why),
            TlsFault::Key(why) => wrong("http.tls_key", &self.key, &why),
            TlsFault::Mismatch => {
                wrong("http.tls_key", &self.key, &format!("is not the key of the certificate in `{}`", self.chain.display()))
            }
        }
    }
}

fn wrong(key: &str, path: &Path, why: &str) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{key}`: `{}` {why}", path.display()))
        .hint("both are PEM: the server's certificate first, then those above it; and its private key. docs/http.md shows how to make them")
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let about = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() || about.len() > LARGEST {
        return Err("is no file of a certificate or key".to_owned());
    }
    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(unix)]
fn private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::metadata(path) {
        Ok(about) if about.mode() & 0o007 != 0 => Err("can be used by everybody on this machine (mend with `chmod o-rwx`)".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(not(unix))]
fn private(_path: &Path) -> Result<(), String> {
    Ok(())
}

fn mark(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let about = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&about);
    #[cfg(not(unix))]
    let number = 0;
    Some((about.modified().ok()?, about.len(), number))
}
