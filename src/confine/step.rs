//! One step from an open folder to what it holds under a plain name, never through a link.
//!
//! INVARIANT: `name` is one part of a [`super::RelPath`] or a name the folder itself listed, so it has no separator; together with
//! "do not follow" this keeps every step inside. Does not walk.

use std::io;

use cap_std::fs::{Dir, File, OpenOptions};

/// Opens the folder `name` in `dir`. A link is an error, even one to a folder beside it.
#[cfg(unix)]
pub(super) fn dir(dir: &Dir, name: &str) -> io::Result<Dir> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    Ok(Dir::from_std_file(std::fs::File::from(fd)))
}

/// Opens the file `name` in `dir` for reading. Never waits, as a FIFO would make it.
#[cfg(unix)]
pub(super) fn file(dir: &Dir, name: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    Ok(File::from_std(std::fs::File::from(fd)))
}

/// Makes the file `name`, which must not be there yet, for writing; only the owner may read it.
pub(super) fn new_file(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    dir.open_with(name, &options)
}

/// Where there is no "do not follow", cap-std still keeps the step beneath `dir`, and a link is found by looking first.
#[cfg(not(unix))]
pub(super) fn dir(dir: &Dir, name: &str) -> io::Result<Dir> {
    no_link(dir, name)?;
    dir.open_dir(name)
}

#[cfg(not(unix))]
pub(super) fn file(dir: &Dir, name: &str) -> io::Result<File> {
    no_link(dir, name)?;
    dir.open(name)
}

#[cfg(not(unix))]
fn no_link(dir: &Dir, name: &str) -> io::Result<()> {
    if dir.symlink_metadata(name)?.is_symlink() { Err(io::Error::other("is a link")) } else { Ok(()) }
}

/// How many names the file has in all folders together; 1 where the platform cannot tell.
pub(super) fn names(metadata: &cap_std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        cap_std::fs::MetadataExt::nlink(metadata)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        1
    }
}

/// Unix permission bits, or 0o644.
pub(super) fn mode(metadata: &cap_std::fs::Metadata) -> u32 {
    #[cfg(unix)]
    {
        cap_std::fs::MetadataExt::mode(metadata) & 0o777
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        0o644
    }
}

/// When the file was last changed, in nanoseconds since 1970; 0 where nothing tells. Unlike the time of its content nobody sets it.
pub(super) fn stamp(metadata: &cap_std::fs::Metadata) -> i64 {
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt as _;
        metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
    }
    #[cfg(not(unix))]
    {
        let since = metadata.modified().ok().and_then(|time| time.into_std().duration_since(std::time::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
    }
}
