//! Verifies the whole journal as `audit` says, reading it in large pieces and checking them on all cores.
//!
//! INVARIANT: what is reported sound was recomputed from the stored bytes; damage is a finding, only a database that cannot be used at
//! all is a fault. Each piece is read quickly, as a few long texts; where such a piece is not sound beyond doubt, it is read again row by
//! row, and that decides. Does not repair.

use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::audit::{self, Bad, Chain, Link, View, Why};
use crate::domain::{Digest, Fault, RunId};

use super::events::stored;
use super::fault::{Doing as _, Kind, failed, int, kind, uint};
use super::open::{Readers, Reading};
use super::{BadRecord, VerifyReport};

/// Records of one piece: few enough that its texts are allocated from memory used before, and not from fresh pages.
const PIECE: u64 = 128;

/// Verifies what the journal held when this began.
pub(super) async fn verify(readers: &Readers) -> Result<VerifyReport, Fault> {
    let mut first = readers.get().await?;
    // Ends with this future, also where that is dropped half way.
    let mut snapshot = first.begin().await.doing("beginning to read")?;
    // A second one reads at the same time. Records up to the head are never changed, so it sees the same.
    let mut second = match readers {
        Readers::Pool(_) => Some(readers.get().await?),
        Readers::Shared(_) => None,
    };
    let (chain, bad) = inside(&mut snapshot, second.as_mut()).await?;
    snapshot.rollback().await.doing("ending to read")?;
    Ok(VerifyReport { events: chain.len(), redacted: chain.redacted(), head: chain.head(), bad })
}

async fn inside(first: &mut SqliteConnection, second: Option<&mut Reading>) -> Result<(Chain, Option<BadRecord>), Fault> {
    let mut chain = Chain::default();
    let end = match end(first).await? {
        Ok(end) => end,
        Err(bad) => return Ok((chain, Some(named(first, bad).await))),
    };
    let bad = match records(first, second, end, &mut chain).await? {
        Some(bad) => Some(named(first, bad).await),
        None => runs(first, &chain).await?,
    };
    Ok((chain, bad))
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

async fn records(
    first: &mut SqliteConnection,
    mut second: Option<&mut Reading>,
    end: u64,
    chain: &mut Chain,
) -> Result<Option<Bad>, Fault> {
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
            if let Some(bad) = checking.finish(first, chain).await? {
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
}

struct Checking {
    from: u64,
    to: u64,
    links: tokio::task::JoinHandle<Option<Vec<Link>>>,
}

impl Checking {
    fn start((from, to, piece): (u64, u64, Option<Piece>)) -> Self {
        Self { from, to, links: tokio::task::spawn_blocking(move || piece.as_ref().and_then(links)) }
    }

    /// Takes the records into the chain, or says which is the first bad one.
    async fn finish(self, connection: &mut SqliteConnection, chain: &mut Chain) -> Result<Option<Bad>, Fault> {
        if let Ok(Some(links)) = self.links.await {
            let mut trial = links.iter();
            return Ok(trial.find_map(|link| chain.add(link).err()));
        }
        for index in self.from..self.to {
            match row(connection, index).await? {
                Ok(link) => {
                    if let Err(bad) = chain.add(&link) {
                        return Ok(Some(bad));
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
    let sql = "SELECT count(*), count(run_id) + count(seq) + count(kind) + count(record), sum(length(CAST(hash AS BLOB)) = 32), \
               group_concat(run_id || char(10) || seq || char(10) || kind || char(10) || coalesce('+' || step_id, '-') || char(10) || \
                            coalesce('+' || call_id, '-'), char(10)), \
               CAST(group_concat(record, char(10)) AS TEXT), CAST(group_concat(hash, '') AS BLOB), \
               group_concat(coalesce('+' || sealed, '-'), char(10)) \
               FROM journal WHERE idx >= ?1 AND idx < ?2";
    let read = sqlx::query(sql).bind(int(from)).bind(int(to)).fetch_one(connection).await;
    let row = match read {
        Ok(row) => row,
        // Too long, damaged, or whatever: row by row it will show.
        Err(error) if kind(&error) != Kind::Busy => return Ok(Some((from, to, None))),
        Err(error) => return Err(failed("reading the journal", &error)),
    };
    let count = to - from;
    let counts = [(0, count), (1, 4 * count), (2, count)];
    let whole = counts.iter().all(|(column, expected)| row.try_get::<i64, _>(*column).is_ok_and(|found| found == int(*expected)));
    let texts = (row.try_get(3), row.try_get(4), row.try_get(5), row.try_get(6));
    let piece = match (whole, texts, usize::try_from(count)) {
        (true, (Ok(columns), Ok(records), Ok(hashes), Ok(sealed)), Ok(count)) => {
            Some(Piece { from, count, columns, records, hashes, sealed })
        }
        _ => None,
    };
    Ok(Some((from, to, piece)))
}

/// Checks a piece; `None` where it is not sound beyond doubt.
fn links(piece: &Piece) -> Option<Vec<Link>> {
    let mut columns = piece.columns.split('\n');
    let mut records = piece.records.split('\n');
    let mut sealed = piece.sealed.split('\n');
    let (hashes, rest) = piece.hashes.as_chunks::<32>();
    if hashes.len() != piece.count || !rest.is_empty() {
        return None;
    }
    let mut links = Vec::with_capacity(piece.count);
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
    }
    let all_used = columns.next().is_none() && records.next().is_none() && sealed.next().is_none();
    all_used.then_some(links)
}

fn perhaps(text: &str) -> Option<Option<&str>> {
    if text == "-" { Some(None) } else { text.strip_prefix('+').map(Some) }
}

/// Reads and checks one record by itself.
async fn row(connection: &mut SqliteConnection, index: u64) -> Result<Result<Link, Why>, Fault> {
    let sql = "SELECT idx, run_id, seq, kind, step_id, call_id, record, hash, sealed FROM journal WHERE idx = ?1";
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
    Ok(audit::check(&View {
        index,
        run_id: &stored.columns.run_id,
        seq: stored.columns.seq,
        kind: &stored.columns.kind,
        step_id: stored.columns.step_id.as_deref(),
        call_id: stored.columns.call_id.as_deref(),
        record: &stored.record,
        hash: &stored.hash,
        sealed: stored.sealed.as_deref(),
    }))
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
