//! What a document is called in calls: its drive, a slash, and its id there.
//!
//! INVARIANT: an id is only taken apart here. What stands behind the drive's name is the drive's to check.

use crate::domain::{ErrorCode, Fault};

/// The longest id behind the drive's name, in bytes.
const LONGEST: usize = 1_100;

/// Drive and id.
pub(super) fn split(text: &str) -> Result<(&str, &str), Fault> {
    let wrong = |why: &str| {
        Fault::new(ErrorCode::InvalidInput, format!("`{}` is not the id of a document: {why}", crate::confine::shown(text)))
            .hint("take `id` as drive.search gave it, such as `local/notes.md`")
    };
    let (drive, id) = text.split_once('/').ok_or_else(|| wrong("it does not name a drive"))?;
    if id.is_empty() || id.len() > LONGEST || id.contains(char::is_control) {
        return Err(wrong("what stands behind the drive's name cannot be one"));
    }
    Ok((drive, id))
}

/// As calls have it.
pub(super) fn join(drive: &str, id: &str) -> String {
    format!("{drive}/{id}")
}
