use std::io::{BufRead as _, BufReader};

use super::*;

const HOME: &str = "TOOLGATE_TEST_CRASH_HOME";

/// Not a test of its own: what the child of the test below runs, told so by its environment. It writes until it is killed.
#[tokio::test]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a child process of a test tells its parent what was acknowledged")]
async fn child() {
    let Ok(home) = std::env::var(HOME) else { return };
    let mut options = options(Some(Path::new(&home)), &FakeClock::new());
    options.durability = Durability::Full;
    let store = Store::open(options).await.unwrap();
    let run = run(&store).await;
    store.append(intent(run, call())).await.unwrap();
    loop {
        for event in store.append(Append { events: vec![note(1), note(2)], ..notes(run, 0) }).await.unwrap() {
            println!("acknowledged {} {}", event.index, event.hash);
        }
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "starts this very test binary, to kill it")]
async fn what_was_acknowledged_outlives_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::crash::child", "--exact", "--nocapture"])
            .env(HOME, home.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref().take(20 + 7 * round) {
            acknowledged.push(line.unwrap());
        }
        child.kill().unwrap();
        acknowledged.extend(lines.map_while(Result::ok));
        child.wait().unwrap();
        let store = open(home.path()).await;
        sound(&store).await;
        let records = store.records(0, 0).await.unwrap();
        for line in acknowledged.iter().filter_map(|line| line.split_once("acknowledged ")).map(|(_, told)| told) {
            let (index, hash) = line.split_once(' ').unwrap();
            let record = &records[index.parse::<usize>().unwrap()];
            assert_eq!(crate::audit::record::hash(&record.record).to_string(), hash);
        }
        // Its call is left open, and nobody is there to end it.
        assert_eq!(store.orphaned_calls().await.unwrap().len(), round + 1);
        store.close().await;
    }
    assert!(acknowledged.len() > 80);
}

#[test]
fn a_writer_that_is_dropped_at_any_time_leaves_whole_appends() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..8_u64 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let path = home.path().to_owned();
        runtime.block_on(async {
            let store = open(&path).await;
            let run = run(&store).await;
            for n in 0..40 {
                let store = store.clone();
                #[expect(clippy::disallowed_methods, reason = "callers of their own, in a test")]
                tokio::spawn(async move { store.append(Append { events: vec![note(n), note(n)], ..notes(run, n) }).await });
            }
            tokio::time::sleep(std::time::Duration::from_micros(400 * round)).await;
        });
        runtime.shutdown_background();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(home.path()).await;
        sound(&store).await;
        for run in store.runs(RunFilter::default()).await.unwrap() {
            assert_eq!(run.last_seq % 2, 1, "an append of two events is there whole or not at all");
        }
    });
}
