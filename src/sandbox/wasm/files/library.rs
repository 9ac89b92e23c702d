//! The standard library as a tree, laid out once.

use crate::domain::Fault;

use super::node::{File, Folder};
use super::tree::{Library, lay};

/// Lays out what the executable carries.
///
/// # Errors
/// Where the executable is damaged.
pub(in crate::sandbox::wasm) fn library() -> Result<Library, Fault> {
    let root = Folder::fixed();
    for (path, bytes) in toolgate_python_runtime::library() {
        lay(&root, path, File::embedded(bytes))?;
    }
    Ok(Library(root))
}
