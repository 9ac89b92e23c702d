//! Looks through an environment: what may lie in it, and what it is told by later.
//!
//! INVARIANT: an environment has plain files and folders that everybody may read and only their owner may write, and no links but those of
//! its Python. The contents of files are not read again: the hashes of the wheels they came from were checked when they were unpacked.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::domain::Digest;

/// Most files and folders.
const MAX_ENTRIES: usize = 200_000;
/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 64;

/// What an environment is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Of every path with its kind, rights and size.
    pub(super) tree: Digest,
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Programs that the packages brought, sorted.
    pub(super) bin: Vec<String>,
}

/// Looks through `folder`, whose Python is a link to `exe`.
///
/// # Errors
/// What must not be in it, or cannot be read.
pub(super) fn look(folder: &Path, exe: &Path) -> Result<Look, String> {
    let mut walk = Walk { exe, lines: Vec::new(), bytes: 0, bin: Vec::new() };
    walk.folder(folder, "", 0)?;
    walk.lines.sort();
    walk.bin.sort();
    if !walk.lines.iter().any(|line| line.starts_with("bin/python\0link\0")) {
        return Err("it has no `bin/python`".into());
    }
    let parts: Vec<&[u8]> = walk.lines.iter().map(String::as_bytes).collect();
    Ok(Look { tree: Digest::of_parts("toolgate environment tree", &parts), bytes: walk.bytes, bin: walk.bin })
}

struct Walk<'a> {
    exe: &'a Path,
    lines: Vec<String>,
    bytes: u64,
    bin: Vec<String>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), String> {
        let told = |error: std::io::Error| format!("`{}` cannot be read: {error}", shown(prefix));
        for entry in fs::read_dir(folder).map_err(told)? {
            let entry = entry.map_err(told)?;
            let name = entry.file_name().into_string().map_err(|_| "a name in it is not UTF-8".to_owned())?;
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let found = entry.metadata().map_err(told)?; // of a link itself
            if self.lines.len() >= MAX_ENTRIES || depth > MAX_DEPTH {
                return Err("it has too many files".into());
            }
            let mode = found.permissions().mode() & 0o7777;
            if found.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(told)?;
                if !self.may_link(&path, &target) {
                    return Err(format!("`{}` is a link", shown(&path)));
                }
                self.lines.push(format!("{path}\0link\0{}", target.display()));
            } else if found.is_dir() {
                if mode != 0o755 {
                    return Err(format!("`{}` has the rights {mode:o}", shown(&path)));
                }
                self.lines.push(format!("{path}\0folder"));
                self.folder(&entry.path(), &path, depth + 1)?;
            } else if found.is_file() && matches!(mode, 0o644 | 0o755) && found.nlink() == 1 {
                self.lines.push(format!("{path}\0{mode:o}\0{}", found.len()));
                self.bytes = self.bytes.saturating_add(found.blocks().saturating_mul(512));
                if prefix == "bin" && !of_python(&name) {
                    self.bin.push(name);
                }
            } else {
                return Err(format!("`{}` is not a plain file, or has the rights {mode:o}", shown(&path)));
            }
        }
        Ok(())
    }

    /// `bin/python` is the machine's; its other names lead to it; `lib64` is the same as `lib`.
    fn may_link(&self, path: &str, target: &Path) -> bool {
        let name = path.strip_prefix("bin/").filter(|name| name.starts_with("python") && !name.contains('/'));
        let sibling = target.to_str().is_some_and(|target| target.starts_with("python") && !target.contains('/'));
        match name {
            Some(_) => target == self.exe || sibling,
            None => path == "lib64" && target == Path::new("lib"),
        }
    }
}

/// Whether a file of `bin` is one that every environment has.
fn of_python(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("activate") || name.starts_with("deactivate") || name == "pydoc.bat"
}

fn shown(path: &str) -> String {
    crate::packages::files::printable(path)
}
