use std::path::PathBuf;

use sqlx::Connection as _;

use super::*;
use crate::domain::{Actor, ArtifactId, Principal};
use crate::store::tests::{FakeClock, open as open_home, options, raw, run, sql};
use crate::store::{RunFilter, Store};

async fn refused(home: &Path) -> Fault {
    match Store::open(options(Some(home), &FakeClock::new())).await {
        Ok(_) => panic!("it opened"),
        Err(fault) => fault,
    }
}

fn with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    std::fs::write(&path, bytes).unwrap();
    (home, path)
}

#[test]
fn every_migration_is_embedded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, MIGRATIONS);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    for garbage in [b"not a database, but somebody's notes".as_slice(), &[0xff; 5000], b"SQLite format 3\0", &[0; 4096]] {
        let (home, path) = with(garbage);
        let fault = refused(home.path()).await;
        assert_eq!(fault.code, ErrorCode::StoreFailed);
        assert!(fault.hint.unwrap().contains("nothing was changed"));
        assert_eq!(std::fs::read(path).unwrap(), garbage);
    }
}

#[tokio::test]
async fn another_programs_database_is_left_as_it_is() {
    let (home, path) = with(b"");
    let mut connection = raw(home.path()).await;
    sqlx::raw_sql("CREATE TABLE t (a)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(refused(home.path()).await.code, ErrorCode::StoreFailed);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // Of one page only, so that its first bytes look like a new one of ours.
    let (home, path) = with(b"");
    let mut connection = raw(home.path()).await;
    sqlx::raw_sql("CREATE VIEW v AS SELECT 1").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(refused(home.path()).await.code, ErrorCode::StoreFailed);
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut raw(home.path()).await).await.unwrap();
    assert_eq!((tables, path.exists()), (1, true));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    open_home(home.path()).await.close().await;
    sql(home.path(), "PRAGMA user_version = 99").await;
    let before = std::fs::read(home.path().join(FILE)).unwrap();
    let fault = refused(home.path()).await;
    assert_eq!(fault.code, ErrorCode::StoreTooNew);
    assert!(fault.message.contains("99") && fault.hint.is_some());
    assert_eq!(std::fs::read(home.path().join(FILE)).unwrap(), before);
}

#[tokio::test]
async fn a_home_opens_again_with_what_was_in_it() {
    let home = tempfile::tempdir().unwrap();
    let nested = home.path().join("a/b");
    let store = open_home(&nested).await;
    let run = run(&store).await;
    store.close().await;
    let store = open_home(&nested).await;
    assert_eq!(store.runs(RunFilter::default()).await.unwrap()[0].id, run);
}

#[tokio::test]
async fn a_database_killed_before_its_first_checkpoint_opens_again() {
    let home = tempfile::tempdir().unwrap();
    let store = open_home(home.path()).await;
    run(&store).await;
    let copy = tempfile::tempdir().unwrap();
    for file in [FILE, "toolgate.db-wal"] {
        std::fs::copy(home.path().join(file), copy.path().join(file)).unwrap();
    }
    let again = open_home(copy.path()).await;
    assert_eq!(again.runs(RunFilter::default()).await.unwrap().len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_what_is_made() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(home.path().join(FILE), "").unwrap();
    let store = open_home(home.path()).await;
    run(&store).await;
    store.artifacts().put(b"x".to_vec(), "text/plain").await.unwrap();
    let mut folders = vec![home.path().to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "database, wal, shm, locks, artifact");
}

#[tokio::test]
async fn readers_cannot_write() {
    let home = tempfile::tempdir().unwrap();
    let (_writing, readers) = open(Some(home.path()), Durability::Relaxed).await.unwrap();
    let mut reader = readers.get().await.unwrap();
    assert!(sqlx::query("DELETE FROM journal").execute(&mut *reader).await.is_err());
}

#[tokio::test]
async fn records_from_before_the_tree_are_given_their_places_in_it() {
    let new = tempfile::tempdir().unwrap();
    let store = open_home(new.path()).await;
    let run = run(&store).await;
    for n in 0..20 {
        store.append(crate::store::tests::notes(run, n)).await.unwrap();
    }
    store.close().await;
    let (old, _) = with(b"");
    let mut connection = raw(old.path()).await;
    for sql in &MIGRATIONS[..2] {
        sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
    }
    let marks = format!("PRAGMA application_id = {}; PRAGMA user_version = 2", home::APPLICATION_ID);
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut connection).await.unwrap();
    sqlx::query("ATTACH ?1 AS new").bind(new.path().join(FILE).display().to_string()).execute(&mut connection).await.unwrap();
    let copy = "INSERT INTO journal SELECT idx, run_id, seq, kind, step_id, call_id, record, hash, sealed FROM new.journal; \
                INSERT INTO runs SELECT id, kind, workflow, principal, status, created, updated, last_seq FROM new.runs";
    sqlx::raw_sql(copy).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let store = open_home(old.path()).await;
    assert_eq!(crate::store::tests::sound(&store).await.events, 21);
    store.append(crate::store::tests::notes(run, 20)).await.unwrap();
    assert_eq!(crate::store::tests::sound(&store).await.events, 22);
}

/// A home of the format before it was written down who stored what: `local` goes on reading what lies there, and nobody else begins to.
#[tokio::test]
async fn artifacts_from_before_their_owners_were_known_are_locals() {
    let (old, _) = with(b"");
    let mut connection = raw(old.path()).await;
    for sql in &MIGRATIONS[..7] {
        sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
    }
    let marks = format!("PRAGMA application_id = {}; PRAGMA user_version = 7", home::APPLICATION_ID);
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut connection).await.unwrap();
    let id = ArtifactId::of(b"before");
    let run = "INSERT INTO runs VALUES ('run_0190b1c2d3e4f5061728394a5b6c7d8e', 'adhoc', NULL, 'operator', 'closed', 1, 1, 0, 0, 0)";
    sqlx::raw_sql(run).execute(&mut connection).await.unwrap();
    let linked = ArtifactId::of(b"linked");
    let link = "INSERT INTO run_artifacts VALUES ('run_0190b1c2d3e4f5061728394a5b6c7d8e', ?1, 6, 'text/plain', 1)";
    sqlx::query(link).bind(linked.to_string()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    for bytes in [b"before".as_slice(), b"linked"] {
        let name = ArtifactId::of(bytes).to_string();
        let folder = old.path().join("artifacts").join(&name[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&name[2..]), bytes).unwrap();
    }
    let store = open_home(old.path()).await;
    let may = async |name: &str, id: &ArtifactId| store.may_read(&Actor::agent(Principal::new(name)), id).await.unwrap();
    assert!(may("local", &id).await && may("local", &linked).await && may("operator", &linked).await);
    assert!(!may("other", &id).await && !may("other", &linked).await && !may("operator", &id).await);
    assert!(!may("local", &ArtifactId::of(b"later")).await, "what came later is whoever's run stored it");
}
