//! What a running call brings besides its answer: labels for its run, beyond those that its manifest states, and what its client answered.
//!
//! INVARIANT: what was told is never taken back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::call::Answers;
use crate::confine::RelPath;
use crate::domain::{Globs, Labels};

/// What one call told.
#[derive(Debug, Default)]
pub struct Brought {
    untrusted: AtomicBool,
    private: AtomicBool,
    nothing: AtomicBool,
    private_paths: Globs,
    answers: Mutex<Answers>,
}

impl Brought {
    /// Nothing yet; reading a file that one of these patterns matches will mark the run as private.
    #[must_use]
    pub fn new(private_paths: Globs) -> Self {
        Self { private_paths, ..Self::default() }
    }

    /// The answer holds content with these labels.
    pub fn add(&self, labels: Labels) {
        self.untrusted.fetch_or(labels.untrusted, Ordering::AcqRel);
        self.private.fetch_or(labels.private, Ordering::AcqRel);
    }

    /// A file of the workspace or drive was read.
    pub fn read_file(&self, path: &RelPath) {
        if self.private_paths.matches(path.as_str()) {
            self.private.store(true, Ordering::Release);
        }
    }

    /// The answer holds nothing of what the manifest's labels speak of, as where a search finds nothing.
    pub fn found_nothing(&self) {
        self.nothing.store(true, Ordering::Release);
    }

    /// What the client was asked, and answered.
    pub fn answered(&self, answers: &Answers) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers.clone());
    }

    /// All that the client answered.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All labels of the call, given those that its manifest states.
    #[must_use]
    pub fn with(&self, stated: Labels) -> Labels {
        let told = Labels { untrusted: self.untrusted.load(Ordering::Acquire), private: self.private.load(Ordering::Acquire) };
        let stated = if self.nothing.load(Ordering::Acquire) { Labels::default() } else { stated };
        told.union(stated)
    }
}
