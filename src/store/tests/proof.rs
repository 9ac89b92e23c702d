//! Checkpoints as the writer makes them.

use toolgate_evidence::tree::{self, verify_inclusion};

use super::*;

const FEW: u64 = 10;

fn audit() -> AuditOptions {
    AuditOptions { key_file: None, every_events: FEW, every: Millis(3_600_000), witness: None, witness_required: false }
}

async fn proven(home: &Path, audit: &AuditOptions) -> Store {
    Store::open_proven(options(Some(home), &FakeClock::new()), audit).await.unwrap()
}

async fn covered(store: &Store) -> u64 {
    store.checkpoint().await.unwrap().map_or(0, |checkpoint| checkpoint.size)
}

#[tokio::test]
async fn a_checkpoint_comes_after_so_many_records_at_a_runs_end_and_on_demand() {
    let home = tempfile::tempdir().unwrap();
    let store = proven(home.path(), &audit()).await;
    let run = run(&store).await;
    for n in 1..FEW {
        store.append(notes(run, n)).await.unwrap();
        assert_eq!(covered(&store).await, 0);
    }
    store.append(notes(run, FEW)).await.unwrap();
    // With the house's own run, which begins with its first checkpoint.
    assert_eq!(covered(&store).await, FEW + 2);
    let before = store.head().await.unwrap();
    assert_eq!(store.cover().await.unwrap().unwrap().size, FEW + 2, "a checkpoint's own record needs no other one");
    assert_eq!(store.head().await.unwrap(), before);
    store.append(notes(run, 1)).await.unwrap();
    let on_demand = store.cover().await.unwrap().unwrap().size;
    assert_eq!(on_demand, before.unwrap().0 + 2);
    store.append(changing(run, Change::SetStatus(RunStatus::Closed))).await.unwrap();
    assert_eq!(covered(&store).await, on_demand + 2);
    let report = sound(&store).await;
    assert_eq!((report.proven.unwrap().size, report.checkpoints), (on_demand + 2, 4), "three, and the one of the file");
    store.close().await;
}

#[tokio::test]
async fn a_checkpoint_comes_after_a_while_and_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let store = proven(home.path(), &AuditOptions { every: Millis(20), ..audit() }).await;
    let run = run(&store).await;
    let mut tries = 0;
    while covered(&store).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        tries += 1;
        assert!(tries < 1_000, "no checkpoint was made");
    }
    let size = covered(&store).await;
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert_eq!(covered(&store).await, size, "nothing new, no new checkpoint");
    store.close().await;
    let store = proven(home.path(), &audit()).await;
    store.append(notes(run, 1)).await.unwrap();
    store.close().await;
    let store = open(home.path()).await;
    assert_eq!(covered(&store).await, size + 2);
}

#[tokio::test]
async fn processes_that_share_a_home_agree_on_the_tree_and_its_checkpoints() {
    let home = tempfile::tempdir().unwrap();
    let stores = [proven(home.path(), &audit()).await, proven(home.path(), &audit()).await];
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.clone() {
        tasks.spawn(async move {
            let run = run(&store).await;
            for n in 0..60 {
                store.append(notes(run, n)).await.unwrap();
            }
            store.append(changing(run, Change::SetStatus(RunStatus::Closed))).await.unwrap();
        });
    }
    tasks.join_all().await;
    let report = sound(&stores[0]).await;
    let size = report.proven.unwrap().size;
    assert!(report.checkpoints > 8 && size + 1 == report.events, "{} {size} {}", report.checkpoints, report.events);
    for store in stores {
        store.close().await;
    }
    let kept = std::fs::read_to_string(home.path().join("audit/checkpoint")).unwrap();
    assert!(kept.contains(&format!("\n{size}\n")), "the file has the newest one: {kept}");
}

#[tokio::test]
async fn every_record_has_a_proof_that_the_leaves_alone_bear_out() {
    let home = tempfile::tempdir().unwrap();
    let store = proven(home.path(), &audit()).await;
    let run = run(&store).await;
    for n in 0..45 {
        store.append(notes(run, n)).await.unwrap();
    }
    store.cover().await.unwrap();
    let records = store.records(0, 0).await.unwrap();
    let leaves: Vec<_> = records.iter().map(|record| tree::leaf(&record.record)).collect();
    let size = covered(&store).await;
    for index in 0..size {
        let proof = store.prove(index).await.unwrap().unwrap();
        let covers = proof.checkpoint.size;
        assert!(covers > index && covers <= size);
        let root = tree::root(&leaves[..usize::try_from(covers).unwrap()]);
        assert_eq!(*proof.checkpoint.root.as_bytes(), root);
        let path: Vec<_> = proof.path.iter().map(|hash| *hash.as_bytes()).collect();
        verify_inclusion(index, covers, &leaves[usize::try_from(index).unwrap()], &path, &root).unwrap();
    }
    assert!(store.prove(size).await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_that_was_opened_to_look_makes_no_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let looking = Store::open_unchecked(options(Some(home.path()), &FakeClock::new()), &audit()).await.unwrap();
    assert_eq!(code(looking.cover().await), ErrorCode::Internal);
    assert!(!home.path().join("audit/key").exists());
    assert_eq!(sound(&looking).await.checkpoints, 0);
}

#[tokio::test]
async fn another_process_signs_with_the_new_key_after_a_rotation() {
    let home = tempfile::tempdir().unwrap();
    let stores = [proven(home.path(), &audit()).await, proven(home.path(), &audit()).await];
    let run = run(&stores[0]).await;
    stores[0].cover().await.unwrap();
    let key = stores[1].rotate_key().await.unwrap().unwrap().key;
    // A process that began before the rotation and one that begins after it.
    stores[0].append(notes(run, 1)).await.unwrap();
    assert_eq!(stores[0].cover().await.unwrap().unwrap().key, key);
    let again = stores[0].rotate_key().await.unwrap().unwrap().key;
    assert_ne!(again, key);
    stores[1].append(notes(run, 2)).await.unwrap();
    assert_eq!(stores[1].cover().await.unwrap().unwrap().key, again);
    sound(&stores[0]).await;
    for store in stores {
        store.close().await;
    }
    sound(&proven(home.path(), &audit()).await).await;
}

#[tokio::test]
async fn a_rewritten_journal_with_a_rotated_key_can_be_accepted_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let store = proven(home.path(), &audit()).await;
    let run = run(&store).await;
    store.append(notes(run, 1)).await.unwrap();
    store.rotate_key().await.unwrap();
    store.append(notes(run, 2)).await.unwrap();
    store.cover().await.unwrap();
    store.close().await;
    // A subtree's stored hash is changed, so that no later checkpoint holds of it.
    sql(home.path(), "UPDATE journal SET tree = CAST(substr(tree, 1, 64) || zeroblob(32) AS BLOB) WHERE idx = 3").await;
    let opened = Store::open_proven(options(Some(home.path()), &FakeClock::new()), &audit()).await;
    assert_eq!(opened.err().unwrap().code, ErrorCode::AuditBroken);
    let accepted =
        Store::open_accepting(options(Some(home.path()), &FakeClock::new()), &audit(), "audit_accepted", "mended").await.unwrap();
    accepted.close().await;
    proven(home.path(), &audit()).await.close().await;
    // What is wrong inside stays wrong, and named.
    let looking = Store::open_unchecked(options(Some(home.path()), &FakeClock::new()), &audit()).await.unwrap();
    assert_eq!(looking.verify().await.unwrap().bad.unwrap().index, 3);
}
