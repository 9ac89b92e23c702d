//! The job's own folders, seen from the server by their descriptor: files are put in before the job starts, and taken out when no process
//! of it is left.
//!
//! INVARIANT: no link is ever followed: each folder is opened beneath the one above it by a single name. What is taken out is bounded in
//! number and bytes before it is read. Where the job is another user, the server touches its files as that user: only it has a name there,
//! and it has no right that the job has not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, Gid, Mode, OFlags, Uid, fstat, mkdirat, openat};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::domain::{ErrorCode, Fault};
use crate::sandbox::ProducedFile;

/// How deep folders may lie.
const DEPTH: usize = 64;

/// The file system that holds the job's folders.
pub(super) struct Folders(OwnedFd);

impl Folders {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Who the job is, on the machine.
    pub(super) fn owner(&self) -> std::io::Result<(u32, u32)> {
        let found = fstat(&self.0)?;
        Ok((found.st_uid, found.st_gid))
    }

    /// Gives folders of the machine to the job's user, where that is another than the server's.
    pub(super) fn give(&self, folders: &[PathBuf]) -> Result<(), Fault> {
        let (uid, gid) = self.owner().map_err(|error| failed("the job's folders", &error))?;
        if rustix::process::geteuid().as_raw() == uid {
            return Ok(());
        }
        for folder in folders {
            rustix::fs::chown(folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|error| failed(&folder.display().to_string(), &error.into()))?;
        }
        Ok(())
    }

    /// Whether no byte or no file more would have fitted.
    pub(super) fn is_full(&self) -> bool {
        rustix::fs::fstatfs(&self.0).is_ok_and(|found| found.f_bavail == 0 || found.f_ffree == 0)
    }

    /// Does something as the job's user, in a thread that ends with it. Waits; not for the runtime's own threads.
    pub(super) fn as_job<T: Send>(&self, work: impl FnOnce(&Self) -> T + Send) -> std::io::Result<T> {
        let (uid, gid) = self.owner()?;
        let is_other = rustix::process::geteuid().as_raw() != uid;
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("job-files".into()).spawn_scoped(scope, || {
                if is_other {
                    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                    set_thread_groups(&[])?;
                    set_thread_res_gid(gid, gid, gid)?;
                    set_thread_res_uid(uid, uid, uid)?;
                }
                Ok(work(self))
            })?;
            thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread fell over")))
        })
    }

    /// Puts files into one of the folders, which may name folders of their own.
    pub(super) fn put<'f>(&self, folder: &str, files: impl Iterator<Item = (&'f str, &'f [u8])>) -> Result<(), Fault> {
        let top = open_folder(self.0.as_fd(), folder).map_err(|error| failed(folder, &error.into()))?;
        for (path, bytes) in files {
            put_one(&top, path, bytes).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOSPC) => {
                    Fault::new(ErrorCode::LimitExceeded, "the files do not fit into the job's folder").hint("give fewer or smaller files")
                }
                _ => failed(path, &error),
            })?;
        }
        Ok(())
    }

    /// All regular files below one of the folders, sorted by path, at most `most` bytes of them; and whether something was left out.
    pub(super) fn take(&self, folder: &str, most: u64) -> std::io::Result<(Vec<ProducedFile>, bool)> {
        let top = open_folder(self.0.as_fd(), folder)?;
        let mut taken = Taking { files: Vec::new(), left: most, cut: false };
        taken.folder(&top, "", 0)?;
        taken.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((taken.files, taken.cut))
    }
}

struct Taking {
    files: Vec<ProducedFile>,
    left: u64,
    cut: bool,
}

impl Taking {
    fn folder(&mut self, folder: &OwnedFd, before: &str, depth: usize) -> std::io::Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                self.cut = true;
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            // Nonblocking, so that a pipe which nobody writes to stops nothing; links are not opened at all.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            let Ok(opened) = openat(folder, name, flags, Mode::empty()) else { continue };
            let found = fstat(&opened)?;
            let path = if before.is_empty() { name.to_owned() } else { format!("{before}/{name}") };
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory if depth < DEPTH => self.folder(&opened, &path, depth + 1)?,
                FileType::Directory => self.cut = true,
                FileType::RegularFile => self.file(opened, path, found.st_mode & 0o777)?,
                // Nothing to take, and nothing that a copy could stand for.
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, file: OwnedFd, path: String, mode: u32) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        // A sparse file is as long as it says, whatever it takes up.
        File::from(file).take(self.left.saturating_add(1)).read_to_end(&mut bytes)?;
        let size = bytes.len() as u64;
        if size > self.left {
            self.cut = true;
            return Ok(());
        }
        self.left -= size;
        self.files.push(ProducedFile { path, bytes, mode });
        Ok(())
    }
}

fn open_folder(above: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    openat(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn put_one(top: &OwnedFd, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut folder = top.try_clone()?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() || part == "." || part == ".." {
            return Err(std::io::Error::other("not a path below the folder"));
        }
        if parts.peek().is_some() {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = open_folder(folder.as_fd(), part)?;
        } else {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&folder, part, flags, Mode::from_raw_mode(0o644))?;
            File::from(file).write_all(bytes)?;
        }
    }
    Ok(())
}

fn failed(path: &str, error: &std::io::Error) -> Fault {
    Fault::new(ErrorCode::SandboxFailed, format!("`{path}` cannot be put into the job's folder: {error}"))
}
