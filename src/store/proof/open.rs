//! Brings a home's key, its checkpoints and its database together, before the writer starts.
//!
//! INVARIANT: a key is made only in a home that never had one; an exchanged or missing key, a missing file or a checkpoint that does
//! not hold stops the opening with the first record named. Runs under the home's lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use toolgate_evidence::tree::empty;

use crate::domain::{Clock, Digest, ErrorCode, Fault, Millis, RunId};

use super::super::fault::Doing as _;
use super::super::state::broken;
use super::act::{Acceptance, Act, Pace, Proofs};
use super::anchor::{Anchor, News, Places, Reach};
use super::key::{AuditKey, KnownKey, SignedCheckpoint};
use super::keyfile::KeyFiles;
use super::start::{self, Broken, Found};
use super::{key, rows};

/// How a journal's checkpoints are made and kept.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The key's file, where it is not `audit/key` in the home.
    pub key_file: Option<PathBuf>,
    /// A checkpoint is made at the latest after so many records.
    pub every_events: u64,
    /// And at the latest after so long.
    pub every: Millis,
    /// A folder elsewhere that gets every checkpoint too.
    pub witness: Option<PathBuf>,
    /// Whether calls are refused while the witness cannot be reached.
    pub witness_required: bool,
}

/// What a store knows of its checkpoints outside the database.
#[derive(Clone)]
pub(in crate::store) struct Outside {
    pub(in crate::store) files: KeyFiles,
    pub(in crate::store) places: Places,
    reach: Reach,
    required: bool,
}

impl Outside {
    pub(in crate::store) fn new(home: &Path, options: &AuditOptions) -> Self {
        let files = KeyFiles::new(home, options.key_file.as_deref());
        let places = Places::new(files.folder(), options.witness.as_deref());
        Self { files, places, reach: Reach::default(), required: options.witness_required }
    }

    /// Why no new calls may be taken, where a witness is required and not reached.
    pub(in crate::store) fn refusal(&self) -> Option<Fault> {
        self.reach.trouble().filter(|fault| self.required && fault.code == ErrorCode::WitnessUnreachable)
    }

    /// The checkpoints outside the database.
    pub(in crate::store) fn found(&self) -> Result<Vec<Found>, Fault> {
        let file = self.places.kept()?.map(|note| Found { place: start::FILE, note });
        let witness = match self.places.witnessed() {
            Err(fault) if !self.required => {
                tracing::error!("{fault}");
                None
            }
            witness => witness?.map(|note| Found { place: start::WITNESS, note }),
        };
        Ok(file.into_iter().chain(witness).collect())
    }
}

/// The two ways in which opening ends early.
pub(in crate::store) enum Refused {
    /// The journal is not the one that was signed.
    Broken(Broken),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Checks a home against its checkpoints and gives the writer what it makes new ones with. A home without a key gets one.
pub(in crate::store) async fn open(
    connection: &mut SqliteConnection,
    outside: &Outside,
    options: &AuditOptions,
    clock: &dyn Clock,
) -> Result<Proofs, Refused> {
    let known = rows::keys(connection).await?;
    let witnessed = outside.places.witnessed();
    let (places, witnessed) = match witnessed {
        Ok(note) => (outside.places.clone(), note),
        Err(fault) if outside.required => return Err(fault.into()),
        Err(fault) => {
            // What was not compared is not added to: the next start compares.
            tracing::error!("{fault}");
            (Places::new(outside.files.folder(), None), None)
        }
    };
    let kept = outside.places.kept()?;
    let key = match known.last() {
        Some(last) => present(&outside.files, last, rows::covered(connection).await.doing("reading the newest checkpoint")?)?,
        None => {
            let older = kept.iter().chain(&witnessed).any(|note| key::size_of(note) != Some(0));
            if older {
                let why = "the database is from before its first checkpoint, and there is one outside it";
                return Err(Refused::Broken(Broken::at(start::length(connection).await?, why)));
            }
            first(connection, outside, clock).await?
        }
    };
    let known = if known.is_empty() { rows::keys(connection).await? } else { known };
    let newest = rows::newest(connection, &key.public().id()).await?;
    let Some(kept) = outside.places.kept()? else {
        let size = newest.map_or(0, |newest| newest.size);
        return Err(Refused::Broken(Broken::at(size, "the file `audit/checkpoint` of the home is gone")));
    };
    let mut found = vec![Found { place: start::FILE, note: kept.clone() }];
    found.extend(newest.map(|newest| Found { place: start::DATABASE, note: newest.note }));
    found.extend(witnessed.clone().map(|note| Found { place: start::WITNESS, note }));
    let proven = start::check(connection, &found, &known).await?.map_err(Refused::Broken)?;
    let proofs = proofs(connection, outside, options, key, places).await?;
    catch_up(&proofs, proven, &kept, witnessed.as_deref());
    Ok(proofs)
}

/// The key on disk, which must be the last one that the database knows.
fn present(files: &KeyFiles, last: &KnownKey, covered: u64) -> Result<AuditKey, Refused> {
    let here = files.load()?;
    if let Some(key) = here.as_ref().filter(|key| *key.public() == last.public) {
        files.discard();
        if files.published().is_none() {
            files.publish(key)?;
        }
    } else if let Some(next) = files.load_next()?.filter(|next| *next.public() == last.public) {
        // A rotation was recorded, and the process died before the key was in its place.
        files.advance(&next)?;
        return Ok(next);
    }
    match here {
        Some(key) if *key.public() == last.public => Ok(key),
        Some(key) => {
            let why = format!("the audit key was exchanged: {} lies there, and {} signed last", key.public().id(), last.public.id());
            Err(Refused::Broken(Broken::at(covered, why)))
        }
        None => Err(Refused::Fault(
            Fault::new(ErrorCode::AuditKeyRefused, format!("the audit key {} is missing", last.public.id()))
                .hint("put its file back (`audit/key` in the home, or `audit.key_file`); if it is lost, `toolgate audit accept`"),
        )),
    }
}

/// Makes the first key of a home, and the checkpoint over nothing, so that there always is one.
async fn first(connection: &mut SqliteConnection, outside: &Outside, clock: &dyn Clock) -> Result<AuditKey, Fault> {
    let files = &outside.files;
    let key = match files.load()? {
        Some(key) => key,
        None => {
            let mut id = [0_u8; 16];
            rand::fill(&mut id);
            let key = AuditKey::draw(&format!("toolgate/{:032x}", u128::from_be_bytes(id)))?;
            files.prepare(&key)?;
            files.advance(&key)?;
            key
        }
    };
    files.publish(&key)?;
    outside.places.keep(&key.sign(0, empty(), Digest::ZERO)?, true)?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.doing("waiting for its lock")?;
    let made = async {
        rows::name(connection, "home", key.public().name()).await?;
        rows::name(connection, "run", &RunId::mint(clock.now()).to_string()).await?;
        rows::add_key(connection, &key.public().to_string(), 0, "first").await
    }
    .await;
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await.doing("noting the audit key")?;
    made.doing("noting the audit key")?;
    Ok(key)
}

async fn proofs(
    connection: &mut SqliteConnection,
    outside: &Outside,
    options: &AuditOptions,
    key: AuditKey,
    places: Places,
) -> Result<Proofs, Fault> {
    let run = rows::house_run(connection).await?.ok_or_else(|| Fault::internal("the house has no run of its own"))?;
    let covered = rows::covered(connection).await.doing("reading the newest checkpoint")?;
    Ok(Proofs {
        files: outside.files.clone(),
        key,
        run,
        pace: Pace { events: options.every_events.max(1), every: Duration::from_millis(options.every.0.max(1)) },
        anchor: Anchor::start(places, outside.reach.clone()),
        covered,
        open_since: None,
    })
}

/// Writes outside what a process that died did not come to write.
fn catch_up(proofs: &Proofs, proven: Option<SignedCheckpoint>, kept: &str, witnessed: Option<&str>) {
    let Some(newest) = proven else { return };
    let is_behind = |note: Option<&str>| note.and_then(key::size_of).is_none_or(|size| size < newest.size);
    if is_behind(Some(kept)) || (is_behind(witnessed) && newest.size > 0) {
        proofs.anchor.tell(News { signed: vec![newest], accepted: false });
    }
}

/// A new key beside the present one.
pub(in crate::store) fn rotate(outside: &Outside, name: &str) -> Result<Act, Fault> {
    let key = AuditKey::draw(name)?;
    outside.files.prepare(&key)?;
    Ok(Act::Rotate(Box::new(key)))
}

/// What the operator's word has to mend, and the writer's part to mend it with.
pub(in crate::store) async fn accept(
    connection: &mut SqliteConnection,
    outside: &Outside,
    options: &AuditOptions,
    clock: &dyn Clock,
    (event, reason): (&'static str, &str),
) -> Result<(Proofs, Act), Fault> {
    let known = rows::keys(connection).await?;
    let found = outside.found()?;
    let (key, new) = match (known.last(), outside.files.load()?) {
        (None, _) => (first(connection, outside, clock).await?, false),
        (Some(last), Some(key)) => {
            let new = *key.public() != last.public;
            (key, new)
        }
        (Some(last), None) => (AuditKey::draw(last.public.name())?, true),
    };
    let known = if known.is_empty() { rows::keys(connection).await? } else { known };
    let mut given_up: Vec<Value> = Vec::new();
    let mut from = None;
    let stored: Vec<Found> =
        rows::all(connection).await?.into_iter().map(|stored| Found { place: start::DATABASE, note: stored.note }).collect();
    for one in found.iter().chain(&stored) {
        let why = match start::compare(connection, std::slice::from_ref(one), &known).await? {
            Ok(_) => continue,
            Err(broken) => broken.why,
        };
        let size = key::size_of(&one.note);
        if given_up.len() < GIVEN_UP {
            given_up.push(json!({ "place": one.place, "size": size, "why": why, "note": one.note }));
        }
        if one.place == start::DATABASE {
            from = from.min(size).or(size);
        }
    }
    // A key whose predecessor's note goes would stand there without anybody's word.
    let is_orphan = known.iter().any(|key| key.why == "rotated" && from.is_some_and(|from| from <= key.since));
    let key = if is_orphan { AuditKey::draw(key.public().name())? } else { key };
    let fresh = if new || is_orphan {
        outside.files.prepare(&key)?;
        Some(AuditKey::parse(key.private()).ok_or_else(|| Fault::internal("a key does not read back"))?)
    } else {
        None
    };
    let proofs = proofs(connection, outside, options, key, outside.places.clone()).await?;
    let acceptance = Acceptance { event, reason: reason.to_owned(), given_up: given_up.into(), from, key: fresh };
    Ok((proofs, Act::Accept(Box::new(acceptance))))
}

/// How many checkpoints that did not hold are told of in the record.
const GIVEN_UP: usize = 20;

impl Broken {
    /// As the operator is told.
    pub(in crate::store) fn into_fault(self, run: Option<RunId>) -> Fault {
        let of = run.map(|run| format!(" of {run}")).unwrap_or_default();
        Fault::new(ErrorCode::AuditBroken, format!("record {}{of} does not verify: {}", self.index, self.why))
            .hint(
                "nothing was changed; `toolgate audit verify` tells more, and docs/audit.md what to do; if it was you who put an older \
                   copy back: `toolgate audit accept --reason TEXT`",
            )
            .details(json!({ "index": self.index, "run": run, "why": self.why }))
    }
}

/// The newest checkpoint in the database.
pub(in crate::store) async fn newest(connection: &mut SqliteConnection) -> Result<Option<SignedCheckpoint>, Fault> {
    let keys = rows::keys(connection).await?;
    let Some(last) = keys.last() else { return Ok(None) };
    let Some(stored) = rows::newest(connection, &last.public.id()).await? else { return Ok(None) };
    let wrong = |why| broken(&format!("the checkpoint over {} records: {why}", stored.size));
    key::open(&stored.note, &keys).map(Some).map_err(wrong)
}

/// The log's name, which its keys bear.
pub(in crate::store) async fn name(connection: &mut SqliteConnection) -> Result<String, Fault> {
    let missing = || Fault::new(ErrorCode::AuditKeyRefused, "this home has no audit key");
    rows::keys(connection).await?.last().map(|key| key.public.name().to_owned()).ok_or_else(missing)
}

/// The public keys, with the size from which on each signs.
pub(in crate::store) async fn public_keys(connection: &mut SqliteConnection) -> Result<Vec<(String, u64)>, Fault> {
    Ok(rows::keys(connection).await?.into_iter().map(|key| (key.public.to_string(), key.since)).collect())
}
