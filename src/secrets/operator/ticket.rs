//! `operator.unlock`: that the passphrase was given in one terminal session a moment ago.
//!
//! INVARIANT: a ticket holds only in the session that is sealed into it and only until the time that is sealed into it.
//! The seal's key lies in `operator.json`, so a ticket stops nobody who can read the operator's files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Fault, Timestamp};

use super::{Session, UNLOCKED_FOR, files, trouble};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    session: i64,
    terminal: String,
    expires: Timestamp,
    seal: Digest,
}

fn path(home: &Path) -> PathBuf {
    home.join("operator.unlock")
}

/// A keyed hash, nested so that the inner digest cannot be extended.
fn seal(key: &[u8], session: &Session, expires: Timestamp) -> Digest {
    let parts: [&[u8]; 4] = [key, &session.id.to_be_bytes(), session.terminal.as_bytes(), &expires.unix_millis().to_be_bytes()];
    let inner = Digest::of_parts("toolgate operator ticket inner v1", &parts);
    Digest::of_parts("toolgate operator ticket v1", &[key, inner.as_bytes()])
}

/// Unlocks one session.
pub(super) fn write(home: &Path, session: &Session, key: &[u8], expires: Timestamp) -> Result<(), Fault> {
    let ticket = Ticket { session: session.id, terminal: session.terminal.clone(), expires, seal: seal(key, session, expires) };
    let path = path(home);
    let bytes = serde_json::to_vec(&ticket).map_err(|error| Fault::internal(error.to_string()))?;
    files::write(&path, &bytes).map_err(|error| trouble(&path, "cannot be written", &error))
}

/// Whether this session is unlocked. Whatever is odd about the ticket only means that the passphrase is asked for.
pub(super) fn holds(home: &Path, session: &Session, key: &[u8], now: Timestamp) -> bool {
    let bytes = match files::read(&path(home)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!(%error, "the unlock ticket is not used");
            return false;
        }
    };
    let Ok(ticket) = serde_json::from_slice::<Ticket>(&bytes) else { return false };
    let ours = ticket.session == session.id && ticket.terminal == session.terminal;
    // Further ahead than it can be: the clock was set back, or somebody else wrote it.
    let fresh = now < ticket.expires && ticket.expires <= now.plus(UNLOCKED_FOR);
    let sealed = same(seal(key, session, ticket.expires).as_bytes(), ticket.seal.as_bytes());
    ours && fresh && sealed
}

/// Compares without stopping at the first difference.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

pub(super) fn remove(home: &Path) -> Result<(), Fault> {
    let path = path(home);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(trouble(&path, "cannot be removed", &error)),
    }
}
