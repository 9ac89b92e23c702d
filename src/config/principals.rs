//! `[principals.NAME]`: what the settings file says of those who ask.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Problem;

use super::SettingsFile;
use super::file::FileValue;

/// Roles by principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principals {
    /// Names of those who ask, each with its roles.
    pub roles: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn read(file: Option<&SettingsFile>, problems: &mut Vec<Problem>) -> Principals {
    let mut roles = BTreeMap::new();
    let Some(file) = file else { return Principals::default() };
    for (name, keys) in &file.principals {
        let mut wrong = |line: u64, message: &str| {
            let message = format!("`principals.{}.roles` {message}", name.escape_debug());
            problems.push(Problem::new(file.path.display().to_string(), message).at(Some(line)));
        };
        match keys.get("roles") {
            Some((FileValue::List(words), line)) => match words.iter().find(|word| !is_role(word)) {
                Some(bad) => wrong(*line, &format!("has `{}`: a role is lower case letters, digits, `-` and `_`", bad.escape_debug())),
                None => drop(roles.insert(name.clone(), words.iter().cloned().collect())),
            },
            Some((FileValue::Text(_) | FileValue::Integer(_) | FileValue::Other(_), line)) => wrong(*line, "must be a list of texts"),
            None => {}
        }
    }
    Principals { roles }
}

fn is_role(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}
