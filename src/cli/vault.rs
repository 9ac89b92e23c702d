//! `vault`: the operator's secrets.
//!
//! INVARIANT: a value is read from standard input or typed without echo, never from arguments; no verb prints one.

use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;
use serde_json::json;
use zeroize::Zeroize as _;

use crate::domain::{ErrorCode, Fault};
use crate::secrets::operator::{Ask, FromDescriptor, Operator, OperatorProof};
use crate::secrets::vault::{Carrier, LARGEST_EXPORT, LONGEST, SecretName, SecretView, Terms, Vault as TheVault, save_export};

use super::args::{PassphraseFrom, Vault, VaultExport, VaultImport, VaultSet};
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::start::Cx;
use super::text::ago;

pub(super) async fn run(args: &Vault, cx: &Cx<'_>) -> Ending {
    let vault = cx.house.vault()?;
    match args {
        Vault::Set(args) => set(args, &vault, cx).await,
        Vault::List { json } => list(json.json, &vault, cx).await,
        Vault::Rm { name, from, json } => {
            let name: SecretName = name.parse()?;
            vault.remove(&name, &prove(*from, cx)?).await?;
            done(json.json, &json!({ "removed": name }), &format!("removed {name}"), cx)
        }
        Vault::Rotate { from, json } => {
            let rotation = vault.rotate(&prove(*from, cx)?).await?;
            let words = if rotation.resumed { "finished an earlier rotation" } else { "rotated" };
            let line = format!("{words}: {} secrets sealed anew with key {}", rotation.rewrapped, rotation.key);
            done(json.json, &json!(rotation), &line, cx)
        }
        Vault::Export(args) => export(args, &vault, cx).await,
        Vault::Import(args) => import(args, &vault, cx).await,
    }
}

fn prove(from: PassphraseFrom, cx: &Cx<'_>) -> Result<OperatorProof, Stop> {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    Ok(operator.prove(cx.desk.asks(from).as_ref())?)
}

fn done(json: bool, data: &serde_json::Value, line: &str, cx: &Cx<'_>) -> Ending {
    if json {
        cx.desk.console.json(data)?;
    } else {
        cx.desk.console.line(line)?;
    }
    Ok(Exit::Ok)
}

async fn set(args: &VaultSet, vault: &TheVault, cx: &Cx<'_>) -> Ending {
    if !args.stray.is_empty() {
        return Err(Stop::Fault(
            Fault::new(
                ErrorCode::InvalidInput,
                "a secret's value is never an argument: arguments stand in the list of processes and in the shell's history",
            )
            .hint("give it on standard input, and change it where it is from: what was typed counts as told"),
        ));
    }
    let name: SecretName = args.name.parse()?;
    let hosts = args.hosts.iter().map(|host| host.trim().parse()).collect::<Result<_, Fault>>()?;
    let terms = Terms { hosts, tools: args.tools.iter().map(|tool| tool.trim().to_owned()).collect(), description: args.describe.clone() };
    terms.check()?;
    let proof = prove(args.from, cx)?;
    let value = read_value(&name, cx)?;
    let is_first = vault.key_lies().await?.is_none();
    let view = vault.set(&name, &value, &terms, &proof).await?;
    if is_first && let Some(place) = vault.key_lies().await? {
        cx.desk.console.tell(&format!("The vault's key was made and lies in {place}. Whoever has it and the home can read every secret; back it up apart from the home.\n"));
    }
    if terms.hosts.is_empty() {
        cx.desk.console.tell("It may go to no host, so it serves settings alone; `--hosts` names where programs may send it.\n");
    }
    done(args.json.json, &json!(view), &format!("set {name}, version {}", view.version), cx)
}

/// From a person without echo, else all of standard input less one line break at its end.
fn read_value(name: &SecretName, cx: &Cx<'_>) -> Result<SecretString, Stop> {
    if cx.desk.console.looks().interactive {
        return Ok(cx.desk.passphrase.ask(&format!("Value of {name} (not shown): "))?.secret());
    }
    let mut bytes = cx.desk.console.read_input(LONGEST as u64 + 2)?;
    let text = std::str::from_utf8(&bytes).map(|text| text.strip_suffix('\n').unwrap_or(text));
    let value = text.map(|text| SecretString::from(text.strip_suffix('\r').unwrap_or(text)));
    let value =
        value.map_err(|_| Fault::new(ErrorCode::InvalidInput, "the value is not UTF-8 text").hint("encode it, for example as base64"));
    bytes.zeroize();
    Ok(value?)
}

async fn list(json: bool, vault: &TheVault, cx: &Cx<'_>) -> Ending {
    let all = vault.list().await?;
    let console = &cx.desk.console;
    if json {
        console.json(&all)?;
        return Ok(Exit::Ok);
    }
    if all.is_empty() {
        console.tell("the vault is empty\n");
        return Ok(Exit::Ok);
    }
    let now = cx.desk.clock.now();
    let mut table = Table::new(&["NAME", "VERSION", "HOSTS", "TOOLS", "SET", "KEY", "ABOUT"]);
    for secret in &all {
        let SecretView { name, version, terms, key, updated, .. } = secret;
        let hosts: Vec<String> = terms.hosts.iter().map(ToString::to_string).collect();
        let tools = if terms.tools.is_empty() { "any".to_owned() } else { terms.tools.join(",") };
        let hosts = if hosts.is_empty() { "none".to_owned() } else { hosts.join(",") };
        table.row([name.as_str(), &version.to_string(), &hosts, &tools, &ago(*updated, now), key, &terms.description]);
    }
    console.table(&table)?;
    Ok(Exit::Ok)
}

async fn export(args: &VaultExport, vault: &TheVault, cx: &Cx<'_>) -> Ending {
    let carrier = match (&args.recipient, args.file_passphrase_fd) {
        (Some(recipient), _) => Carrier::recipient(recipient)?,
        (None, Some(descriptor)) => Carrier::Passphrase(FromDescriptor(descriptor).ask("")?.secret()),
        (None, None) => {
            let first = cx.desk.passphrase.ask("Passphrase for the file: ")?;
            if !cx.desk.passphrase.ask("The same again: ")?.is(&first) {
                return Err(Stop::Fault(Fault::new(ErrorCode::InvalidInput, "the two passphrases differ").hint("nothing was written")));
            }
            Carrier::Passphrase(first.secret())
        }
    };
    if args.file.symlink_metadata().is_ok() {
        let message = format!("`{}` is there already", args.file.display());
        return Err(Stop::Fault(Fault::new(ErrorCode::InvalidInput, message).hint("name a file that is not there yet")));
    }
    let sealed = vault.export(&carrier, &prove(args.from, cx)?).await?;
    save_export(&args.file, &sealed)?;
    let count = vault.list().await?.len();
    let line = format!("wrote {count} secrets to {}", args.file.display());
    done(args.json.json, &json!({ "file": args.file, "secrets": count }), &line, cx)
}

async fn import(args: &VaultImport, vault: &TheVault, cx: &Cx<'_>) -> Ending {
    let carrier = match (&args.identity, args.file_passphrase_fd) {
        (Some(path), _) => {
            let mut bytes = read(path, 64 << 10)?;
            let carrier = Carrier::identity(&String::from_utf8_lossy(&bytes));
            bytes.zeroize();
            carrier?
        }
        (None, Some(descriptor)) => Carrier::Passphrase(FromDescriptor(descriptor).ask("")?.secret()),
        (None, None) => Carrier::Passphrase(cx.desk.passphrase.ask("Passphrase of the file: ")?.secret()),
    };
    let bytes = read(&args.file, LARGEST_EXPORT)?;
    let taken = vault.import(&bytes, &carrier, args.replace, &prove(args.from, cx)?).await?;
    let names: Vec<String> = taken.iter().map(|secret| secret.name.to_string()).collect();
    done(args.json.json, &json!({ "imported": names }), &format!("imported {}: {}", names.len(), names.join(", ")), cx)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| Fault::new(ErrorCode::NotFound, format!("`{}` cannot be read: {error}", path.display())))?;
    if bytes.len() as u64 > most {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("`{}` has more than {most} bytes", path.display())));
    }
    Ok(bytes)
}
