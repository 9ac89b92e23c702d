//! The vault: secrets by name, sealed under a master key, each with the hosts and tools it is for.
//!
//! INVARIANT: values leave by [`Vault::lend`] and [`Vault::export`] alone; whatever is opened is told to the redactor first; every change
//! is one transaction with the event that tells of it, decided on the log as it then is.
//! Does not decide whether a call may run, and does not protect from a program of the operator's own OS user.

mod carry;
mod exchange;
mod key;
mod place;
mod renew;
mod ring;
mod rotate;
mod seal;
mod shelf;
mod state;
mod terms;
mod view;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{Clock, ErrorCode, Fault, SecretId, SecretRow, VaultWrite};

use super::live::{self, LiveSecrets};
use super::operator::OperatorProof;

pub use carry::{Carrier, LARGEST as LARGEST_EXPORT};
pub use exchange::save_export;
pub use key::{KeyId, MasterKey};
pub use place::{KeyPlace, Keyring, Lies, SystemKeyring, Wanted};
pub use shelf::{Kept, Shelf, Told};
pub use terms::{SecretHost, SecretName, Terms};
pub use view::{Health, Lent, Rotation, SecretView};

use ring::{Opened, is_known, key_row};
use seal::Bound;

/// The longest value, in bytes.
pub const LONGEST: usize = live::LONGEST;

/// The shortest value, in bytes: a shorter one cannot be told from ordinary text, and so not be kept out of it.
pub const SHORTEST: usize = live::SHORTEST;

/// The most secrets of one vault.
const MOST: usize = 1_000;

/// How often a change is decided anew because somebody else changed the vault meanwhile.
const TRIES: usize = 8;

/// What a vault is made of.
pub struct VaultParts {
    /// Where records lie.
    pub shelf: Arc<dyn Shelf>,
    /// Where the key lies.
    pub place: KeyPlace,
    /// Who keeps values out of everything that is written.
    pub live: LiveSecrets,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The vault of one home; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    parts: VaultParts,
    /// The keys as they were last read; read again where a record needs another.
    ring: Mutex<Option<Arc<Opened>>>,
    /// The log's length at the last [`Vault::refresh`], and the names that were live then.
    seen: tokio::sync::Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: Option<u64>,
    names: Vec<String>,
}

/// What a change comes to: rows, events, and what its caller wants to hear.
type Change<T> = (Vec<VaultWrite>, Vec<Told>, T);

impl Vault {
    /// A vault; nothing is read yet.
    #[must_use]
    pub fn new(parts: VaultParts) -> Self {
        Self { inner: Arc::new(Inner { parts, ring: Mutex::default(), seen: tokio::sync::Mutex::default() }) }
    }

    /// Every secret, by name, without its value. Needs no key.
    ///
    /// # Errors
    /// `VAULT_BROKEN` where the records are not as the log left them; what the shelf says.
    pub async fn list(&self) -> Result<Vec<SecretView>, Fault> {
        let kept = self.load().await?;
        let mut all = kept.secrets.iter().map(view).collect::<Result<Vec<_>, Fault>>()?;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// Where the key lies; `None` where there is none yet.
    ///
    /// # Errors
    /// `VAULT_LOCKED`.
    pub async fn key_lies(&self) -> Result<Option<String>, Fault> {
        let kept = self.load().await?;
        if kept.keys.is_empty() {
            return Ok(None);
        }
        self.ring(&kept).await.map(|opened| Some(opened.lies.to_string()))
    }

    /// How the vault is: reads the key where it lies and opens every secret.
    ///
    /// # Errors
    /// `VAULT_LOCKED` where the key is missing, wrong or open to others; `VAULT_BROKEN`; what the shelf says.
    pub async fn health(&self) -> Result<Health, Fault> {
        let kept = self.load().await?;
        self.forget_ring();
        let opened = self.ring_or_none(&kept).await?;
        if let Some(opened) = &opened {
            for row in &kept.secrets {
                self.open(opened, row)?;
            }
        }
        let lies = opened.map(|opened| opened.lies.clone());
        Ok(Health { secrets: kept.secrets.len(), lies, keyed: kept.keyed, unfinished: kept.keys.len() > 1 })
    }

    /// Sets a secret's value, and its terms with it.
    ///
    /// # Errors
    /// `INVALID_INPUT`, `LIMIT_EXCEEDED` for a value or terms that cannot be; `VAULT_LOCKED`, `VAULT_BROKEN`; what the shelf says.
    pub async fn set(&self, name: &SecretName, value: &SecretString, terms: &Terms, _by: &OperatorProof) -> Result<SecretView, Fault> {
        check_value(value)?;
        terms.check()?;
        let _turn = self.turn().await?;
        self.inner.parts.live.add(name.as_str(), value);
        self.change(|kept, opened| {
            let row = self.next_row(kept, opened, name, value, terms)?;
            Ok((vec![VaultWrite::Put(row.clone())], vec![told_set(&row, name, opened)?], view(&row)?))
        })
        .await
    }

    /// Takes a secret away.
    ///
    /// # Errors
    /// `UNKNOWN_SECRET`; what the shelf says. Needs no key, so that a secret whose key is lost can be taken away.
    pub async fn remove(&self, name: &SecretName, _by: &OperatorProof) -> Result<(), Fault> {
        let shelf = &self.inner.parts.shelf;
        for _ in 0..TRIES {
            let kept = self.load().await?;
            let row = kept.secrets.iter().find(|row| row.name == name.as_str()).ok_or_else(|| unknown(name))?;
            let told = Told::Removed { secret: row.id, name: name.clone(), version: row.version };
            if shelf.keep(kept.last, vec![VaultWrite::Remove(row.id)], vec![told]).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Lends the values of these names to a tool.
    ///
    /// # Errors
    /// `UNKNOWN_SECRET` where there is none of a name, or not for this tool; `VAULT_LOCKED`, `VAULT_BROKEN`; what the shelf says.
    pub async fn lend(&self, names: &[SecretName], tool: Option<&str>) -> Result<Vec<Lent>, Fault> {
        let kept = self.load().await?;
        let rows = names
            .iter()
            .map(|name| {
                let row = kept.secrets.iter().find(|row| row.name == name.as_str()).ok_or_else(|| unknown(name))?;
                let terms = state::terms(row)?;
                if tool.is_some_and(|tool| !terms.allows_tool(tool)) { Err(unknown(name)) } else { Ok((row, name, terms)) }
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let opened = self.ring(&kept).await?;
        let mut lent = Vec::with_capacity(rows.len());
        for (row, name, terms) in rows {
            lent.push(Lent { name: name.clone(), value: self.open(&opened, row)?, terms });
        }
        self.rewrap_some(&kept, &opened).await;
        Ok(lent)
    }

    /// Tells the redactor of every value there is, if the vault changed since this was last done.
    ///
    /// # Errors
    /// `VAULT_LOCKED`, `VAULT_BROKEN`; what the shelf says.
    pub async fn refresh(&self) -> Result<(), Fault> {
        let mut seen = self.inner.seen.lock().await;
        if seen.last == Some(self.inner.parts.shelf.last().await?) {
            return Ok(());
        }
        let kept = self.load().await?;
        let names: Vec<String> = kept.secrets.iter().map(|row| row.name.clone()).collect();
        if !kept.secrets.is_empty() {
            let opened = self.ring(&kept).await?;
            for row in &kept.secrets {
                self.open(&opened, row)?;
            }
        }
        seen.names.iter().filter(|gone| !names.contains(gone)).for_each(|gone| self.inner.parts.live.remove(gone));
        *seen = Seen { last: Some(kept.last), names };
        Ok(())
    }
}

/// The parts of the above.
impl Vault {
    async fn load(&self) -> Result<Kept, Fault> {
        let kept = self.inner.parts.shelf.load().await?;
        state::check(&kept)?;
        Ok(kept)
    }

    /// Decides a change on the vault as it is and makes it; decides anew where somebody else was faster. Makes the first key.
    async fn change<T>(&self, decide: impl Fn(&Kept, &Opened) -> Result<Change<T>, Fault>) -> Result<T, Fault> {
        for _ in 0..TRIES {
            let kept = self.load().await?;
            let opened = match self.ring_or_none(&kept).await? {
                Some(opened) => opened,
                None => self.first_key().await?,
            };
            let (mut writes, mut told, answer) = decide(&kept, &opened)?;
            let current = opened.ring.current()?;
            if !is_known(&kept, current) {
                writes.insert(0, VaultWrite::AddKey(key_row(current)));
                told.insert(0, Told::KeyAdded { key: current.id().to_string() });
            }
            if self.inner.parts.shelf.keep(kept.last, writes, told).await? {
                return Ok(answer);
            }
        }
        Err(busy())
    }

    fn open(&self, opened: &Opened, row: &SecretRow) -> Result<SecretString, Fault> {
        let bytes = seal::open(&opened.ring, &bound(row), &row.blob)?;
        let value = std::str::from_utf8(&bytes).map_err(|_| Fault::internal("a secret is not text"))?;
        let value = SecretString::from(value.to_owned());
        self.inner.parts.live.add(&row.name, &value);
        Ok(value)
    }

    fn next_row(&self, kept: &Kept, opened: &Opened, name: &SecretName, value: &SecretString, terms: &Terms) -> Result<SecretRow, Fault> {
        let terms = serde_json::to_string(terms).map_err(|_| Fault::internal("terms have no JSON form"))?;
        if name.as_str().contains(value.expose_secret()) || terms.contains(value.expose_secret()) {
            return Err(Fault::new(
                ErrorCode::InvalidInput,
                "the value stands in the secret's own name or terms, which everybody can read",
            ));
        }
        let before = kept.secrets.iter().find(|row| row.name == name.as_str());
        if before.is_none() && kept.secrets.len() >= MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("the vault holds {MOST} secrets already")));
        }
        let now = self.inner.parts.clock.now();
        let mut row = SecretRow {
            id: before.map_or_else(|| SecretId::mint(now), |row| row.id),
            name: name.to_string(),
            version: before.map_or(0, |row| row.version) + 1,
            terms,
            blob: Vec::new(),
            created: before.map_or(now, |row| row.created),
            updated: now,
        };
        row.blob = seal::seal(opened.ring.current()?, &bound(&row), value.expose_secret().as_bytes())?;
        Ok(row)
    }
}

fn bound(row: &SecretRow) -> Bound<'_> {
    Bound { id: row.id, name: &row.name, version: row.version, terms: &row.terms }
}

fn told_set(row: &SecretRow, name: &SecretName, opened: &Opened) -> Result<Told, Fault> {
    Ok(Told::Set { secret: row.id, name: name.clone(), version: row.version, key: opened.ring.current()?.id().to_string() })
}

fn view(row: &SecretRow) -> Result<SecretView, Fault> {
    Ok(SecretView {
        name: row.name.parse()?,
        version: row.version,
        terms: state::terms(row)?,
        key: seal::key_of(&row.blob).map(|key| key.to_string()).unwrap_or_default(),
        created: row.created,
        updated: row.updated,
    })
}

fn check_value(value: &SecretString) -> Result<(), Fault> {
    let length = value.expose_secret().len();
    if length < SHORTEST {
        return Err(Fault::new(ErrorCode::InvalidInput, format!("the value has fewer than {SHORTEST} bytes"))
            .hint("so short a value cannot be told from ordinary text, and so not be kept out of logs and answers"));
    }
    if length > LONGEST {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("the value has more than {LONGEST} bytes")));
    }
    Ok(())
}

/// The fault of a name that is not there, or not for whoever asks.
#[must_use]
pub fn unknown(name: &SecretName) -> Fault {
    Fault::new(ErrorCode::UnknownSecret, format!("there is no secret `{name}` here"))
        .hint("`secret.list` shows the names that may be used; the operator sets one with `toolgate vault set`")
}

fn busy() -> Fault {
    Fault::new(ErrorCode::RunState, "other processes keep changing the vault").hint("nothing was changed; try again")
}
