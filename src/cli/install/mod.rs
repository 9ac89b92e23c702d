//! `install`: writes toolgate into a client's settings, and takes it out again.
//!
//! INVARIANT: nothing but our own entry changes; what was there before is kept beside it, and a file that cannot be read is not touched.

mod clients;
mod edit;
mod file;
pub(super) mod found;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::config::own_program;
use crate::domain::{ErrorCode, Fault};

use self::clients::Place;
use self::edit::{Edit, Entry};

use super::args::Install;
use super::exit::{Ending, Exit};
use super::start::Desk;
use super::text::printable;

/// The longest name that clients take, with room for the names of tools behind it.
const LONGEST_NAME: usize = 32;

pub(super) fn run(args: &Install, home: Option<&Path>, desk: &Desk) -> Ending {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if args.name.is_empty() || args.name.len() > LONGEST_NAME || !args.name.bytes().all(plain) {
        return Err(Fault::new(ErrorCode::ConfigInvalid, format!("`{}` is no name for a server", printable(&args.name)))
            .hint(format!("up to {LONGEST_NAME} letters, digits, `_` and `-`"))
            .into());
    }
    let place = clients::place(args.client, &desk.ambient)?;
    let entry = entry(home, desk)?;
    if args.print {
        desk.console.tell(&format!("into {}:\n", printable(&place.file.display().to_string())));
        desk.console.line(edit::snippet(&place, &args.name, &entry).trim_end())?;
        return Ok(Exit::Ok);
    }
    let done = if args.undo { undo(&place, &args.name)? } else { write(&place, &args.name, &entry)? };
    let shown = place.file.display().to_string();
    if args.json.json {
        desk.console.json(&serde_json::json!({
            "client": place.title, "file": shown, "changed": done.changed, "backup": done.backup, "entry": entry,
        }))?;
        return Ok(Exit::Ok);
    }
    desk.console.line(&format!("{} {}", if done.changed { "wrote  " } else { "kept   " }, printable(&shown)))?;
    if let Some(backup) = &done.backup {
        desk.console.line(&format!("backup  {}", printable(backup)))?;
    }
    if !args.undo {
        desk.console.tell(&format!("Start {} again, then ask it for its tools. `--undo` takes it out.\n", place.title));
    }
    Ok(Exit::Ok)
}

/// How the client starts this very program: by whole paths, as it may have neither our folder nor our `PATH`.
fn entry(home: Option<&Path>, desk: &Desk) -> Result<Entry, Fault> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            Fault::new(ErrorCode::ConfigInvalid, format!("`{}` is not text that settings can hold", path.display()))
                .hint("use another path")
        })
    };
    let program = own_program().map_err(|error| Fault::internal(format!("this program's own path is unknown: {error}")))?;
    let mut args = Vec::new();
    if let Some(home) = home {
        let whole = desk.ambient.platform.current_dir.as_deref().map_or_else(|| home.to_owned(), |here| here.join(home));
        args.extend(["--home".to_owned(), text(&whole)?]);
    }
    args.push("serve".to_owned());
    Ok(Entry { command: text(&program)?, args })
}

/// What was done to a file.
struct Done {
    changed: bool,
    /// What was there before.
    backup: Option<String>,
}

fn write(place: &Place, name: &str, entry: &Entry) -> Result<Done, Fault> {
    let before = file::read(&place.file)?;
    let after = match edit::add(place, before.as_deref().unwrap_or_default(), name, entry)? {
        Edit::Nothing => return Ok(Done { changed: false, backup: None }),
        Edit::Text(text) => text,
    };
    let backup = before.map(|text| file::back_up(&place.file, &text)).transpose()?;
    file::write(&place.file, &after)?;
    Ok(Done { changed: true, backup })
}

fn undo(place: &Place, name: &str) -> Result<Done, Fault> {
    let Some(now) = file::read(&place.file)? else { return Ok(Done { changed: false, backup: None }) };
    let Edit::Text(without) = edit::remove(place, &now, name)? else { return Ok(Done { changed: false, backup: None }) };
    // What was laid out otherwise before and says the same comes back as it was.
    match file::backed_up(&place.file)? {
        Some(before) if edit::says_the_same(place, &before, &without) => {
            file::write(&place.file, &before)?;
            file::forget_backup(&place.file)?;
        }
        Some(_) => file::write(&place.file, &without)?,
        None if edit::is_empty(place, &without) => file::remove(&place.file)?,
        None => file::write(&place.file, &without)?,
    }
    Ok(Done { changed: true, backup: None })
}
