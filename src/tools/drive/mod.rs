//! `drive.search` and `drive.get`: documents of a drive.
//!
//! INVARIANT: a drive is read only here, and only through the folder that the operator named. Does not upload or log in.

mod get;
mod local;
mod search;

#[cfg(test)]
mod tests;

pub use get::DriveGet;
pub use local::LocalDrive;
pub use search::DriveSearch;
