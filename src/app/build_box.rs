//! Where environments of packages are built: the process sandbox, with a way to the package index and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::{NoProgress, Spawner};
use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::{
    Caps, Egress, EgressOptions, Host, HostRules, LinkedResolver, PrivateException, ProxyTerms, RequestLog, RequestRecord, Terms,
};
use crate::packages::{BuildBox, BuildJob, BuildOutcome, folder_size};
use crate::sandbox::process::{Job, Mount, ProcessSandbox};
use crate::sandbox::{Door, GuestFile, SandboxLimits};
use crate::tools::native::ProxyDoor;

/// What egress calls the requests of builds.
const PURPOSE: &str = "packages";
/// How often a build's folder is looked at.
const LOOK: Duration = Duration::from_millis(500);
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
        let stop = cancel.child_token();
        let mut running = Box::pin(self.sandbox.run_job(native, stop.clone(), Arc::new(NoProgress)));
        let folder = job.writable.map(|(folder, _)| folder);
        let (ended, too_large) = tokio::select! {
            ended = &mut running => (ended, false),
            () = grown_beyond(folder.clone(), job.disk) => {
                stop.cancel();
                (running.await, true)
            }
        };
        if let Some(folder) = folder {
            // What is kept belongs to the server, not to the user that a job ran as.
            let taken = tokio::task::spawn_blocking(move || take_over(&folder)).await;
            taken.map_err(|_| Fault::internal("taking an environment over was broken off"))??;
        }
        if too_large {
            return Ok(BuildOutcome { code: -1, stdout: String::new(), stderr: String::new(), limit: Some("disk") });
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
        let resolver = LinkedResolver::of(&named, &by_link).await;
        let mut options = (self.options)(named.into_iter().chain(by_link).collect())?;
        options.resolver = Arc::new(resolver);
        let terms =
            Terms { purpose: PURPOSE.into(), rules: HostRules::parse([hosts, linked].concat())?, caps: Caps { wall, ..Caps::default() } };
        let terms = ProxyTerms { bytes: MOST_FETCHED, total: 10_000, ..ProxyTerms::new(terms) };
        let (egress, spawner) = (Egress::new(options)?, self.spawner.clone());
        Ok(Arc::new(ProxyDoor { egress, terms, log: Arc::new(Traced), spawner, name: "proxy of a build" }))
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

/// Ends when the files below a folder take more than that. The machine's disk knows no limit for one job, so it is watched.
async fn grown_beyond(folder: Option<PathBuf>, most: Bytes) {
    let Some(folder) = folder else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        let (folder, most) = (folder.clone(), most.0);
        if tokio::task::spawn_blocking(move || folder_size(&folder) > most).await.unwrap_or(true) {
            return;
        }
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

    #[tokio::test]
    async fn a_folder_that_grows_too_large_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), [0; 600]).unwrap();
        assert_eq!(folder_size(folder.path()), 600);
        let soon = Duration::from_secs(30);
        assert!(tokio::time::timeout(soon, grown_beyond(Some(folder.path().to_owned()), Bytes(500))).await.is_ok());
        let watch = grown_beyond(Some(folder.path().to_owned()), Bytes(1_000));
        assert!(tokio::time::timeout(Duration::from_millis(1_200), watch).await.is_err());
    }
}
