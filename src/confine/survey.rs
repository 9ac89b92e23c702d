//! Listing all that lies in a folder.
//!
//! INVARIANT: links and special files are named, never followed or opened; depth and count are bounded. Reads no content.

use cap_std::fs::Dir;

use crate::domain::{ErrorCode, Fault};

use super::folder::Kind;
use super::{Folder, RelPath, shown, step};

/// A plain file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Where.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Unix permission bits (0o644 or 0o755 where the platform has none).
    pub mode: u32,
    /// When it was last changed, name and rights counted where the platform tells; nanoseconds since 1970, 0 where nothing tells.
    pub stamp: i64,
}

/// Something that is not a plain file with a plain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its path, fit to be shown: what is not printable is escaped.
    pub shown: String,
    /// The path, where it is one that can be used.
    pub path: Option<RelPath>,
    /// What it is.
    pub what: &'static str,
}

/// All that lies in a folder, both lists sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Plain files.
    pub files: Vec<FileEntry>,
    /// Links, special files, and what has a name no [`RelPath`] can have.
    pub others: Vec<Other>,
}

impl Folder {
    /// Every plain file beneath `under`, sorted by path; at most `most`, else `LIMIT_EXCEEDED`. Links and special files are not followed: they
    /// are returned in the second list.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED`; `NOT_FOUND` and `PATH_REFUSED` for `under`.
    pub fn walk(&self, under: Option<&RelPath>, most: usize) -> Result<(Vec<FileEntry>, Vec<RelPath>), Fault> {
        let survey = self.survey(under, most, |_| false)?;
        Ok((survey.files, survey.others.into_iter().filter_map(|other| other.path).collect()))
    }

    /// Everything beneath `under`, without what `skip` says yes to (a folder is then not entered).
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED` where there are more than `most` entries, folders counted; `NOT_FOUND` and `PATH_REFUSED` for `under`.
    pub fn survey(&self, under: Option<&RelPath>, most: usize, skip: impl Fn(&RelPath) -> bool) -> Result<Survey, Fault> {
        let start = match under {
            Some(path) => self.sub(path)?.dir,
            None => self.handle()?,
        };
        let mut walk = Walk { survey: Survey::default(), left: most, most, skip: &skip };
        walk.enter(&start, under)?;
        let mut survey = walk.survey;
        survey.files.sort_by(|a, b| a.path.cmp(&b.path));
        survey.others.sort_by(|a, b| a.shown.cmp(&b.shown));
        Ok(survey)
    }
}

struct Walk<'a> {
    survey: Survey,
    left: usize,
    most: usize,
    skip: &'a dyn Fn(&RelPath) -> bool,
}

impl Walk<'_> {
    /// Depth is bounded by the number of parts a [`RelPath`] may have.
    fn enter(&mut self, dir: &Dir, at: Option<&RelPath>) -> Result<(), Fault> {
        let unreadable = |error: std::io::Error| {
            let place = at.map_or("the folder", RelPath::as_str);
            Fault::new(ErrorCode::PathRefused, format!("`{place}` cannot be listed: {error}"))
        };
        for entry in dir.entries().map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let text = name.to_string_lossy();
            let whole = at.map_or_else(|| text.to_string(), |at| format!("{at}/{text}"));
            let path = if name.to_str().is_some() { RelPath::parse(&whole).ok() } else { None };
            let Some(path) = path else {
                self.count()?;
                self.survey.others.push(Other { shown: shown(&whole), path: None, what: "a name that cannot be used" });
                continue;
            };
            if (self.skip)(&path) {
                continue;
            }
            self.count()?;
            // What vanishes while we look was not there.
            let Ok(metadata) = dir.symlink_metadata(path.name()) else { continue };
            match Kind::of(&metadata) {
                Kind::File => self.survey.files.push(FileEntry {
                    path,
                    size: metadata.len(),
                    mode: step::mode(&metadata),
                    stamp: step::stamp(&metadata),
                }),
                Kind::Folder => match step::dir(dir, path.name()) {
                    Ok(inner) => self.enter(&inner, Some(&path))?,
                    Err(_) => self.other(path, "a folder that cannot be opened"),
                },
                kind @ (Kind::Link | Kind::HardLink | Kind::Special) => self.other(path, kind.as_str()),
            }
        }
        Ok(())
    }

    fn other(&mut self, path: RelPath, what: &'static str) {
        self.survey.others.push(Other { shown: path.to_string(), path: Some(path), what });
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            Fault::new(ErrorCode::LimitExceeded, format!("the folder holds more than {} entries", self.most))
                .hint("name a folder inside it, or remove what is not needed")
        })?;
        Ok(())
    }
}
