//! The provider `local`: a folder of this machine.
//!
//! INVARIANT: everything is read and written through [`Folder`]; links are not followed. A file that is put in the place of another is
//! written only once the other is kept under [`VERSIONS`]. What the index says of a file is held against the file before it is told.

mod put;
mod refresh;
mod snippet;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::confine::{Folder, RelPath};
use crate::domain::{Bytes, Clock, Digest, DriveHit, ErrorCode, Fault};
use crate::tools::{CallContext, blocking};

use super::search::words;
use super::{Document, Find, Finds, Index, MOST_BYTES, Provider, Query, Sending, Sent, Wanted};

use watch::Seen;

/// The folder of the drive in which earlier versions are kept.
pub const VERSIONS: &str = ".versions";
/// Bytes of one file whose text is searched; a larger one is found by its name.
const MOST_TEXT: Bytes = Bytes(4 << 20);

/// A folder with documents. Clones share what is known of it.
#[derive(Clone)]
pub struct LocalDrive {
    root: PathBuf,
    index: Arc<dyn Index>,
    clock: Arc<dyn Clock>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// One looks or writes at a time.
    turn: tokio::sync::Mutex<()>,
    /// What changed since the last look, where somebody watches.
    seen: Arc<Mutex<Seen>>,
}

impl LocalDrive {
    /// The folder at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: &Path, index: Arc<dyn Index>, clock: Arc<dyn Clock>) -> Self {
        Self { root: root.to_path_buf(), index, clock, state: Arc::default() }
    }

    fn folder(&self) -> Result<Folder, Fault> {
        Folder::open(&self.root).map_err(|fault| {
            Fault::new(ErrorCode::DriveUnavailable, format!("the local drive cannot be opened: {}", fault.message))
                .hint("make the folder, or name another one in the configuration, and put documents there")
        })
    }

    /// What was found, as it is now; what is gone since is left out.
    fn shown(&self, hits: Vec<DriveHit>, words: &[String]) -> Result<Vec<Find>, Fault> {
        let folder = self.folder()?;
        let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let find = |hit: DriveHit| {
            let path = RelPath::parse(&hit.path).ok()?;
            let entry = folder.entry(&path).ok().flatten()?;
            let text = if entry.size > MOST_TEXT.0 { None } else { folder.read(&path, MOST_TEXT).ok().and_then(refresh::text) };
            let snippet = text.as_deref().map_or_else(String::new, |text| snippet::around(text, &lower));
            Some(Find {
                id: hit.path,
                title: path.name().to_owned(),
                path: Some(path),
                size: Some(entry.size),
                media_type: None,
                modified: None,
                // Six digits tell finds apart and stay the same from machine to machine.
                score: Some((hit.score * 1e6).round() / 1e6),
                snippet,
            })
        };
        Ok(hits.into_iter().filter_map(find).collect())
    }
}

/// A path that calls may name.
fn place(text: &str) -> Result<RelPath, Fault> {
    let path = RelPath::parse(text)?;
    if path.touches_git() {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies in a git folder")));
    }
    Ok(path)
}

/// Whether a path is not searched.
fn is_hidden(path: &RelPath) -> bool {
    path.touches_git() || path.parts().next() == Some(VERSIONS)
}

#[async_trait]
impl Provider for LocalDrive {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn search(&self, query: &Query, context: &CallContext) -> Result<Finds, Fault> {
        let words = words(&query.words)?;
        let under = query.folder.as_deref().map(place).transpose()?;
        let complete = self.refresh(&context.cancel, context.limits.wall).await?;
        let hits = self.index.find(&words, under.as_ref().map(RelPath::as_str), query.limit).await?;
        let drive = self.clone();
        let finds = blocking(move || drive.shown(hits, &words)).await?;
        Ok(Finds { finds, complete })
    }

    async fn fetch(&self, id: &str, wanted: Option<Wanted>, _context: &CallContext) -> Result<Document, Fault> {
        let path = place(id)?;
        if wanted.is_some() {
            return Err(Fault::new(ErrorCode::InvalidInput, "a file of the local drive has one form").hint("leave `format` out"));
        }
        let (drive, at) = (self.clone(), path.clone());
        let bytes = blocking(move || drive.folder()?.read(&at, MOST_BYTES)).await?;
        Ok(Document { title: path.name().to_owned(), path: Some(path), bytes, media_type: None, exported_from: None })
    }

    async fn target(&self, name: &str, folder: Option<&str>) -> Result<Value, Fault> {
        let path = self.upload_place(name, folder)?;
        let drive = self.clone();
        blocking(move || {
            let folder = drive.folder()?;
            folder.check_writable(&path)?;
            let now = put::current(&folder, &path)?;
            Ok(json!({ "path": path, "replaces": now.map(|bytes| Digest::of(&bytes)) }))
        })
        .await
    }

    async fn send(&self, sending: Sending, _context: &CallContext) -> Result<Sent, Fault> {
        let path = self.upload_place(&sending.name, sending.folder.as_deref())?;
        let _turn = self.state.turn.lock().await;
        let (drive, at, now) = (self.clone(), path.clone(), self.clock.now());
        let put = blocking(move || put::put(&drive.folder()?, &at, &sending.bytes, now)).await?;
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).touched(path.clone());
        Ok(Sent {
            id: path.as_str().to_owned(),
            title: path.name().to_owned(),
            path: Some(path),
            previous: put.previous,
            unchanged: put.unchanged,
            resumed_from: 0,
        })
    }
}

impl LocalDrive {
    fn upload_place(&self, name: &str, folder: Option<&str>) -> Result<RelPath, Fault> {
        if folder.is_some() {
            return Err(
                Fault::new(ErrorCode::InvalidInput, "the local drive has paths, not ids of folders").hint("put the folder into `name`")
            );
        }
        let path = place(name)?;
        if is_hidden(&path) {
            return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies among the earlier versions, which are only read")));
        }
        Ok(path)
    }
}
