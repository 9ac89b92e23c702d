//! The call path, in process and through the real server: SPEC's figures, each beside its floor or peer in the same run.
//!
//! `cargo bench --profile dev --bench path` prints one line a figure; `-- path` leaves the server out. Set `TOOLGATE_BENCH_QUICK=1` for a short run.

#[path = "../tests/it/support/house.rs"]
#[expect(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared with the tests, which use all of it and may fall over")]
mod house;
#[path = "shared/mod.rs"]
#[expect(dead_code, reason = "shared with other benchmarks")]
mod shared;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::store::Durability;

use house::TestHouse;
use shared::{Committer, Outcome, median, used_here};

fn field(value: &Value, name: &str) -> Value {
    value[name].clone()
}

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<72} {figure}");
}

fn ms(span: Duration) -> String {
    format!("{:.3} ms", span.as_secs_f64() * 1e3)
}

/// Microseconds of processor time of each of so many, since this process had used so much.
fn micros_each(since: Duration, count: usize) -> f64 {
    used_here().saturating_sub(since).as_secs_f64() * 1e6 / count as f64
}

fn main() -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
    let quick = std::env::var_os("TOOLGATE_BENCH_QUICK").is_some();
    let rounds = if quick { 50 } else { 400 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(in_process(rounds))?;
    // A profile of the path alone is easier to read.
    if std::env::args().any(|argument| argument == "path") { Ok(()) } else { through_the_server(rounds) }
}

/// A pure no-op tool with the log in memory and on disk, beside a bare durable commit.
async fn in_process(rounds: usize) -> Outcome<()> {
    let memory = TestHouse::new().await;
    calls(&memory, rounds).await?;
    let used = used_here();
    let without_disk = calls(&memory, rounds * 5).await?;
    let each = micros_each(used, without_disk.len());
    say("no-op call, log in memory: p50", &format!("{}, {each:.0} µs of processor time", ms(median(without_disk))));

    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let disk = Arc::new(TestHouse::on(Some(home), Durability::Full, "").await);
    let mut commit = Committer::open(&folder.path().join("floor.db")).await?;
    // Connections and the run are opened by the first calls.
    calls(&disk, rounds / 8).await?;
    let (mut with_disk, mut floor) = (Vec::new(), Vec::new());
    let (mut used, mut used_by_floor) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let begun = used_here();
        with_disk.extend(calls(&disk, 1).await?);
        let between = used_here();
        floor.push(commit.one().await?);
        used += between.saturating_sub(begun);
        used_by_floor += used_here().saturating_sub(between);
    }
    let (with_disk, floor) = (median(with_disk), median(floor));
    let each = |used: Duration| format!("{:.0} µs of processor time", used.as_secs_f64() * 1e6 / rounds as f64);
    say("no-op call, durable: p50", &format!("{}, {}", ms(with_disk), each(used)));
    say("one bare durable commit (the floor): p50", &format!("{}, {}", ms(floor), each(used_by_floor)));
    say("no-op call above the floor", &ms(with_disk.saturating_sub(floor)));

    let (begun, used) = (Instant::now(), used_here());
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let disk = disk.clone();
            #[expect(clippy::disallowed_methods, reason = "a benchmark ends with its tasks")]
            tokio::spawn(async move { calls(&disk, rounds / 4).await.map_err(|error| error.to_string()) })
        })
        .collect();
    let mut done = 0_usize;
    for caller in callers {
        done += caller.await??.len();
    }
    let (rate, each) = (done as f64 / begun.elapsed().as_secs_f64(), micros_each(used, done));
    let single = 1.0 / floor.as_secs_f64();
    let told = format!("{rate:.0}/s = {:.1} x single durable commits ({single:.0}/s), {each:.0} µs of processor time each", rate / single);
    say("no-op calls by 64 callers, durable", &told);
    Ok(())
}

async fn calls(house: &TestHouse, rounds: usize) -> Outcome<Vec<Duration>> {
    let mut spans = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        house.call("probe.pure", json!({"word": "hi"})).await.outcome?;
        spans.push(begun.elapsed());
    }
    Ok(spans)
}

/// The binary over standard input and output, as a client has it.
fn through_the_server(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    // The first start compiles the interpreter; that is not what is measured.
    Server::start(&home)?.python("1")?;
    let mut starts = Vec::new();
    let mut resident = 0;
    for _ in 0..20 {
        let begun = Instant::now();
        let mut server = Server::start(&home)?;
        server.request("tools/list", &json!({}))?;
        starts.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(150));
        resident = server.resident_kib()?;
    }
    say("server start to first tools/list answer, warm caches: p50", &ms(median(starts)));
    say("resident memory, idle, interpreter loaded", &format!("{:.1} MB", resident as f64 / 1024.0));

    let mut server = Server::start(&home)?;
    server.python("print('hi')")?;
    let (mut inside, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(200) {
        let begun = Instant::now();
        server.python("print('hi')")?;
        inside.push(begun.elapsed());
        let begun = Instant::now();
        if program(interpreter()).args(["-c", "pass"]).status().is_ok() {
            peer.push(begun.elapsed());
        }
    }
    say("python.run print('hi') over stdio, warm server, durable: p50", &ms(median(inside)));
    say("python3 -c pass in the same run: p50", &ms(median(peer)));
    beside_busy_guests(&mut server)
}

/// What ten programs in endless loops cost somebody who only wants the list of tools.
fn beside_busy_guests(server: &mut Server) -> Outcome<()> {
    let list = |server: &mut Server| -> Outcome<Vec<Duration>> {
        let mut spans = Vec::new();
        for _ in 0..100 {
            let begun = Instant::now();
            server.request("tools/list", &json!({}))?;
            spans.push(begun.elapsed());
        }
        spans.sort_unstable();
        Ok(spans)
    };
    let quiet = list(server)?;
    for _ in 0..10 {
        let busy = json!({"name": "python_run", "arguments": {"code": "while True: pass", "timeout_sec": 20}});
        server.begin("tools/call", &busy)?;
    }
    std::thread::sleep(Duration::from_millis(500));
    let busy = list(server)?;
    let at = |spans: &[Duration], part: usize| spans.get(spans.len() * part / 100).copied().unwrap_or_default();
    let told = |spans: &[Duration]| format!("p50 {}, p95 {}", ms(at(spans, 50)), ms(at(spans, 95)));
    say("tools/list on an idle server", &told(&quiet));
    say("tools/list beside ten busy loops", &told(&busy));
    Ok(())
}

/// The interpreter itself: what `PATH` has may be a script that looks for it.
fn interpreter() -> &'static str {
    if std::path::Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a user, and a user starts programs")]
fn program(name: &str) -> Command {
    Command::new(name)
}

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    id: u64,
}

impl Server {
    fn start(home: &std::path::Path) -> Outcome<Self> {
        let mut child = program(env!("CARGO_BIN_EXE_toolgate"))
            .args(["--log", "error", "--home"])
            .arg(home)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        let mut server = Self { child, input, output: BufReader::new(output), id: 0 };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
        server.request("initialize", &hello)?;
        writeln!(server.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(server)
    }

    /// Sends a request and does not wait for its answer.
    fn begin(&mut self, method: &str, params: &Value) -> Outcome<()> {
        self.id += 1;
        writeln!(self.input, "{}", json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}))?;
        Ok(())
    }

    fn request(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        self.begin(method, params)?;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err("the server is gone".into());
            }
            let message: Value = serde_json::from_str(&line)?;
            if field(&message, "id") == self.id {
                return Ok(field(&message, "result"));
            }
        }
    }

    fn python(&mut self, code: &str) -> Outcome<()> {
        let answer = self.request("tools/call", &json!({"name": "python_run", "arguments": {"entrypoint": "inline", "code": code}}))?;
        if field(&field(&answer, "structuredContent"), "return_code") == 0 { Ok(()) } else { Err(answer.to_string().into()) }
    }

    fn resident_kib(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().next().ok_or("no figure")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
