//! `runs export|redact|archive`, `storage`, `backup`, `restore`: keeping house.
//!
//! INVARIANT: what takes something away, copies secrets or goes back in time is done only with the operator's proof.

use std::io::Write as _;
use std::path::Path;

use crate::config::Config;
use crate::domain::{ErrorCode, Fault};
use crate::keeping::{Keeper, Redaction};
use crate::secrets::operator::{Operator, OperatorProof};

use super::args::{Archive, Backup, Export, PassphraseFrom, Redact, Restore, Runs, Storage, Verb};
use super::exit::{Ending, Exit, Stop};
use super::ports::Door;
use super::start::Desk;
use super::text::printable;

/// Whether a verb is one of these.
pub(super) fn is_one(verb: &Verb) -> bool {
    matches!(verb, Verb::Storage(_) | Verb::Backup(_) | Verb::Restore(_) | Verb::Runs(Runs::Export(_) | Runs::Redact(_) | Runs::Archive(_)))
}

pub(super) async fn run(verb: &Verb, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    if let Verb::Restore(args) = verb {
        return restore(args, desk, config, door).await;
    }
    let proof = if let Verb::Runs(Runs::Redact(Redact { from, .. }) | Runs::Archive(Archive { from, .. }))
    | Verb::Backup(Backup { with_keys: true, from, .. }) = verb
    {
        Some(prove(*from, desk, config)?)
    } else {
        None
    };
    let keeper = door.keeper(config).await?;
    let ending = inside(verb, desk, &keeper, proof).await;
    keeper.close().await;
    ending
}

fn prove(from: PassphraseFrom, desk: &Desk, config: &Config) -> Result<OperatorProof, Fault> {
    Operator::of_home(&config.home.value, desk.clock.clone()).prove(desk.asks(from).as_ref())
}

async fn inside(verb: &Verb, desk: &Desk, keeper: &Keeper, proof: Option<OperatorProof>) -> Ending {
    match (verb, proof) {
        (Verb::Runs(Runs::Export(args)), _) => export(args, desk, keeper).await,
        (Verb::Runs(Runs::Redact(args)), Some(proof)) => redact(args, desk, keeper, proof).await,
        (Verb::Runs(Runs::Archive(args)), Some(proof)) => archive(args, desk, keeper, proof).await,
        (Verb::Storage(args), _) => storage(args, desk, keeper).await,
        (Verb::Backup(args), _) => backup(args, desk, keeper).await,
        _ => Ok(Exit::Usage),
    }
}

async fn export(args: &Export, desk: &Desk, keeper: &Keeper) -> Ending {
    let text = keeper.export(&args.run, !args.without_values).await?;
    match &args.output {
        None => desk.console.data(&text)?,
        Some(path) => {
            write_new(path, &text)?;
            desk.console.tell(&format!("evidence of {} is in {}\n", args.run, printable(&path.display().to_string())));
        }
    }
    Ok(Exit::Ok)
}

/// Writes a file that was not there; half of one is taken away again.
fn write_new(path: &Path, text: &str) -> Result<(), Stop> {
    let cannot = |error: std::io::Error| {
        let fault = Fault::new(ErrorCode::InvalidInput, format!("`{}` cannot be written: {error}", path.display()));
        Stop::Fault(fault.hint("name a file that does not exist, in a folder that does"))
    };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        cannot(error)
    })
}

async fn redact(args: &Redact, desk: &Desk, keeper: &Keeper, proof: OperatorProof) -> Ending {
    tracing::info!(proved_by = ?proof.by(), "the operator takes a value away");
    let ask = Redaction { run: args.run, seq: args.event, field: args.field.clone(), reason: args.reason.clone() };
    let done = keeper.redact(&ask).await?;
    let console = &desk.console;
    if args.json.json {
        console.json(&done)?;
        return Ok(Exit::Ok);
    }
    console.line(&format!("`{}` of event {} is gone; event {} tells of it", printable(&args.field), args.event, done.event))?;
    for id in &done.artifacts {
        console.line(&format!("artifact {id} is gone with it"))?;
    }
    for id in &done.kept {
        console.tell(&format!("artifact {id} stays: something else names it, or a call is at work\n"));
    }
    for (seq, field) in &done.also {
        console.tell(&format!("the same value still stands in `{}` of event {seq}\n", printable(field)));
    }
    if !done.scrubbed {
        console.tell("another process is reading: the last bytes go when it ends\n");
    }
    Ok(Exit::Ok)
}

async fn archive(args: &Archive, desk: &Desk, keeper: &Keeper, proof: OperatorProof) -> Ending {
    tracing::info!(proved_by = ?proof.by(), "the operator puts old runs aside");
    let done = keeper.archive(args.older_than).await?;
    if args.json.json {
        desk.console.json(&done)?;
        return Ok(Exit::Ok);
    }
    for run in &done {
        desk.console.line(&format!("{} {}", run.run, printable(&run.folder)))?;
    }
    desk.console
        .tell(&format!("{} runs were put aside; `toolgate storage collect` removes artifacts that nothing names any more\n", done.len()));
    Ok(Exit::Ok)
}

async fn storage(args: &Storage, desk: &Desk, keeper: &Keeper) -> Ending {
    let Storage::Collect { dry_run, json } = args;
    let done = keeper.collect(*dry_run).await?;
    if json.json {
        desk.console.json(&done)?;
    } else {
        let word = if *dry_run { "would be" } else { "were" };
        desk.console.line(&format!("{} of {} artifacts {word} removed, {} bytes", done.artifacts, done.seen, done.bytes))?;
    }
    Ok(Exit::Ok)
}

async fn backup(args: &Backup, desk: &Desk, keeper: &Keeper) -> Ending {
    let done = keeper.backup(&args.dir, args.with_keys).await?;
    if args.json.json {
        desk.console.json(&done)?;
        return Ok(Exit::Ok);
    }
    desk.console.line(&format!("{} files, {} bytes, in {}", done.files, done.bytes, printable(&done.folder)))?;
    for name in &done.left_out {
        desk.console.tell(&format!("left out, as it is a link or no plain file: {}\n", printable(name)));
    }
    if !done.keys {
        desk.console.tell("the secret keys are not in it (--with-keys copies them): keep them elsewhere\n");
    }
    Ok(Exit::Ok)
}

async fn restore(args: &Restore, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    let proof = prove(args.from, desk, config)?;
    let done = door.restore(config, &args.dir, &args.reason, proof).await?;
    if args.json.json {
        desk.console.json(&done)?;
        return Ok(Exit::Ok);
    }
    desk.console.line(&format!("{} records are back, from {} files", done.records, done.files))?;
    desk.console.tell(&format!("what was there before lies in {}; remove it once you are sure\n", printable(&done.aside)));
    Ok(Exit::Ok)
}
