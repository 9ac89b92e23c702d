//! Copies a home while it is at work.
//!
//! INVARIANT: the copy's database is of one moment and holds everything its checkpoint covers; artifacts that it names are in the copy, as
//! they are copied after it and never changed. Secret keys are copied only where that is asked for. The manifest, written last, names
//! every file with its hash: a copy without one is not a copy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::{Digest, ErrorCode, Fault, Timestamp};

use super::Keeper;
use super::files::{self, failed};

/// The format of a copy.
pub(super) const FORMAT: &str = "toolgate-backup/1";
/// The manifest's name in a copy.
pub(super) const MANIFEST: &str = "backup.json";
/// The database's name in a home and in a copy.
pub(super) const DATABASE: &str = "toolgate.db";
/// What belongs to a process or a moment, and not to the home.
const PASSING: &[&str] = &["toolgate.db-wal", "toolgate.db-shm", "toolgate.lock", "owners", "operator.unlock", "operator.lock", "ballast"];
/// What can be made again.
const REMADE: &[&str] = &["drive-index.db", "drive-index.db-wal", "drive-index.db-shm"];
/// Secrets: whoever has them can sign for the home, open its vault or try the operator's passphrase at leisure.
pub(super) const SECRET: &[&str] = &["audit/key", "vault/key", "operator.json"];

/// What a copy consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format.
    pub format: String,
    /// When it was made.
    pub made: Timestamp,
    /// By which toolgate.
    pub version: String,
    /// The newest checkpoint when the copy began.
    pub checkpoint: Option<String>,
    /// Whether the secret keys are in it.
    pub keys: bool,
    /// Every file by its path in the copy.
    pub files: BTreeMap<String, Copied>,
}

/// A file of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// How many.
    pub size: u64,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Where to.
    pub folder: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the secret keys are in it.
    pub keys: bool,
    /// The newest checkpoint when the copy began.
    pub checkpoint: Option<String>,
    /// What was left out: links, and what is no plain file.
    pub left_out: Vec<String>,
}

impl Keeper {
    /// Copies the home to a folder that is new or empty and not in the home. Others may go on working.
    ///
    /// # Errors
    /// `INVALID_INPUT` where the folder will not do, `STORAGE_FULL`, `STORE_FAILED`.
    pub async fn backup(&self, to: &Path, keys: bool) -> Result<BackupReport, Fault> {
        let home = std::fs::canonicalize(&self.home).map_err(|error| failed("finding", &self.home, &error))?;
        files::make_folder(to)?;
        let to = std::fs::canonicalize(to).map_err(|error| failed("finding", to, &error))?;
        let is_empty = std::fs::read_dir(&to).map_err(|error| failed("reading", &to, &error))?.next().is_none();
        if to.starts_with(&home) || home.starts_with(&to) || !is_empty {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` will not do for a copy", to.display()))
                .hint("name a folder that is new or empty, outside the home"));
        }
        self.sign().await?;
        let checkpoint = self.store.checkpoint().await?.map(|signed| signed.note);
        let mut copy = Copy { from: home, to: to.clone(), keys, files: BTreeMap::new(), left_out: Vec::new() };
        // Checkpoints before the database: what they cover is then surely in it. Artifacts after it: what it names is then surely there.
        copy.tree("audit")?;
        self.store.copy(&to.join(DATABASE)).await?;
        copy.written(DATABASE)?;
        copy.rest()?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            made: self.clock.now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            checkpoint: checkpoint.clone(),
            keys,
            files: copy.files,
        };
        let text =
            serde_json::to_vec_pretty(&manifest).map_err(|error| Fault::internal(format!("a manifest has no JSON form: {error}")))?;
        files::write(&to.join(MANIFEST), &text)?;
        Ok(BackupReport {
            folder: to.display().to_string(),
            files: manifest.files.len() as u64,
            bytes: manifest.files.values().map(|file| file.size).sum(),
            keys,
            checkpoint,
            left_out: copy.left_out,
        })
    }
}

struct Copy {
    from: PathBuf,
    to: PathBuf,
    keys: bool,
    files: BTreeMap<String, Copied>,
    left_out: Vec<String>,
}

impl Copy {
    /// Everything that was not copied yet.
    fn rest(&mut self) -> Result<(), Fault> {
        let entries = std::fs::read_dir(&self.from).map_err(|error| failed("reading", &self.from, &error))?;
        let mut names: Vec<String> = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("reading", &self.from, &error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let passing =
            |name: &str| PASSING.contains(&name) || REMADE.contains(&name) || name.starts_with("before-restore-") || name == "restoring";
        for name in names.iter().filter(|name| !passing(name) && *name != DATABASE && *name != "audit") {
            self.tree(name)?;
        }
        Ok(())
    }

    /// A file, or a folder with all that is below it.
    fn tree(&mut self, top: &str) -> Result<(), Fault> {
        let mut open = vec![top.to_owned()];
        while let Some(name) = open.pop() {
            let path = self.from.join(&name);
            let about = match std::fs::symlink_metadata(&path) {
                Ok(about) => about,
                // Gone since it was listed, as a leftover of a write is.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("reading", &path, &error)),
            };
            if about.is_dir() {
                files::make_folder(&self.to.join(&name))?;
                for entry in std::fs::read_dir(&path).map_err(|error| failed("reading", &path, &error))? {
                    let entry = entry.map_err(|error| failed("reading", &path, &error))?;
                    match entry.file_name().to_str() {
                        Some(inner) => open.push(format!("{name}/{inner}")),
                        None => self.left_out.push(format!("{name}/{}", entry.file_name().to_string_lossy())),
                    }
                }
            } else if !about.is_file() {
                self.left_out.push(name);
            } else if !is_passing_file(&name) && (self.keys || !is_secret(&name)) {
                self.file(&name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<(), Fault> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        if let Some(folder) = to.parent() {
            files::make_folder(folder)?;
        }
        let copied = || -> io::Result<()> {
            let (mut from, mut to) = (File::open(&from)?, files::create(&to)?);
            io::copy(&mut from, &mut to)?;
            to.flush()?;
            to.sync_all()
        };
        match copied() {
            Ok(()) => self.written(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("copying", &from, &error)),
        }
    }

    /// Names a file that is in the copy now.
    fn written(&mut self, name: &str) -> Result<(), Fault> {
        let copied = digest(&self.to.join(name))?;
        self.files.insert(name.to_owned(), copied);
        Ok(())
    }
}

fn is_passing_file(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last == "lock" || (name.starts_with("artifacts/") && last.starts_with("new-")) || last.ends_with(".tmp")
}

/// A secret, or one that waits to follow it.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| name.strip_prefix(secret).is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && rest != ".pub")))
}

/// A file's hash and size.
pub(super) fn digest(path: &Path) -> Result<Copied, Fault> {
    let read = || -> io::Result<Copied> {
        let (mut file, mut hasher, mut size) = (File::open(path)?, Sha256::new(), 0_u64);
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = file.read(&mut piece)?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            size += bytes.len() as u64;
        }
        Ok(Copied { sha256: Digest::from_bytes(hasher.finalize().into()), size })
    };
    read().map_err(|error| failed("reading", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_what_stands_beside_them() {
        for secret in ["audit/key", "audit/key.next", "vault/key", "vault/key.old", "operator.json"] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["audit/key.pub", "audit/checkpoint", "vault/keys", "runs/operator.json"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
