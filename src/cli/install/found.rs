//! The entries that lead to toolgate in the clients' settings. Reads, changes nothing, and starts nothing.
//!
//! INVARIANT: an entry is read as its client reads it; what only the client can know (a value that it asks for) is said to be unknown, never
//! guessed.

use std::path::PathBuf;

use clap::ValueEnum as _;
use serde_json::{Map, Value};

use crate::cli::args::Client;
use crate::config::Ambient;
use crate::domain::Fault;

use super::clients::{Form, Place, candidates};
use super::edit::{TABLE, is_ours, read_json, read_toml};
use super::file;

/// An entry, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Found {
    /// The client, with its edition, and the project if the entry is of one.
    pub(in crate::cli) client: String,
    /// What `install` calls the client.
    pub(in crate::cli) word: String,
    pub(in crate::cli) file: PathBuf,
    /// The server's name in the client.
    pub(in crate::cli) name: String,
    pub(in crate::cli) entry: Led,
}

/// Where an entry leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Led {
    /// It starts this, with these variables besides the client's own.
    Starts { command: String, arguments: Vec<String>, variables: Vec<(String, String)> },
    /// It goes to this address with these headers.
    Reaches { url: String, headers: Vec<(String, String)> },
    /// It has our name and starts something else.
    Other { command: String },
    /// It cannot be followed from here, and why.
    Unknown { why: String },
}

/// What was found in all files of all clients: the entries, and what is wrong with a file.
pub(in crate::cli) fn everywhere(ambient: &Ambient) -> (Vec<Found>, Vec<(String, Fault)>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    if ambient.platform.user_home.is_none() {
        // A service has no clients of its own.
        return (found, wrong);
    }
    for client in Client::value_variants() {
        let word = client.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let places = match candidates(*client, ambient) {
            Ok(places) => places,
            Err(fault) => {
                wrong.push((word, fault));
                continue;
            }
        };
        for place in places {
            match file::read(&place.file).and_then(|text| entries(&place, text.as_deref().unwrap_or_default(), ambient)) {
                Ok(entries) => found.extend(entries.into_iter().map(|(client, name, entry)| Found {
                    client,
                    word: word.clone(),
                    file: place.file.clone(),
                    name,
                    entry,
                })),
                Err(fault) => wrong.push((place.title.to_owned(), fault)),
            }
        }
    }
    (found, wrong)
}

/// The entries of one file: client, name, and where it leads.
pub(super) fn entries(place: &Place, text: &str, ambient: &Ambient) -> Result<Vec<(String, String, Led)>, Fault> {
    let mut lists: Vec<(String, Map<String, Value>)> = Vec::new();
    match place.form {
        Form::Json { servers, .. } => {
            let root = match read_json(place, text) {
                Ok(root) => root,
                // A file of others that has nothing of ours is theirs to mend.
                Err(_) if !text.contains("toolgate") => return Ok(Vec::new()),
                Err(fault) => return Err(fault),
            };
            let list = |value: &Value| value.get(servers).and_then(Value::as_object).cloned().unwrap_or_default();
            // Claude Code keeps what is for one project in the user's file too.
            for (project, inside) in root.get("projects").and_then(Value::as_object).into_iter().flatten() {
                lists.push((format!("{} in {project}", place.title), list(inside)));
            }
            lists.insert(0, (place.title.to_owned(), list(&Value::Object(root))));
        }
        Form::Toml => match read_toml(place, text) {
            Ok(root) => {
                let list = root.get(TABLE).and_then(|table| serde_json::to_value(table).ok());
                let list = list.and_then(|list| list.as_object().cloned()).unwrap_or_default();
                lists.push((place.title.to_owned(), list));
            }
            Err(_) if !text.contains("toolgate") => return Ok(Vec::new()),
            Err(fault) => return Err(fault),
        },
    }
    let entries = lists.into_iter().flat_map(|(title, list)| {
        list.into_iter().filter_map(move |(name, entry)| {
            let led = led(&name, &entry, ambient)?;
            Some((title.clone(), name, led))
        })
    });
    Ok(entries.collect())
}

/// Where this entry leads, if it is one of ours.
fn led(name: &str, entry: &Value, ambient: &Ambient) -> Option<Led> {
    let named = name.contains("toolgate");
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let filled = |text: &str| filled(text, ambient);
    let pairs = |key: &str| -> Result<Vec<(String, String)>, String> {
        let pairs = entry.get(key).and_then(Value::as_object).into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name, value.as_str()?))).map(|(name, value)| Ok((name.clone(), filled(value)?))).collect()
    };
    let unknown = |led: Result<Led, String>| led.unwrap_or_else(|why| Led::Unknown { why });
    if let Some(command) = text("command") {
        if !is_ours(Some(command)) {
            return named.then(|| Led::Other { command: command.to_owned() });
        }
        let arguments = entry.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        return Some(unknown((|| {
            Ok(Led::Starts {
                command: filled(command)?,
                arguments: arguments.map(filled).collect::<Result<_, _>>()?,
                variables: pairs("env")?,
            })
        })()));
    }
    let url = ["url", "httpUrl", "serverUrl"].into_iter().find_map(text).filter(|_| named)?;
    Some(unknown((|| {
        let mut headers = pairs("headers")?;
        headers.extend(pairs("http_headers")?);
        let of_variable = |variable: &str| {
            let value = ambient.var(variable).and_then(std::ffi::OsStr::to_str);
            value.map(str::to_owned).ok_or_else(|| format!("the variable `{variable}`, which its client takes it from, is not set here"))
        };
        if let Some(variable) = text("bearer_token_env_var") {
            headers.push(("Authorization".to_owned(), format!("Bearer {}", of_variable(variable)?)));
        }
        for (header, variable) in pairs("env_http_headers")? {
            headers.push((header, of_variable(&variable)?));
        }
        Ok(Led::Reaches { url: filled(url)?, headers })
    })()))
}

/// The text with the variables that clients put in: `${NAME}`, `${env:NAME}`, `${NAME:-otherwise}`.
fn filled(text: &str, ambient: &Ambient) -> Result<String, String> {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((word, behind)) = after.split_once('}') else { break };
        let word = word.strip_prefix("env:").unwrap_or(word);
        let (name, otherwise) = word.split_once(":-").map_or((word, None), |(name, otherwise)| (name, Some(otherwise)));
        let value = ambient.var(name).and_then(std::ffi::OsStr::to_str).or(otherwise);
        whole.push_str(before);
        whole.push_str(value.ok_or_else(|| format!("`${{{word}}}` has a value in its client alone"))?);
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}
