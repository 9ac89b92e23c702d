//! The machine's own CPython behind the same trait as the one in WebAssembly.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::{Bytes, ErrorCode, Fault};
use crate::sandbox::{Entry, Sandbox, SandboxOutcome, SandboxSpec};

use super::ProcessSandbox;
use super::job::{Job, Mount};
use super::system::Interpreter;

/// Where an environment of packages is seen.
pub const ENVIRONMENT: &str = "/env";
const RUNNER: &str = include_str!("runner.py");

/// Where the runner finds a program's text, beside itself, out of the caller's reach.
const CODE: &str = "code.py";

#[async_trait]
impl Sandbox for ProcessSandbox {
    async fn run(&self, spec: SandboxSpec, cancel: CancellationToken, progress: Arc<dyn Progress>) -> Result<SandboxOutcome, Fault> {
        let job = job(spec, self.interpreter()?)?;
        let outcome = self.run_job(job, cancel, progress).await?;
        let result = outcome.left.iter().find(|file| file.path == "result.json");
        Ok(SandboxOutcome {
            return_code: outcome.return_code,
            stdout: outcome.stdout,
            stderr: outcome.stderr,
            result: result.and_then(|file| serde_json::from_slice(&file.bytes).ok()),
            files: outcome.files,
            metrics: outcome.metrics,
            limit: outcome.limit,
            layers: outcome.layers,
        })
    }
}

/// The job that a specification asks for.
fn job(spec: SandboxSpec, interpreter: &Interpreter) -> Result<Job, Fault> {
    if spec.host.as_ref().is_some_and(|host| host.powers().tools) {
        return Err(Fault::new(ErrorCode::InvalidInput, "a program in the process sandbox cannot call tools")
            .hint("use the runtime `wasm` for a program that calls tools"));
    }
    let python = match &spec.environment {
        Some(_) => PathBuf::from(ENVIRONMENT).join("bin/python"),
        None => interpreter.exe.clone(),
    };
    let files = spec.files;
    let mut fixed = vec![("run.py".to_owned(), RUNNER.as_bytes().to_vec())];
    let (kind, what) = match spec.entry {
        // The interpreter goes by both names, whatever the machine calls it.
        Entry::Program(program) if matches!(program.as_str(), "python" | "python3") => ("", python.to_string_lossy().into_owned()),
        Entry::Program(program) => ("", program),
        Entry::Code(code) => {
            fixed.push((CODE.to_owned(), code.into_bytes()));
            ("code", format!("/toolgate/{CODE}"))
        }
        Entry::File(path) => ("file", path),
        Entry::Module(name) => ("module", name),
    };
    let mut argv: Vec<OsString> = Vec::new();
    if !kind.is_empty() {
        argv.extend([python.into_os_string(), "/toolgate/run.py".into(), kind.into()]);
    }
    argv.push(what.into());
    argv.extend(spec.args.into_iter().map(OsString::from));
    let path = if spec.environment.is_some() { "/env/bin:/usr/local/bin:/usr/bin:/bin" } else { "/usr/local/bin:/usr/bin:/bin" };
    let mut environment: Vec<(OsString, OsString)> =
        vec![("PATH".into(), path.into()), ("PYTHONUTF8".into(), "1".into()), ("PYTHONNOUSERSITE".into(), "1".into())];
    if !kind.is_empty() {
        environment.push(("TOOLGATE_RESULT_LIMIT".into(), spec.limits.result.0.to_string().into()));
    }
    environment.extend(spec.variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    if spec.environment.is_some() {
        environment.push(("VIRTUAL_ENV".into(), ENVIRONMENT.into()));
    }
    let mounts =
        interpreter.mount().into_iter().chain(spec.environment.map(|host| Mount { host, inside: ENVIRONMENT.into(), writable: false }));
    let mut limits = spec.limits;
    // The files that it is given lie on the same bounded file system as those that it makes.
    let sizes = files.iter().map(|file| file.bytes.len()).chain(fixed.iter().map(|(_, bytes)| bytes.len()));
    let given: u64 = sizes.map(|size| size as u64 + 4096).sum();
    limits.disk = Bytes(limits.disk.0.saturating_add(given));
    limits.files = limits.files.saturating_add(u32::try_from(files.len()).unwrap_or(u32::MAX).saturating_mul(4));
    Ok(Job {
        environment,
        stdin: spec.stdin,
        files,
        fixed,
        mounts: mounts.collect(),
        may_write_work: spec.may_write_work,
        door: spec.door,
        limits,
        wall: spec.wall,
        ..Job::new(argv)
    })
}
