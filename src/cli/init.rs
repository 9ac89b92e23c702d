//! `init`: the home, its folders, a commented settings file, and the operator's passphrase. Doing it again changes nothing.

use std::io;
use std::path::Path;

use crate::config::{Config, FILE_NAME, template};
use crate::domain::{ErrorCode, Fault};
use crate::secrets::operator::Operator;

use super::args::Init;
use super::exit::{Ending, Exit};
use super::report::report;
use super::start::Desk;
use super::text::printable;

/// Folders of the home that a person puts files into.
const FOLDERS: [&str; 3] = ["tool-manifests", "policies", "workflows"];

pub(super) fn run(args: &Init, desk: &Desk, config: &Config) -> Ending {
    let home = &config.home.value;
    let mut steps = Vec::new();
    for folder in std::iter::once(home.clone()).chain(FOLDERS.map(|name| home.join(name))).chain([config.drive_local_root.value.clone()]) {
        let created = owner_folder(&folder).map_err(|error| cannot(&folder, &error))?;
        steps.push((folder.display().to_string(), created));
    }
    let file = home.join(FILE_NAME);
    let created = new_file(&file, &template()).map_err(|error| cannot(&file, &error))?;
    steps.push((file.display().to_string(), created));

    let operator = Operator::of_home(home, desk.clock.clone());
    let mut passphrase = operator.is_set()?;
    if !passphrase && (desk.console.looks().interactive || args.from.passphrase_fd.is_some()) {
        match operator.prove(desk.asks(args.from).as_ref()) {
            Ok(_proof) => {
                passphrase = true;
                steps.push(("operator's passphrase".to_owned(), true));
            }
            // A person may leave it for later; who named a descriptor wanted it set.
            Err(fault) if args.from.passphrase_fd.is_none() => report(&desk.console, &fault, args.json.json),
            Err(fault) => return Err(fault.into()),
        }
    }

    if args.json.json {
        let list = |wanted: bool| steps.iter().filter(|(_, created)| *created == wanted).map(|(what, _)| what.clone()).collect::<Vec<_>>();
        desk.console.json(&serde_json::json!({
            "home": home, "created": list(true), "kept": list(false), "operator_passphrase_set": passphrase,
        }))?;
    } else {
        for (what, created) in &steps {
            desk.console.line(&format!("{} {}", if *created { "created" } else { "kept   " }, printable(what)))?;
        }
        if !passphrase {
            desk.console.tell("The operator's passphrase is not set. Whoever answers first sets it: run `toolgate init` on a terminal.\n");
        }
    }
    Ok(Exit::Ok)
}

fn cannot(path: &Path, error: &io::Error) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{}` cannot be created: {error}", path.display()))
        .hint("name another home by `--home` or `TOOLGATE_HOME`, or mend the folder's rights")
}

/// Creates a folder for its owner alone; whether it was not there.
fn owner_folder(path: &Path) -> io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)?;
    Ok(true)
}

/// Writes a file unless it is there; whether it was not.
fn new_file(path: &Path, text: &str) -> io::Result<bool> {
    match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
