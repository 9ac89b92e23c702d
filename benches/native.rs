//! What a native program costs: the sandbox beside the bare interpreter in the same run, an environment that is there, ten checks at once.
//!
//! `cargo bench --profile dev --bench native` prints one line a figure. It needs Linux, `/usr/bin/python3` and, for the checks, a package
//! index.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolgate::app::{App, Tasks};
use toolgate::call::NoProgress;
use toolgate::cli::ports::{CallAsk, House as _};
use toolgate::config::{Ambient, Options, Platform};
use toolgate::sandbox::process::{Job, Launcher, ProcessOptions, ProcessSandbox};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 200;
const PYTHON: &str = "/usr/bin/python3";

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<76} {figure}");
}

fn spread(mut spans: Vec<Duration>) -> (f64, String) {
    spans.sort_unstable();
    let at = |part: usize| spans.get(spans.len() * part / 100).map_or(0.0, |span| span.as_secs_f64() * 1e3);
    (at(50), format!("p50 {:.2} ms, least {:.2} ms, p95 {:.2} ms", at(50), at(0), at(95)))
}

fn launcher() -> Launcher {
    Launcher { program: env!("CARGO_BIN_EXE_toolgate").into(), first: Vec::new() }
}

#[expect(clippy::disallowed_methods, reason = "the bare peer")]
fn bare() -> Outcome<Duration> {
    let begun = Instant::now();
    let status = std::process::Command::new(PYTHON).args(["-c", "pass"]).status()?;
    if status.success() { Ok(begun.elapsed()) } else { Err("the interpreter failed".into()) }
}

async fn confined(sandbox: &ProcessSandbox) -> Outcome<(Duration, Duration)> {
    let begun = Instant::now();
    let job = Job::new(vec![PYTHON.into(), "-c".into(), "pass".into()]);
    let outcome = sandbox.run_job(job, CancellationToken::new(), Arc::new(NoProgress)).await?;
    if outcome.return_code == 0 { Ok((begun.elapsed(), outcome.metrics.start)) } else { Err(outcome.stderr.text().into()) }
}

fn main() -> ExitCode {
    // The house starts itself anew as its launcher, and here it is this program.
    if let Some(code) = toolgate::app::launcher() {
        return code;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say("failed", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(start_up())?;
    runtime.block_on(checks())
}

/// The interpreter's own start in turn with the confined one, so that both see the same minute of the machine.
async fn start_up() -> Outcome<()> {
    let sandbox = ProcessSandbox::new(ProcessOptions {
        launcher: launcher(),
        path: "/usr/bin:/bin".into(),
        cgroup: None,
        require_cgroup: false,
        at_once: 16,
        spawner: Arc::new(Tasks::default()),
    });
    let begun = Instant::now();
    let layers = sandbox.ready().await?;
    say("the canary, once", &format!("{:.2} ms; {}", begun.elapsed().as_secs_f64() * 1e3, layers.join(" ")));
    let (mut peer, mut ours, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        peer.push(bare()?);
        let (whole, start) = confined(&sandbox).await?;
        ours.push(whole);
        starts.push(start);
    }
    let ((bare, bare_text), (confined, confined_text), (_, start_text)) = (spread(peer), spread(ours), spread(starts));
    say("peer: /usr/bin/python3 -c pass", &bare_text);
    say("the same, confined", &confined_text);
    say("of that, until the program could run", &start_text);
    say("isolation costs (p50 above the peer's)", &format!("{:.2} ms", confined - bare));
    Ok(())
}

async fn call(app: &App, tool: &str, arguments: Value) -> Outcome<(Duration, Value)> {
    let begun = Instant::now();
    let ask = CallAsk { tool: tool.into(), arguments, cancel: CancellationToken::new(), progress: Arc::new(NoProgress) };
    let output = app.call(ask).await?.outcome?.value;
    Ok((begun.elapsed(), output))
}

/// `eval.run` on the whole call path, in a home of its own.
async fn checks() -> Outcome<()> {
    let home = tempfile::tempdir()?;
    let app =
        App::open(&config(home.path())?, &toolgate::secrets::redact::Redactor::new(toolgate::secrets::live::LiveSecrets::new())?).await?;
    let checks = json!({
        "commands": ["ruff check .", "pytest -q"],
        "requirements": ["ruff==0.14.5", "pytest==9.0.1"],
        "files": [
            { "path": "app.py", "content": "def half(n: int) -> int:\n    return n // 2\n" },
            { "path": "test_app.py", "content": "from app import half\n\n\ndef test_half() -> None:\n    assert half(4) == 2\n" },
        ],
    });
    let (cold, output) = call(&app, "eval.run", checks.clone()).await?;
    if output.get("passed") != Some(&Value::Bool(true)) {
        return Err(format!("the checks did not pass: {output}").into());
    }
    say("eval.run of ruff and pytest, environment built", &format!("{:.0} ms", cold.as_secs_f64() * 1e3));
    let mut warm = Vec::new();
    for _ in 0..20 {
        warm.push(call(&app, "eval.run", checks.clone()).await?.0);
    }
    say("the same, environment found", &spread(warm).1);
    let nothing = json!({ "code": "pass", "runtime": "process" });
    let with_packages = json!({ "code": "pass", "runtime": "process", "requirements": ["ruff==0.14.5", "pytest==9.0.1"] });
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        without.push(call(&app, "python.run", nothing.clone()).await?.0);
        with.push(call(&app, "python.run", with_packages.clone()).await?.0);
    }
    let ((without, _), (with, text)) = (spread(without), spread(with));
    say("python.run natively with an environment that is found", &format!("{text}; {:.2} ms above one without", with - without));
    let begun = Instant::now();
    let ten = futures_util::future::join_all((0..10).map(|_| call(&app, "eval.run", checks.clone()))).await;
    let spans: Vec<Duration> = ten.into_iter().map(|one| one.map(|(span, _)| span)).collect::<Outcome<_>>()?;
    say("ten of them at once, all together", &format!("{:.0} ms; each {}", begun.elapsed().as_secs_f64() * 1e3, spread(spans).1));
    app.close().await;
    Ok(())
}

/// Settings of a scratch home; installers are set up as they are for whoever runs this.
fn config(home: &Path) -> Outcome<toolgate::config::Config> {
    let around = Ambient::of_process();
    let platform = Platform { data_dir: Some(home.to_owned()), cache_dir: Some(PathBuf::from(home).join("cache")), ..around.platform };
    let options = Options { home: Some(home.join("home")), ..Options::default() };
    toolgate::config::load(&options, &Ambient { platform, ..around }).map_err(|problems| problems.to_string().into())
}
