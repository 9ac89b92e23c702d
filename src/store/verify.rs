//! Verifies the whole journal as `audit` says, reading it in large pieces and checking them on all cores.
//!
//! INVARIANT: what is reported sound was recomputed from the stored bytes; damage is a finding, only a database that cannot be used at
//! all is a fault. Each piece is read quickly, as a few long texts; where such a piece is not sound beyond doubt, it is read again row by
//! row, and that decides. Does not repair.

use sqlx::{Connection as _, Row as _, SqliteConnection};
use toolgate_evidence::tree::{Frontier, Hash, leaf};

use crate::audit::{self, Bad, Chain, Link, View, Why};
use crate::domain::{Digest, Fault, RunId};

use super::events::stored;
use super::fault::{Doing as _, Kind, failed, int, kind, uint};
use super::open::{Readers, Reading};
use super::proof::{Broken, Checks, Outside, Signatures};
use super::{BadRecord, VerifyReport};

/// Records of one piece: few enough that its texts are allocated from memory used before, and not from fresh pages.
const PIECE: u64 = 128;

/// Verifies what the journal held when this began.
pub(super) async fn verify(readers: &Readers, outside: Option<&Outside>) -> Result<VerifyReport, Fault> {
    let mut first = readers.get().await?;
    // Ends with this future, also where that is dropped half way.
    let mut snapshot = first.begin().await.doing("beginning to read")?;
    // A second one reads at the same time. Records up to the head are never changed, so it sees the same.
    let mut second = match readers {
        Readers::Pool(_) => Some(readers.get().await?),
        Readers::Shared(_) => None,
    };
    let mut walk =
        Walk { chain: Chain::default(), tree: Frontier::default(), checks: Signatures::read(&mut snapshot, outside).await?.verify().await };
    let bad = inside(&mut snapshot, second.as_mut(), &mut walk).await?;
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

async fn inside(first: &mut SqliteConnection, second: Option<&mut Reading>, walk: &mut Walk) -> Result<Option<BadRecord>, Fault> {
    let bad = match end(first).await? {
        Ok(end) => match records(first, second, end, walk).await? {
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
        Some(bad) => Ok(Some(named(first, bad).await)),
        None => runs(first, &walk.chain).await,
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

async fn records(first: &mut SqliteConnection, mut second: Option<&mut Reading>, end: u64, walk: &mut Walk) -> Result<Option<Bad>, Fault> {
    let mut checking: Vec<Checking> = Vec::new();
    let mut from = 0;
    while from < end || !checking.is_empty() {
        let middle = (from + PIECE).min(end);
        let next = if second.is_some() { (middle + PIECE).min(end) } else { middle };
        let (one, two) = match &mut second {
            Some(second) => tokio::join!(piece(first, from, middle), piece(second, middle, next)),
            None => (piece(first, from, middle).await, Ok(None)),
        };
        let read = [one?, two?];
        from = next;
        // While these are being checked, the next ones are read.
        let done = std::mem::replace(&mut checking, read.into_iter().flatten().map(Checking::start).collect());
        for checking in done {
            if let Some(bad) = checking.finish(first, walk).await? {
                return Ok(Some(bad));
            }
        }
    }
    Ok(None)
}

/// Some records as a few long texts.
struct Piece {
    from: u64,
    count: usize,
    /// Five lines a record: run, seq, kind, step, call; the last two as `+text`, or `-` for none.
    columns: String,
    /// One line a record.
    records: String,
    /// 32 bytes a record.
    hashes: Vec<u8>,
    /// One line a record, as `+text`, or `-` for none.
    sealed: String,
    /// 32 bytes for each leaf and each subtree that it completes.
    tree: Vec<u8>,
}

/// Records that are sound by themselves.
struct Sound {
    links: Vec<Link>,
    leaves: Vec<Hash>,
    tree: Vec<u8>,
}

struct Checking {
    from: u64,
    to: u64,
    sound: tokio::task::JoinHandle<Option<Sound>>,
}

impl Checking {
    fn start((from, to, piece): (u64, u64, Option<Piece>)) -> Self {
        Self { from, to, sound: tokio::task::spawn_blocking(move || piece.and_then(sound)) }
    }

    /// Takes the records in, or says which is the first bad one.
    async fn finish(self, connection: &mut SqliteConnection, walk: &mut Walk) -> Result<Option<Bad>, Fault> {
        if let Ok(Some(Sound { links, leaves, tree })) = self.sound.await {
            let mut stored = tree.as_slice();
            return Ok(links.iter().zip(leaves).find_map(|(link, leaf)| walk.add(link, leaf, &mut stored).err()));
        }
        for index in self.from..self.to {
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
}

/// Reads records `from..to`; `None` for nothing, and no piece where it is not what sound records give.
async fn piece(connection: &mut SqliteConnection, from: u64, to: u64) -> Result<Option<(u64, u64, Option<Piece>)>, Fault> {
    if from >= to {
        return Ok(None);
    }
    // The counts make sure that no value was left out for being NULL.
    let sql = "SELECT count(*), count(run_id) + count(seq) + count(kind) + count(record), sum(octet_length(hash) = 32), \
               group_concat(concat_ws(char(10), run_id, seq, kind, coalesce('+' || step_id, '-'), coalesce('+' || call_id, '-')), char(10)), \
               CAST(group_concat(record, char(10)) AS TEXT), CAST(group_concat(hash, '') AS BLOB), \
               group_concat(coalesce('+' || sealed, '-'), char(10)), CAST(group_concat(tree, '') AS BLOB), sum(octet_length(tree)) \
               FROM journal WHERE idx >= ?1 AND idx < ?2";
    let read = sqlx::query(sql).bind(int(from)).bind(int(to)).fetch_one(connection).await;
    let row = match read {
        Ok(row) => row,
        // Too long, damaged, or whatever: row by row it will show.
        Err(error) if kind(&error) != Kind::Busy => return Ok(Some((from, to, None))),
        Err(error) => return Err(failed("reading the journal", &error)),
    };
    let count = to - from;
    // Subtrees that records from..to complete: those that all before `to` do, without those that all before `from` do.
    let completed = |to: u64| 2 * to - u64::from(to.count_ones());
    let counts = [(0, count), (1, 4 * count), (2, count), (8, 32 * (completed(to) - completed(from)))];
    let whole = counts.iter().all(|(column, expected)| row.try_get::<i64, _>(*column).is_ok_and(|found| found == int(*expected)));
    let texts = (row.try_get(3), row.try_get(4), row.try_get(5), row.try_get(6), row.try_get(7));
    let piece = match (whole, texts, usize::try_from(count)) {
        (true, (Ok(columns), Ok(records), Ok(hashes), Ok(sealed), Ok(tree)), Ok(count)) => {
            Some(Piece { from, count, columns, records, hashes, sealed, tree })
        }
        _ => None,
    };
    Ok(Some((from, to, piece)))
}

/// Checks a piece; `None` where it is not sound beyond doubt.
fn sound(piece: Piece) -> Option<Sound> {
    let mut columns = piece.columns.split('\n');
    let mut records = piece.records.split('\n');
    let mut sealed = piece.sealed.split('\n');
    let (hashes, rest) = piece.hashes.as_chunks::<32>();
    if hashes.len() != piece.count || !rest.is_empty() {
        return None;
    }
    let mut links = Vec::with_capacity(piece.count);
    let mut leaves = Vec::with_capacity(piece.count);
    for (hash, index) in hashes.iter().zip(piece.from..) {
        let view = View {
            index,
            run_id: columns.next()?,
            seq: audit::canonical::whole(columns.next()?)?,
            kind: columns.next()?,
            step_id: perhaps(columns.next()?)?,
            call_id: perhaps(columns.next()?)?,
            record: records.next()?.as_bytes(),
            hash,
            sealed: perhaps(sealed.next()?)?,
        };
        links.push(audit::check(&view).ok()?);
        leaves.push(leaf(view.record));
    }
    let all_used = columns.next().is_none() && records.next().is_none() && sealed.next().is_none();
    all_used.then_some(Sound { links, leaves, tree: piece.tree })
}

fn perhaps(text: &str) -> Option<Option<&str>> {
    if text == "-" { Some(None) } else { text.strip_prefix('+').map(Some) }
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
