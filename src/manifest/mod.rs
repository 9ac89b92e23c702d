//! Reads tool manifests: what a tool is called, may do and takes, before any code of it is looked at.
//!
//! INVARIANT: a [`ToolDef`] is complete and has been tried: its schemas compile, its accepted examples pass and its refused ones do
//! not. That of the program's own was seen by its tests, and a start, which a client waits for, does not try them again. All problems of all files are told at once. Does not know handlers: `registry` joins them.

pub(crate) mod fields;
mod limits;
mod load;
mod marks;
mod reach;
mod source;
mod tool;
pub(crate) mod yaml;

pub use load::load;
pub use marks::Marks;
pub use reach::Reach;
#[cfg(debug_assertions)]
pub use source::fixture_files;
pub use source::{ManifestFile, read_folder, shipped, shipped_files};
pub use tool::{Example, Executor, ToolDef};

#[cfg(test)]
pub(crate) mod tests;
