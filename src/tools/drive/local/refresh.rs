//! Brings the index up to date with the folder.
//!
//! INVARIANT: a file is passed over only where its size and its time of change are those it was read with, and that time is long enough
//! past that a later change would have another. What was done is kept, should there be no time for all; then the answer is "not all".

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::confine::{FileEntry, Folder, Kind, RelPath};
use crate::domain::{Digest, DriveChange, DriveFile, ErrorCode, Fault, Millis};
use crate::tools::blocking;

use super::watch::Changed;
use super::{LocalDrive, MOST_TEXT, is_hidden};

/// Entries of the folder that are looked at.
const MOST_ENTRIES: usize = 1_000_000;
/// Files and bytes that are read between two commits.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 16 << 20;
/// A file that changed less than so long before it was read may change once more without another time of change.
const UNSURE: Duration = Duration::from_secs(2);
/// What a call keeps of its wall time for all else.
const REST: Duration = Duration::from_secs(5);

impl LocalDrive {
    /// Looks what changed and reads it; whether all could be looked at.
    pub(super) async fn refresh(&self, cancel: &CancellationToken, wall: Millis) -> Result<bool, Fault> {
        let deadline = Instant::now() + wall.duration().saturating_sub(REST).max(wall.duration() / 2);
        let _turn = self.state.turn.lock().await;
        let changed = self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = self.look(&changed, cancel, deadline).await;
        if !matches!(done, Ok(true)) {
            self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).lost();
        }
        done
    }

    async fn look(&self, changed: &Changed, cancel: &CancellationToken, deadline: Instant) -> Result<bool, Fault> {
        match changed {
            Changed::Anything => self.look_under(None, cancel, deadline).await,
            Changed::These(paths) => {
                for path in paths {
                    if !is_hidden(path) && !self.look_under(Some(path), cancel, deadline).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// One path and all beneath it, or everything.
    async fn look_under(&self, under: Option<&RelPath>, cancel: &CancellationToken, deadline: Instant) -> Result<bool, Fault> {
        let (drive, at) = (self.clone(), under.cloned());
        let now = self.clock.now().unix_millis();
        let found = blocking(move || survey(&drive.folder()?, at.as_ref())).await?;
        let mut known: BTreeMap<String, DriveFile> = self.index.known(under.map(RelPath::as_str)).await?.into_iter().collect();
        let mut wanted: Vec<(FileEntry, Option<Digest>)> = Vec::new();
        for entry in found {
            match known.remove(entry.path.as_str()) {
                Some(file) if file.stamp != 0 && file.stamp == entry.stamp && file.size == entry.size => {}
                before => wanted.push((entry, before.map(|file| file.digest))),
            }
        }
        let gone: Vec<DriveChange> = known.into_keys().map(|path| DriveChange::Remove { path }).collect();
        for part in gone.chunks(BATCH) {
            self.index.apply(part).await?;
        }
        let sure =
            i64::try_from(now.saturating_mul(1_000_000)).unwrap_or(i64::MAX).saturating_sub(i64::try_from(UNSURE.as_nanos()).unwrap_or(0));
        let mut rest = wanted.into_iter().peekable();
        while rest.peek().is_some() {
            if cancel.is_cancelled() {
                return Err(Fault::new(ErrorCode::Cancelled, "the search was cancelled while the drive was looked at"));
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(next) =
                rest.next_if(|(entry, _)| batch.len() < BATCH && (batch.is_empty() || bytes + entry.size.min(MOST_TEXT.0) <= BATCH_BYTES))
            {
                bytes += next.0.size.min(MOST_TEXT.0);
                batch.push(next);
            }
            let drive = self.clone();
            let changes = blocking(move || Ok(read(&drive.folder()?, batch, sure))).await?;
            self.index.apply(&changes).await?;
        }
        Ok(true)
    }
}

fn survey(folder: &Folder, under: Option<&RelPath>) -> Result<Vec<FileEntry>, Fault> {
    let Some(path) = under else { return Ok(folder.survey(None, MOST_ENTRIES, is_hidden)?.files) };
    match folder.kind(path) {
        Ok(Some(Kind::Folder)) => Ok(folder.survey(Some(path), MOST_ENTRIES, is_hidden)?.files),
        Ok(Some(Kind::File)) => Ok(folder.entry(path)?.into_iter().collect()),
        // A link on the way is nothing that is searched.
        Ok(Some(Kind::Link | Kind::HardLink | Kind::Special) | None) | Err(_) => Ok(Vec::new()),
    }
}

/// Reads the files of one batch. One that vanished or turned into a link since the look is left for the next.
fn read(folder: &Folder, batch: Vec<(FileEntry, Option<Digest>)>, sure: i64) -> Vec<DriveChange> {
    let change = |(entry, before): (FileEntry, Option<Digest>)| {
        let stamp = if entry.stamp > sure { 0 } else { entry.stamp };
        let path = entry.path.as_str().to_owned();
        if entry.size > MOST_TEXT.0 {
            return Some(DriveChange::Put { path, file: DriveFile { size: entry.size, stamp, digest: Digest::ZERO }, text: String::new() });
        }
        let bytes = folder.read(&entry.path, MOST_TEXT).ok()?;
        let file = DriveFile { size: bytes.len() as u64, stamp, digest: Digest::of(&bytes) };
        if before == Some(file.digest) {
            return Some(DriveChange::Touch { path, file });
        }
        Some(DriveChange::Put { path, file, text: text(bytes).unwrap_or_default() })
    };
    batch.into_iter().filter_map(change).collect()
}

/// Text where it is text.
pub(super) fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}
