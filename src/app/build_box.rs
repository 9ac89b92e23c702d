//! Where environments of packages are built: the process sandbox, with a way to the package index and nowhere else.

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::call::{NoProgress, Spawner};
use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::address::judge;
use crate::egress::{
    Caps, Egress, EgressOptions, Host, HostRules, PrivateException, ProxyTerms, RequestLog, RequestRecord, Resolve, SystemResolver, Terms,
    proxy,
};
use crate::packages::{BuildBox, BuildJob, BuildOutcome};
use crate::sandbox::process::{Job, Mount, ProcessSandbox};
use crate::sandbox::{Door, GuestFile, SandboxLimits};

/// What egress calls the requests of builds.
const PURPOSE: &str = "packages";
/// Bytes that one build may fetch.
const MOST_FETCHED: Bytes = Bytes(4 << 30);

/// Runs installers in the process sandbox.
pub(super) struct ConfinedBuild {
    pub(super) sandbox: Arc<ProcessSandbox>,
    pub(super) spawner: Arc<dyn Spawner>,
    /// The way out, but for the private hosts of the index.
    pub(super) options: Arc<dyn Fn(Vec<PrivateException>) -> Result<EgressOptions, Fault> + Send + Sync>,
}

#[async_trait]
impl BuildBox for ConfinedBuild {
    async fn run(&self, job: BuildJob, cancel: &CancellationToken) -> Result<BuildOutcome, Fault> {
        let read_only = job.read_only.iter().map(|(host, inside)| Mount { host: host.clone(), inside: inside.clone(), writable: false });
        let writable =
            job.writable.iter().map(|(host, inside)| Mount { host: host.clone(), inside: PathBuf::from(inside), writable: true });
        let python = self.sandbox.interpreter().ok().and_then(crate::sandbox::process::Interpreter::mount);
        let native = Job {
            environment: job.environment,
            files: job.files.into_iter().map(|(path, bytes)| GuestFile { path, bytes: bytes.into() }).collect(),
            mounts: python.into_iter().chain(read_only).chain(writable).collect(),
            door: if job.hosts.is_empty() { None } else { Some(self.door(&job.hosts, &job.linked, job.wall).await?) },
            limits: SandboxLimits {
                wall: job.wall,
                memory: job.memory,
                disk: job.disk,
                files: 100_000,
                stdout: Bytes(1 << 20),
                stderr: Bytes(1 << 20),
                processes: 256,
                ..SandboxLimits::default()
            },
            ..Job::new(job.argv)
        };
        let ended = self.sandbox.run_job(native, cancel.clone(), Arc::new(NoProgress)).await;
        if let Some((folder, _)) = job.writable {
            // What is kept belongs to the server, not to the user that a job ran as.
            let taken = tokio::task::spawn_blocking(move || take_over(&folder)).await;
            taken.map_err(|_| Fault::internal("taking an environment over was broken off"))??;
        }
        let ended = ended?;
        Ok(BuildOutcome {
            code: ended.return_code,
            stdout: ended.stdout.text(),
            stderr: ended.stderr.text(),
            limit: ended.limit.map(|limit| limit.as_str()),
        })
    }
}

impl ConfinedBuild {
    /// A door to exactly these hosts: those of the index that the machine's installers are set up for, private ones included, and those
    /// that its pages link to, where they are public or stand at an address of the index itself.
    async fn door(&self, hosts: &[String], linked: &[String], wall: Millis) -> Result<Arc<dyn Door>, Fault> {
        let exception = |entry: &String| {
            let (host, port) = entry.rsplit_once(':')?;
            Some(PrivateException { purpose: PURPOSE.into(), host: host.to_owned(), port: port.parse().ok()? })
        };
        let named: Vec<PrivateException> = hosts.iter().filter_map(exception).collect();
        // A linked address would be opened as it stands; a linked name leads only where the resolver below lets it.
        let is_name = |entry: &PrivateException| Host::parse(&entry.host).is_ok_and(|host| host.as_name().is_some());
        let by_link: Vec<PrivateException> = linked.iter().filter_map(exception).filter(is_name).collect();
        let resolver = IndexResolver::of(&named, &by_link).await;
        let mut options = (self.options)(named.into_iter().chain(by_link).collect())?;
        options.resolver = Arc::new(resolver);
        let terms =
            Terms { purpose: PURPOSE.into(), rules: HostRules::parse([hosts, linked].concat())?, caps: Caps { wall, ..Caps::default() } };
        let terms = ProxyTerms { bytes: MOST_FETCHED, total: 10_000, ..ProxyTerms::new(terms) };
        Ok(Arc::new(IndexDoor { egress: Egress::new(options)?, terms, spawner: self.spawner.clone() }))
    }
}

/// Resolves names as the system does, but linked ones only to public addresses and to those of the index.
struct IndexResolver {
    linked: Vec<String>,
    index: Vec<IpAddr>,
}

impl IndexResolver {
    async fn of(named: &[PrivateException], linked: &[PrivateException]) -> Self {
        let mut index = Vec::new();
        // Where nothing links anywhere, nothing need be known.
        for entry in named.iter().filter(|_| !linked.is_empty()) {
            index.extend(SystemResolver.resolve(&entry.host).await.unwrap_or_default());
        }
        Self { linked: linked.iter().map(|entry| entry.host.to_ascii_lowercase()).collect(), index }
    }

    fn lets(&self, name: &str, address: IpAddr) -> bool {
        !self.linked.iter().any(|linked| linked == name) || self.index.contains(&address) || judge(address).is_ok()
    }
}

#[async_trait]
impl Resolve for IndexResolver {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = SystemResolver.resolve(name).await?;
        let kept: Vec<IpAddr> = found.into_iter().filter(|address| self.lets(name, *address)).collect();
        if kept.is_empty() { Err(std::io::Error::other("it stands at an address that only the index itself may have")) } else { Ok(kept) }
    }
}

/// Serves the proxy of one build.
struct IndexDoor {
    egress: Egress,
    terms: ProxyTerms,
    spawner: Arc<dyn Spawner>,
}

impl Door for IndexDoor {
    fn open(&self, listener: TcpListener, over: CancellationToken) {
        let serving = proxy::serve(self.egress.clone(), listener, self.terms.clone(), Arc::new(Traced), over);
        self.spawner.spawn("proxy of a build", serving.boxed());
    }
}

/// A build serves many calls, so its requests stand in the server's log; the call's own record has the lock.
struct Traced;

#[async_trait]
impl RequestLog for Traced {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        tracing::info!(purpose = record.purpose, host = record.host, port = record.port, error = ?record.error, "the package index was asked");
        Ok(())
    }
}

/// Makes everything below a folder the server's own. Links are changed themselves, never followed.
#[cfg(unix)]
fn take_over(folder: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = |error: std::io::Error| Fault::new(ErrorCode::SandboxFailed, format!("an environment cannot be taken over: {error}"));
    let me = rustix::process::geteuid().as_raw();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        let found = std::fs::symlink_metadata(&path).map_err(failed)?;
        if found.uid() != me {
            std::os::unix::fs::lchown(&path, Some(me), Some(rustix::process::getegid().as_raw())).map_err(failed)?;
        }
        if found.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                todo.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn take_over(_folder: &Path) -> Result<(), Fault> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_name_leads_to_public_addresses_and_to_the_index_itself() {
        let resolver = IndexResolver { linked: vec!["files.example".into()], index: vec![[10, 0, 0, 7].into()] };
        for (name, address, lets) in [
            ("files.example", [10, 0, 0, 7], true),
            ("files.example", [8, 8, 8, 8], true),
            ("files.example", [10, 0, 0, 8], false),
            ("files.example", [127, 0, 0, 1], false),
            ("files.example", [169, 254, 169, 254], false),
            // The index itself was named by the operator; the guard holds it to its exception.
            ("index.example", [10, 0, 0, 8], true),
        ] {
            assert_eq!(resolver.lets(name, address.into()), lets, "{name} {address:?}");
        }
    }
}
