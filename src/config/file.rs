//! The settings file: TOML into the values of known keys, each with its line.
//!
//! INVARIANT: collects everything that is wrong with the file's form and keys before it fails. Does not judge values: see `resolve`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::{Problem, Problems};

use super::keys::{self, KEYS};
use super::notify::CHANNEL_KEYS;
use super::resolve::Location;

/// No settings file is larger; one that is, is another file.
const LARGEST: usize = 1 << 20;

/// A value as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FileValue {
    Text(String),
    Integer(i64),
    List(Vec<String>),
    /// Of a kind no setting has, by its name.
    Other(&'static str),
}

/// A settings file whose keys are all known.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsFile {
    pub(super) path: PathBuf,
    /// Whether it was named, and so may say where the home is.
    pub(super) named: bool,
    pub(super) values: BTreeMap<&'static str, (FileValue, u64)>,
    /// What stands under `[principals.NAME]`, by name and key.
    pub(super) principals: Named,
    /// What stands under `[notify.channels.NAME]`.
    pub(super) channels: Named,
}

/// Tables whose names only their owners know: name → key → value with its line.
pub(super) type Named = BTreeMap<String, BTreeMap<String, (FileValue, u64)>>;

impl SettingsFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every place that is not TOML; else every key that is unknown.
    pub fn new(location: &Location, bytes: Vec<u8>) -> Result<Self, Problems> {
        let path = location.file.clone();
        let whole = |message: String| Problems::one(Problem::new(path.display().to_string(), message));
        if bytes.len() > LARGEST {
            return Err(whole(format!("has {} bytes, which is too large for settings", bytes.len())));
        }
        let text = String::from_utf8(bytes).map_err(|error| whole(format!("is not UTF-8 text: {error}")))?;
        let (values, principals, channels) = read(&path, &text)?;
        Ok(Self { path, named: location.named, values, principals, channels })
    }
}

/// Keys that are known beforehand, those of principals and those of channels.
type Values = (BTreeMap<&'static str, (FileValue, u64)>, Named, Named);

fn read(path: &Path, text: &str) -> Result<Values, Problems> {
    let file = path.display().to_string();
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = errors
        .iter()
        .map(|error| {
            Problem::new(file.clone(), format!("not TOML: {}", error.message())).at(error.span().map(|span| line_of(text, span.start)))
        })
        .collect();
    Problems::check(broken)?;

    let mut reader = Reader { file, text, values: BTreeMap::new(), principals: Named::new(), channels: Named::new(), problems: Vec::new() };
    reader.table("", table.get_ref());
    reader.problems.sort_by_key(|problem| problem.line);
    Problems::check(reader.problems)?;
    Ok((reader.values, reader.principals, reader.channels))
}

struct Reader<'a> {
    file: String,
    text: &'a str,
    values: BTreeMap<&'static str, (FileValue, u64)>,
    principals: Named,
    channels: Named,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = line_of(self.text, name.span().start);
            let path = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            if let (PRINCIPALS, Some(inner)) = (path.as_str(), value.get_ref().as_table()) {
                let principals = self.named(PRINCIPALS, &OF_PRINCIPAL, inner);
                self.principals.extend(principals);
            } else if let (CHANNELS, Some(inner)) = (path.as_str(), value.get_ref().as_table()) {
                let channels = self.named(CHANNELS, &CHANNEL_KEYS, inner);
                self.channels.extend(channels);
            } else if let Some(key) = keys::find(&path) {
                self.values.insert(key.path, (value_of(value), line));
            } else if let (true, Some(inner)) = (is_group(&path), value.get_ref().as_table()) {
                self.table(&path, inner);
            } else {
                let problem = Problem::new(self.file.clone(), format!("unknown key `{}`", path.escape_debug())).at(Some(line));
                let near = crate::domain::nearest(&path, KEYS.iter().map(|key| key.path));
                self.problems.push(match near {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint("`toolgate config show` lists the keys there are"),
                });
            }
        }
    }
}

/// The table of those who ask, each by a name that only its owner knows.
const PRINCIPALS: &str = "principals";
/// What can be said of one.
const OF_PRINCIPAL: [&str; 1] = ["roles"];
/// The table of the channels that messages leave by.
const CHANNELS: &str = "notify.channels";

impl Reader<'_> {
    /// A table of tables, each by a name that only its owner knows.
    fn named(&mut self, path: &str, known: &[&str], table: &DeTable<'_>) -> Named {
        let mut all = Named::new();
        for (name, value) in table {
            let line = line_of(self.text, name.span().start);
            let shown = name.get_ref().escape_debug().to_string();
            let Some(inner) = value.get_ref().as_table() else {
                self.problems.push(Problem::new(self.file.clone(), format!("`{path}.{shown}` must be a table")).at(Some(line)));
                continue;
            };
            let of = all.entry(name.get_ref().to_string()).or_default();
            for (key, value) in inner {
                let line = line_of(self.text, key.span().start);
                if known.contains(&key.get_ref().as_ref()) {
                    of.insert(key.get_ref().to_string(), (value_of(value), line));
                } else {
                    let message = format!("unknown key `{path}.{shown}.{}`", key.get_ref().escape_debug());
                    let hint = format!("known: {}", known.join(", "));
                    self.problems.push(Problem::new(self.file.clone(), message).at(Some(line)).hint(hint));
                }
            }
        }
        all
    }
}

fn is_group(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn value_of(value: &Spanned<DeValue<'_>>) -> FileValue {
    let value = value.get_ref();
    match value {
        DeValue::String(text) => FileValue::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
            Ok(number) => FileValue::Integer(number),
            Err(_) => FileValue::Other("a number that is too large"),
        },
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(FileValue::Other("a list that is not of strings"), FileValue::List)
        }
        DeValue::Float(_) => FileValue::Other("a number with decimals"),
        DeValue::Boolean(_) => FileValue::Other("true or false"),
        DeValue::Datetime(_) => FileValue::Other("a date"),
        DeValue::Table(_) => FileValue::Other("a table"),
    }
}

/// The line, from 1, of a place in the text.
fn line_of(text: &str, at: usize) -> u64 {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count() as u64
}
