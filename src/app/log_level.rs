//! The log's level while processes run: each looks at a file of the home that the operator's verb writes.
//!
//! INVARIANT: what was there at the start changes nothing, so a process begins as its settings say; a text that is no level changes nothing
//! and is told. Nothing that comes over MCP gets here. Each change is an event of the process that made it.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::cli::ports::LogSwitch;
use crate::config::LogLevel;
use crate::domain::{Actor, Fault};
use crate::gateway::Gateway;
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Store};

/// The file's name in the home.
const FILE: &str = "log-level";
/// What stands for the settings' own level.
pub(super) const AS_SET: &str = "default";
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What of the file tells that it was written anew.
type Stamp = (u64, Option<SystemTime>, u64);

/// The level in a word.
pub(super) fn word(level: Option<LogLevel>) -> &'static str {
    level.map_or(AS_SET, LogLevel::as_str)
}

/// Asks every process of the home for this level: whole or not at all.
///
/// # Errors
/// Where the home cannot be written.
pub(super) fn write(home: &Path, level: Option<LogLevel>) -> Result<(), Fault> {
    let (file, new) = (home.join(FILE), home.join(format!("{FILE}.{}", std::process::id())));
    let written = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut open = options.open(&new)?;
        open.write_all(format!("{}\n", word(level)).as_bytes())?;
        open.sync_all()?;
        std::fs::rename(&new, &file)
    };
    written().map_err(|error| {
        let _ = std::fs::remove_file(&new);
        Fault::internal(format!("`{}` cannot be written: {error}", file.display()))
    })
}

/// What is known of the file.
pub(super) struct Watch {
    file: PathBuf,
    settled: Option<Stamp>,
}

impl Watch {
    /// Begins with the file as it is now.
    pub(super) fn new(home: &Path) -> Self {
        let file = home.join(FILE);
        Self { settled: stamp(&file), file }
    }

    /// One look: the level that was asked for since the last one, or the text that is none.
    pub(super) fn look(&mut self) -> Option<Result<Option<LogLevel>, String>> {
        let seen = stamp(&self.file);
        if seen == self.settled {
            return None;
        }
        self.settled = seen;
        seen?;
        let mut text = String::new();
        let file = std::fs::File::open(&self.file).ok()?;
        if file.take(64).read_to_string(&mut text).is_err() {
            return Some(Err("no text".to_owned()));
        }
        Some(match text.trim() {
            AS_SET => Ok(None),
            word => LogLevel::from_word(word).map(Some).ok_or_else(|| word.escape_debug().to_string()),
        })
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&about);
    #[cfg(not(unix))]
    let inode = 0;
    Some((about.len(), about.modified().ok(), inode))
}

/// Looks until `stop`, and sets the level that is asked for.
pub(super) async fn follow(mut watch: Watch, switch: LogSwitch, (gateway, store): (Gateway, Store), stop: CancellationToken) {
    let mut now = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let level = match watch.look() {
            None => continue,
            Some(Ok(level)) => level,
            Some(Err(text)) => {
                tracing::warn!(name: "log_level_unknown", "`{FILE}` in the home holds `{text}`, which is no level");
                continue;
            }
        };
        if level == now {
            continue;
        }
        switch(level);
        let from = std::mem::replace(&mut now, level);
        tracing::warn!(name: "log_level_changed", from = word(from), to = word(level), "the log has another level");
        if let Err(fault) = record(&gateway, &store, (from, level)).await {
            tracing::error!(code = %fault.code, "the change of the log's level could not be recorded: {fault}");
        }
    }
}

async fn record(gateway: &Gateway, store: &Store, (from, to): (Option<LogLevel>, Option<LogLevel>)) -> Result<(), Fault> {
    let changed = EventDraft::new(EventKind::SystemEvent, Actor::system())
        .field("event", "log_level_changed")
        .field("from", word(from))
        .field("to", word(to))
        .field("process", store.owner().to_string());
    let run = gateway.adhoc_run(&Actor::system()).await?;
    store.append(Append { run: Some(run), events: vec![changed], ..Append::default() }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_heard_once_and_what_was_there_before_is_not() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), Some(LogLevel::Trace)).unwrap();
        let mut watch = Watch::new(home.path());
        assert_eq!(watch.look(), None);
        write(home.path(), Some(LogLevel::Debug)).unwrap();
        assert_eq!((watch.look(), watch.look()), (Some(Ok(Some(LogLevel::Debug))), None));
        write(home.path(), None).unwrap();
        assert_eq!(watch.look(), Some(Ok(None)));
        std::fs::remove_file(home.path().join(FILE)).unwrap();
        assert_eq!(watch.look(), None);
        std::fs::write(home.path().join(FILE), "loud\u{1b}").unwrap();
        assert_eq!(watch.look(), Some(Err("loud\\u{1b}".to_owned())));
        std::fs::write(home.path().join(FILE), "x".repeat(1 << 20)).unwrap();
        assert!(matches!(watch.look(), Some(Err(text)) if text.len() == 64));
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [FILE], "nothing lies beside it");
    }
}
