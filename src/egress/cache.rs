//! Answers kept on disk for as long as their servers allow, by HTTP's own rules (RFC 9111, crate `http-cache-semantics`).
//!
//! INVARIANT: only answers to plain GETs without credentials are kept, as a shared cache would, and each owner sees its own alone. What
//! lies on disk is data: a file that cannot be read, or is another address's, is as if it were not there. A hit is recorded like a request,
//! keeps to the caller's caps, and needs the exception that opened its host, if one did.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::{Bytes, Clock, Fault};

use super::send::Note;
use super::target::Target;
use super::{Answer, Egress, NoFill, Patience, Request, RequestLog, Terms};

/// A folder of kept answers.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    most: Bytes,
    clock: Arc<dyn Clock>,
}

/// What one file holds before the body.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    owner: String,
    policy: CachePolicy,
    status: u16,
    headers: Vec<(String, String)>,
    body: u64,
    /// Whether it came from an address that only an exception of the operator's opened.
    inner: bool,
}

impl Cache {
    /// In this folder, which is made when it is needed; at most so many bytes.
    #[must_use]
    pub fn new(folder: PathBuf, most: Bytes, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { folder, most, clock }) }
    }
}

impl Inner {
    fn file(&self, owner: &str, url: &str) -> PathBuf {
        let name = Sha256::new().chain_update(owner.len().to_le_bytes()).chain_update(owner).chain_update(url).finalize();
        self.folder.join(name.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now().unix_millis())
    }

    fn read(&self, owner: &str, url: &str) -> Option<(Kept, bytes::Bytes)> {
        let bytes = std::fs::read(self.file(owner, url)).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let kept: Kept = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let body = bytes::Bytes::from(bytes).slice(end + 1..);
        let whole = kept.url == url && kept.owner == owner && kept.body == super::send::len(body.len());
        whole.then_some((kept, body))
    }

    /// Keeps an answer; that it could not is only a lost chance.
    fn write(&self, kept: &Kept, body: &[u8]) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(kept)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        if super::send::len(bytes.len()) > self.most.0 / 4 {
            return Ok(());
        }
        make_private(&self.folder)?;
        self.make_room(super::send::len(bytes.len()))?;
        let file = self.file(&kept.owner, &kept.url);
        let beside = file.with_extension(format!("{:016x}", rand::random::<u64>()));
        std::fs::write(&beside, &bytes)?;
        std::fs::rename(&beside, &file)
    }

    /// The oldest go first.
    fn make_room(&self, wanted: u64) -> std::io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = std::fs::read_dir(&self.folder)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let data = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((data.modified().ok()?, data.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total.saturating_add(wanted) <= self.most.0 {
                break;
            }
            std::fs::remove_file(path)?;
            total = total.saturating_sub(size);
        }
        Ok(())
    }
}

#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// The request as the rules of caching look at it.
fn head(request: &Request, url: &str) -> Option<http::Request<()>> {
    let mut builder = http::Request::builder().method("GET").uri(url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    builder.body(()).ok()
}

fn response(status: u16, headers: &[(String, String)]) -> Option<http::Response<()>> {
    let mut builder = http::Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(()).ok()
}

/// Headers as the rules gave them.
fn listed(map: &http::HeaderMap) -> Vec<(String, String)> {
    map.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// Whether a request may be answered by what is kept: one that shows who asks may not.
fn is_plain(request: &Request) -> bool {
    let shows_who = |name: &str| ["authorization", "cookie", "range"].iter().any(|known| name.eq_ignore_ascii_case(known));
    request.method.eq_ignore_ascii_case("GET") && request.body.is_empty() && !request.headers.iter().any(|(name, _)| shows_who(name))
}

impl Egress {
    /// As [`Egress::send_patiently`] without secrets, answered from `cache` where what is kept for `owner` is still good.
    ///
    /// # Errors
    /// As there. A cache that does not work is no error.
    pub async fn send_cached(
        &self,
        request: Request,
        terms: &Terms,
        patience: Patience,
        (cache, owner): (&Cache, &str),
        (cancel, log): (&CancellationToken, &dyn RequestLog),
    ) -> Result<Answer, Fault> {
        let send = async |request: Request| self.send_patiently(request, terms, &NoFill, patience, (cancel, log)).await;
        let target = Target::parse(&request.url, terms.caps.url.as_usize()).ok().filter(|target| terms.rules.allows(&target.origin));
        let (Some(target), true) = (target, is_plain(&request)) else { return send(request).await };
        let url = target.url.to_string();
        let Some(asked) = head(&request, &url) else { return send(request).await };
        let (inner, of, at) = (cache.inner.clone(), owner.to_owned(), url.clone());
        let is_excepted = self.inner.excepts(&terms.purpose, &target.origin);
        let found = tokio::task::spawn_blocking(move || inner.read(&of, &at)).await.ok().flatten();
        let found = found.filter(|(kept, _)| kept.body <= terms.caps.answer_body.0 && (!kept.inner || is_excepted));
        let mut request = request;
        let mut stale = None;
        if let Some((kept, body)) = found {
            match kept.policy.before_request(&asked, cache.inner.now()) {
                BeforeRequest::Fresh(parts) => {
                    let mut note = Note::new(&terms.purpose, "GET", 0);
                    note.goes_to(&target);
                    (note.record.cached, note.record.status) = (true, Some(kept.status));
                    log.record(note.finish(None)).await?;
                    return Ok(answer(kept.status, listed(&parts.headers), body, url));
                }
                BeforeRequest::Stale { request: validating, .. } => {
                    request.headers = listed(&validating.headers);
                    stale = Some((kept, body));
                }
            }
        }
        let answered = send(request).await?;
        let Some(came) = response(answered.status, &answered.headers) else { return Ok(answered) };
        let now = cache.inner.now();
        if let (304, Some((kept, body))) = (answered.status, stale) {
            let AfterResponse::NotModified(policy, parts) = kept.policy.after_response(&asked, &came, now) else { return Ok(answered) };
            let headers = listed(&parts.headers);
            keep(cache, Kept { policy, headers: headers.clone(), ..kept }, body.clone()).await;
            return Ok(answer(200, headers, body, answered.url));
        }
        let policy = CachePolicy::new_options(&asked, &came, now, CacheOptions { shared: true, ..CacheOptions::default() });
        if answered.status == 200 && answered.hops == 0 && policy.is_storable() {
            let kept = Kept {
                url,
                owner: owner.to_owned(),
                policy,
                status: 200,
                headers: answered.headers.clone(),
                body: super::send::len(answered.body.len()),
                inner: is_excepted,
            };
            keep(cache, kept, answered.body.clone()).await;
        }
        Ok(answered)
    }
}

async fn keep(cache: &Cache, kept: Kept, body: bytes::Bytes) {
    let inner = cache.inner.clone();
    let written = tokio::task::spawn_blocking(move || inner.write(&kept, &body)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::debug!("an answer could not be kept in the cache");
    }
}

fn answer(status: u16, headers: Vec<(String, String)>, body: bytes::Bytes, url: String) -> Answer {
    Answer { status, reason: "OK".to_owned(), headers, body, url, hops: 0 }
}
