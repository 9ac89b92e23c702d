//! `drive.search`, `drive.get`, `drive.download`, `drive.upload`: documents of the drives that the operator configured.
//!
//! INVARIANT: a drive is reached only here: a folder through its handle, a service through `egress` at the hosts of its settings. What a
//! drive calls its files is data and never becomes a path of this machine.

mod download;
mod drives;
mod get;
pub mod google;
mod id;
mod index;
pub mod keys;
pub mod local;
mod media;
pub mod objects;
mod ports;
mod provider;
mod search;
mod upload;

#[cfg(test)]
mod tests;

pub use download::DriveDownload;
pub use drives::Drives;
pub use get::DriveGet;
pub use index::Index;
pub use local::LocalDrive;
pub use ports::DrivePorts;
pub use provider::{Document, Find, Finds, Kept, Provider, Query, Sending, Sent, Wanted};
pub use search::DriveSearch;
pub use upload::DriveUpload;

/// What `egress` calls the requests to drives.
pub const PURPOSE: &str = "drive";

/// Bytes of one document that is read or sent.
const MOST_BYTES: crate::domain::Bytes = crate::domain::Bytes(64 << 20);
