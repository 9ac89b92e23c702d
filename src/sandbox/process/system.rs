//! What of the machine every job sees: the system's programs and libraries, and the interpreter.
//!
//! INVARIANT: read-only, and never a folder in which people or services keep what is theirs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::job::Mount;

/// Folders at the top that hold programs and libraries; links to others of them on most machines.
const TOP: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Whole trees of programs.
const TREES: &[&str] = &["/usr", "/nix/store", "/gnu/store"];
/// Trees of programs that need no mount of their own for an interpreter in them.
const SHOWN: &[&str] = &["/usr", "/bin", "/lib", "/nix/store", "/gnu/store"];

/// The system as jobs see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Shown read-only.
    pub mounts: Vec<Mount>,
    /// Links at the top.
    pub links: Vec<(String, PathBuf)>,
}

/// The machine's Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Its real path, the same inside.
    pub exe: PathBuf,
    /// Its installation, where that lies outside of the system's trees.
    pub prefix: Option<PathBuf>,
    /// `3.11`, as its file name says.
    pub version: Option<(u32, u32)>,
}

impl System {
    /// What this machine has.
    #[must_use]
    pub fn of_machine() -> Self {
        let mut mounts: Vec<Mount> = TREES.iter().filter(|tree| Path::new(tree).is_dir()).map(|tree| shown(Path::new(tree))).collect();
        let mut links = Vec::new();
        for name in TOP {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => links.push(((*name).to_owned(), target)),
                Err(_) if path.is_dir() => mounts.push(shown(&path)),
                Err(_) => {}
            }
        }
        Self { mounts, links }
    }
}

impl Interpreter {
    /// The first Python on this path.
    #[must_use]
    pub fn find(path: &OsStr) -> Option<Self> {
        let names = ["python3", "python"];
        let folders: Vec<PathBuf> = std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect();
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find_map(|file| Self::at(&file))
    }

    /// The installation that this file belongs to; `None` where it is not one that can be shown to a job.
    fn at(file: &Path) -> Option<Self> {
        let exe = std::fs::canonicalize(file).ok()?;
        let version = version(exe.file_name()?.to_str()?);
        if SHOWN.iter().any(|tree| exe.starts_with(tree)) {
            return Some(Self { exe, prefix: None, version });
        }
        // A folder is shown only if it is an installation of Python and nothing above one.
        let prefix = exe.parent().filter(|bin| bin.file_name() == Some(OsStr::new("bin")))?.parent()?.to_owned();
        let (major, minor) = version?;
        let library = prefix.join(format!("lib/python{major}.{minor}/os.py"));
        (prefix.components().count() > 2 && library.is_file()).then_some(Self { exe, prefix: Some(prefix), version })
    }

    /// The mount it needs besides the system.
    #[must_use]
    pub fn mount(&self) -> Option<Mount> {
        self.prefix.as_deref().map(shown)
    }
}

/// `python3.11` is 3.11.
fn version(name: &str) -> Option<(u32, u32)> {
    let (major, minor) = name.strip_prefix("python")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn shown(path: &Path) -> Mount {
    Mount { host: path.to_owned(), inside: path.to_owned(), writable: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An installation below `at`, whole or without its library; gives its program.
    fn installation(at: &Path, whole: bool) -> PathBuf {
        std::fs::create_dir_all(at.join("bin")).unwrap();
        if whole {
            std::fs::create_dir_all(at.join("lib/python3.12")).unwrap();
            std::fs::write(at.join("lib/python3.12/os.py"), "").unwrap();
        }
        let exe = at.join("bin/python3.12");
        std::fs::write(&exe, "").unwrap();
        exe
    }

    #[test]
    fn only_an_installation_is_shown_never_the_folder_around_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let exe = installation(&folder.join("pythons/3.12"), true);
        let found = Interpreter::at(&exe).unwrap();
        assert_eq!((found.prefix.as_deref(), found.version), (Some(&*folder.join("pythons/3.12")), Some((3, 12))));
        // A home folder with a program in its `bin` is no installation.
        let stray = installation(&folder.join("home/me"), false);
        assert_eq!(Interpreter::at(&stray), None);
        // Links lead to what they name, and that is what is judged.
        let link = folder.join("python3");
        std::os::unix::fs::symlink(&exe, &link).unwrap();
        assert_eq!(Interpreter::at(&link).unwrap().exe, exe);
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&stray, &link).unwrap();
        assert_eq!(Interpreter::at(&link), None);
        assert_eq!(Interpreter::at(&folder.join("nothing")), None);
    }

    #[test]
    fn the_system_is_shown_read_only_and_nothing_of_people_is() {
        let system = System::of_machine();
        assert!(system.mounts.iter().any(|mount| mount.inside == Path::new("/usr")) && system.mounts.iter().all(|mount| !mount.writable));
        for private in ["/", "/home", "/root", "/etc", "/var", "/srv", "/tmp", "/proc", "/sys", "/dev", "/run"] {
            assert!(system.mounts.iter().all(|mount| mount.host != Path::new(private)), "{private} is shown");
        }
    }
}
