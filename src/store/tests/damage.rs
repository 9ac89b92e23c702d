use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

const EVENTS: u64 = 20;

/// A closed home with one run of [`EVENTS`] records, each with sealed values.
async fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let run = run(&store).await;
    store.append(intent(run, call())).await.unwrap();
    for n in 2..EVENTS {
        store.append(notes(run, n)).await.unwrap();
    }
    assert_eq!(sound(&store).await.events, EVENTS);
    store.close().await;
    home
}

fn copy(home: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(home.join(open::FILE), copy.path().join(open::FILE)).unwrap();
    copy
}

async fn damaged(home: &Path, statement: &'static str, index: u64) {
    let mut connection = raw(home).await;
    sqlx::query(statement).bind(i64::try_from(index).unwrap()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn found(home: &Path) -> BadRecord {
    let store = open(home).await;
    let report = store.verify().await.unwrap();
    store.close().await;
    report.bad.expect("the damage is found")
}

#[tokio::test]
async fn every_column_that_is_changed_is_found_in_its_row() {
    let home = home().await;
    for (statement, index) in [
        ("UPDATE journal SET run_id = 'run_00000000000000000000000000000000' WHERE idx = 5", 5),
        ("UPDATE journal SET run_id = '' WHERE idx = 5", 5),
        ("UPDATE journal SET run_id = CAST(x'ff' AS TEXT) WHERE idx = 5", 5),
        ("UPDATE journal SET run_id = run_id || char(10) WHERE idx = 5", 5),
        ("UPDATE journal SET seq = 1000 WHERE idx = 6", 6),
        ("UPDATE journal SET kind = 'tool_call' WHERE idx = 7", 7),
        ("UPDATE journal SET step_id = 'other' WHERE idx = 8", 8),
        ("UPDATE journal SET step_id = '' WHERE idx = 8", 8),
        ("UPDATE journal SET step_id = NULL WHERE idx = 1", 1),
        ("UPDATE journal SET call_id = NULL WHERE idx = 1", 1),
        ("UPDATE journal SET call_id = 'x' WHERE idx = 0", 0),
        ("UPDATE journal SET record = x'' WHERE idx = 9", 9),
        ("UPDATE journal SET record = CAST(record || x'0a' AS BLOB) WHERE idx = 9", 9),
        ("UPDATE journal SET record = CAST(record || x'00' AS BLOB) WHERE idx = 19", 19),
        ("UPDATE journal SET hash = zeroblob(32) WHERE idx = 10", 10),
        ("UPDATE journal SET sealed = '' WHERE idx = 11", 11),
        ("UPDATE journal SET sealed = '{}' WHERE idx = 11", 11),
        ("UPDATE journal SET sealed = (SELECT sealed FROM journal WHERE idx = 12) WHERE idx = 13", 13),
        ("UPDATE journal SET sealed = '{\"x\":{\"salt\":\"\",\"value\":1}}' WHERE idx = 0", 0),
        ("UPDATE journal SET tree = NULL WHERE idx = 5", 5),
        ("UPDATE journal SET tree = zeroblob(32) WHERE idx = 6", 6),
        ("UPDATE journal SET tree = CAST(tree || zeroblob(32) AS BLOB) WHERE idx = 8", 8),
        ("UPDATE journal SET tree = (SELECT tree FROM journal WHERE idx = 9) WHERE idx = 13", 13),
        ("UPDATE journal SET tree = substr(tree, 1, 32) WHERE idx = 15", 15),
        // As one long text the columns of both rows are what they were.
        (
            "UPDATE journal SET tree = CAST(tree || (SELECT tree FROM journal WHERE idx = 6) AS BLOB) WHERE idx = 5; \
             UPDATE journal SET tree = x'' WHERE idx = 6",
            5,
        ),
        ("UPDATE journal SET kind = kind || char(10) || step_id, step_id = NULL WHERE idx = 1", 1),
        // Bytes of a column that stand in its neighbour.
        ("UPDATE journal SET kind = kind || step_id, step_id = NULL WHERE idx = 1", 1),
        ("UPDATE journal SET run_id = substr(run_id, 1, 4), kind = substr(run_id, 5) || kind WHERE idx = 5", 5),
        ("UPDATE journal SET tree = CAST(tree || substr(record, 1, 32) AS BLOB), record = substr(record, 33) WHERE idx = 6", 6),
        (
            "PRAGMA ignore_check_constraints = 1; \
             UPDATE journal SET hash = substr(hash, 1, 31), tree = CAST(substr(hash, 32) || tree AS BLOB) WHERE idx = 7",
            7,
        ),
        ("UPDATE journal SET step_id = '', call_id = '' WHERE idx = 5", 5),
        ("UPDATE journal SET call_id = '' WHERE idx = 6", 6),
        ("UPDATE journal SET idx = 1000 WHERE idx = 14", 14),
        ("UPDATE journal SET idx = 1000 WHERE idx = 0", 0),
        ("PRAGMA ignore_check_constraints = 1; UPDATE journal SET idx = -1 WHERE idx = 3", 0),
        ("PRAGMA ignore_check_constraints = 1; UPDATE journal SET hash = substr(hash, 2) WHERE idx = 4", 4),
    ] {
        let copy = copy(home.path());
        sql(copy.path(), statement).await;
        assert_eq!(found(copy.path()).await.index, index, "{statement}");
    }
}

/// Whatever is read at once, and however much is being checked meanwhile.
#[tokio::test]
async fn the_first_damage_of_a_long_log_is_found_wherever_it_is() {
    const MANY: u64 = 600;
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let run = run(&store).await;
    for n in 1..MANY {
        store.append(notes(run, n)).await.unwrap();
    }
    assert_eq!(sound(&store).await.events, MANY);
    store.close().await;
    for index in [0, 255, 256, 511, 512, MANY - 1] {
        let copy = copy(home.path());
        damaged(copy.path(), "UPDATE journal SET sealed = '{}' WHERE idx IN (?1, 599)", index).await;
        assert_eq!(found(copy.path()).await.index, index);
    }
    for index in [255, 256, 512] {
        let copy = copy(home.path());
        damaged(copy.path(), "DELETE FROM journal WHERE idx = ?1", index).await;
        assert_eq!(found(copy.path()).await.index, index);
    }
}

#[tokio::test]
async fn rows_that_are_taken_out_moved_or_put_in_are_found() {
    let home = home().await;
    for (statement, index) in [
        ("DELETE FROM journal WHERE idx = 0", 0),
        ("DELETE FROM journal WHERE idx = 7", 7),
        ("DELETE FROM journal WHERE idx = 19", 19),
        ("DELETE FROM journal", 0),
        (
            "UPDATE journal SET idx = 100 WHERE idx = 4; UPDATE journal SET idx = 4 WHERE idx = 9; UPDATE journal SET idx = 9 WHERE idx = 100",
            4,
        ),
        ("INSERT INTO journal SELECT 20, run_id, 21, kind, step_id, call_id, record, hash, sealed, tree FROM journal WHERE idx = 19", 20),
        ("UPDATE runs SET last_seq = 21", 20),
    ] {
        let copy = copy(home.path());
        sql(copy.path(), statement).await;
        assert_eq!(found(copy.path()).await.index, index, "{statement}");
    }
}

/// As one who knows how hashes are made would do it: the change itself fits its hash, but not its place in the tree.
#[tokio::test]
async fn a_record_that_is_rewritten_with_its_hash_is_found_by_the_tree() {
    let home = home().await;
    let mut connection = raw(home.path()).await;
    let record: Vec<u8> = sqlx::query_scalar("SELECT record FROM journal WHERE idx = 6").fetch_one(&mut connection).await.unwrap();
    let forged = String::from_utf8(record).unwrap().replace("\"n\":6", "\"n\":7");
    let hash = crate::audit::record::hash(forged.as_bytes());
    let update =
        sqlx::query("UPDATE journal SET record = ?1, hash = ?2 WHERE idx = 6").bind(forged.into_bytes()).bind(hash.as_bytes().to_vec());
    update.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let bad = found(home.path()).await;
    assert_eq!((bad.index, bad.why.contains("`tree`")), (6, true), "{bad:?}");
    // With its leaf rewritten as well, the tree above it does not fit.
    let mut connection = raw(home.path()).await;
    let leaf = toolgate_evidence::tree::leaf(
        &sqlx::query_scalar::<_, Vec<u8>>("SELECT record FROM journal WHERE idx = 6").fetch_one(&mut connection).await.unwrap(),
    );
    sqlx::query("UPDATE journal SET tree = ?1 WHERE idx = 6").bind(leaf.to_vec()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let bad = found(home.path()).await;
    assert_eq!((bad.index, bad.why.contains("does not follow")), (7, true), "{bad:?}");
}

#[test]
fn any_flipped_bit_of_a_row_is_found_in_that_row() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = runtime.block_on(home());
    let strategy = (1..EVENTS, prop::sample::select(vec!["record", "hash", "sealed", "tree"]), any::<prop::sample::Index>(), 0..8_u32);
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |(index, column, at, bit)| {
        runtime.block_on(async {
            let copy = copy(home.path());
            let mut connection = raw(copy.path()).await;
            let select = format!("SELECT CAST({column} AS BLOB) FROM journal WHERE idx = ?1");
            let mut bytes: Vec<u8> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(select)).bind(fault::int(index)).fetch_one(&mut connection).await.unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let value = if column == "sealed" { "CAST(?2 AS TEXT)" } else { "?2" };
            let update = format!("UPDATE journal SET {column} = {value} WHERE idx = ?1");
            sqlx::query(sqlx::AssertSqlSafe(update)).bind(fault::int(index)).bind(bytes).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            prop_assert_eq!(found(copy.path()).await.index, index);
            Ok(())
        })
    });
    result.unwrap();
}

#[tokio::test]
async fn a_byte_changed_in_the_file_itself_is_found() {
    let home = home().await;
    let path = home.path().join(open::FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = b"\"index\":12,";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at + 9] = b'7';
    std::fs::write(&path, bytes).unwrap();
    let bad = found(home.path()).await;
    assert_eq!((bad.index, bad.run_id.is_some()), (12, true));
}

/// Whatever is done to pages, the answer is a finding or a refusal to open, never a panic or a clean bill of changed records.
#[tokio::test]
async fn damaged_pages_are_findings() {
    let home = home().await;
    let bytes = std::fs::read(home.path().join(open::FILE)).unwrap();
    let mut findings = 0;
    for page in 1..bytes.len() / 4096 {
        for filling in [0_u8, 0xff] {
            let copy = copy(home.path());
            let mut damaged = bytes.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(filling);
            let holds_records = bytes[page * 4096..(page + 1) * 4096].windows(11).any(|window| window == b"\"prev_hash\"");
            std::fs::write(copy.path().join(open::FILE), damaged).unwrap();
            let Ok(store) = Store::open(options(Some(copy.path()), &FakeClock::new())).await else { continue };
            let report = store.verify().await;
            let found = report.is_ok_and(|report| report.bad.is_some());
            assert!(found || !holds_records, "page {page}");
            findings += u32::from(found);
        }
    }
    assert!(findings >= 2);
}

#[tokio::test]
async fn nothing_is_built_upon_a_changed_end() {
    let home = home().await;
    let store = open(home.path()).await;
    let run = store.runs(RunFilter::default()).await.unwrap()[0].id;
    sql(home.path(), "UPDATE journal SET record = CAST(replace(CAST(record AS TEXT), '\"n\":19', '\"n\":18') AS BLOB) WHERE idx = 19")
        .await;
    assert_eq!(code(store.append(notes(run, 1)).await), ErrorCode::AuditBroken);
}

#[tokio::test]
async fn a_tail_that_is_cut_off_while_we_write_stops_the_writing() {
    let home = home().await;
    let store = open(home.path()).await;
    let run = store.runs(RunFilter::default()).await.unwrap()[0].id;
    store.append(notes(run, 1)).await.unwrap();
    sql(home.path(), "DELETE FROM journal WHERE idx = 20; UPDATE runs SET last_seq = 20").await;
    assert_eq!(code(store.append(notes(run, 2)).await), ErrorCode::AuditBroken);
}

#[tokio::test]
async fn reading_a_run_with_a_hole_says_so() {
    let home = home().await;
    sql(home.path(), "DELETE FROM journal WHERE idx = 7").await;
    let store = open(home.path()).await;
    let run = store.runs(RunFilter::default()).await.unwrap()[0].id;
    assert_eq!(code(store.events(&run, 0, 0).await), ErrorCode::AuditBroken);
    assert_eq!(store.events(&run, 8, 0).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_value_that_was_taken_away_is_counted_not_bad() {
    let home = home().await;
    sql(home.path(), "UPDATE journal SET sealed = NULL WHERE idx = 7").await;
    let store = open(home.path()).await;
    assert_eq!(sound(&store).await.redacted, 1);
}

#[tokio::test]
async fn rows_as_they_lie_can_be_exported() {
    let home = home().await;
    let store = open(home.path()).await;
    let rows = store.records(3, 5).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert!(rows.iter().all(|row| row.hash == crate::audit::record::hash(&row.record).as_bytes()));
    sql(home.path(), "UPDATE journal SET kind = CAST(x'ff' AS TEXT) WHERE idx = 5").await;
    assert_eq!(code(store.records(3, 5).await), ErrorCode::AuditBroken);
}
