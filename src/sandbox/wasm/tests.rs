use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::{WasmOptions, WasmSandbox};
use crate::call::NoProgress;
use crate::domain::{Clock, Timestamp};
use crate::sandbox::{Entry, Sandbox as _, SandboxSpec};

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_700_000_000_000)
    }
}

fn sandbox() -> &'static WasmSandbox {
    static SANDBOX: OnceLock<WasmSandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let cache = std::env::temp_dir().join("toolgate-tests-native");
        WasmSandbox::new(WasmOptions { cache, clock: Arc::new(Fixed), threads: 2 }).unwrap()
    })
}

#[tokio::test]
async fn explore() {
    let flt = || std::fs::read_to_string("/proc/self/stat").unwrap().split(' ').nth(9).unwrap().parse::<u64>().unwrap();
    let dir = std::path::Path::new("/tmp/w/sb/probes");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let code = std::fs::read_to_string(&path).unwrap();
        let n = if path.to_str().unwrap().contains("rep") { 60 } else { 1 };
        let mut cpu = Vec::new();
        let mut walls = Vec::new();
        let f = flt();
        for _ in 0..n {
            let t = std::time::Instant::now();
            let out =
                sandbox().run(SandboxSpec::new(Entry::Code(code.clone())), CancellationToken::new(), Arc::new(NoProgress)).await.unwrap();
            walls.push(t.elapsed());
            cpu.push((out.metrics.cpu, out.metrics.start));
            if walls.len() == n {
                let show = |s: String| s.chars().take(2500).collect::<String>();
                println!(
                    "=== {}\n{}\n--stderr--\n{}\nrc {} result {:?} limit {:?} {:?} files {}",
                    path.display(),
                    show(out.stdout.text()),
                    show(out.stderr.text()),
                    out.return_code,
                    out.result,
                    out.limit,
                    out.metrics,
                    out.files.len()
                );
            }
        }
        cpu.sort();
        walls.sort();
        println!(
            "cpu min {:?} med {:?} wall min {:?} med {:?} faults {}",
            cpu[0],
            cpu[n / 2],
            walls[0],
            walls[n / 2],
            (flt() - f) / n as u64
        );
    }
}
