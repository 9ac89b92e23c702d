//! `RECORD`, a wheel's list of its files with their hashes: checked when a wheel comes in, written anew when its files have been moved.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::files::{Files, printable};

/// Ends of the files that a RECORD cannot hash: itself and its signatures.
const UNHASHED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];

/// Checks every file that `folder`'s RECORD (a `.dist-info` folder) lists, and gives the paths listed.
///
/// # Errors
/// What does not fit.
pub(super) fn check(files: &Files, folder: &str) -> Result<BTreeSet<String>, String> {
    let path = format!("{folder}/RECORD");
    let text = files.get(&path).ok_or_else(|| format!("it has no `{path}`"))?;
    let text = std::str::from_utf8(text).map_err(|_| format!("`{path}` is not UTF-8"))?;
    let mut listed = BTreeMap::new();
    for row in text.lines().filter(|line| !line.is_empty()) {
        let [name, hash, size] = fields(row).ok_or_else(|| format!("`{path}` has a line that is not `path,hash,size`"))?;
        let shown = printable(&name);
        let bytes = files.get(&name).ok_or_else(|| format!("`{shown}` is listed but not there"))?;
        let free = UNHASHED.iter().any(|end| name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) == Some(end));
        if !(free && hash.is_empty()) {
            if hash != hash_of(bytes) {
                return Err(format!("`{shown}` does not have the SHA-256 it is listed with"));
            }
            if size != bytes.len().to_string() {
                return Err(format!("`{shown}` does not have the size it is listed with"));
            }
        }
        if listed.insert(name, ()).is_some() {
            return Err(format!("`{shown}` is listed twice"));
        }
    }
    for end in UNHASHED {
        listed.insert(format!("{folder}/{end}"), ());
    }
    Ok(listed.into_keys().filter(|name| files.contains_key(name)).collect())
}

/// Refuses files that no RECORD lists.
///
/// # Errors
/// The first of them.
pub(super) fn none_unlisted(files: &Files, listed: &BTreeSet<String>) -> Result<(), String> {
    match files.keys().find(|path| !listed.contains(*path)) {
        Some(path) => Err(format!("`{}` is there but not listed", printable(path))),
        None => Ok(()),
    }
}

/// Puts a RECORD of these paths into `folder`.
pub(super) fn write(files: &mut Files, folder: &str, paths: &BTreeSet<String>) {
    let own = format!("{folder}/RECORD");
    let mut text = String::new();
    for path in paths.iter().filter(|path| **path != own) {
        if let Some(bytes) = files.get(path) {
            let size = bytes.len();
            text.push_str(&format!("{},{},{size}\n", quoted(path), hash_of(bytes)));
        }
    }
    text.push_str(&format!("{},,\n", quoted(&own)));
    files.insert(own, text.into_bytes());
}

fn hash_of(bytes: &[u8]) -> String {
    format!("sha256={}", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)))
}

fn quoted(path: &str) -> String {
    if path.contains([',', '"']) { format!("\"{}\"", path.replace('"', "\"\"")) } else { path.to_owned() }
}

/// The three fields of a line, the first of which may stand in quotes.
fn fields(row: &str) -> Option<[String; 3]> {
    let (name, rest) = match row.strip_prefix('"') {
        None => row.split_once(',').map(|(name, rest)| (name.to_owned(), rest))?,
        Some(mut rest) => {
            let mut name = String::new();
            loop {
                let (part, after) = rest.split_once('"')?;
                name.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        rest = more;
                    }
                    None => break (name, after.strip_prefix(',')?),
                }
            }
        }
    };
    let (hash, size) = rest.split_once(',')?;
    (!size.contains(',')).then(|| [name, hash.to_owned(), size.to_owned()])
}
