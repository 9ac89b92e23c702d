//! Files on their way into a set: which paths may be, and how much of everything.
//!
//! INVARIANT: no admitted path leaves its folder on any system, no two admitted paths are the same file on a file system that folds case or
//! Unicode forms, and none is below another's file.

use std::collections::{BTreeMap, HashMap};

use unicode_normalization::UnicodeNormalization;

use crate::domain::{ErrorCode, Fault};

/// Files by their path below `site-packages`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Most entries of one wheel.
pub(super) const MAX_ENTRIES: usize = 5_000;
/// Most files of a set.
pub(super) const MAX_FILES: usize = 20_000;
/// Most bytes of one file.
pub(super) const MAX_FILE: usize = 16 << 20;
/// Most bytes of a set, inflated, without bytecode; also of a wheel as it is downloaded.
pub(super) const MAX_TOTAL: usize = 64 << 20;

const MAX_PATH: usize = 512;
const MAX_PART: usize = 255;

/// What is left of a set's files and bytes.
#[derive(Debug)]
pub(super) struct Budget {
    files: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { files: MAX_FILES, bytes: MAX_TOTAL }
    }
}

impl Budget {
    /// How many bytes the next file may have.
    pub(super) fn next_file(&self) -> usize {
        self.bytes.min(MAX_FILE)
    }

    /// Takes one file of `size` bytes.
    pub(super) fn take(&mut self, what: &str, size: usize) -> Result<(), Fault> {
        match (self.files.checked_sub(1), self.bytes.checked_sub(size)) {
            _ if size > MAX_FILE => Err(too_large(what)),
            (Some(files), Some(bytes)) => {
                (self.files, self.bytes) = (files, bytes);
                Ok(())
            }
            _ => Err(too_large(what)),
        }
    }
}

/// The fault of a file, or a set with it, that is over the limit.
pub(super) fn too_large(what: &str) -> Fault {
    let message = format!(
        "`{}` takes the packages over their limit: {} MiB a file, {} MiB and {MAX_FILES} files in all",
        printable(what),
        MAX_FILE >> 20,
        MAX_TOTAL >> 20
    );
    Fault::new(ErrorCode::LimitExceeded, message).hint("ask for fewer or smaller packages")
}

/// The fault of a wheel that fails a check.
pub(super) fn unfit(wheel: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::RequirementRefused, format!("wheel `{}` is not used: {why}", printable(wheel)))
        .hint("this wheel is damaged or does what an honest one does not; ask for another version or another package")
}

/// Text from outside, short and without control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(160).flat_map(char::escape_debug).collect()
}

/// Whether a file is machine code, by its name.
pub(super) fn is_native(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ends = [".so", ".pyd", ".dylib", ".a", ".dll", ".lib", ".o"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains(".so.")
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    File,
    Folder,
}

/// Admits paths one by one.
#[derive(Default)]
pub(super) struct Guard {
    seen: HashMap<String, (String, Kind)>,
}

impl Guard {
    /// Admits a file.
    ///
    /// # Errors
    /// The reason why not.
    pub(super) fn file(&mut self, path: &str) -> Result<(), String> {
        self.admit(path, Kind::File)
    }

    /// Admits a folder, which may have been met before.
    ///
    /// # Errors
    /// The reason why not.
    pub(super) fn folder(&mut self, path: &str) -> Result<(), String> {
        self.admit(path.strip_suffix('/').unwrap_or(path), Kind::Folder)
    }

    fn admit(&mut self, path: &str, kind: Kind) -> Result<(), String> {
        let shown = printable(path);
        if path.is_empty() || path.len() > MAX_PATH {
            return Err(format!("the path `{shown}` is empty or too long"));
        }
        if path.chars().any(|c| c.is_control() || matches!(c, '\\' | ':')) {
            return Err(format!("the path `{shown}` has a backslash, a colon or a control character"));
        }
        let (mut so_far, mut folded) = (String::new(), String::new());
        let count = path.split('/').count();
        for (place, part) in path.split('/').enumerate() {
            if matches!(part, "" | "." | "..") || part.len() > MAX_PART {
                return Err(format!("the path `{shown}` is absolute, leaves its folder or has an empty or too long part"));
            }
            if place > 0 {
                so_far.push('/');
                folded.push('/');
            }
            so_far.push_str(part);
            folded.push_str(&fold(part));
            let here = if place + 1 == count { kind } else { Kind::Folder };
            match self.seen.get(&folded) {
                None => {
                    self.seen.insert(folded.clone(), (so_far.clone(), here));
                }
                Some((earlier, Kind::Folder)) if here == Kind::Folder && *earlier == so_far => {}
                Some((earlier, _)) => {
                    return Err(format!("the path `{shown}` is the same as `{}` or lies below it", printable(earlier)));
                }
            }
        }
        Ok(())
    }
}

fn fold(part: &str) -> String {
    part.nfc().collect::<String>().to_lowercase().nfc().collect()
}
