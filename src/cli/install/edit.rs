//! Putting an entry into the text of a settings file and taking it out. Pure.
//!
//! INVARIANT: read as data, what comes out is what went in but for the one entry; where that cannot be had nothing is changed.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::{ErrorCode, Fault};

use super::clients::{Form, Place};

/// How a client starts the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// A whole path.
    pub(super) command: String,
    pub(super) args: Vec<String>,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// It is as it should be.
    Nothing,
    Text(String),
}

/// How long Codex waits for an answer: longer than any call of ours takes before it hands out a handle, or ends.
const CODEX_SECONDS: u32 = 120;

/// The table of servers in TOML.
pub(super) const TABLE: &str = "mcp_servers";

/// What a person would write by hand.
pub(super) fn snippet(place: &Place, name: &str, entry: &Entry) -> String {
    match place.form {
        Form::Json { servers, typed } => pretty(&json!({ servers: { name: in_json(entry, typed) } }), "  "),
        Form::Toml => in_toml(name, entry),
    }
}

/// The text with this entry in it.
///
/// # Errors
/// `CONFIG_INVALID` where the text cannot be read, or has something else of that name.
pub(super) fn add(place: &Place, text: &str, name: &str, entry: &Entry) -> Result<Edit, Fault> {
    match place.form {
        Form::Json { servers, typed } => {
            let mut root = read_json(place, text)?;
            let entry = in_json(entry, typed);
            let there = root.entry(servers).or_insert_with(|| json!({}));
            let there = there.as_object_mut().ok_or_else(|| unreadable(place, &format!("`{servers}` is not an object")))?;
            match there.get(name) {
                Some(old) if *old == entry => return Ok(Edit::Nothing),
                Some(old) if !is_ours(old.get("command").and_then(Value::as_str)) => return Err(taken(place, name)),
                _ => {}
            }
            there.insert(name.to_owned(), entry);
            Ok(Edit::Text(pretty(&Value::Object(root), indent(text))))
        }
        Form::Toml => {
            let root = read_toml(place, text)?;
            let added = in_toml(name, entry);
            let wanted = one(&read_toml(place, &added)?, name).cloned();
            let old = one(&root, name);
            if old.is_some() && old == wanted.as_ref() {
                return Ok(Edit::Nothing);
            }
            if old.is_some_and(|old| !is_ours(old.get("command").and_then(toml::Value::as_str))) {
                return Err(taken(place, name));
            }
            let without = if old.is_some() { without_section(text, name) } else { text.to_owned() };
            let gap = if without.trim().is_empty() { "" } else { "\n" };
            let whole = format!("{}{gap}{added}", ended(&without));
            checked_toml(place, &root, name, wanted, whole)
        }
    }
}

/// The text without the entry of this name.
///
/// # Errors
/// `CONFIG_INVALID` where the text cannot be read, or the entry is not ours.
pub(super) fn remove(place: &Place, text: &str, name: &str) -> Result<Edit, Fault> {
    match place.form {
        Form::Json { servers, .. } => {
            let mut root = read_json(place, text)?;
            let Some(Value::Object(there)) = root.get_mut(servers) else { return Ok(Edit::Nothing) };
            match there.get(name) {
                None => return Ok(Edit::Nothing),
                Some(old) if !is_ours(old.get("command").and_then(Value::as_str)) => return Err(taken(place, name)),
                Some(_) => {}
            }
            // Removal as such would change the others' order.
            *there = std::mem::take(there).into_iter().filter(|(other, _)| other != name).collect();
            Ok(Edit::Text(pretty(&Value::Object(root), indent(text))))
        }
        Form::Toml => {
            let root = read_toml(place, text)?;
            match one(&root, name) {
                None => Ok(Edit::Nothing),
                Some(old) if !is_ours(old.get("command").and_then(toml::Value::as_str)) => Err(taken(place, name)),
                Some(_) => checked_toml(place, &root, name, None, ended(without_section(text, name).trim_end())),
            }
        }
    }
}

/// Whether two texts hold the same data; an empty table of servers counts as none.
pub(super) fn says_the_same(place: &Place, one: &str, other: &str) -> bool {
    match place.form {
        Form::Json { servers, .. } => {
            let data = |text| {
                let mut root = read_json(place, text).ok()?;
                if root.get(servers).is_some_and(|there| *there == json!({})) {
                    root = root.into_iter().filter(|(key, _)| key != servers).collect();
                }
                Some(root)
            };
            data(one).is_some_and(|read| Some(read) == data(other))
        }
        Form::Toml => read_toml(place, one).is_ok_and(|read| read_toml(place, other).is_ok_and(|other| other == read)),
    }
}

/// Whether nothing is left but an empty table of servers.
pub(super) fn is_empty(place: &Place, text: &str) -> bool {
    says_the_same(place, text, if place.form == Form::Toml { "" } else { "{}" })
}

fn in_json(entry: &Entry, typed: bool) -> Value {
    let mut members = Map::new();
    if typed {
        members.insert("type".to_owned(), "stdio".into());
    }
    members.insert("command".to_owned(), entry.command.clone().into());
    members.insert("args".to_owned(), entry.args.clone().into());
    Value::Object(members)
}

fn in_toml(name: &str, entry: &Entry) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let args: Vec<String> = entry.args.iter().map(|arg| text(arg)).collect();
    format!("[{TABLE}.{name}]\ncommand = {}\nargs = [{}]\ntool_timeout_sec = {CODEX_SECONDS}\n", text(&entry.command), args.join(", "))
}

/// Whether an entry starts a toolgate; another program of that name is not to be lost.
pub(super) fn is_ours(command: Option<&str>) -> bool {
    let last = command.and_then(|command| command.rsplit(['/', '\\']).next()).unwrap_or_default();
    last == "toolgate" || last == "toolgate.exe"
}

fn taken(place: &Place, name: &str) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{}` has another server of the name `{name}`", place.file.display()))
        .hint("choose another by `--name`")
}

fn unreadable(place: &Place, why: &str) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{}`: {why}; it was not changed", place.file.display()))
        .hint("mend it, or write by hand what `--print` shows")
}

pub(super) fn read_json(place: &Place, text: &str) -> Result<Map<String, Value>, Fault> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(bare).map_err(|error| unreadable(place, &format!("not plain JSON: {error}")))?;
    let Value::Object(root) = value else { return Err(unreadable(place, "not a JSON object")) };
    Ok(root)
}

pub(super) fn read_toml(place: &Place, text: &str) -> Result<toml::Table, Fault> {
    text.parse().map_err(|error: toml::de::Error| unreadable(place, &format!("not TOML: {}", error.message())))
}

fn one<'t>(root: &'t toml::Table, name: &str) -> Option<&'t toml::Value> {
    root.get(TABLE)?.get(name)
}

/// The text, if it says what was there with this entry in place of the old one, and nothing else.
fn checked_toml(place: &Place, before: &toml::Table, name: &str, entry: Option<toml::Value>, whole: String) -> Result<Edit, Fault> {
    let others = |mut root: toml::Table| {
        if let Some(toml::Value::Table(there)) = root.get_mut(TABLE) {
            there.remove(name);
            if there.is_empty() {
                root.remove(TABLE);
            }
        }
        root
    };
    let after = read_toml(place, &whole);
    match after {
        Ok(after) if one(&after, name) == entry.as_ref() && others(after.clone()) == others(before.clone()) => Ok(Edit::Text(whole)),
        _ => Err(unreadable(place, "its servers are not written as sections that can be changed one by one")),
    }
}

/// The lines without the section of this server and those below it.
fn without_section(text: &str, name: &str) -> String {
    let (head, below) = (format!("[{TABLE}.{name}]"), format!("[{TABLE}.{name}."));
    let mut inside = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with('[') {
            inside = bare.starts_with(&head) || bare.starts_with(&below);
        }
        if !inside {
            kept.push_str(line);
        }
    }
    kept
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// What the file's lines are indented by; two spaces where it has none.
fn indent(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    line.and_then(|line| line.split(|c: char| c != ' ' && c != '\t').next()).filter(|indent| indent.len() <= 8).unwrap_or("  ")
}

fn pretty(value: &Value, indent: &str) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A value of text and numbers is always written.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}
