//! The provider `local`: a folder of this machine.
//!
//! INVARIANT: everything is read through [`Folder`]; links are not followed, and what a search may read is bounded. Writes nothing.

use std::path::{Path, PathBuf};

use crate::confine::{FileEntry, Folder, RelPath};
use crate::domain::{Bytes, ErrorCode, Fault};

/// Entries a search looks at.
const MOST_ENTRIES: usize = 50_000;
/// Bytes of one file whose text is searched.
const MOST_TEXT: u64 = 1 << 20;
/// Bytes that one search reads in all.
const MOST_READ: u64 = 64 << 20;
/// Characters of a snippet to either side of what was found.
const AROUND: usize = 80;

/// A folder with documents. It need not exist yet.
#[derive(Debug, Clone)]
pub struct LocalDrive {
    root: PathBuf,
}

/// One find.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    pub(super) path: RelPath,
    pub(super) size: u64,
    pub(super) score: u32,
    pub(super) snippet: String,
}

impl LocalDrive {
    /// The folder at `configured`, else `drive` in the home.
    #[must_use]
    pub fn new(configured: Option<&Path>, home: &Path) -> Self {
        Self { root: configured.map_or_else(|| home.join("drive"), Path::to_path_buf) }
    }

    pub(super) fn folder(&self) -> Result<Folder, Fault> {
        Folder::open(&self.root).map_err(|fault| {
            Fault::new(ErrorCode::DriveUnavailable, format!("the local drive cannot be opened: {}", fault.message))
                .hint("make the folder, or name another one in the configuration, and put documents there")
        })
    }

    /// The best finds first; a file is found when every term is in its path or its text. Also whether all files could be looked at.
    pub(super) fn search(&self, query: &str, limit: usize) -> Result<(Vec<Hit>, bool), Fault> {
        let folder = self.folder()?;
        let terms = terms(query)?;
        let survey = folder.survey(None, MOST_ENTRIES, RelPath::touches_git)?;
        let (mut left, mut complete) = (MOST_READ, true);
        let mut hits = Vec::new();
        for file in survey.files {
            let text = if file.size > MOST_TEXT {
                None
            } else if file.size > left {
                complete = false;
                None
            } else {
                left -= file.size;
                // A file that vanished or turned into a link since the walk is no find.
                folder.read(&file.path, Bytes(MOST_TEXT)).ok().and_then(text)
            };
            hits.extend(hit(file, text.as_deref(), &terms));
        }
        hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.path.cmp(&b.path)));
        hits.truncate(limit);
        Ok((hits, complete))
    }
}

fn terms(query: &str) -> Result<Vec<String>, Fault> {
    let mut terms: Vec<String> = query.to_lowercase().split_whitespace().map(str::to_owned).collect();
    terms.sort_unstable();
    terms.dedup();
    if terms.is_empty() || terms.len() > 16 {
        return Err(Fault::new(ErrorCode::InvalidInput, "`query` needs one to sixteen words").hint("give a few words of the document"));
    }
    Ok(terms)
}

/// Text where it is text.
fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// A term in the name counts ten, in the path three, and in the text once for each time, up to five.
fn hit(file: FileEntry, text: Option<&str>, terms: &[String]) -> Option<Hit> {
    let (path, name) = (file.path.as_str().to_lowercase(), file.path.name().to_lowercase());
    let lower = text.map(str::to_lowercase);
    let mut score = 0;
    for term in terms {
        let in_text = lower.as_ref().map_or(0, |text| text.matches(term.as_str()).take(5).count() as u32);
        let in_path = if name.contains(term.as_str()) {
            10
        } else if path.contains(term.as_str()) {
            3
        } else {
            0
        };
        if in_text + in_path == 0 {
            return None;
        }
        score += in_text + in_path;
    }
    let snippet = lower.as_deref().map_or_else(String::new, |lower| snippet(text.unwrap_or_default(), lower, terms));
    Some(Hit { path: file.path, size: file.size, score, snippet })
}

/// The text around the first term that is in it, else its beginning, in one line.
fn snippet(text: &str, lower: &str, terms: &[String]) -> String {
    // Lower case can be longer than the original, so the place is counted in characters, which is near enough.
    let at = terms.iter().filter_map(|term| lower.find(term.as_str())).min().unwrap_or(0);
    let before = lower.get(..at).map_or(0, |before| before.chars().count());
    let from = before.saturating_sub(AROUND);
    let cut: String = text.chars().skip(from).take(2 * AROUND).collect();
    let line = crate::tools::plain(&cut).split_whitespace().collect::<Vec<_>>().join(" ");
    if from > 0 { format!("… {line}") } else { line }
}
