//! The server's side of one job: starts the launcher, gives it its order, puts the files in place, reads what the job writes, and ends it.
//!
//! INVARIANT: a job is over when the socket to its launcher has ended, which it does only when no process of it is left; nothing of what
//! it produced is looked at before. Whoever drops a job ends it.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::call::{OutStream, Progress, WallTime};
use crate::domain::{ErrorCode, Fault};
use crate::sandbox::{LimitHit, Metrics};

use super::cgroup::Cgroup;
use super::folders::Folders;
use super::job::{Job, JobOutcome};
use super::launcher::{Gift, Launchers, PATIENCE, Running};
use super::layers::missing;
use super::protocol::{Order, Report};
use super::streams::Stream;

/// How long a launcher may take before the job runs.
const SETUP: Duration = Duration::from_secs(10);
/// What the launcher told.
#[derive(Default)]
struct Told {
    layers: Vec<String>,
    ended: Option<(i32, u64, u64)>,
    canary: Option<(Vec<String>, Vec<String>)>,
    limit: Option<LimitHit>,
    folders: Option<Folders>,
    started: Option<Instant>,
}

/// What a job is run with, besides itself.
pub(super) struct Means<'m> {
    pub(super) launchers: &'m Launchers,
    pub(super) order: Order,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) progress: Arc<dyn Progress>,
}

/// Tries the walls without a job. Gives what went through them, and their names.
///
/// # Errors
/// `SANDBOX_UNAVAILABLE` with the layer that is missing.
pub(super) async fn canary(launchers: &Launchers, order: Order) -> Result<(Vec<String>, Vec<String>), Fault> {
    let means = Means { launchers, order, cgroup: None, progress: Arc::new(crate::call::NoProgress) };
    let (told, ..) = Box::pin(perform(Job::new(Vec::new()), means, CancellationToken::new())).await?;
    told.canary.ok_or_else(|| missing("launcher", "the canary did not answer"))
}

/// Runs a job to its end; nothing comes of a launcher that ended before the job began, without a word.
///
/// # Errors
/// `SANDBOX_UNAVAILABLE` for a missing layer, `PROGRAM_NOT_FOUND`, `LIMIT_EXCEEDED` where its files do not fit, `CANCELLED`, `SANDBOX_FAILED`.
pub(super) async fn run(job: Job, means: Means<'_>, cancel: CancellationToken) -> Result<Option<JobOutcome>, Fault> {
    let begun = Instant::now();
    let (limits, most_output) = (job.limits, job.limits.disk.0);
    let (told, mut out, mut err, ran_out) = Box::pin(perform(job, means, cancel)).await?;
    let wall = begun.elapsed();
    let (Some(folders), Some(started)) = (told.folders, told.started) else {
        return Ok(None);
    };
    let most_left = limits.result.0;
    let (files, left, is_full, cut) = tokio::task::spawn_blocking(move || {
        folders.as_job(|folders| {
            let (files, cut) = folders.take("out", most_output)?;
            let (left, _) = folders.take("run", most_left)?;
            io::Result::Ok((files, left, folders.is_full(), cut))
        })?
    })
    .await
    .map_err(|_| Fault::internal("taking a job's files was broken off"))?
    .map_err(|error| failed(&format!("the job's files cannot be taken: {error}")))?;
    let (stdout, stderr) = (out.take(), err.take());
    let memory = ran_out || told.limit == Some(LimitHit::Memory);
    let limit = told
        .limit
        .or_else(|| memory.then_some(LimitHit::Memory))
        .or_else(|| (is_full || cut || files.len() > limits.files as usize).then_some(LimitHit::Disk))
        .or_else(|| (stdout.truncated || stderr.truncated).then_some(LimitHit::Output));
    let (code, cpu_us, peak) = told.ended.unwrap_or((137, 0, 0));
    let return_code = match told.limit {
        Some(LimitHit::Time) => 124,
        Some(LimitHit::Memory) => 137,
        _ => code,
    };
    let metrics =
        Metrics { wall, start: started.duration_since(begun), cpu: Duration::from_micros(cpu_us), peak_memory: peak, operations: 0 };
    Ok(Some(JobOutcome { return_code, stdout, stderr, files, left, metrics, limit, layers: told.layers }))
}

async fn perform(job: Job, means: Means<'_>, cancel: CancellationToken) -> Result<(Told, Stream, Stream, bool), Fault> {
    let unavailable = |error: io::Error| failed(&format!("a job cannot be started: {error}"));
    let limits = job.limits;
    let (mut out, out_end) = Stream::new(limits.stdout.0, limits.whole.0, OutStream::Stdout, &means.progress).map_err(unavailable)?;
    let (mut err, err_end) = Stream::new(limits.stderr.0, limits.whole.0, OutStream::Stderr, &means.progress).map_err(unavailable)?;
    let (launchers, order, cgroup, stdin) = (means.launchers.clone(), means.order, means.cgroup, job.stdin.clone());
    // A dropped call leaves this to its end, where the socket's end ends the launcher.
    let given = tokio::task::spawn_blocking(move || {
        let running = launchers.give(&Gift { order: &order, stdin: &stdin, ends: (out_end, err_end), cgroup: cgroup.as_ref() })?;
        Ok(running.with(cgroup))
    });
    let mut running = given.await.map_err(|_| Fault::internal("starting a job was broken off"))?.map_err(unavailable)?;
    // Cancelled by its drop, with the job.
    let over = CancellationToken::new();
    let _ends_with_this = over.clone().drop_guard();
    let talk = converse(&mut running, &job, &cancel, &over);
    let (told, out_read, err_read) = tokio::join!(talk, out.drain(), err.drain());
    let mut told = told?;
    out_read.and(err_read).map_err(|error| failed(&format!("a job's output cannot be read: {error}")))?;
    let ran_out = running.cgroup().is_some_and(Cgroup::ran_out);
    if !told.layers.is_empty() {
        told.layers.push(if running.cgroup().is_some() { super::MEMORY_GROUP } else { super::MEMORY_WATCH }.into());
    }
    Ok((told, out, err, ran_out))
}

/// Hears the launcher out, until its socket ends.
async fn converse(running: &mut Running, job: &Job, cancel: &CancellationToken, over: &CancellationToken) -> Result<Told, Fault> {
    let mut told = Told::default();
    let mut wrong: Option<Fault> = None;
    let mut deadline = Instant::now() + SETUP;
    let mut is_stopping = false;
    loop {
        let wall = async { if told.started.is_some() { time_of(&job.wall, job).await } else { std::future::pending().await } };
        let heard = tokio::select! {
            biased;
            heard = running.hear() => heard,
            () = cancel.cancelled(), if !is_stopping => {
                wrong.get_or_insert_with(|| Fault::new(ErrorCode::Cancelled, "the call was cancelled while its program ran"));
                (is_stopping, deadline) = (true, stop(running));
                continue;
            }
            () = wall, if !is_stopping => {
                told.limit = Some(LimitHit::Time);
                (is_stopping, deadline) = (true, stop(running));
                continue;
            }
            () = sleep_until(deadline), if told.started.is_none() || is_stopping => {
                if !is_stopping {
                    wrong.get_or_insert_with(|| missing("launcher", "it did not get ready in time"));
                }
                running.kill();
                (is_stopping, deadline) = (true, Instant::now() + SETUP);
                continue;
            }
        };
        let Some((report, fds)) = heard.map_err(|error| failed(&format!("the launcher cannot be heard: {error}")))? else { break };
        if let Err(fault) = take_up(report, fds, &mut told, running, job, over).await {
            wrong.get_or_insert(fault);
            if !is_stopping {
                (is_stopping, deadline) = (true, stop(running));
            }
        }
    }
    wrong.map_or(Ok(told), Err)
}

fn stop(running: &Running) -> Instant {
    running.stop();
    Instant::now() + PATIENCE
}

async fn time_of(wall: &WallTime, job: &Job) {
    wall.elapsed(job.limits.wall.duration()).await;
}

async fn take_up(
    report: Report,
    fds: Vec<OwnedFd>,
    told: &mut Told,
    running: &Running,
    job: &Job,
    over: &CancellationToken,
) -> Result<(), Fault> {
    match report {
        Report::Folders => {
            let mut fds = fds.into_iter();
            let folders = Folders::new(fds.next().ok_or_else(|| failed("the launcher gave no folders"))?);
            let folders = fill(folders, job).await?;
            if let (Some(door), Some(listener)) = (&job.door, fds.next()) {
                door.open(TcpListener::from(listener), over.clone());
            }
            told.folders = Some(folders);
            running.go().map_err(|error| failed(&format!("the launcher cannot be told to go on: {error}")))
        }
        Report::Started { layers } => {
            told.started = Some(Instant::now());
            told.layers = layers;
            Ok(())
        }
        Report::Missing { layer, why } => Err(missing(&layer, &why)),
        Report::NoProgram { why } => {
            let name = job.argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Err(Fault::new(ErrorCode::ProgramNotFound, format!("the program `{name}` cannot be started: {why}"))
                .hint("name a package that brings it in `requirements`, or have it installed on the machine")
                .details(serde_json::json!({ "program": name })))
        }
        Report::Canary { got_through, layers } => {
            told.canary = Some((got_through, layers));
            Ok(())
        }
        Report::Memory => {
            told.limit = Some(LimitHit::Memory);
            Ok(())
        }
        Report::Ended { code, cpu_us, peak } => {
            told.ended = Some((code, cpu_us, peak));
            Ok(())
        }
    }
}

/// Puts the job's files in place, off the runtime's threads.
async fn fill(folders: Folders, job: &Job) -> Result<Folders, Fault> {
    let (files, fixed) = (job.files.clone(), job.fixed.clone());
    let writable: Vec<PathBuf> = job.mounts.iter().filter(|mount| mount.writable).map(|mount| mount.host.clone()).collect();
    tokio::task::spawn_blocking(move || {
        folders.give(&writable)?;
        let filled = folders.as_job(|folders| {
            folders.put("work", files.iter().map(|file| (file.path.as_str(), &*file.bytes)))?;
            folders.put("toolgate", fixed.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
        });
        filled.map_err(|error| failed(&format!("the job's files cannot be put in place: {error}")))??;
        Ok(folders)
    })
    .await
    .map_err(|_| Fault::internal("laying out a job's files was broken off"))?
}

fn failed(why: &str) -> Fault {
    Fault::new(ErrorCode::SandboxFailed, why).hint("try again; `toolgate doctor` shows what the process sandbox finds")
}
