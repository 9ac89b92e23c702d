//! What one Python call costs: a fresh sandbox that says hi, and `python3 -c pass` as its peer in the same run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::sync::Arc;

use divan::{Bencher, black_box};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use toolgate::call::NoProgress;
use toolgate::domain::{Clock, Timestamp};
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};
use toolgate::sandbox::{Entry, Sandbox as _, SandboxOutcome, SandboxSpec};

fn main() {
    divan::main();
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(0)
    }
}

/// A warm sandbox, and a runtime to call it from.
fn warm() -> (Runtime, WasmSandbox) {
    let cache = std::env::temp_dir().join("toolgate-bench-native");
    let sandbox = WasmSandbox::new(WasmOptions { cache, clock: Arc::new(Still), threads: 0 }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    run(&runtime, &sandbox, "pass");
    (runtime, sandbox)
}

fn run(runtime: &Runtime, sandbox: &WasmSandbox, code: &str) -> SandboxOutcome {
    let spec = SandboxSpec::new(Entry::Code(code.to_owned()));
    runtime.block_on(sandbox.run(spec, CancellationToken::new(), Arc::new(NoProgress))).unwrap()
}

fn program(bencher: Bencher<'_, '_>, code: &str) {
    let (runtime, sandbox) = warm();
    bencher.bench_local(|| black_box(run(&runtime, &sandbox, black_box(code))));
}

#[divan::bench(sample_count = 300, sample_size = 1)]
fn fresh_print_hi(bencher: Bencher<'_, '_>) {
    program(bencher, "print('hi')");
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn fresh_unittest(bencher: Bencher<'_, '_>) {
    program(bencher, "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 1)\nunittest.main(exit=False)");
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn fresh_json_of_10_000_rows(bencher: Bencher<'_, '_>) {
    program(bencher, "import json\nrows = [{'n': n, 'text': str(n)} for n in range(10_000)]\nassert json.loads(json.dumps(rows)) == rows");
}

/// The peer: a native interpreter, started and ended. Absent where the machine has no Python.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn peer_python3_c_pass(bencher: Bencher<'_, '_>) {
    // The interpreter itself: what `PATH` has may be a script that looks for it.
    let found = python("python3", "import sys; print(sys.executable)");
    if let Some(found) = found.and_then(|output| String::from_utf8(output.stdout).ok()) {
        bencher.bench_local(|| python(found.trim(), "pass").is_some());
    }
}

fn python(program: &str, code: &str) -> Option<std::process::Output> {
    #[expect(clippy::disallowed_methods, reason = "the peer is a program of the machine, and nothing of it reaches the product")]
    std::process::Command::new(program).args(["-c", code]).output().ok()
}
