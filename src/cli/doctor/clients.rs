//! Which clients have toolgate in their settings, and whether each entry leads to a server that answers.
//!
//! INVARIANT: only an entry whose program has toolgate's own name is started, as its client would start it: with the few variables that
//! clients hand on, and with nothing else changed. No token is shown.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::install::found::{Found, Led, everywhere};
use crate::cli::ports::{Check, Door, Met, Way};
use crate::cli::start::Desk;
use crate::config::Ambient;
use crate::domain::Fault;

/// What the clients' libraries hand on to a server of their environment.
const HANDED_ON: &[&str] = if cfg!(windows) {
    &[
        "APPDATA",
        "HOMEDRIVE",
        "HOMEPATH",
        "LOCALAPPDATA",
        "PATH",
        "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE",
        "SYSTEMROOT",
        "TEMP",
        "USERNAME",
        "USERPROFILE",
    ]
} else {
    &["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"]
};

/// The only tool of a server whose settings are wrong; one that works may list it among others.
const STATUS_TOOL: &str = "toolgate_status";

/// A check for each entry of ours, and for each file that cannot be read.
pub(super) async fn checks(desk: &Desk, door: &dyn Door) -> Vec<Check> {
    let (found, wrong) = everywhere(&desk.ambient);
    if found.is_empty() && wrong.is_empty() {
        let detail = "none has toolgate in its settings; `toolgate install CLIENT` writes it there".to_owned();
        return vec![Check { name: "clients".to_owned(), ok: true, detail, mend: None }];
    }
    let mut checks: Vec<Check> = wrong
        .into_iter()
        .map(|(client, fault)| Check { name: client, ok: false, detail: format!("{}: {}", fault.code, fault.message), mend: fault.hint })
        .collect();
    for found in &found {
        checks.push(check(found, desk, door).await);
    }
    checks
}

async fn check(found: &Found, desk: &Desk, door: &dyn Door) -> Check {
    let place = format!("`{}` in {}", found.name, found.file.display());
    let good = |what: &str| Check { name: found.client.clone(), ok: true, detail: format!("{what} ({place})"), mend: None };
    let bad = |what: &str, mend: &str| Check {
        name: found.client.clone(),
        ok: false,
        detail: format!("{what} ({place})"),
        mend: Some(mend.to_owned()),
    };
    let again = format!("`toolgate install {}` writes the entry anew", found.word);
    let way = match &found.entry {
        Led::Other { command } => return good(&format!("starts `{command}`, which is not toolgate itself: not tried")),
        Led::Unknown { why } => return good(&format!("not tried: {why}")),
        Led::Starts { command, arguments, variables } => match start(command, arguments, variables, &desk.ambient) {
            Ok(way) => way,
            Err(why) => return bad(&why, &again),
        },
        Led::Reaches { url, headers } => Way::Reach { url: url.clone(), headers: headers.clone() },
    };
    let shown = match &found.entry {
        Led::Starts { command, .. } => command.clone(),
        Led::Reaches { url, .. } => url.clone(),
        Led::Other { .. } | Led::Unknown { .. } => String::new(),
    };
    match door.meet(way).await {
        Ok(Met { tools, .. }) if matches!(tools.as_slice(), [only] if only == STATUS_TOOL) => bad(
            &format!("{shown} answers, but only to tell what is wrong with its settings"),
            "`toolgate doctor` with the home of that entry tells it too",
        ),
        Ok(met) => good(&format!("connects to {shown}: {}, {} tools, {} ms", met.server, met.tools.len(), met.took.0)),
        Err(Fault { code, message, hint, .. }) => bad(&format!("{shown}: {code}: {message}"), &hint.unwrap_or(again)),
    }
}

/// How the client starts it, or what is wrong with the entry before that.
fn start(command: &str, arguments: &[String], variables: &[(String, String)], ambient: &Ambient) -> Result<Way, String> {
    let program = PathBuf::from(command);
    if !program.is_absolute() {
        return Err(format!("`{command}` is no whole path: a client that was not started in a terminal does not find it"));
    }
    if !program.is_file() {
        return Err(format!("there is no `{command}`"));
    }
    let named = arguments.iter().position(|argument| argument == "--home").and_then(|at| arguments.get(at + 1));
    let named = named.map(String::as_str).or_else(|| arguments.iter().find_map(|argument| argument.strip_prefix("--home=")));
    let named = named.or_else(|| variables.iter().find(|(name, _)| name == "TOOLGATE_HOME").map(|(_, value)| value.as_str()));
    match named.map(Path::new) {
        Some(home) if !home.is_absolute() => {
            return Err(format!("its home `{}` is no whole path: it is another folder wherever the client was started", home.display()));
        }
        Some(home) if !home.is_dir() => return Err(format!("its home `{}` is not there", home.display())),
        _ => {}
    }
    let handed_on = HANDED_ON.iter().filter_map(|name| Some(((*name).to_owned(), ambient.var(name)?.to_owned())));
    let given = variables.iter().map(|(name, value)| (name.clone(), OsString::from(value)));
    Ok(Way::Start { program, arguments: arguments.to_vec(), environment: handed_on.chain(given).collect() })
}
