//! The keys of a git configuration file, read by our own hand.
//!
//! INVARIANT: what this does not understand is refused, so nothing that libgit2 might obey goes unseen. Obeys nothing.

use crate::confine::shown;
use crate::domain::{ErrorCode, Fault};

/// Keys that change nothing about which files are touched or which programs run.
const HARMLESS: &[&str] = &[
    "core.filemode",
    "core.ignorecase",
    "core.logallrefupdates",
    "core.precomposeunicode",
    "core.symlinks",
    "init.defaultbranch",
    "user.email",
    "user.name",
];

/// Checks a whole file.
///
/// # Errors
/// `GIT_CONFIG_UNTRUSTED`, naming the first key that is not allowed or the line that is not understood.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let mut section = None;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            section = Some(header(rest).ok_or_else(|| not_understood(n, line))?);
            continue;
        }
        let section = section.as_ref().ok_or_else(|| not_understood(n, line))?;
        let (name, value) = line.split_once('=').map_or((line, "true"), |(name, value)| (name.trim(), value.trim()));
        // A value that goes on in the next line, or hides in quotes, is more than we need to know.
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let user = section == "user";
        if !plain || value.ends_with('\\') || (!user && value.contains(['"', '\\', '#', ';'])) {
            return Err(not_understood(n, line));
        }
        allowed(&format!("{section}.{}", name.to_ascii_lowercase()), value)?;
    }
    Ok(())
}

/// The name in `[name]`; a subsection stays part of it, so that no such key is on the list.
fn header(rest: &str) -> Option<String> {
    let inner = rest.strip_suffix(']')?;
    let plain =
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ' ' | '"' | '/' | ':' | '_'));
    plain.then(|| inner.to_ascii_lowercase())
}

fn allowed(key: &str, value: &str) -> Result<(), Fault> {
    let fine = match key {
        "core.repositoryformatversion" => value == "0",
        "core.bare" => value.eq_ignore_ascii_case("false"),
        _ => HARMLESS.contains(&key),
    };
    if fine {
        return Ok(());
    }
    Err(untrusted(&format!("its configuration sets `{}` to `{}`", shown(key), shown(value))))
}

fn not_understood(n: usize, line: &str) -> Fault {
    untrusted(&format!("line {} of its configuration, `{}`, is not understood", n + 1, shown(line)))
}

/// The refusal, with what was found.
pub(super) fn untrusted(found: &str) -> Fault {
    Fault::new(ErrorCode::GitConfigUntrusted, format!("the repository cannot be trusted: {found}"))
        .hint("only repositories that `repo.git.init` made, with no settings of their own, are worked on; start a fresh one")
}
