//! Proves that the operator is there: by the passphrase, or by having given it on this very terminal a moment ago.
//!
//! INVARIANT: an [`OperatorProof`] is made here alone, after a passphrase fitted or a ticket of this session held. A try counts as
//! a failure before it is checked, so that breaking it off gains nothing.
//! Does not protect from a program that runs as the operator's own OS user: that one can read and replace the files.

mod ask;
mod record;
mod session;
mod ticket;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Clock, ErrorCode, Fault, Millis, Timestamp};

use super::files;

pub use ask::{Ask, FromDescriptor, FromTerminal, Passphrase};
pub use session::Session;

use record::Record;

/// For how long a passphrase typed on a terminal unlocks that terminal.
pub const UNLOCKED_FOR: Millis = Millis(5 * 60 * 1000);

/// The shortest passphrase that is taken, in characters.
pub const SHORTEST: usize = 8;

/// How the operator was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvedBy {
    /// The passphrase was given.
    Passphrase,
    /// The passphrase was set, as there was none.
    FirstPassphrase,
    /// It was given on this terminal a moment ago.
    Unlocked,
}

/// The operator was here: whoever holds this may answer one question that only the operator may answer.
///
/// Nobody else can make one:
/// ```compile_fail
/// let forged = toolgate::secrets::operator::OperatorProof { by: toolgate::secrets::operator::ProvedBy::Passphrase, at: todo!() };
/// ```
#[derive(Debug)]
#[must_use = "a proof that is not shown proves nothing"]
pub struct OperatorProof {
    by: ProvedBy,
    at: Timestamp,
}

impl OperatorProof {
    /// How.
    #[must_use]
    pub fn by(&self) -> ProvedBy {
        self.by
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// The operator of one home.
pub struct Operator {
    home: PathBuf,
    clock: Arc<dyn Clock>,
    session: Option<Session>,
}

impl Operator {
    /// The operator of this home, asked for in the terminal session this process belongs to.
    #[must_use]
    pub fn of_home(home: &Path, clock: Arc<dyn Clock>) -> Self {
        Self::in_session(home, clock, Session::current())
    }

    /// The same in a session that is told; without one nothing stays unlocked.
    #[must_use]
    pub fn in_session(home: &Path, clock: Arc<dyn Clock>, session: Option<Session>) -> Self {
        Self { home: home.to_owned(), clock, session }
    }

    /// Whether a passphrase has been set.
    ///
    /// # Errors
    /// `OPERATOR_LOCKED` where the file is there but cannot be read.
    pub fn is_set(&self) -> Result<bool, Fault> {
        Ok(Record::load(&self.home)?.is_some())
    }

    /// Asks for the passphrase, unless this terminal is unlocked; sets it where there is none.
    ///
    /// # Errors
    /// `OPERATOR_LOCKED`: wrong or missing passphrase, too many tries, or files that cannot be trusted.
    pub fn prove(&self, ask: &dyn Ask) -> Result<OperatorProof, Fault> {
        if !self.is_set()? {
            let passphrase = self.ask_for_new(ask)?;
            return self.set(&passphrase, ask.is_a_person());
        }
        if ask.is_a_person()
            && let Some(proof) = self.unlocked()?
        {
            return Ok(proof);
        }
        let passphrase = ask.ask("Operator's passphrase: ")?;
        self.check(&passphrase, ask.is_a_person())
    }

    /// Proof without asking, where this very terminal session is unlocked.
    ///
    /// # Errors
    /// `OPERATOR_LOCKED` where the operator's file cannot be read.
    pub fn unlocked(&self) -> Result<Option<OperatorProof>, Fault> {
        let (Some(session), Some(record)) = (&self.session, Record::load(&self.home)?) else { return Ok(None) };
        let at = self.clock.now();
        let holds = ticket::holds(&self.home, session, &record.ticket_key()?, at);
        Ok(holds.then_some(OperatorProof { by: ProvedBy::Unlocked, at }))
    }

    /// Ends what is unlocked, for every session.
    ///
    /// # Errors
    /// Where the ticket cannot be removed.
    pub fn lock(&self) -> Result<(), Fault> {
        ticket::remove(&self.home)
    }

    fn ask_for_new(&self, ask: &dyn Ask) -> Result<Passphrase, Fault> {
        let passphrase = ask.ask(&format!("No operator's passphrase is set yet. New passphrase (at least {SHORTEST} characters): "))?;
        if ask.is_a_person() && !ask.ask("The same again: ")?.is(&passphrase) {
            return Err(Fault::new(ErrorCode::OperatorLocked, "the two passphrases differ").hint("nothing was set; try again"));
        }
        Ok(passphrase)
    }

    fn set(&self, passphrase: &Passphrase, remember: bool) -> Result<OperatorProof, Fault> {
        if passphrase.chars() < SHORTEST {
            let message = format!("the passphrase has fewer than {SHORTEST} characters");
            return Err(Fault::new(ErrorCode::OperatorLocked, message).hint("nothing was set; choose a longer one"));
        }
        let _turn = turn(&self.home)?;
        if Record::load(&self.home)?.is_some() {
            return Err(Fault::new(ErrorCode::OperatorLocked, "somebody else set the operator's passphrase just now")
                .hint("if that was not you, see who can write in toolgate's home"));
        }
        let record = Record::new(passphrase)?;
        record.save(&self.home)?;
        self.proved(&record, ProvedBy::FirstPassphrase, remember)
    }

    fn check(&self, passphrase: &Passphrase, remember: bool) -> Result<OperatorProof, Fault> {
        let _turn = turn(&self.home)?;
        let Some(mut record) = Record::load(&self.home)? else {
            return Err(Fault::new(ErrorCode::OperatorLocked, "the operator's passphrase was removed just now"));
        };
        let now = self.clock.now();
        let wait = record.wait(now);
        if wait > Millis(0) {
            let sec = wait.0.div_ceil(1000);
            return Err(Fault::new(ErrorCode::OperatorLocked, format!("{} wrong passphrases in a row", record.failures()))
                .hint(format!("try again in {sec} s"))
                .details(serde_json::json!({ "retry_after_ms": wait.0 })));
        }
        record.count_failure(now);
        record.save(&self.home)?;
        if !record.fits(passphrase)? {
            return Err(Fault::new(ErrorCode::OperatorLocked, "the passphrase is wrong")
                .hint("try again; after three wrong ones in a row each try has to wait longer"));
        }
        record.forget_failures();
        record.save(&self.home)?;
        self.proved(&record, ProvedBy::Passphrase, remember)
    }

    fn proved(&self, record: &Record, by: ProvedBy, remember: bool) -> Result<OperatorProof, Fault> {
        let at = self.clock.now();
        if let (true, Some(session)) = (remember, &self.session) {
            ticket::write(&self.home, session, &record.ticket_key()?, at.plus(UNLOCKED_FOR))?;
        }
        Ok(OperatorProof { by, at })
    }
}

/// The fault of a file that cannot be used.
fn trouble(path: &Path, what: &str, why: &dyn std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::OperatorLocked, format!("`{}` {what}: {why}", path.display()))
        .hint("the operator's passphrase is kept there; look at the file, or remove it and set a new passphrase")
}

/// Waits until no other process tries a passphrase on this home; others wait until what this returns is dropped.
fn turn(home: &Path) -> Result<std::fs::File, Fault> {
    let path = home.join("operator.lock");
    let turn = std::fs::create_dir_all(home).and_then(|()| files::turn(&path));
    turn.map_err(|error| trouble(&path, "cannot be locked", &error))
}
