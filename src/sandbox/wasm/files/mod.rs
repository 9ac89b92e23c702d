//! The guest's file system, in memory: `/work` to read, `/out` and `/tmp` to write, `/python` the standard library, `/dev/null`.
//!
//! INVARIANT: nothing here opens a file of the machine, so no path, link or race inside the guest can reach one, and what a call writes is
//! gone with it. There are no links: none can be made. What can be written to is bounded by the call's [`Ledger`].

mod host;
mod library;
mod node;
mod stream;
mod tree;

#[cfg(test)]
mod tests;

pub(super) use host::{Files, FilesView, Handles};
pub(super) use library::library;
pub(super) use node::Ledger;
pub(super) use tree::{Disk, Library};
