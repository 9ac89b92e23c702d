//! Watches the local drive, so that a search needs not look at every file anew.
//!
//! INVARIANT: what is not known for sure to be unchanged is looked at: without a watch, after a gap, or after a failure that is everything.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use notify::{RecursiveMode, Watcher as _};
use tokio_util::sync::CancellationToken;

use crate::confine::RelPath;
use crate::domain::Millis;

use super::{LocalDrive, VERSIONS};

/// Paths that are remembered one by one; with more everything is looked at.
const MOST_PATHS: usize = 1_000;
/// How long the first look may take, which nobody waits for.
const FIRST_LOOK: Millis = Millis(3_600_000);

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    /// Perhaps everything.
    Anything,
    /// No more than these and what lies beneath them.
    These(BTreeSet<RelPath>),
}

/// What was seen since the last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether anybody watches.
    watched: bool,
    changed: Option<Changed>,
}

impl Seen {
    /// What must be looked at; from now on it counts as looked at.
    pub(super) fn take(&mut self) -> Changed {
        let seen = self.changed.take();
        if self.watched { seen.unwrap_or_else(|| Changed::These(BTreeSet::new())) } else { Changed::Anything }
    }

    /// Nothing is known any more.
    pub(super) fn lost(&mut self) {
        self.changed = Some(Changed::Anything);
    }

    /// This path may hold something else.
    pub(super) fn touched(&mut self, path: RelPath) {
        match self.changed.get_or_insert_with(|| Changed::These(BTreeSet::new())) {
            Changed::Anything => {}
            Changed::These(paths) if paths.len() >= MOST_PATHS => self.lost(),
            Changed::These(paths) => drop(paths.insert(path)),
        }
    }
}

impl LocalDrive {
    /// Watches until `stop`, and has everything looked at once. Where the system does not watch, each search looks for itself.
    pub async fn watch(self, stop: CancellationToken) {
        let watcher = self.watcher();
        if watcher.is_some() {
            let mut seen = self.state.seen.lock().unwrap_or_else(PoisonError::into_inner);
            // Whatever happened before the watch began was not seen.
            seen.lost();
            seen.watched = true;
        }
        match self.refresh(&stop, FIRST_LOOK).await {
            Ok(_) => {}
            Err(fault) => tracing::debug!(code = %fault.code, "the local drive cannot be looked at yet: {fault}"),
        }
        stop.cancelled().await;
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).watched = false;
        drop(watcher);
    }

    fn watcher(&self) -> Option<notify::RecommendedWatcher> {
        let root = self.root.canonicalize().ok()?;
        let (seen, base) = (self.state.seen.clone(), root.clone());
        let settings = notify::Config::default().with_follow_symlinks(false);
        let told = move |event: notify::Result<notify::Event>| note(&seen, &base, event);
        let watcher = notify::RecommendedWatcher::new(told, settings).and_then(|mut watcher| {
            watcher.watch(&root, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        watcher.inspect_err(|error| tracing::info!("the local drive is not watched, each search looks at all of it: {error}")).ok()
    }
}

fn note(seen: &Mutex<Seen>, root: &std::path::Path, event: notify::Result<notify::Event>) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(event) = event else { return seen.lost() };
    if event.need_rescan() {
        return seen.lost();
    }
    if matches!(event.kind, notify::EventKind::Access(_)) {
        return;
    }
    for path in &event.paths {
        let Ok(inside) = path.strip_prefix(root) else { continue };
        match inside.to_str().map(RelPath::parse) {
            Some(Ok(path)) if path.parts().next() == Some(VERSIONS) => {}
            Some(Ok(path)) => seen.touched(path),
            // The folder itself, or a name that no search shows.
            Some(Err(_)) | None if inside.as_os_str().is_empty() => seen.lost(),
            Some(Err(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn without_a_watch_everything_is_looked_at() {
        let mut seen = Seen::default();
        seen.touched(path("a"));
        assert_eq!(seen.take(), Changed::Anything);
        seen.watched = true;
        assert_eq!(seen.take(), Changed::These(BTreeSet::new()));
        seen.touched(path("a"));
        seen.touched(path("a"));
        assert_eq!(seen.take(), Changed::These([path("a")].into()));
        seen.lost();
        seen.touched(path("a"));
        assert_eq!(seen.take(), Changed::Anything);
        (0..=MOST_PATHS).for_each(|n| seen.touched(path(&format!("f{n}"))));
        assert_eq!(seen.take(), Changed::Anything);
    }

    #[test]
    fn a_gap_or_an_error_is_everything() {
        let seen = Mutex::new(Seen { watched: true, changed: None });
        let root = std::path::Path::new("/drive");
        let event = |file: &str| notify::Event::new(notify::EventKind::Any).add_path(root.join(file));
        note(&seen, root, Ok(event("a/b.md")));
        note(&seen, root, Ok(event(".versions/a/1")));
        note(&seen, root, Ok(notify::Event::new(notify::EventKind::Access(notify::event::AccessKind::Any)).add_path(root.join("read"))));
        assert_eq!(seen.lock().unwrap().take(), Changed::These([path("a/b.md")].into()));
        note(&seen, root, Ok(event("a").set_flag(notify::event::Flag::Rescan)));
        assert_eq!(seen.lock().unwrap().take(), Changed::Anything);
        note(&seen, root, Err(notify::Error::generic("lost")));
        assert_eq!(seen.lock().unwrap().take(), Changed::Anything);
    }
}
