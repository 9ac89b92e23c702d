//! `verify-bundle`: is this evidence sound? Needs no home and no settings.
//!
//! INVARIANT: the same code as the binary `toolgate-verify`; reads the files that are named and nothing else.

use std::io::Read as _;
use std::path::Path;

use toolgate_evidence::bundle;
use toolgate_evidence::checkpoint::PublicKey;

use crate::domain::{ErrorCode, Fault};

use super::args::VerifyBundle;
use super::exit::{Ending, Exit};
use super::start::Desk;

/// Most bytes of a file of keys.
const KEYS: usize = 64 << 10;

pub(super) fn run(args: &VerifyBundle, desk: &Desk) -> Ending {
    let keys = match &args.key {
        Some(path) => PublicKey::list(&read(path, KEYS)?).map_err(|error| {
            Fault::new(ErrorCode::InvalidInput, format!("`{}`: {error}", path.display()))
                .hint("`toolgate audit head` names the home's public key; one stands on each line")
        })?,
        None => Vec::new(),
    };
    let text = read(&args.file, bundle::MAX_BYTES)?;
    let report = bundle::verify(&text, &keys).map_err(|wrong| {
        Fault::new(ErrorCode::AuditBroken, format!("the bundle does not hold: {wrong}"))
            .hint("ask whoever sent it for the original; `docs/evidence.md` tells what each part proves")
    })?;
    if args.json.json {
        desk.console.json(&report)?;
    } else {
        desk.console.data(&format!("the bundle holds\n{report}"))?;
    }
    Ok(Exit::Ok)
}

fn read(path: &Path, most: usize) -> Result<String, Fault> {
    let cannot = |why: String| Fault::new(ErrorCode::InvalidInput, format!("`{}` cannot be read: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| cannot(error.to_string()))?;
    let mut text = String::new();
    file.take(most as u64 + 1).read_to_string(&mut text).map_err(|error| cannot(error.to_string()))?;
    if text.len() > most { Err(cannot(format!("it is larger than {most} bytes"))) } else { Ok(text) }
}
