//! Which paths the index and a commit hold.
//!
//! INVARIANT: a path that is not a plain [`RelPath`], or that git would trust, is never handed on. Changes nothing.

use std::collections::BTreeMap;

use git2::{Index, ObjectType, Oid, Tree, TreeWalkMode, TreeWalkResult};

use crate::confine::{RelPath, shown};
use crate::domain::{Digest, ErrorCode, Fault};

use super::open::failed;

/// A plain file's mode.
pub(super) const PLAIN: u32 = 0o100_644;
/// An executable's mode.
pub(super) const EXECUTABLE: u32 = 0o100_755;

/// Files by path: mode and content.
pub(super) type Files = BTreeMap<RelPath, (u32, Oid)>;

/// What the index holds.
///
/// # Errors
/// `GIT_REPOSITORY` where it holds a path that is not allowed or an unresolved conflict.
pub(super) fn of_index(index: &Index) -> Result<Files, Fault> {
    if index.has_conflicts() {
        return Err(Fault::new(ErrorCode::GitRepository, "the index holds unresolved conflicts"));
    }
    index.iter().map(|entry| Ok((checked(&entry.path)?, (entry.mode, entry.id)))).collect()
}

/// What a commit's tree holds.
///
/// # Errors
/// `GIT_REPOSITORY` where it holds a path that is not allowed.
pub(super) fn of_commit(tree: &Tree<'_>) -> Result<Files, Fault> {
    let (mut files, mut refused) = (Files::new(), None);
    let walked = tree.walk(TreeWalkMode::PreOrder, |above, entry| {
        if entry.kind() == Some(ObjectType::Tree) {
            return TreeWalkResult::Ok;
        }
        let whole = [above.as_bytes(), entry.name_bytes()].concat();
        match checked(&whole) {
            Ok(path) => {
                files.insert(path, (entry.filemode().cast_unsigned(), entry.id()));
                TreeWalkResult::Ok
            }
            Err(fault) => {
                refused = Some(fault);
                TreeWalkResult::Abort
            }
        }
    });
    match (refused, walked) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) => Err(failed("read")(error)),
        (None, Ok(())) => Ok(files),
    }
}

/// One digest over all that the index holds.
pub(super) fn digest(files: &Files) -> Digest {
    let parts: Vec<Vec<u8>> = files
        .iter()
        .flat_map(|(path, (mode, id))| [path.as_str().as_bytes().to_vec(), mode.to_be_bytes().to_vec(), id.as_bytes().to_vec()])
        .collect();
    Digest::of_parts("toolgate/git-index/v1", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A mode from Unix permission bits.
pub(super) fn mode(bits: u32) -> u32 {
    if bits & 0o100 == 0 { PLAIN } else { EXECUTABLE }
}

fn checked(bytes: &[u8]) -> Result<RelPath, Fault> {
    let text = String::from_utf8_lossy(bytes);
    match std::str::from_utf8(bytes).ok().and_then(|text| RelPath::parse(text).ok()) {
        Some(path) if !path.touches_git() => Ok(path),
        _ => Err(Fault::new(ErrorCode::GitRepository, format!("the repository holds the path `{}`, which is not allowed", shown(&text)))),
    }
}
