//! What is known of a drive's files between calls: as the index holds it and as searches use it.
//!
//! INVARIANT: data only. The words of a document stand in a change that puts it, and nowhere else.

use super::Digest;

/// A file as the index last saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveFile {
    /// Bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970; 0 where it must be read again to be sure.
    pub stamp: i64,
    /// SHA-256 of the bytes that were read; zero where the file is only known by its name.
    pub digest: Digest,
}

/// One change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveChange {
    /// The file is new or holds something else.
    Put {
        /// Where.
        path: String,
        /// What is known of it.
        file: DriveFile,
        /// Its words; empty where it is no text.
        text: String,
    },
    /// It was looked at anew and holds what it held.
    Touch {
        /// Where.
        path: String,
        /// What is known of it now.
        file: DriveFile,
    },
    /// It is gone.
    Remove {
        /// Where it was.
        path: String,
    },
}

/// A file that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct DriveHit {
    /// Where.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// How well it fits: more is better.
    pub score: f64,
}
