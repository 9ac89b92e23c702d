//! Verifies the whole journal as `audit` says, reading it in large pieces and checking them on all cores.
//!
//! INVARIANT: what is reported sound was recomputed from the stored bytes; damage is a finding, only a database that cannot be used at
//! all is a fault. Each piece is read quickly, as one long text and two long blobs; where such a piece is not sound beyond doubt, it is
//! read again row by row, and that decides. Does not repair.

use std::collections::VecDeque;

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

/// Records of one piece: few enough that its texts are allocated from memory used before, and not from fresh pages.
const PIECE: u64 = 128;
/// Pieces that are being checked while the next one is read.
const AHEAD: usize = 4;

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
    let mut checking: VecDeque<Checking> = VecDeque::with_capacity(AHEAD);
    let mut from = 0;
    while from < end || !checking.is_empty() {
        let to = (from + PIECE).min(end);
        let oldest = if from == end || checking.len() == AHEAD { checking.pop_front() } else { None };
        let checked = async {
            match oldest {
                Some(oldest) => Some((oldest.from, oldest.to, oldest.sound.await)),
                None => None,
            }
        };
        let (read, checked) = tokio::join!(piece(connection, from, to), checked);
        if from < to {
            checking.push_back(Checking::start(from, to, read?));
        }
        from = to;
        let bad = match checked {
            None => None,
            Some((_, _, Ok(Some(sound)))) => sound.take_in(walk).err(),
            Some((from, to, _)) => one_by_one(connection, from, to, walk).await?,
        };
        if bad.is_some() {
            return Ok(bad);
        }
    }
    Ok(None)
}

/// Records that are being checked.
struct Checking {
    from: u64,
    to: u64,
    sound: tokio::task::JoinHandle<Option<Sound>>,
}

impl Checking {
    fn start(from: u64, to: u64, read: Option<SqliteRow>) -> Self {
        Self { from, to, sound: tokio::task::spawn_blocking(move || read.and_then(|read| Sound::of(from, to, &read))) }
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

/// The records `from..to`: how many there are, how many hashes of 32 bytes, eight lines a record (see [`Sound::of`]), their hashes, and
/// their columns `tree`. What may not be NULL becomes two lines where it is, so that there are too many, as where a text holds a line's end.
const READ: &str = "SELECT count(*), sum(octet_length(hash) = 32), group_concat(concat_ws(char(10), \
    coalesce(run_id, char(10)), coalesce(seq, char(10)), coalesce(kind, char(10)), coalesce(step_id, ''), coalesce(call_id, ''), \
    coalesce(sealed, ''), \
    coalesce(octet_length(tree) * 8 + (step_id IS NULL) * 4 + (call_id IS NULL) * 2 + (sealed IS NULL), char(10)), \
    coalesce(record, char(10))), char(10)), CAST(group_concat(hash, '') AS BLOB), CAST(group_concat(tree, '') AS BLOB) \
    FROM journal WHERE idx >= ?1 AND idx < ?2";

/// Reads records `from..to`; `None` where they cannot be read at once.
async fn piece(connection: &mut SqliteConnection, from: u64, to: u64) -> Result<Option<SqliteRow>, Fault> {
    if from >= to {
        return Ok(None);
    }
    match sqlx::query(READ).bind(int(from)).bind(int(to)).fetch_one(connection).await {
        Ok(row) => Ok(Some(row)),
        Err(error) if kind(&error) == Kind::Busy => Err(failed("reading the journal", &error)),
        // Too long, damaged, or whatever: row by row it will show.
        Err(_) => Ok(None),
    }
}

/// Records that are sound by themselves.
struct Sound {
    links: Vec<Link>,
    leaves: Vec<Hash>,
    /// 32 bytes for each leaf and each subtree that it completes.
    tree: Vec<u8>,
}

impl Sound {
    /// Checks what [`READ`] found; `None` where it is not sound beyond doubt.
    fn of(from: u64, to: u64, read: &SqliteRow) -> Option<Self> {
        let count = int(to - from);
        let (records, whole): (i64, i64) = (read.try_get(0).ok()?, read.try_get(1).ok()?);
        let lines: &str = read.try_get(2).ok()?;
        let (hashes, rest) = read.try_get::<&[u8], _>(3).ok()?.as_chunks::<32>();
        let tree: &[u8] = read.try_get(4).ok()?;
        if (records, whole) != (count, count) || hashes.len() != usize::try_from(count).ok()? || !rest.is_empty() {
            return None;
        }
        let mut lines = lines.split('\n');
        let (mut links, mut leaves) = (Vec::with_capacity(hashes.len()), Vec::with_capacity(hashes.len()));
        for (hash, index) in hashes.iter().zip(from..to) {
            let (run_id, seq, kind) = (lines.next()?, lines.next()?, lines.next()?);
            let (step, call, sealed) = (lines.next()?, lines.next()?, lines.next()?);
            let shape = audit::canonical::whole(lines.next()?)?;
            let there = |text, bit: u64| if shape & bit == 0 { Some(text) } else { None };
            let record = lines.next()?.as_bytes();
            // A leaf, and a subtree for every trailing 1 of the index.
            if shape >> 3 != 32 * (1 + u64::from(index.trailing_ones())) {
                return None;
            }
            let seq = audit::canonical::whole(seq)?;
            let (step_id, call_id, sealed) = (there(step, 4), there(call, 2), there(sealed, 1));
            let view = View { index, run_id, seq, kind, step_id, call_id, record, hash, sealed };
            links.push(audit::check(&view).ok()?);
            leaves.push(leaf(record));
        }
        lines.next().is_none().then(|| Self { links, leaves, tree: tree.to_vec() })
    }

    /// Takes the records into the walk, or says which is the first bad one.
    fn take_in(&self, walk: &mut Walk) -> Result<(), Bad> {
        let mut stored = self.tree.as_slice();
        self.links.iter().zip(&self.leaves).try_for_each(|(link, leaf)| walk.add(link, *leaf, &mut stored))
    }
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
