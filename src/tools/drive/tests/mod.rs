mod local;

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::domain::{DriveChange, DriveFile, DriveHit, Fault};
use crate::store::DriveIndex;
use crate::tools::testing::{Bench, StillClock};

/// The index as the house has it, in a home of its own.
pub(super) struct Indexed(pub(super) DriveIndex);

#[async_trait]
impl Index for Indexed {
    async fn known(&self, under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault> {
        self.0.known(under).await
    }
    async fn apply(&self, changes: &[DriveChange]) -> Result<(), Fault> {
        self.0.apply(changes).await
    }
    async fn find(&self, words: &[String], under: Option<&str>, limit: usize) -> Result<Vec<DriveHit>, Fault> {
        self.0.find(words, under, limit).await
    }
    async fn upload(&self, key: &str) -> Result<Option<String>, Fault> {
        self.0.upload(key).await
    }
    async fn keep_upload(&self, key: &str, state: Option<&str>) -> Result<(), Fault> {
        self.0.keep_upload(key, state, 0, 0).await
    }
}

/// A local drive with these files.
pub(super) fn local(bench: &Bench, files: &[(&str, &[u8])]) -> LocalDrive {
    for (path, bytes) in files {
        let whole = bench.root.join("drive").join(path);
        std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
        std::fs::write(whole, bytes).unwrap();
    }
    let index = Arc::new(Indexed(DriveIndex::of(&bench.root)));
    LocalDrive::new(&bench.root.join("drive"), index, Arc::new(StillClock))
}

/// All tools on these drives.
pub(super) fn drives(drive: &LocalDrive) -> Drives {
    Drives::new(vec![Arc::new(drive.clone())])
}
