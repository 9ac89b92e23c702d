//! Reading, writing and removing single files of a folder.
//!
//! INVARIANT: the way to a file is walked part by part from the folder's handle ([`step`]), so a link that appears meanwhile is met as
//! a link; a file is judged by its own handle after it was opened. Does not list; see [`super::survey`].

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata};

use crate::domain::{Bytes, ErrorCode, Fault};

use super::{RelPath, shown, step};

/// A folder that is open.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    pub(super) dir: Dir,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plain file with one name.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A plain file that has further names.
    HardLink,
    /// A device, pipe or socket.
    Special,
}

impl Kind {
    /// What stands there, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "a plain file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::HardLink => "a file with further names (hard links)",
            Self::Special => "a device, pipe or socket",
        }
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            Self::Link
        } else if kind.is_dir() {
            Self::Folder
        } else if !kind.is_file() {
            Self::Special
        } else if step::names(metadata) > 1 {
            Self::HardLink
        } else {
            Self::File
        }
    }
}

impl Folder {
    /// Opens a folder, creating it (owner-only) where it is not there.
    ///
    /// # Errors
    /// `INTERNAL` where the system refuses.
    pub fn create(root: &Path) -> Result<Self, Fault> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(root).map_err(|error| Fault::internal(format!("the folder `{}` cannot be made: {error}", root.display())))?;
        Self::open(root)
    }

    /// Opens a folder that must exist. The path is the operator's, so links in it are followed.
    ///
    /// # Errors
    /// `NOT_FOUND`, or `INTERNAL` where the system refuses.
    pub fn open(root: &Path) -> Result<Self, Fault> {
        let whole = root.canonicalize().and_then(|whole| Dir::open_ambient_dir(&whole, ambient_authority()).map(|dir| (whole, dir)));
        match whole {
            Ok((root, dir)) => Ok(Self { root, dir }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Fault::new(ErrorCode::NotFound, format!("the folder `{}` does not exist", root.display())))
            }
            Err(error) => Err(Fault::internal(format!("the folder `{}` cannot be opened: {error}", root.display()))),
        }
    }

    /// Where it is, for libraries that want a path; never to be joined with anything that is not a checked [`RelPath`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// This folder once more, with a handle of its own.
    ///
    /// # Errors
    /// `INTERNAL` where the system has no more handles.
    pub fn itself(&self) -> Result<Self, Fault> {
        Ok(Self { root: self.root.clone(), dir: self.handle()? })
    }

    /// A folder in this one, as a folder of its own.
    ///
    /// # Errors
    /// `NOT_FOUND`, `PATH_REFUSED`.
    pub fn sub(&self, path: &RelPath) -> Result<Self, Fault> {
        let dir = self.reach(path.parts(), path, false)?;
        Ok(Self { root: self.root.join(path.as_str()), dir })
    }

    /// What stands at `path`; `None` where nothing does.
    ///
    /// # Errors
    /// `PATH_REFUSED` where a link is on the way.
    pub fn kind(&self, path: &RelPath) -> Result<Option<Kind>, Fault> {
        match self.parent(path, false) {
            Ok(dir) => match dir.symlink_metadata(path.name()) {
                Ok(metadata) => Ok(Some(Kind::of(&metadata))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("looked at", path, &error)),
            },
            Err(fault) if fault.code == ErrorCode::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// `NOT_FOUND`, `PATH_REFUSED` (link, hard link, device), `LIMIT_EXCEEDED` where it is larger than `limit`.
    pub fn read(&self, path: &RelPath, limit: Bytes) -> Result<Vec<u8>, Fault> {
        let (bytes, size) = self.read_part(path, 0, limit)?;
        if size > limit.0 || bytes.len() as u64 > limit.0 {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("`{path}` has {size} bytes, {} are allowed", limit.0)));
        }
        Ok(bytes)
    }

    /// At most `limit` bytes from `offset` on, and the file's whole size.
    ///
    /// # Errors
    /// `NOT_FOUND`, `PATH_REFUSED` (link, hard link, device).
    pub fn read_part(&self, path: &RelPath, offset: u64, limit: Bytes) -> Result<(Vec<u8>, u64), Fault> {
        let dir = self.parent(path, false)?;
        let (mut file, metadata) = open_plain(&dir, path)?;
        let mut bytes = Vec::with_capacity(limit.0.min(metadata.len()).min(1 << 20) as usize);
        let whole = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(limit.0).read_to_end(&mut bytes));
        whole.map_err(|error| failed("read", path, &error))?;
        Ok((bytes, metadata.len()))
    }

    /// Size and Unix permission bits of a plain file.
    ///
    /// # Errors
    /// `NOT_FOUND`, `PATH_REFUSED` (link, hard link, device).
    pub fn stat(&self, path: &RelPath) -> Result<(u64, u32), Fault> {
        let (_, metadata) = open_plain(&self.parent(path, false)?, path)?;
        Ok((metadata.len(), step::mode(&metadata)))
    }

    /// A plain file as a survey would list it; `None` where no plain file stands there.
    ///
    /// # Errors
    /// `PATH_REFUSED` where a link is on the way.
    pub fn entry(&self, path: &RelPath) -> Result<Option<super::FileEntry>, Fault> {
        let dir = match self.parent(path, false) {
            Ok(dir) => dir,
            Err(fault) if fault.code == ErrorCode::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        match dir.symlink_metadata(path.name()) {
            Ok(metadata) if Kind::of(&metadata) == Kind::File => {
                let (size, mode, stamp) = (metadata.len(), step::mode(&metadata), step::stamp(&metadata));
                Ok(Some(super::FileEntry { path: path.clone(), size, mode, stamp }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("looked at", path, &error)),
        }
    }

    /// Writes a whole file by a temporary file and a rename, making the folders on the way. Readers see the old bytes or the new.
    ///
    /// # Errors
    /// `PATH_REFUSED` where a link, hard link, device or folder stands there or a link is on the way.
    pub fn write(&self, path: &RelPath, bytes: &[u8], executable: bool) -> Result<(), Fault> {
        self.write_file(path, bytes, executable, false)
    }

    /// The same, returning only when the bytes are on the disk.
    ///
    /// # Errors
    /// As [`Folder::write`].
    pub fn write_durably(&self, path: &RelPath, bytes: &[u8], executable: bool) -> Result<(), Fault> {
        self.write_file(path, bytes, executable, true)
    }

    /// Whether [`Folder::write`] would take `path` now: nothing on the way or at its end is a link, special, or a file where a folder
    /// is needed. Reads only.
    ///
    /// # Errors
    /// `PATH_REFUSED`.
    pub fn check_writable(&self, path: &RelPath) -> Result<(), Fault> {
        match self.kind(path)? {
            None | Some(Kind::File) => Ok(()),
            Some(kind @ (Kind::Folder | Kind::Link | Kind::HardLink | Kind::Special)) => Err(not_plain(path, kind)),
        }
    }

    fn write_file(&self, path: &RelPath, bytes: &[u8], executable: bool, durably: bool) -> Result<(), Fault> {
        let dir = self.parent(path, true)?;
        match dir.symlink_metadata(path.name()).map(|metadata| Kind::of(&metadata)) {
            Ok(Kind::File) => {}
            Ok(kind) => return Err(not_plain(path, kind)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("written", path, &error)),
        }
        let temporary = format!(".toolgate-{:032x}.tmp", rand::random::<u128>());
        let written = step::new_file(&dir, &temporary).and_then(|file| fill(file, bytes, executable, durably));
        let placed = written.and_then(|()| dir.rename(&temporary, &dir, path.name()));
        if let Err(error) = placed {
            // The file may not even have been made; nothing is left behind either way.
            let _ = dir.remove_file(&temporary);
            return Err(failed("written", path, &error));
        }
        if durably {
            // The folder's own handle may be one that only names it, which cannot be synced.
            step::dir(&dir, ".").and_then(|dir| dir.into_std_file().sync_all()).map_err(|error| failed("written", path, &error))?;
        }
        Ok(())
    }

    /// Removes a file, or a folder with all in it; whether there was one. A link or special file at the path is itself removed, never
    /// what it points to.
    ///
    /// # Errors
    /// `PATH_REFUSED` where a link is on the way.
    pub fn remove(&self, path: &RelPath) -> Result<bool, Fault> {
        let Some(kind) = self.kind(path)? else { return Ok(false) };
        let dir = self.parent(path, false)?;
        let removed = match kind {
            Kind::Folder => dir.remove_dir_all(path.name()),
            Kind::File | Kind::Link | Kind::HardLink | Kind::Special => dir.remove_file(path.name()),
        };
        removed.map(|()| true).map_err(|error| failed("removed", path, &error))
    }

    /// Makes an empty folder and those on the way, where they are not there.
    ///
    /// # Errors
    /// `PATH_REFUSED` where something else stands there or a link is on the way.
    pub fn make_folder(&self, path: &RelPath) -> Result<(), Fault> {
        self.reach(path.parts(), path, true).map(|_| ())
    }

    pub(super) fn handle(&self) -> Result<Dir, Fault> {
        self.dir.try_clone().map_err(|error| Fault::internal(format!("the folder's handle cannot be used: {error}")))
    }

    /// The folder that holds `path`.
    fn parent(&self, path: &RelPath, make: bool) -> Result<Dir, Fault> {
        self.reach(path.parts().rev().skip(1).collect::<Vec<_>>().into_iter().rev(), path, make)
    }

    /// Walks `parts` from the root; `path` is what the errors speak of.
    fn reach<'a>(&self, parts: impl Iterator<Item = &'a str>, path: &RelPath, make: bool) -> Result<Dir, Fault> {
        let mut dir = self.handle()?;
        for part in parts {
            let next = match step::dir(&dir, part) {
                Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                    match dir.create_dir(part) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("written", path, &error)),
                        _ => {}
                    }
                    step::dir(&dir, part)
                }
                other => other,
            };
            dir = next.map_err(|error| refusal(&dir, part, path, &error))?;
        }
        Ok(dir)
    }
}

/// Opens the last part of `path` in its folder and checks what was opened, not what the name said before.
fn open_plain(dir: &Dir, path: &RelPath) -> Result<(File, Metadata), Fault> {
    // A device may act when it is opened, so look before.
    let before = dir.symlink_metadata(path.name()).map_err(|error| failed("read", path, &error))?;
    match Kind::of(&before) {
        Kind::File => {}
        kind @ (Kind::Folder | Kind::Link | Kind::HardLink | Kind::Special) => return Err(not_plain(path, kind)),
    }
    let file = step::file(dir, path.name()).map_err(|error| refusal(dir, path.name(), path, &error))?;
    let metadata = file.metadata().map_err(|error| failed("read", path, &error))?;
    match Kind::of(&metadata) {
        Kind::File => Ok((file, metadata)),
        kind @ (Kind::Folder | Kind::Link | Kind::HardLink | Kind::Special) => Err(not_plain(path, kind)),
    }
}

fn fill(file: File, bytes: &[u8], executable: bool, durably: bool) -> io::Result<()> {
    let mut file = file;
    file.write_all(bytes)?;
    #[cfg(unix)]
    {
        use cap_std::fs::PermissionsExt;
        file.set_permissions(cap_std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    }
    #[cfg(not(unix))]
    let _ = executable;
    if durably { file.sync_all() } else { Ok(()) }
}

/// Why a step onto `part` failed: the error says little, what stands there says more.
fn refusal(dir: &Dir, part: &str, path: &RelPath, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::NotFound {
        return failed("found", path, error);
    }
    match dir.symlink_metadata(part).map(|metadata| Kind::of(&metadata)) {
        Ok(Kind::Folder) | Err(_) => failed("reached", path, error),
        Ok(kind) if part == path.name() => not_plain(path, kind),
        Ok(kind) => Fault::new(ErrorCode::PathRefused, format!("the part `{}` of `{path}` is {}", shown(part), kind.as_str()))
            .hint("only folders may be on the way to a file; links are never followed"),
    }
}

fn not_plain(path: &RelPath, kind: Kind) -> Fault {
    Fault::new(ErrorCode::PathRefused, format!("`{path}` is {}, not a plain file", kind.as_str()))
        .hint("links and special files are refused; remove it or use another path")
}

fn failed(what: &str, path: &RelPath, error: &io::Error) -> Fault {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        return Fault::new(ErrorCode::NotFound, format!("`{path}` does not exist"));
    }
    let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge);
    let code = if full { ErrorCode::StorageFull } else { ErrorCode::PathRefused };
    Fault::new(code, format!("`{path}` cannot be {what}: {error}"))
}
