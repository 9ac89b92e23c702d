//! Puts a file into the local drive, and keeps what stood there.
//!
//! INVARIANT: the old bytes are on the disk under [`super::VERSIONS`] before the new ones take their place. The same bytes change nothing.

use crate::confine::{Folder, Kind, RelPath};
use crate::domain::{Bytes, Digest, ErrorCode, Fault, Timestamp};
use crate::tools::drive::Kept;

use super::VERSIONS;

/// Bytes of a file that may be replaced: it is copied first.
const MOST_KEPT: Bytes = Bytes(256 << 20);

/// What came of it.
pub(super) struct Put {
    pub(super) previous: Option<Kept>,
    pub(super) unchanged: bool,
}

/// What stands there.
pub(super) fn current(folder: &Folder, path: &RelPath) -> Result<Option<Vec<u8>>, Fault> {
    match folder.kind(path)? {
        Some(Kind::File) => folder.read(path, MOST_KEPT).map(Some).map_err(|fault| {
            if fault.code != ErrorCode::LimitExceeded {
                return fault;
            }
            fault.hint("so large a file is not replaced, as its old content could not be kept; use another name")
        }),
        None => Ok(None),
        Some(Kind::Folder | Kind::Link | Kind::HardLink | Kind::Special) => folder.check_writable(path).map(|()| None),
    }
}

pub(super) fn put(folder: &Folder, path: &RelPath, bytes: &[u8], now: Timestamp) -> Result<Put, Fault> {
    let previous = match current(folder, path)? {
        Some(old) if old == bytes => return Ok(Put { previous: None, unchanged: true }),
        Some(old) => {
            let sha256 = Digest::of(&old);
            let name = format!("{}-{}", now.to_string().replace([':', '-'], ""), sha256.short());
            let kept = RelPath::parse(&format!("{VERSIONS}/{path}/{name}"))?;
            folder.write_durably(&kept, &old, false)?;
            Some(Kept { id: kept.as_str().to_owned(), size: old.len() as u64, sha256 })
        }
        None => None,
    };
    folder.write_durably(path, bytes, false)?;
    Ok(Put { previous, unchanged: false })
}
