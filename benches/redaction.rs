//! What redaction costs: searching large text, and passing a small value through.
//!
//! `cargo bench --profile dev --bench redaction` prints one line a figure. Set `TOOLGATE_BENCH_QUICK=1` for a short run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use toolgate::call::Redact as _;
use toolgate::secrets::live::LiveSecrets;
use toolgate::secrets::redact::Redactor;
use toolgate::secrets::scan::{Scanner, Sureness};

const LARGE: usize = 16 << 20;

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<80} {figure}");
}

/// The best of some rounds.
fn best(rounds: usize, mut work: impl FnMut()) -> Duration {
    let once = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..rounds).map(once).min().unwrap_or_default()
}

fn rate(span: Duration) -> String {
    format!("{:.0} MB/s ({:.0} ms)", 16.8 / span.as_secs_f64(), span.as_secs_f64() * 1e3)
}

fn repeated(piece: &str) -> String {
    piece.repeat(LARGE / piece.len())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
    let quick = std::env::var_os("TOOLGATE_BENCH_QUICK").is_some();
    let rounds = if quick { 1 } else { 5 };
    let scanner = Scanner::shipped()?;
    let source = repeated(include_str!("../src/gateway/path.rs"));
    // Every rule's own examples, without end: each keyword on each line, and nearly every expression fits.
    let examples: Vec<String> =
        scanner.rules().iter().flat_map(|rule| rule.hits.iter().chain(&rule.misses)).map(|text| text.replace('¦', "")).collect();
    let hostile = repeated(&examples.join("\n"));
    let one_line = repeated(&examples.join(" ").replace('\n', " "));
    let scan = |text: &str| rate(best(rounds, || drop(black_box(scanner.scan(text.as_bytes(), Sureness::Guesses)))));
    say("scan of 16 MiB of source text, all rules", &scan(&source));
    say("scan of 16 MiB of the rules' own examples, line by line", &scan(&hostile));
    say("scan of 16 MiB of the same in one line", &scan(&one_line));

    let redactor = Redactor::new(LiveSecrets::new())?;
    let clean = |text: &str| rate(best(rounds, || drop(black_box(redactor.text(text)))));
    say("redaction of 16 MiB of source text, no live secret", &clean(&source));
    let small = json!({ "tool": "probe.pure", "arguments": { "word": "hello", "paths": ["src/app.py", "tests/test_app.py"] }, "digest": "ab".repeat(32) });
    let call = || {
        let mut value = small.clone();
        let started = Instant::now();
        for _ in 0..1_000 {
            black_box(redactor.value(&mut value));
        }
        format!("{:.2} µs", started.elapsed().as_secs_f64() * 1e3)
    };
    say("a call's few fields, no live secret", &call());
    for n in 0..50 {
        redactor.live().add(&format!("secret {n}"), &format!("{n:02} a secret's value, quite long {}", n * 7919).into());
    }
    say("redaction of 16 MiB of source text, 50 live secrets", &clean(&source));
    say("a call's few fields, 50 live secrets", &call());
    let mut stream = redactor.stream();
    let streamed = best(1, || source.as_bytes().chunks(4096).for_each(|piece| drop(black_box(stream.push(piece)))));
    say("the same 16 MiB as a stream of 4 KiB pieces, 50 live secrets", &rate(streamed));
    Ok(())
}
