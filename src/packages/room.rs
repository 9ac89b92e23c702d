//! The room's front: a list of pins becomes a set of files, from memory, from disk, or through an installer.
//!
//! INVARIANT: calls that want the same set at the same time make it once; the others wait for it, and share its failure. Programs that were
//! started for calls end when the last of those is cancelled or dropped.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::{Clock, Digest, ErrorCode, Fault};

use super::cache::{Cache, key};
use super::files::{Files, Guard, MAX_TOTAL};
use super::flight::{Flights, Notes};
use super::installer::InstallerOptions;
use super::job::Job;
use super::lock::Lock;
use super::memory::Memory;
use super::requirement::Requirement;
use super::resolve::resolve;

/// Makes bytecode of packages, in the sandbox.
#[async_trait]
pub trait Compile: Send + Sync {
    /// Gives the `__pycache__/NAME.cpython-314.pyc` files of `files`, by their path under `site-packages`.
    ///
    /// # Errors
    /// `CANCELLED`, or that the sandbox failed. A file that does not compile is no error: it has no bytecode.
    async fn compile(&self, files: &[(String, Arc<[u8]>)], cancel: &CancellationToken) -> Result<Vec<(String, Arc<[u8]>)>, Fault>;
}

/// What the room is built from.
pub struct PackagesOptions {
    /// The folder it may use, and nothing else does.
    pub cache: PathBuf,
    /// Where installers are.
    pub installer: InstallerOptions,
    /// Makes bytecode.
    pub compiler: Arc<dyn Compile>,
    /// Tells how old a lock is.
    pub clock: Arc<dyn Clock>,
}

/// Packages with their bytecode, to be mounted read-only.
#[derive(Debug)]
pub struct PackageSet {
    /// What is in it.
    pub lock: Lock,
    /// The files by their path under `site-packages`, sorted.
    pub files: Vec<(String, Arc<[u8]>)>,
}

/// The room.
pub struct Packages {
    making: Arc<Making>,
    flights: Flights<PackageSet>,
}

/// What work on sets needs, apart from the calls that wait for it.
struct Making {
    options: PackagesOptions,
    cache: Cache,
    memory: Memory,
}

impl Packages {
    /// The room; touches nothing yet.
    #[must_use]
    pub fn new(options: PackagesOptions) -> Self {
        let cache = Cache::new(&options.cache);
        Self { making: Arc::new(Making { options, cache, memory: Memory::default() }), flights: Flights::default() }
    }

    /// The lock's digest of a set that needs no network and no installer: it is stored and not older than a day. Reads a folder's list
    /// and one small file.
    #[must_use]
    pub fn cached(&self, requirements: &[Requirement]) -> Option<Digest> {
        if requirements.is_empty() {
            return Lock::new(Vec::new()).map(|lock| lock.digest());
        }
        self.making.fresh(key(requirements))
    }

    /// The set of these requirements if it needs neither installer nor network, as [`Packages::cached`] tells; `None` also where its pack
    /// turns out to be damaged.
    ///
    /// # Errors
    /// `INTERNAL` where reading ended early.
    pub async fn kept(&self, requirements: &[Requirement]) -> Result<Option<Arc<PackageSet>>, Fault> {
        if requirements.is_empty() {
            return Ok(Lock::new(Vec::new()).map(|lock| Arc::new(PackageSet { lock, files: Vec::new() })));
        }
        self.making.stored(self.cached(requirements)).await
    }

    /// The set of these requirements, which are as [`Requirement::parse_all`] gives them. `note` is told what is being done.
    ///
    /// # Errors
    /// `REQUIREMENTS_UNRESOLVED`, `REQUIREMENT_REFUSED`, `INSTALLER_UNAVAILABLE`, `LIMIT_EXCEEDED`, `TIMEOUT`, `CANCELLED`; those of the
    /// compiler.
    pub async fn get(
        &self,
        requirements: &[Requirement],
        cancel: &CancellationToken,
        note: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Arc<PackageSet>, Fault> {
        if let Some(set) = self.kept(requirements).await? {
            return Ok(set);
        }
        let (key, making, roots) = (key(requirements), Arc::clone(&self.making), requirements.to_vec());
        self.flights.join(key, cancel, note, |notes| async move { making.get(&roots, key, &notes).await }).await
    }
}

impl Making {
    fn fresh(&self, key: Digest) -> Option<Digest> {
        self.cache.entry(key).filter(|entry| entry.is_fresh(self.options.clock.now())).map(|entry| entry.lock)
    }

    async fn get(&self, roots: &[Requirement], key: Digest, notes: &Notes) -> Result<Arc<PackageSet>, Fault> {
        // A flight that has just ended may have brought it.
        if let Some(set) = self.stored(self.fresh(key)).await? {
            return Ok(set);
        }
        let cancel = CancellationToken::new();
        // Dropping this future must end the installer as well.
        let _ends = cancel.clone().drop_guard();
        self.make(roots, key, &cancel, notes).await
    }

    async fn stored(&self, lock: Option<Digest>) -> Result<Option<Arc<PackageSet>>, Fault> {
        let Some(lock) = lock else { return Ok(None) };
        if let Some(set) = self.memory.get(lock) {
            return Ok(Some(set));
        }
        let cache = self.cache.clone();
        let Some(set) = on_the_side(move || Ok(cache.set(lock))).await?.map(Arc::new) else { return Ok(None) };
        self.memory.put(lock, Arc::clone(&set));
        Ok(Some(set))
    }

    async fn make(
        &self,
        requirements: &[Requirement],
        key: Digest,
        cancel: &CancellationToken,
        notes: &Notes,
    ) -> Result<Arc<PackageSet>, Fault> {
        let (lock, files) = match self.resolve(requirements, cancel, notes).await {
            Ok(found) => found,
            Err(fault) => {
                let old = if may_use_old(fault.code) { self.cache.entry(key).map(|entry| entry.lock) } else { None };
                let Some(set) = self.stored(old).await? else { return Err(fault) };
                notes.tell("the packages cannot be looked up anew now; those of the last time are used");
                tracing::info!("old packages are used, as they cannot be looked up: {fault}");
                return Ok(set);
            }
        };
        let digest = lock.digest();
        let set = match self.stored(Some(digest)).await? {
            Some(set) => set,
            None => {
                notes.tell("compiling packages");
                let set = Arc::new(self.compile(lock, files, cancel).await?);
                let (cache, stored) = (self.cache.clone(), Arc::clone(&set));
                if let Err(error) = on_the_side(move || Ok(cache.store(&stored))).await? {
                    tracing::warn!("packages cannot be stored, so the next call fetches them again: {error}");
                }
                self.memory.put(digest, Arc::clone(&set));
                set
            }
        };
        if let Err(error) = self.cache.remember(key, digest, self.options.clock.now()) {
            tracing::warn!("what requirements led to cannot be stored: {error}");
        }
        Ok(set)
    }

    async fn resolve(&self, requirements: &[Requirement], cancel: &CancellationToken, notes: &Notes) -> Result<(Lock, Files), Fault> {
        let (cancel, notes) = (cancel.clone(), notes.clone());
        let (options, jobs, roots) = (self.options.installer.clone(), self.options.cache.join("jobs"), requirements.to_vec());
        on_the_side(move || {
            let job = Job::start(&jobs, cancel)?;
            resolve(&options, &roots, &job, &|text| notes.tell(text))
        })
        .await
    }

    async fn compile(&self, lock: Lock, files: Files, cancel: &CancellationToken) -> Result<PackageSet, Fault> {
        let mut files: Vec<(String, Arc<[u8]>)> = files.into_iter().map(|(path, bytes)| (path, Arc::from(bytes))).collect();
        let compiled = self.options.compiler.compile(&files, cancel).await?;
        if compiled.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > MAX_TOTAL {
            return Err(Fault::internal("the packages' bytecode is larger than packages may be"));
        }
        files.extend(compiled);
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut guard = Guard::default();
        for (path, _) in &files {
            guard.file(path).map_err(|why| Fault::internal(format!("the compiler gave a wrong file: {why}")))?;
        }
        Ok(PackageSet { lock, files })
    }
}

/// Whether a failure means that nobody could be asked, rather than that the answer is no.
pub(super) fn may_use_old(code: ErrorCode) -> bool {
    [ErrorCode::RequirementsUnresolved, ErrorCode::InstallerUnavailable, ErrorCode::Timeout].contains(&code)
}

/// Runs `work` on a thread that may wait.
pub(super) async fn on_the_side<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Fault::internal(format!("work on packages ended early: {error}"))),
    }
}
