//! Settings files of others: read whole, replaced whole, and kept beside as they were.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::domain::{ErrorCode, Fault};

/// What is added to a file's name for what it was before.
const BEFORE: &str = ".before-toolgate";

/// No settings are larger.
const LARGEST: u64 = 16 << 20;

fn failed(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::new(ErrorCode::ConfigInvalid, format!("`{}` cannot be {what}: {error}", path.display()))
        .hint("mend the rights, or use `--print`")
}

/// The file behind links, which stay what they are.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BEFORE);
    name.into()
}

/// The text of a file; `None` where it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, Fault> {
    match fs::metadata(path) {
        Ok(about) if about.len() > LARGEST => {
            return Err(failed("read", path, &io::Error::other("it is larger than settings are")));
        }
        _ => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Replaces the file as a whole, with the rights it had.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Fault> {
    let path = real(path);
    let written = || -> io::Result<()> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let done = replace(&temporary, &path, text);
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    };
    written().map_err(|error| failed("written", &path, &error))
}

fn replace(temporary: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Settings of other servers may hold tokens.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temporary)?;
    file.write_all(text.as_bytes())?;
    if let Ok(about) = fs::metadata(path) {
        file.set_permissions(about.permissions())?;
    }
    file.sync_all()?;
    fs::rename(temporary, path)
}

/// Keeps what the file was before toolgate first changed it; where that is.
pub(super) fn back_up(path: &Path, text: &str) -> Result<String, Fault> {
    let kept = beside(&real(path));
    if !kept.exists() {
        write(&kept, text)?;
        if let Ok(about) = fs::metadata(path) {
            fs::set_permissions(&kept, about.permissions()).map_err(|error| failed("written", &kept, &error))?;
        }
    }
    Ok(kept.display().to_string())
}

/// What was kept.
pub(super) fn backed_up(path: &Path) -> Result<Option<String>, Fault> {
    read(&beside(&real(path)))
}

/// Takes away what was kept, once it is back in its place.
pub(super) fn forget_backup(path: &Path) -> Result<(), Fault> {
    remove(&beside(&real(path)))
}

/// Takes a file away.
pub(super) fn remove(path: &Path) -> Result<(), Fault> {
    fs::remove_file(path).map_err(|error| failed("removed", path, &error))
}
