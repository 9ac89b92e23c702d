//! Verifies the whole journal as `audit` says, reading it in large pieces and checking them on all cores.
//!
//! INVARIANT: what is reported sound was recomputed from the stored bytes; damage is a finding, only a database that cannot be used at
//! all is a fault. Each piece is read quickly, as one long blob; where such a piece is not sound beyond doubt, it is read again row by row,
//! and that decides. Does not repair.

use std::collections::VecDeque;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use toolgate_evidence::tree::{Frontier, Hash, leaf};

use crate::audit::{self, Bad, Chain, Link, View, Why};
use crate::domain::{Digest, Fault, RunId};

use super::events::stored;
use super::fault::{Doing as _, Kind, failed, int, kind, uint};
use super::open::Readers;
use super::proof::{Broken, Checks, Outside, Signatures};
use super::{BadRecord, VerifyReport};

/// Records of one piece: few enough that its bytes are allocated from memory used before, and not from fresh pages.
const PIECE: u64 = 256;
/// Pieces that are being checked while further ones are read: enough that whoever checks never waits for whoever reads.
const AHEAD: usize = 16;

/// Verifies what the journal held when this began.
pub(super) async fn verify(readers: &Readers, outside: Option<&Outside>) -> Result<VerifyReport, Fault> {
    // One connection alone: two of them wait for each other inside SQLite more than they gain.
    let mut connection = readers.get().await?;
    // Ends with this future, also where that is dropped half way.
    let mut snapshot = connection.begin().await.doing("beginning to read")?;
    let mut walk =
        Walk { chain: Chain::default(), tree: Frontier::default(), checks: Signatures::read(&mut snapshot, outside).await?.verify().await };
    let bad = inside(&mut snapshot, &mut walk).await?;
    snapshot.rollback().await.doing("ending to read")?;
    let Walk { chain, checks, .. } = walk;
    let (proven, checkpoints) = checks.proven();
    Ok(VerifyReport { events: chain.len(), redacted: chain.redacted(), head: chain.head(), bad, checkpoints, proven })
}

/// What the records so far come to.
struct Walk {
    chain: Chain,
    tree: Frontier,
    checks: Checks,
}

impl Walk {
    /// Takes in the next record, whose column `tree` must hold what its leaf comes to.
    fn add(&mut self, link: &Link, leaf: Hash, stored: &mut &[u8]) -> Result<(), Bad> {
        self.chain.add(link)?;
        let mut same = take(stored, &leaf);
        self.tree.append_with(leaf, |_, hash| same &= take(stored, hash));
        if !same {
            return Err(Bad { index: link.index, why: Why::ColumnDiffers("tree") });
        }
        let (size, tree) = (self.tree.size(), &self.tree);
        self.checks.at(size, || tree.root(), link.hash).map_err(signed)
    }
}

/// Whether `stored` begins with `hash`, which is then passed.
fn take(stored: &mut &[u8], hash: &Hash) -> bool {
    match stored.split_first_chunk::<32>() {
        Some((first, rest)) if first == hash => {
            *stored = rest;
            true
        }
        _ => false,
    }
}

fn signed(broken: Broken) -> Bad {
    Bad { index: broken.index, why: Why::NotSigned(broken.why) }
}

async fn inside(connection: &mut SqliteConnection, walk: &mut Walk) -> Result<Option<BadRecord>, Fault> {
    let bad = match end(connection).await? {
        Ok(end) => match records(connection, end, walk).await? {
            None => walk.checks.end(walk.tree.size()).err().map(signed),
            found => found,
        },
        Err(bad) => Some(bad),
    };
    // What is wrong with a file or a key counts where nothing before it is.
    let early = walk.checks.early().map(signed);
    let bad = match (bad, early) {
        (Some(bad), Some(early)) => Some(if early.index < bad.index { early } else { bad }),
        (bad, early) => bad.or(early),
    };
    match bad {
        Some(bad) => Ok(Some(named(connection, bad).await)),
        None => runs(connection, &walk.chain).await,
    }
}

/// How many records there should be.
async fn end(connection: &mut SqliteConnection) -> Result<Result<u64, Bad>, Fault> {
    let bounds = sqlx::query("SELECT min(idx), max(idx) FROM journal").fetch_one(connection).await;
    let unreadable = |why: String| Ok(Err(Bad { index: 0, why: Why::Unreadable(why) }));
    match bounds {
        Ok(row) => match (row.try_get::<Option<i64>, _>(0), row.try_get::<Option<i64>, _>(1)) {
            (Ok(Some(least)), _) if least < 0 => unreadable(format!("a record stands at {least}")),
            (Ok(_), Ok(most)) => Ok(Ok(most.map_or(0, |most| uint(most).saturating_add(1)))),
            _ => unreadable("the numbers of the records".into()),
        },
        Err(error) if kind(&error) == Kind::Corrupt => unreadable(error.to_string()),
        Err(error) => Err(failed("reading the journal", &error)),
    }
}

async fn records(connection: &mut SqliteConnection, end: u64, walk: &mut Walk) -> Result<Option<Bad>, Fault> {
    let mut from = 0;
    while from < end {
        from = match quickly(connection, from, end, walk).await? {
            Quickly::Done => end,
            Quickly::Bad(bad) => return Ok(Some(bad)),
            Quickly::Look(from, to) => match one_by_one(connection, from, to, walk).await? {
                None => to,
                bad => return Ok(bad),
            },
        };
    }
    Ok(None)
}

/// How far the quick way led.
enum Quickly {
    Done,
    Bad(Bad),
    /// Every record before these was taken in; these must be looked at one by one.
    Look(u64, u64),
}

/// Takes in the records `from..end`, piece by piece as the database hands them over.
async fn quickly(connection: &mut SqliteConnection, mut from: u64, end: u64, walk: &mut Walk) -> Result<Quickly, Fault> {
    let mut pieces = sqlx::query(READ).bind(int(from)).bind(int(end)).bind(int(PIECE)).fetch(connection);
    let mut checking: VecDeque<Checking> = VecDeque::with_capacity(AHEAD);
    let mut is_readable = true;
    loop {
        while is_readable && from < end && checking.len() < AHEAD {
            let to = (from + PIECE).min(end);
            let piece = match pieces.try_next().await {
                Ok(piece) => piece,
                Err(error) if kind(&error) == Kind::Busy => return Err(failed("reading the journal", &error)),
                // Too long, damaged, or whatever: one by one it will show.
                Err(_) => None,
            };
            is_readable = piece.is_some();
            checking.push_back(Checking::start(from, to, piece));
            from = to;
        }
        let Some(oldest) = checking.pop_front() else { return Ok(Quickly::Done) };
        match oldest.sound.await {
            Ok(Some(sound)) => {
                if let Err(bad) = sound.take_in(walk) {
                    return Ok(Quickly::Bad(bad));
                }
            }
            _ => return Ok(Quickly::Look(oldest.from, oldest.to)),
        }
    }
}

/// Records that are being checked.
struct Checking {
    from: u64,
    to: u64,
    sound: tokio::task::JoinHandle<Option<Sound>>,
}

impl Checking {
    fn start(from: u64, to: u64, piece: Option<SqliteRow>) -> Self {
        let check = move || Sound::of(from, to, piece?.try_get(0).ok()?);
        Self { from, to, sound: tokio::task::spawn_blocking(check) }
    }
}

/// Takes in the records `from..to`, or says which is the first bad one.
async fn one_by_one(connection: &mut SqliteConnection, from: u64, to: u64, walk: &mut Walk) -> Result<Option<Bad>, Fault> {
    for index in from..to {
        match row(connection, index).await? {
            Ok((link, leaf, stored)) => {
                let mut stored = stored.as_slice();
                if let Err(bad) = walk.add(&link, leaf, &mut stored) {
                    return Ok(Some(bad));
                }
                if !stored.is_empty() {
                    return Ok(Some(Bad { index, why: Why::ColumnDiffers("tree") }));
                }
            }
            Err(why) => return Ok(Some(Bad { index, why })),
        }
    }
    Ok(None)
}

/// The records `?1..?2`, a row for each `?3` of them: per record a line of nine numbers with a comma between them, namely `seq` and the
/// lengths of the columns that follow it without anything between them, in the order in which they stand; a column that is NULL has no number. So
/// nothing that a column holds is taken for anything else.
const READ: &str = "WITH RECURSIVE piece(at) AS (VALUES(?1) UNION ALL SELECT at + ?3 FROM piece WHERE at + ?3 < ?2) \
    SELECT (SELECT CAST(group_concat(concat( \
        iif(typeof(seq) = 'integer', seq, ''), ',', octet_length(run_id), ',', octet_length(kind), ',', octet_length(step_id), ',', \
        octet_length(call_id), ',', octet_length(sealed), ',', octet_length(hash), ',', octet_length(tree), ',', octet_length(record), char(10), \
        run_id, kind, step_id, call_id, sealed, hash, tree, record), '') AS BLOB) \
        FROM journal WHERE idx >= at AND idx < min(at + ?3, ?2)) FROM piece";

/// How many columns of [`READ`] are bytes.
const COLUMNS: usize = 8;

/// Records that are sound by themselves.
struct Sound {
    links: Vec<Link>,
    leaves: Vec<Hash>,
    /// 32 bytes for each leaf and each subtree that it completes.
    tree: Vec<u8>,
}

impl Sound {
    /// Checks the records `from..to` as [`READ`] gives them; `None` where they are not sound beyond doubt.
    fn of(from: u64, to: u64, mut piece: &[u8]) -> Option<Self> {
        let count = usize::try_from(to - from).ok()?;
        let mut sound = Self { links: Vec::with_capacity(count), leaves: Vec::with_capacity(count), tree: Vec::with_capacity(64 * count) };
        for index in from..to {
            let (seq, columns) = cut(&mut piece)?;
            let [run_id, kind, step_id, call_id, sealed, hash, tree, record] = columns;
            let (tree, record) = (tree?, record?);
            // A leaf, and a subtree for every trailing 1 of the index.
            if tree.len() as u64 != 32 * (1 + u64::from(index.trailing_ones())) {
                return None;
            }
            let view = View {
                index,
                run_id: text(run_id)??,
                seq,
                kind: text(kind)??,
                step_id: text(step_id)?,
                call_id: text(call_id)?,
                record,
                hash: hash?,
                sealed: text(sealed)?,
            };
            sound.links.push(audit::check(&view).ok()?);
            sound.leaves.push(leaf(record));
            sound.tree.extend_from_slice(tree);
        }
        piece.is_empty().then_some(sound)
    }

    /// Takes the records into the walk, or says which is the first bad one.
    fn take_in(&self, walk: &mut Walk) -> Result<(), Bad> {
        let mut stored = self.tree.as_slice();
        self.links.iter().zip(&self.leaves).try_for_each(|(link, leaf)| walk.add(link, *leaf, &mut stored))
    }
}

/// A column's text, if it is not NULL; `None` where it is no text.
fn text(column: Option<&[u8]>) -> Option<Option<&str>> {
    column.map(std::str::from_utf8).transpose().ok()
}

/// Cuts off the next record: its `seq` and its columns.
fn cut<'a>(piece: &mut &'a [u8]) -> Option<(u64, [Option<&'a [u8]>; COLUMNS])> {
    let end = piece.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = piece.split_at_checked(end)?;
    let mut numbers = std::str::from_utf8(line).ok()?.split(',');
    let seq = audit::canonical::whole(numbers.next()?)?;
    let mut rest = rest.get(1..)?;
    let mut columns = [None; COLUMNS];
    for column in &mut columns {
        let length = numbers.next()?;
        if !length.is_empty() {
            let (taken, after) = rest.split_at_checked(usize::try_from(audit::canonical::whole(length)?).ok()?)?;
            (*column, rest) = (Some(taken), after);
        }
    }
    *piece = rest;
    numbers.next().is_none().then_some((seq, columns))
}

/// Reads and checks one record by itself.
async fn row(connection: &mut SqliteConnection, index: u64) -> Result<Result<(Link, Hash, Vec<u8>), Why>, Fault> {
    let sql = "SELECT idx, run_id, seq, kind, step_id, call_id, record, hash, sealed, tree FROM journal WHERE idx = ?1";
    let row = match sqlx::query(sql).bind(int(index)).fetch_optional(connection).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Err(Why::Gap)),
        Err(error) if kind(&error) == Kind::Busy => return Err(failed("reading the journal", &error)),
        Err(error) => return Ok(Err(Why::Unreadable(error.to_string()))),
    };
    let stored = match stored(index, &row) {
        Ok(stored) => stored,
        Err(column) => return Ok(Err(Why::Unreadable(column))),
    };
    let tree: Vec<u8> = row.try_get::<Option<Vec<u8>>, _>("tree").ok().flatten().unwrap_or_default();
    let link = audit::check(&View {
        index,
        run_id: &stored.columns.run_id,
        seq: stored.columns.seq,
        kind: &stored.columns.kind,
        step_id: stored.columns.step_id.as_deref(),
        call_id: stored.columns.call_id.as_deref(),
        record: &stored.record,
        hash: &stored.hash,
        sealed: stored.sealed.as_deref(),
    });
    Ok(link.map(|link| (link, leaf(&stored.record), tree)))
}

/// Compares each run's count with its records: a journal that was cut off at its end shows here, unless runs were changed too.
async fn runs(connection: &mut SqliteConnection, chain: &Chain) -> Result<Option<BadRecord>, Fault> {
    let rows = match sqlx::query("SELECT id, last_seq FROM runs").fetch_all(connection).await {
        Ok(rows) => rows,
        Err(error) if kind(&error) == Kind::Corrupt => {
            return Ok(Some(BadRecord { index: chain.len(), run_id: None, why: format!("the list of runs cannot be read: {error}") }));
        }
        Err(error) => return Err(failed("reading runs", &error)),
    };
    for row in rows {
        let (id, said) = (row.try_get::<String, _>(0).unwrap_or_default(), uint(row.try_get(1).unwrap_or(-1)));
        let found = audit::chain::run_number(&id).map_or(0, |run| chain.last_seq(run));
        if found != said {
            let why = format!("its run has {found} records in the journal, and {said} were recorded");
            return Ok(Some(BadRecord { index: chain.len(), run_id: id.parse().ok(), why }));
        }
    }
    Ok(None)
}

/// The finding with the run it belongs to, as far as that can be told.
async fn named(connection: &mut SqliteConnection, bad: Bad) -> BadRecord {
    let run =
        sqlx::query_scalar::<_, String>("SELECT run_id FROM journal WHERE idx = ?1").bind(int(bad.index)).fetch_optional(connection).await;
    let run_id: Option<RunId> = run.ok().flatten().and_then(|run| run.parse().ok());
    BadRecord { index: bad.index, run_id, why: bad.why.to_string() }
}

/// The head alone, without verifying.
pub(super) async fn head(readers: &Readers) -> Result<Option<(u64, Digest)>, Fault> {
    let mut connection = readers.get().await?;
    super::events::head(&mut connection).await
}
