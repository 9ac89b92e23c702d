//! `toolgate-verify FILE`: checks an evidence bundle without toolgate.
//!
//! INVARIANT: the same code as `toolgate verify-bundle`; reads the files it is given and nothing else.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use toolgate_evidence::bundle::{self, Report};
use toolgate_evidence::checkpoint::PublicKey;

const USAGE: &str = "\
Checks an evidence bundle of toolgate: nothing else is needed, and nothing is changed.

Usage: toolgate-verify [--key FILE] [--json] BUNDLE

  --key FILE   Only believe the public key in this file (one `NAME+ID+KEY` a line)
  --json       Print what is proven as JSON

Ends with 0 where the bundle holds, 1 where it does not, 2 where it was used wrongly.
";

struct Asked {
    bundle: String,
    key: Option<String>,
    json: bool,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let mut err = std::io::stderr();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return ended(write!(out, "{USAGE}"), ExitCode::SUCCESS);
    }
    let Some(asked) = asked(args) else { return ended(write!(err, "{USAGE}"), ExitCode::from(2)) };
    match check(&asked) {
        Ok(report) if asked.json => {
            let json = serde_json::to_string_pretty(&report).unwrap_or_default();
            ended(writeln!(out, "{json}"), ExitCode::SUCCESS)
        }
        Ok(report) => ended(write!(out, "the bundle holds\n{report}"), ExitCode::SUCCESS),
        Err((said, code)) => ended(writeln!(err, "error: {said}"), ExitCode::from(code)),
    }
}

/// An output nobody reads any more ends the program like any other failure.
fn ended(written: std::io::Result<()>, code: ExitCode) -> ExitCode {
    if written.is_ok() { code } else { ExitCode::FAILURE }
}

fn asked(args: Vec<String>) -> Option<Asked> {
    let (mut bundle, mut key, mut json) = (None, None, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--key" if key.is_none() => key = Some(args.next()?),
            "--json" => json = true,
            _ if arg.starts_with("--") || bundle.is_some() => return None,
            _ => bundle = Some(arg),
        }
    }
    Some(Asked { bundle: bundle?, key, json })
}

fn check(asked: &Asked) -> Result<Report, (String, u8)> {
    let keys = match &asked.key {
        Some(file) => PublicKey::list(&read(file, 64 << 10)?).map_err(|error| (format!("`{file}`: {error}"), 2))?,
        None => Vec::new(),
    };
    bundle::verify(&read(&asked.bundle, bundle::MAX_BYTES)?, &keys).map_err(|wrong| (wrong.to_string(), 1))
}

fn read(file: &str, most: usize) -> Result<String, (String, u8)> {
    let cannot = |why: String| (format!("`{file}` cannot be read: {why}"), 2);
    let opened = std::fs::File::open(file).map_err(|error| cannot(error.to_string()))?;
    let mut text = String::new();
    opened.take(most as u64 + 1).read_to_string(&mut text).map_err(|error| cannot(error.to_string()))?;
    if text.len() > most { Err(cannot(format!("it is larger than {most} bytes"))) } else { Ok(text) }
}
