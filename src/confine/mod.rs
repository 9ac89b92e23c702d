//! One folder, and no way out of it: every access resolves beneath the folder's handle, passes no link, and refuses what is not a
//! plain file with one name.
//!
//! INVARIANT: no function here takes a path that has not become a [`RelPath`]; a link or special file on the way is a refusal, whatever
//! it points to and whenever it appears. Does not know runs or tools.

mod folder;
mod path;
mod step;
mod survey;

#[cfg(test)]
mod tests;

pub use folder::{Folder, Kind};
pub use path::{RelPath, is_invisible, shown, twins};
pub use survey::{FileEntry, Other, Survey};
