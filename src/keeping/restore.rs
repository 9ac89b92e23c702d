//! Puts a copy back in the place of a home.
//!
//! INVARIANT: nothing of the home is touched before the whole copy was read, compared with its manifest and verified as a log; what is
//! replaced is moved aside, never deleted. Going back is told apart from an attack: it needs the operator, and is an event that names
//! the checkpoints given up. The home's own secrets stay; the copy's come only where the home has none.

use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use toolgate_evidence::checkpoint;

use crate::domain::{Digest, ErrorCode, Fault};
use crate::secrets::operator::OperatorProof;
use crate::store::{AuditOptions, OpenOptions, Store, fold, shut};

use super::backup::{DATABASE, FORMAT, MANIFEST, Manifest, digest, is_secret};
use super::files::{self, failed};

/// Longest manifest.
const MOST: usize = 256 << 20;
/// Where a copy is read before it takes the home's place.
const STAGE: &str = "restoring";

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Records in the log that was put back, before the event that tells of it.
    pub records: u64,
    /// The log's head then.
    pub head: Option<Digest>,
    /// Size of the newest checkpoint in the copy.
    pub checkpoint: Option<u64>,
    /// Where what was replaced lies now.
    pub aside: String,
    /// How many files.
    pub files: u64,
}

/// Puts the copy `from` back in the place of `home`, which no process may be using. `opening` says how a home in a folder is opened.
///
/// # Errors
/// `INVALID_INPUT` where `from` is no whole copy; `AUDIT_BROKEN` where its log does not verify; `RUN_STATE` where the home is in use;
/// `STORE_FAILED`, `STORAGE_FULL`.
pub async fn put_back(
    (home, from): (&Path, &Path),
    audit: &AuditOptions,
    opening: &(dyn Fn(&Path) -> OpenOptions + Sync),
    reason: &str,
    proof: OperatorProof,
) -> Result<Restored, Fault> {
    let manifest = manifest(from)?;
    files::make_folder(home)?;
    let stage = home.join(STAGE);
    if stage.exists() {
        std::fs::remove_dir_all(&stage).map_err(|error| failed("removing", &stage, &error))?;
    }
    for (name, copied) in &manifest.files {
        let to = stage.join(name);
        if let Some(folder) = to.parent() {
            files::make_folder(folder)?;
        }
        std::fs::copy(from.join(name), &to).map_err(|error| failed("copying", &from.join(name), &error))?;
        if digest(&to)? != *copied {
            return Err(not_a_copy(from, &format!("`{name}` is not as the manifest says")));
        }
    }
    let options = opening(&stage);
    let now = options.clock.now();
    let found = verified(options, audit).await?;
    let aside = home.join(format!("before-restore-{}", now.unix_millis()));
    let shut = shut(home).await?;
    // One file is moved at a time: the journal must be whole in one of them, wherever this is broken off.
    fold(home, &shut).await;
    swap(home, &stage, &aside, &manifest)?;
    drop(shut);
    let size = manifest.checkpoint.as_deref().and_then(|note| checkpoint::peek(note).ok()).map(|checkpoint| checkpoint.size);
    tracing::info!(proved_by = ?proof.by(), "the operator puts a copy of the home back");
    let told = format!(
        "{reason} (the copy was made at {}, with a checkpoint over {} records)",
        manifest.made,
        size.map_or_else(|| "no".to_owned(), |size| size.to_string())
    );
    let store = Store::open_accepting(opening(home), audit, "home_restored", &told).await?;
    // Only then the checkpoint outside the database is the new one.
    store.close().await;
    let store = Store::open_proven(opening(home), audit).await?;
    let report = store.verify().await;
    store.close().await;
    if let Some(bad) = report?.bad {
        return Err(Fault::new(
            ErrorCode::AuditBroken,
            format!("record {} does not verify after the copy was put back: {}", bad.index, bad.why),
        )
        .hint(format!("what was there before lies in `{}`", aside.display())));
    }
    let (records, head) = found;
    Ok(Restored { records, head, checkpoint: size, aside: aside.display().to_string(), files: manifest.files.len() as u64 })
}

fn not_a_copy(from: &Path, why: &str) -> Fault {
    Fault::new(ErrorCode::InvalidInput, format!("`{}` is not a whole copy: {why}", from.display()))
        .hint("nothing was changed; `toolgate backup DIR` makes a copy")
}

fn manifest(from: &Path) -> Result<Manifest, Fault> {
    let text = files::read_text(&from.join(MANIFEST), MOST).map_err(|fault| not_a_copy(from, &fault.message))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| not_a_copy(from, &format!("its manifest: {error}")))?;
    if manifest.format != FORMAT {
        return Err(not_a_copy(from, "another format"));
    }
    for name in manifest.files.keys() {
        let is_plain = !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        let is_file = std::fs::symlink_metadata(from.join(name)).is_ok_and(|about| about.is_file());
        if !is_plain || !is_file {
            return Err(not_a_copy(from, &format!("`{}` is missing, no plain file, or outside", name.escape_debug())));
        }
    }
    if !manifest.files.contains_key(DATABASE) {
        return Err(not_a_copy(from, "it has no database"));
    }
    Ok(manifest)
}

/// How many records the copy's log has, and its head: once all of it was read and verified against the checkpoints in it.
async fn verified(options: OpenOptions, audit: &AuditOptions) -> Result<(u64, Option<Digest>), Fault> {
    // The copy by itself: the home's own key and witness know of more.
    let alone = AuditOptions { key_file: None, witness: None, ..audit.clone() };
    let store = Store::open_unchecked(options, &alone).await?;
    let report = store.verify().await;
    store.close().await;
    let report = report?;
    match report.bad {
        Some(bad) => Err(Fault::new(ErrorCode::AuditBroken, format!("record {} of the copy does not verify: {}", bad.index, bad.why))
            .hint("nothing was changed; take another copy")),
        None => Ok((report.events, report.head.map(|(_, hash)| hash))),
    }
}

/// Moves what is there aside and the copy in.
fn swap(home: &Path, stage: &Path, aside: &Path, manifest: &Manifest) -> Result<(), Fault> {
    files::make_folder(aside)?;
    let rename = |from: PathBuf, to: PathBuf| -> Result<(), Fault> {
        if let Some(folder) = to.parent() {
            files::make_folder(folder)?;
        }
        match std::fs::rename(&from, &to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("moving", &from, &error)),
        }
    };
    for name in ["toolgate.db", "toolgate.db-wal", "toolgate.db-shm"] {
        rename(home.join(name), aside.join(name))?;
    }
    let kept = |name: &str| name.starts_with("audit/") || name.starts_with("vault/key") || is_secret(name);
    let tops: std::collections::BTreeSet<&str> =
        manifest.files.keys().filter(|name| !kept(name)).filter_map(|name| name.split('/').next()).filter(|top| *top != DATABASE).collect();
    for top in tops {
        rename(home.join(top), aside.join(top))?;
    }
    for name in manifest.files.keys() {
        // Key and checkpoint of this home say more than the copy's; those of a home that has none are the copy's.
        if kept(name) && home.join(name).exists() {
            continue;
        }
        rename(stage.join(name), home.join(name))?;
    }
    std::fs::remove_dir_all(stage).map_err(|error| failed("removing", stage, &error))?;
    files::sync_folder(&home.join(DATABASE)).map_err(|error| failed("writing", home, &error))
}
