//! Files that keeping house writes: whole or not at all, on disk when said so, for their owner alone.
//!
//! INVARIANT: follows no link, and never writes over what is not a plain file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::domain::{ErrorCode, Fault};

/// The fault of a failure while doing `what`.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Fault {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if full { ErrorCode::StorageFull } else { ErrorCode::StoreFailed };
    Fault::new(code, format!("{what} `{}` failed: {error}", path.display())).hint("look at free space and permissions there")
}

/// Makes a folder, and those above it, for its owner alone.
pub(super) fn make_folder(path: &Path) -> Result<(), Fault> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| failed("making the folder", path, &error))
}

/// Writes a whole file by a temporary one and a rename.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let temporary = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut file = create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    written().inspect_err(|_| drop(std::fs::remove_file(&temporary))).map_err(|error| failed("writing", path, &error))
}

/// A new or emptied file for its owner alone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path)
}

/// Makes a new entry of a folder last.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// A text file of at most so many bytes.
pub(super) fn read_text(path: &Path, most: usize) -> Result<String, Fault> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| failed("reading", path, &error))?;
    if text.len() > most {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("`{}` is larger than {most} bytes", path.display())));
    }
    Ok(text)
}
