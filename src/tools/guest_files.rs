//! Files for a sandboxed program: what callers write, and where the bytes come from. Shared by the tools that run programs.
//!
//! INVARIANT: a program gets copies only, at relative paths of one folder, each at most once.

use std::collections::BTreeSet;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::confine::RelPath;
use crate::domain::{ArtifactId, Bytes, ErrorCode, Fault, twin_key};
use crate::sandbox::GuestFile;

use super::CallContext;

/// The most bytes of files that one program is given.
const MOST_BYTES: u64 = 64 << 20;

/// The most files.
const MOST_FILES: usize = 5_000;

/// Folders of a workspace that no program needs: history and compiled code.
const LEFT_OUT: &[&str] = &[".git", "__pycache__"];

/// Relative paths whose parts are neither empty nor `.` nor `..`, without lookahead, so that any JSON Schema engine can check it.
pub(crate) const PATH_PATTERN: &str = r"^[^/\\:]*[^/\\:. ](/[^/\\:]*[^/\\:. ])*$";

/// A file given to the program.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "Exactly one source.")]
pub struct FileInput {
    #[schemars(regex(pattern = PATH_PATTERN), length(max = 512))]
    pub path: String,
    pub content: Option<String>,
    pub content_base64: Option<String>,
    /// SHA-256.
    pub artifact: Option<String>,
    /// Workspace path.
    pub workspace: Option<String>,
}

/// Where a file's bytes come from.
enum Source<'f> {
    Text(&'f str),
    Base64(&'f str),
    Artifact(ArtifactId),
    Workspace(RelPath),
}

impl FileInput {
    fn source(&self) -> Result<Source<'_>, Fault> {
        match (&self.content, &self.content_base64, &self.artifact, &self.workspace) {
            (Some(text), None, None, None) => Ok(Source::Text(text)),
            (None, Some(text), None, None) => Ok(Source::Base64(text)),
            (None, None, Some(id), None) => {
                let id = id.parse().map_err(|error| Fault::new(ErrorCode::InvalidInput, format!("file `{}`: {error}", self.path)))?;
                Ok(Source::Artifact(id))
            }
            (None, None, None, Some(path)) => Ok(Source::Workspace(RelPath::parse(path)?)),
            _ => Err(Fault::new(ErrorCode::InvalidInput, format!("file `{}` needs exactly one source", self.path))
                .hint("give one of `content`, `content_base64`, `artifact`, `workspace`")),
        }
    }
}

/// Refuses what can be refused without reading anything: bad and doubled paths, missing and doubled sources.
///
/// # Errors
/// `PATH_REFUSED`, `INVALID_INPUT`, `LIMIT_EXCEEDED`.
pub(crate) fn check(files: &[FileInput]) -> Result<(), Fault> {
    if files.len() > MOST_FILES {
        return Err(too_many());
    }
    let mut seen = BTreeSet::new();
    for file in files {
        RelPath::parse(&file.path)?;
        file.source()?;
        if !seen.insert(twin_key(&file.path)) {
            return Err(Fault::new(
                ErrorCode::PathRefused,
                format!("file `{}` stands twice, or is another spelling of another one's path (case or Unicode form)", file.path),
            ));
        }
    }
    Ok(())
}

/// Whether any of them comes from the workspace.
pub(crate) fn from_workspace(files: &[FileInput]) -> bool {
    files.iter().any(|file| file.workspace.is_some())
}

/// Fetches the bytes.
///
/// # Errors
/// What [`check`] refuses; `NOT_FOUND`, `UNKNOWN_ARTIFACT`, `LIMIT_EXCEEDED`.
pub(crate) async fn load(files: &[FileInput], context: &CallContext) -> Result<Vec<GuestFile>, Fault> {
    check(files)?;
    let mut left = MOST_BYTES;
    let mut loaded = Vec::with_capacity(files.len());
    for file in files {
        let bytes = match file.source()? {
            Source::Text(text) => text.as_bytes().to_vec(),
            Source::Base64(text) => base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
                Fault::new(ErrorCode::InvalidInput, format!("`content_base64` of file `{}` is not base64: {error}", file.path))
            })?,
            Source::Artifact(id) => {
                let (bytes, size) = context.artifacts.read(&id, 0, left).await?;
                if size > bytes.len() as u64 {
                    return Err(too_large());
                }
                bytes
            }
            Source::Workspace(path) => {
                context.brought.read_file(&path);
                let (folder, limit) = (context.workspace.clone(), Bytes(left));
                blocking(move || folder.read(&path, limit)).await?
            }
        };
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        loaded.push(GuestFile { path: file.path.clone(), bytes: bytes.into() });
    }
    Ok(loaded)
}

/// Copies of the workspace's files beneath `under`, at paths relative to it.
///
/// # Errors
/// `NOT_FOUND`, `LIMIT_EXCEEDED`.
pub(crate) async fn load_workspace(context: &CallContext, under: Option<RelPath>) -> Result<Vec<GuestFile>, Fault> {
    let (folder, brought) = (context.workspace.clone(), context.brought.clone());
    blocking(move || {
        let (entries, _links) = folder.walk(under.as_ref(), MOST_FILES)?;
        let prefix = under.as_ref().map(|under| format!("{}/", under.as_str().trim_end_matches('/'))).unwrap_or_default();
        let mut left = MOST_BYTES;
        let mut loaded = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(path) = entry.path.as_str().strip_prefix(&prefix) else { continue };
            if path.split('/').any(|part| LEFT_OUT.contains(&part)) {
                continue;
            }
            brought.read_file(&entry.path);
            let bytes = folder.read(&entry.path, Bytes(left))?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
            loaded.push(GuestFile { path: path.to_owned(), bytes: bytes.into() });
        }
        Ok(loaded)
    })
    .await
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(act).await.map_err(|error| Fault::internal(format!("reading files ended badly: {error}")))?
}

fn too_large() -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the files are larger than {} MB together", MOST_BYTES >> 20))
        .hint("give the program only the files it needs")
}

fn too_many() -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("there are more than {MOST_FILES} files"))
}
