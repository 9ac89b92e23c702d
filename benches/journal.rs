//! The journal's figures: group commit against single durable commits, with and without checkpoints, verification, proofs, an evidence
//! bundle and the look at a start. Prints ratios of one run, as absolute rates say more about the disk than about us. `cargo bench --bench journal [-- seconds [part of a line's name]]`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints its table and may stop at the first failure"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use toolgate::audit::{self, Chain, Link, View};
use toolgate::domain::{Actor, Clock, Digest, Millis, OwnerId, Principal, RunId, Timestamp};
use toolgate::run::{EventDraft, EventKind, RunKind};
use toolgate::store::{Append, AuditOptions, Change, Durability, OpenOptions, Store, StoredRecord};
use toolgate_evidence::bundle;

/// Records that are verified, unless the third argument says otherwise.
const EVENTS: u64 = 1_000_000;
/// Events of the bundle.
const BUNDLE: u64 = 10_000;
/// Proofs and starts that are measured.
const TIMES: usize = 200;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_unix_millis(u64::try_from(since.as_millis()).unwrap())
    }
}

fn options(home: &Path, durability: Durability) -> OpenOptions {
    let (owner, clock) = (OwnerId::mint(SystemClock.now()), Arc::new(SystemClock));
    OpenOptions { home: Some(home.to_owned()), owner, clock, durability, redact: Arc::new(toolgate::call::NoRedaction) }
}

async fn open(home: &Path, durability: Durability) -> Store {
    Store::open(options(home, durability)).await.unwrap()
}

/// As the server opens it: checked against its checkpoints, and signed from now on.
async fn open_proven(home: &Path, durability: Durability) -> Store {
    let audit = AuditOptions { key_file: None, every_events: 1_000, every: Millis(60_000), witness: None, witness_required: false };
    Store::open_proven(options(home, durability), &audit).await.unwrap()
}

/// As large as a usual intent: a tool's name, digests, effects, and sealed arguments.
fn event(n: u64) -> EventDraft {
    EventDraft::new(EventKind::ToolCall, Actor::agent(Principal::local()))
        .step(Some("eval".parse().unwrap()))
        .field("tool", "python.run")
        .field("version", "1.0.0")
        .field("digest", "0f343b0931126a20f133d67c2b018a3b5b0f6d1a2a5d5b2f1f0e1d9d5d2c1b0a")
        .field("n", n)
        .sealed("arguments", serde_json::json!({ "code": "print('hello')", "timeout_sec": 30 }))
}

async fn create(store: &Store) -> RunId {
    let run = RunId::mint(SystemClock.now());
    let created = EventDraft::new(EventKind::RunCreated, Actor::system());
    let change = Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: Principal::local() };
    store.append(Append { run: Some(run), events: vec![created], changes: vec![change], ..Append::default() }).await.unwrap();
    run
}

/// One durable row after the other, by SQLite and sqlx alone.
async fn plain(path: &Path, span: Duration) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE t (n INTEGER PRIMARY KEY, record BLOB)").execute(&mut connection).await.unwrap();
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < span {
        sqlx::query("INSERT INTO t (record) VALUES (zeroblob(700))").execute(&mut connection).await.unwrap();
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    connection.close().await.unwrap();
    rate
}

/// Appends by so many callers at once: how many a second, how many shared a commit, and microseconds of processor time each.
async fn callers(home: &Path, callers: u32, (durability, signed): (Durability, bool), span: Duration) -> (f64, f64, f64) {
    let store = if signed { open_proven(home, durability).await } else { open(home, durability).await };
    let mut runs = Vec::new();
    for _ in 0..callers {
        runs.push(create(&store).await);
    }
    let commits = *store.changes().borrow();
    let (begin, used) = (Instant::now(), cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for run in runs {
        let store = store.clone();
        tasks.spawn(async move {
            let mut count = 0_u32;
            while begin.elapsed() < span {
                store.record(Append { run: Some(run), events: vec![event(u64::from(count))], ..Append::default() }).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.into_iter().sum();
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    let each = micros_each(u64::from(count), used);
    let commits = u32::try_from(*store.changes().borrow() - commits).unwrap();
    store.close().await;
    (rate, f64::from(count) / f64::from(commits.max(1)), each)
}

async fn fill(store: &Store, events: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            let run = create(&store).await;
            for _ in 0..events / 20 / 100 {
                store.record(Append { run: Some(run), events: (0..100).map(event).collect(), ..Append::default() }).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn view(row: &StoredRecord) -> View<'_> {
    View {
        index: row.index,
        run_id: &row.columns.run_id,
        seq: row.columns.seq,
        kind: &row.columns.kind,
        step_id: row.columns.step_id.as_deref(),
        call_id: row.columns.call_id.as_deref(),
        record: &row.record,
        hash: &row.hash,
        sealed: row.sealed.as_deref(),
    }
}

fn links(rows: &[StoredRecord]) -> Vec<Link> {
    rows.iter().map(|row| audit::check(&view(row)).unwrap()).collect()
}

/// Verification without the database: on two threads, then the chain.
fn pure(rows: &[StoredRecord]) -> Duration {
    let begin = Instant::now();
    let (first, second) = rows.split_at(rows.len() / 2);
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| links(second));
        (links(first), second.join().unwrap())
    });
    let mut chain = Chain::default();
    first.iter().chain(&second).for_each(|link| chain.add(link).unwrap());
    assert_eq!(chain.len(), rows.len() as u64);
    begin.elapsed()
}

/// Processor time this process used so far; where the system does not tell, none.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().into_iter().flat_map(|rest| rest.split_whitespace().skip(11).take(2));
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

fn micros_each(count: u64, since: Duration) -> f64 {
    1e6 / per_second(count, cpu().checked_sub(since).unwrap_or_default())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn per_second(count: u64, span: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let count = count as f64;
    count / span.as_secs_f64()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let span = Duration::from_secs(arguments.first().and_then(|argument| argument.parse().ok()).unwrap_or(1));
    let wanted = |name: &str| arguments.get(1).is_none_or(|part| name.contains(part.as_str()));
    let home = tempfile::tempdir_in(std::env::var_os("TOOLGATE_BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();

    println!("{:<50}{:>12}{:>9}{:>9}{:>9}", "appends, one event each (medians of 3 rounds)", "per second", "ratio", "batch", "cpu µs");
    let lines = [
        ("1 caller, durable", 1, (Durability::Full, false)),
        ("8 callers, durable", 8, (Durability::Full, false)),
        ("64 callers, durable", 64, (Durability::Full, false)),
        ("64 callers, durable, with checkpoints", 64, (Durability::Full, true)),
        ("1 caller, relaxed", 1, (Durability::Relaxed, false)),
        ("64 callers, relaxed", 64, (Durability::Relaxed, false)),
        ("64 callers, relaxed, with checkpoints", 64, (Durability::Relaxed, true)),
    ];
    // A disk's mood changes by the minute, so each line is measured right after what it is compared with.
    let mut base = Vec::new();
    for (name, count, how) in lines.into_iter().filter(|(name, ..)| wanted(name)) {
        let mut rounds = Vec::new();
        for round in 0..3 {
            let alone = plain(&home.path().join(format!("{name} {round} alone")), span).await;
            let (rate, batch, each) = callers(&home.path().join(format!("{name} {round}")), count, how, span).await;
            base.push(alone);
            rounds.push([rate, rate / alone, batch, each]);
        }
        let middle = |column: usize| median(rounds.iter().filter_map(|round| round.get(column).copied()).collect());
        println!("{name:<50}{:>12.0}{:>9.1}{:>9.1}{:>9.1}", middle(0), middle(1), middle(2), middle(3));
    }
    println!("{:<50}{:>12.0}{:>9.1}{:>9.1}", "single durable commits, SQLite alone", median(base), 1.0, 1.0);
    if wanted("bundle") {
        evidence(home.path()).await;
    }
    if wanted("verified") {
        let events = arguments.get(2).and_then(|argument| argument.parse().ok()).unwrap_or(EVENTS);
        verification(home.path(), events).await;
    }
}

/// The bundle of one run of 10,000 events with all their values: verified as a stranger does it, beside hashing its bytes once.
async fn evidence(home: &Path) {
    let store = open_proven(&home.join("evidence"), Durability::Relaxed).await;
    let run = create(&store).await;
    for _ in 0..BUNDLE / 100 {
        store.record(Append { run: Some(run), events: (0..100).map(event).collect(), ..Append::default() }).await.unwrap();
    }
    store.cover().await.unwrap();
    let begin = Instant::now();
    let text = store.evidence(&run, true).await.unwrap().to_text().unwrap();
    let made = begin.elapsed();
    store.close().await;
    let best = |act: &dyn Fn()| {
        let spans = (0..5).map(|_| {
            let begin = Instant::now();
            act();
            begin.elapsed().as_secs_f64() * 1e3
        });
        median(spans.collect())
    };
    let verified = best(&|| assert_eq!(bundle::verify(&text, &[]).unwrap().events, BUNDLE + 1));
    let floor = best(&|| {
        let _hash = std::hint::black_box(Digest::of(text.as_bytes()));
    });
    println!("\n{:<50}{:>12}{:>9}", format!("bundle of {} events, {:.1} MB", BUNDLE + 1, text.len() as f64 / 1e6), "ms", "ratio");
    println!("{:<50}{:>12.1}{:>9.1}", "made, once", made.as_secs_f64() * 1e3, made.as_secs_f64() * 1e3 / floor);
    println!("{:<50}{verified:>12.1}{:>9.1}", "verified, median of 5", verified / floor);
    println!("{:<50}{floor:>12.1}{:>9.1}", "its bytes hashed once, median of 5", 1.0);
}

async fn verification(home: &Path, events: u64) {
    let home = home.join("verify");
    let store = open_proven(&home, Durability::Relaxed).await;
    let (begin, used) = (Instant::now(), cpu());
    fill(&store, events).await;
    store.cover().await.unwrap();
    let (filled, used) = (begin.elapsed(), cpu().checked_sub(used).unwrap_or_default());
    let total = store.head().await.unwrap().unwrap().0 + 1;
    println!("\n{:<50}{:>12}{:>27}", format!("{total} events"), "per second", "cpu µs");
    println!("{:<50}{:>12.0}{:>27.1}", "written 100 an append", per_second(total, filled), 1e6 / per_second(total, used));
    let (mut best, used) = (Duration::MAX, cpu());
    for _ in 0..3 {
        let begin = Instant::now();
        let report = store.verify().await.unwrap();
        best = best.min(begin.elapsed());
        assert_eq!((report.events, report.bad), (total, None));
    }
    println!("{:<50}{:>12.0}{:>27.1}", "verified from the file", per_second(total, best), micros_each(3 * total, used));
    // What fits into memory.
    let rows = store.records(0, 200_000).await.unwrap();
    let count = rows.len() as u64;
    let used = cpu();
    let best = (0..3).map(|_| pure(&rows)).min().unwrap();
    println!("{:<50}{:>12.0}{:>27.1}", "verified in memory, two threads", per_second(count, best), micros_each(3 * count, used));
    let bytes: usize = rows.iter().map(|row| row.record.len() + row.sealed.as_ref().map_or(0, String::len)).sum();
    println!("{:<50}{:>12}", "bytes of a record with its sealed values, mean", bytes / rows.len());
    drop(rows);
    let mut proofs = Vec::with_capacity(TIMES);
    for n in 0..TIMES as u64 {
        let begin = Instant::now();
        store.prove(total / TIMES as u64 * n).await.unwrap().unwrap();
        proofs.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!("{:<50}{:>12.0}", "inclusion proof, median, µs", median(proofs));
    store.close().await;
    let (mut plain, mut checked) = (Vec::new(), Vec::new());
    for _ in 0..TIMES / 10 {
        let begin = Instant::now();
        open(&home, Durability::Relaxed).await.close().await;
        plain.push(begin.elapsed().as_secs_f64() * 1e6);
        let begin = Instant::now();
        open_proven(&home, Durability::Relaxed).await.close().await;
        checked.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!("{:<50}{:>12.0}", "opened and closed, unchecked, median, µs", median(plain));
    println!("{:<50}{:>12.0}", "opened and closed, checked against checkpoints, µs", median(checked));
}
