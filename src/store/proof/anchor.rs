//! Checkpoints outside the database: the newest one in a file of the home, and every one at a witness, where there is one.
//!
//! INVARIANT: what is written here was committed before, so a crash leaves these behind the database, never ahead of it. The file only
//! ever goes to a larger checkpoint, whichever process writes it, except by the operator's word. A failure is tried again until it is
//! mended, and told. Does not verify.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use toolgate_evidence::checkpoint;

use crate::domain::{ErrorCode, Fault};

use super::super::fault::Doing as _;
use super::super::home;
use super::key::SignedCheckpoint;
use super::keyfile::replace;

/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest line of a witness's file.
const MOST: u64 = 64 << 10;
/// Most that is read of the file.
const MOST_FILE: u64 = 16 << 10;

/// Where checkpoints go outside the database.
#[derive(Debug, Clone)]
pub(in crate::store) struct Places {
    /// The folder `audit` of the home.
    folder: PathBuf,
    /// The witness's folder.
    witness: Option<PathBuf>,
}

/// What is to be written.
pub(in crate::store) struct News {
    pub(in crate::store) signed: Vec<SignedCheckpoint>,
    /// The operator's word: the file may go back to a smaller one.
    pub(in crate::store) accepted: bool,
}

/// A line at the witness.
#[derive(Serialize, Deserialize)]
struct Line {
    size: u64,
    note: String,
}

fn unreachable(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::WitnessUnreachable, format!("the witness `{}` cannot be used: {why}", path.display()))
        .hint("make the folder of `audit.witness` reachable and writable; checkpoints that wait are written then")
}

impl Places {
    pub(in crate::store) fn new(folder: &Path, witness: Option<&Path>) -> Self {
        Self { folder: folder.to_owned(), witness: witness.map(Path::to_owned) }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// The note in the file; `None` where there is no file.
    ///
    /// # Errors
    /// `STORE_FAILED` where it cannot be read.
    pub(in crate::store) fn kept(&self) -> Result<Option<String>, Fault> {
        let path = self.file();
        let mut note = String::new();
        match File::open(&path) {
            Ok(file) => file.take(MOST_FILE).read_to_string(&mut note).doing("reading the newest checkpoint's file")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("reading the newest checkpoint's file"),
        };
        Ok(Some(note))
    }

    /// The last whole note at the witness; `None` where there is no witness, or nothing there yet.
    ///
    /// # Errors
    /// `WITNESS_UNREACHABLE`.
    pub(in crate::store) fn witnessed(&self) -> Result<Option<String>, Fault> {
        let Some(folder) = &self.witness else { return Ok(None) };
        let path = folder.join(WITNESS);
        let read = || -> std::io::Result<Option<String>> {
            if !folder.is_dir() {
                return Err(std::io::Error::other("there is no such folder"));
            }
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(2 * MOST)))?;
            let lines = BufReader::new(file).split(b'\n').collect::<std::io::Result<Vec<_>>>()?;
            // A line that a crash broke off is none; the one before it stands.
            Ok(lines.iter().rev().find_map(|line| serde_json::from_slice::<Line>(line).ok()).map(|line| line.note))
        };
        read().map_err(|error| unreachable(&path, &error))
    }

    /// Writes the file, unless it holds a larger checkpoint already.
    pub(in crate::store) fn keep(&self, signed: &SignedCheckpoint, accepted: bool) -> Result<(), Fault> {
        home::make_folder(&self.folder)?;
        let lock = home::open_private(&self.folder.join("lock")).doing("making the lock of the checkpoint's file")?;
        lock.lock().doing("waiting for the lock of the checkpoint's file")?;
        let found = self.kept()?.and_then(|note| checkpoint::peek(&note).ok());
        if !accepted && found.is_some_and(|found| found.size > signed.size) {
            return Ok(());
        }
        replace(&self.file(), signed.note.as_bytes())
    }

    fn witness(&self, news: &[News]) -> Result<(), Fault> {
        let Some(folder) = &self.witness else { return Ok(()) };
        let path = folder.join(WITNESS);
        let append = || -> std::io::Result<()> {
            let mut lines = Vec::new();
            for signed in news.iter().flat_map(|news| &news.signed) {
                // A line that a crash broke off must not swallow this one.
                lines.push(b'\n');
                serde_json::to_writer(&mut lines, &Line { size: signed.size, note: signed.note.clone() })?;
                lines.push(b'\n');
            }
            let mut file = File::options().append(true).create(true).open(&path)?;
            file.lock()?;
            file.write_all(&lines)?;
            file.sync_all()
        };
        append().map_err(|error| unreachable(&path, &error))
    }

    fn write(&self, news: &[News]) -> Result<(), Fault> {
        for one in news {
            if let Some(newest) = one.signed.last() {
                self.keep(newest, one.accepted)?;
            }
        }
        self.witness(news)
    }
}

/// The witness's file.
const WITNESS: &str = "toolgate.checkpoints";

/// Whether checkpoints reach their places.
#[derive(Clone, Default)]
pub(in crate::store) struct Reach(Arc<Mutex<Option<Fault>>>);

impl Reach {
    /// Why they do not, if they do not.
    pub(in crate::store) fn trouble(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The task that writes them.
pub(in crate::store) struct Anchor {
    news: mpsc::UnboundedSender<News>,
    task: tokio::task::JoinHandle<()>,
}

impl Anchor {
    /// Starts the task. It ends when the anchor is finished or dropped.
    pub(in crate::store) fn start(places: Places, reach: Reach) -> Self {
        let (news, waiting) = mpsc::unbounded_channel();
        #[expect(clippy::disallowed_methods, reason = "belongs to the writer, which ends it by `finish` or by being dropped")]
        let task = tokio::spawn(run(places, reach, waiting));
        Self { news, task }
    }

    pub(in crate::store) fn tell(&self, news: News) {
        // The task ends only when this is dropped.
        let _ = self.news.send(news);
    }

    /// Waits until all is written, or has failed once more.
    pub(in crate::store) async fn finish(self) {
        drop(self.news);
        let _ = self.task.await;
    }
}

async fn run(places: Places, reach: Reach, mut waiting: mpsc::UnboundedReceiver<News>) {
    let mut news: Vec<News> = Vec::new();
    loop {
        let ended = if news.is_empty() {
            waiting.recv_many(&mut news, 64).await == 0
        } else {
            matches!(tokio::time::timeout(AGAIN, waiting.recv_many(&mut news, 64)).await, Ok(0))
        };
        if news.is_empty() {
            return;
        }
        let (to, what) = (places.clone(), std::mem::take(&mut news));
        let written = tokio::task::spawn_blocking(move || (to.write(&what), what)).await;
        match written {
            Ok((Ok(()), _)) => reach.set(None),
            Ok((Err(fault), what)) => {
                tracing::error!("a checkpoint is in the database alone: {fault}");
                reach.set(Some(fault));
                news = what;
            }
            Err(_) => reach.set(Some(Fault::internal("writing a checkpoint panicked"))),
        }
        if ended {
            return;
        }
    }
}
