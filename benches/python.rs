//! What one Python call costs: from the snapshot, on an instance that stood ready, by many callers at once, in memory; beside its peers in the
//! same run.
//!
//! `cargo bench --profile dev --bench python` prints one line a figure. `TOOLGATE_BENCH_PYODIDE` names a folder with `node_modules/pyodide`, for
//! that peer.

#[path = "../tests/it/support/house.rs"]
#[expect(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared with the tests, which use all of it and may fall over")]
mod house;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolgate::app::SystemClock;
use toolgate::call::NoProgress;
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};
use toolgate::sandbox::{Entry, Sandbox as _, SandboxSpec};

use house::TestHouse;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 300;
const HI: &str = "print('hi')";

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<76} {figure}");
}

fn spread(mut spans: Vec<Duration>) -> String {
    spans.sort_unstable();
    let at = |part: usize| spans.get(spans.len() * part / 100).map_or(0.0, |span| span.as_secs_f64() * 1e3);
    format!("p50 {:.2} ms, p95 {:.2} ms", at(50), at(95))
}

fn sandbox(kept_ready: usize) -> Outcome<Arc<WasmSandbox>> {
    let cache = std::env::temp_dir().join("toolgate-bench-native");
    Ok(Arc::new(WasmSandbox::new(WasmOptions { cache, clock: Arc::new(SystemClock), threads: 0, kept_ready })?))
}

async fn run(sandbox: &WasmSandbox, code: &str) -> Outcome<Duration> {
    let begun = Instant::now();
    let spec = SandboxSpec::new(Entry::Code(code.to_owned()));
    let outcome = sandbox.run(spec, CancellationToken::new(), Arc::new(NoProgress)).await?;
    let took = begun.elapsed();
    if outcome.return_code == 0 { Ok(took) } else { Err(outcome.stderr.text().into()) }
}

async fn call(house: &TestHouse) -> Outcome<Duration> {
    let begun = Instant::now();
    let output = house.call("python.run", json!({"code": HI})).await.outcome?;
    let took = begun.elapsed();
    if output.value.get("stdout") == Some(&Value::from("hi\n")) { Ok(took) } else { Err(output.value.to_string().into()) }
}

/// Lets the instances that stand ready be made again: that is not part of the next call.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(8)).await;
}

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(one_at_a_time())?;
    runtime.block_on(many_at_once())?;
    runtime.block_on(in_memory())?;
    pyodide();
    Ok(())
}

/// The goal's figures: the call path without the disk commit, and the sandbox alone. Calls from the snapshot come one after the other; those
/// on a ready instance after a pause, in which it is made.
async fn one_at_a_time() -> Outcome<()> {
    let interpreter = interpreter();
    let mut peer = Vec::new();
    for kept_ready in [0, 2] {
        let sandbox = sandbox(kept_ready)?;
        let house = TestHouse::with_python(sandbox.clone(), "").await;
        let (mut path, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            if kept_ready > 0 {
                settle().await;
            }
            path.push(call(&house).await?);
        }
        for _ in 0..ROUNDS {
            if kept_ready > 0 {
                settle().await;
            }
            alone.push(run(&sandbox, HI).await?);
        }
        for _ in 0..30 {
            peer.extend(interpreter.as_deref().and_then(|interpreter| python(interpreter, "pass")));
        }
        let from = if kept_ready > 0 { "on an instance that stood ready" } else { "from the snapshot" };
        say(&format!("print('hi') through the call path, log in memory, {from}"), &spread(path));
        say(&format!("the sandbox alone, {from}"), &spread(alone));
    }
    if let Some(interpreter) = interpreter {
        say(&format!("peer: {interpreter} -c pass"), &spread(peer));
    }
    Ok(())
}

/// Callers that make one call after the other, together.
async fn many_at_once() -> Outcome<()> {
    let sandbox = sandbox(2)?;
    let house = Arc::new(TestHouse::with_python(sandbox, "").await);
    for callers in [1_usize, 8, 64] {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let house = house.clone();
                #[expect(clippy::disallowed_methods, reason = "a benchmark ends with its tasks")]
                tokio::spawn(async move {
                    let mut spans = Vec::new();
                    for _ in 0..ROUNDS.div_ceil(callers) {
                        spans.push(call(&house).await.map_err(|error| error.to_string())?);
                    }
                    Ok::<_, String>(spans)
                })
            })
            .collect();
        let mut spans = Vec::new();
        for task in tasks {
            spans.extend(task.await??);
        }
        let rate = spans.len() as f64 / begun.elapsed().as_secs_f64();
        say(&format!("{callers} callers at once"), &format!("{rate:.0} calls/s, {}", spread(spans)));
    }
    Ok(())
}

/// How much more the process holds while sixteen programs live.
async fn in_memory() -> Outcome<()> {
    const GUESTS: u32 = 16;
    let sandbox = sandbox(0)?;
    run(&sandbox, HI).await?;
    let before = resident_kib()?;
    let tasks: Vec<_> = (0..GUESTS)
        .map(|_| {
            let sandbox = sandbox.clone();
            #[expect(clippy::disallowed_methods, reason = "a benchmark ends with its tasks")]
            tokio::spawn(async move { run(&sandbox, "import time; time.sleep(2)").await.map_err(|error| error.to_string()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = resident_kib()?.saturating_sub(before);
    for task in tasks {
        task.await??;
    }
    say(
        "resident memory of a living program",
        &format!("{:.1} MB (of {GUESTS})", f64::from(u32::try_from(grown)?) / 1024.0 / f64::from(GUESTS)),
    );
    Ok(())
}

fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("no figure")?.parse()?)
}

/// The machine's own interpreter: what `PATH` has may be a script that looks for it.
fn interpreter() -> Option<String> {
    if Path::new("/usr/bin/python3").exists() {
        return Some("/usr/bin/python3".to_owned());
    }
    let found = output("python3", &["-c", "import sys; print(sys.executable)"], None)?;
    Some(found.trim().to_owned())
}

fn python(program: &str, code: &str) -> Option<Duration> {
    let begun = Instant::now();
    output(program, &["-c", code], None).map(|_| begun.elapsed())
}

/// CPython in WebAssembly under Node: a fresh interpreter each time, as here, and one that is used again.
fn pyodide() {
    const SCRIPT: &str = "const { loadPyodide } = await import('pyodide');
        const now = () => performance.now(); const middle = (list) => list.sort((a, b) => a - b)[list.length >> 1];
        const time = async (act) => { const begun = now(); await act(); return now() - begun; };
        const quiet = { stdout: () => {} }; const fresh = [], again = [];
        for (let n = 0; n < 5; n++) fresh.push(await time(async () => (await loadPyodide(quiet)).runPython(\"print('hi')\")));
        const one = await loadPyodide(quiet);
        for (let n = 0; n < 100; n++) again.push(await time(async () => one.runPython(\"print('hi')\")));
        console.log(`p50 ${middle(fresh).toFixed(0)} ms fresh, ${middle(again).toFixed(2)} ms used again`);";
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
    let Some(folder) = std::env::var_os("TOOLGATE_BENCH_PYODIDE") else {
        return say("peer: pyodide under Node", "not measured: TOOLGATE_BENCH_PYODIDE is not set");
    };
    let script = format!("{SCRIPT}\n");
    match output("node", &["--input-type=module", "-e", &script], Some(Path::new(&folder))) {
        Some(figures) => say("peer: pyodide under Node", figures.trim()),
        None => say("peer: pyodide under Node", "not measured: it does not run"),
    }
}

fn output(program: &str, arguments: &[&str], folder: Option<&Path>) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the peers are programs of the machine, and nothing of them reaches the product")]
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
