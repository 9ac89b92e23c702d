//! The drives that there are, the usual one first.
//!
//! INVARIANT: a drive that is not configured is an error that names those that are.

use std::sync::Arc;

use crate::domain::{ErrorCode, Fault};

use super::{Provider, id};

/// All drives of a house.
#[derive(Clone)]
pub struct Drives {
    all: Arc<[Arc<dyn Provider>]>,
}

impl Drives {
    /// These, the usual one first.
    #[must_use]
    pub fn new(all: Vec<Arc<dyn Provider>>) -> Self {
        Self { all: all.into() }
    }

    /// The one of this name, or the usual one.
    pub(super) fn named(&self, name: Option<&str>) -> Result<&Arc<dyn Provider>, Fault> {
        let found = match name {
            Some(name) => self.all.iter().find(|drive| drive.name() == name),
            None => self.all.first(),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.all.iter().map(|drive| drive.name()).collect();
            let wanted = name.map_or_else(|| "no drive".to_owned(), |name| format!("no drive `{}`", crate::confine::shown(name)));
            Fault::new(ErrorCode::DriveUnavailable, format!("{wanted} is configured")).hint(format!(
                "there is {}; the operator names drives in `drive.providers`",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ))
        })
    }

    /// The drive of a document, and its id there; `path` is one of the usual drive.
    pub(super) fn document<'a>(&self, given: (Option<&'a str>, Option<&'a str>)) -> Result<(&Arc<dyn Provider>, &'a str), Fault> {
        match given {
            (Some(whole), None) => {
                let (drive, id) = id::split(whole)?;
                Ok((self.named(Some(drive))?, id))
            }
            (None, Some(path)) => {
                let drive = self.named(None)?;
                if drive.has_paths() {
                    return Ok((drive, path));
                }
                Err(Fault::new(ErrorCode::InvalidInput, format!("documents of `{}` have no paths", drive.name()))
                    .hint("give the `id` that drive.search gave"))
            }
            _ => Err(Fault::new(ErrorCode::InvalidInput, "exactly one of `id` and `path` is needed")),
        }
    }
}
