use futures_util::future::join_all;

use super::*;

/// Two processes are two stores with owners of their own: locks belong to the open file, not to the process.
async fn two(home: &Path) -> (Store, Store, Arc<FakeClock>) {
    let clock = FakeClock::new();
    let one = Store::open(options(Some(home), &clock)).await.unwrap();
    let two = Store::open(options(Some(home), &clock)).await.unwrap();
    (one, two, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_make_one_chain() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, _) = two(home.path()).await;
    let shared = run(&one).await;
    let own = run(&two).await;
    let appends = (0..120_u64).map(|n| {
        let (store, run) = if n % 2 == 0 { (one.clone(), shared) } else { (two.clone(), if n % 3 == 0 { own } else { shared }) };
        #[expect(clippy::disallowed_methods, reason = "callers of their own, in a test")]
        tokio::spawn(async move { store.append(notes(run, n)).await.unwrap() })
    });
    let mut indices: Vec<u64> = join_all(appends).await.into_iter().map(|events| events.unwrap()[0].index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (2..122).collect::<Vec<_>>());
    assert_eq!(sound(&one).await, sound(&two).await);
    assert_eq!(one.events(&shared, 0, 0).await.unwrap().len() + two.events(&own, 0, 0).await.unwrap().len(), 122);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_used_once_between_two_processes() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, clock) = two(home.path()).await;
    let run = run(&one).await;
    for _ in 0..20 {
        let asked = question(clock.now().plus(Millis(1000)));
        let (id, digest) = (asked.id, asked.digest);
        one.append(changing(run, Change::RequestApproval(asked))).await.unwrap();
        two.append(changing(run, Change::DecideApproval { id, approve: true, reason: None, channel: crate::store::Channel::Cli }))
            .await
            .unwrap();
        let using = || changing(run, Change::UseApproval { id, digest });
        let (first, second) = tokio::join!(one.append(using()), two.append(using()));
        assert!(first.is_ok() != second.is_ok());
        assert_eq!(code(if first.is_err() { first } else { second }), ErrorCode::ApprovalRequired);
    }
    sound(&two).await;
}

#[tokio::test]
async fn calls_of_the_dead_are_orphans_and_those_of_the_living_are_not() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, clock) = two(home.path()).await;
    let run = run(&one).await;
    let call = call();
    one.append(intent(run, call)).await.unwrap();
    assert_eq!(two.orphaned_calls().await.unwrap(), []);
    assert_eq!(one.orphaned_calls().await.unwrap(), []);
    drop(one);
    let third = Store::open(options(Some(home.path()), &clock)).await.unwrap();
    let orphans = vec![OpenCall { call, run, step: Some("build".parse().unwrap()), idempotent: true }];
    assert_eq!(two.orphaned_calls().await.unwrap(), orphans);
    assert_eq!(third.orphaned_calls().await.unwrap(), orphans);
    // Both recover at once: one of them closes it.
    let (a, b) = tokio::join!(two.append(outcome(run, call)), third.append(outcome(run, call)));
    assert!(a.is_ok() != b.is_ok());
    assert_eq!(code(if a.is_err() { a } else { b }), ErrorCode::RunState);
    assert_eq!(two.orphaned_calls().await.unwrap(), []);
}

#[tokio::test]
async fn a_lease_is_free_when_its_owner_is_dead() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, _) = two(home.path()).await;
    let run = run(&one).await;
    let first = one.take_lease(&run, Millis(1_000_000)).await.unwrap().unwrap();
    assert_eq!(two.take_lease(&run, Millis(1000)).await.unwrap(), None);
    drop(one);
    let second = two.take_lease(&run, Millis(1000)).await.unwrap().unwrap();
    assert_eq!((second.fence, second.owner), (first.fence + 1, two.owner()));
}

#[tokio::test]
async fn a_lease_that_went_to_another_process_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, clock) = two(home.path()).await;
    let run = run(&one).await;
    let first = one.take_lease(&run, Millis(1000)).await.unwrap().unwrap();
    clock.forward(Millis(1000));
    let second = two.take_lease(&run, Millis(1000)).await.unwrap().unwrap();
    let with = |lease: &Lease| Append { guards: vec![Guard::Holds(lease.clone())], ..notes(run, 1) };
    assert_eq!(code(one.append(with(&first)).await), ErrorCode::LeaseLost);
    assert_eq!(code(one.append(with(&second)).await), ErrorCode::LeaseLost);
    two.append(with(&second)).await.unwrap();
}

#[tokio::test]
async fn many_may_open_a_new_home_at_once() {
    let home = tempfile::tempdir().unwrap();
    let stores = join_all((0..6).map(|_| Store::open(options(Some(home.path()), &FakeClock::new())))).await;
    for store in stores {
        run(&store.unwrap()).await;
    }
    assert_eq!(sound(&open(home.path()).await).await.events, 6);
}

#[tokio::test]
async fn a_process_that_holds_the_database_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let run = run(&store).await;
    let mut other = raw(home.path()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (written, ()) = tokio::join!(store.append(notes(run, 1)), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    });
    assert_eq!(written.unwrap()[0].seq, 2);
}

/// The usual append goes by what is known; whatever another connection changes must be seen all the same.
#[tokio::test]
async fn what_another_process_changed_is_known_to_the_next_append() {
    let home = tempfile::tempdir().unwrap();
    let (one, two, _) = two(home.path()).await;
    let run = run(&one).await;
    let open = |n| Append { guards: vec![Guard::RunOpen], ..notes(run, n) };
    let before = known::AT_ONCE.load(Ordering::Relaxed);
    for n in 0..5 {
        one.append(open(n)).await.unwrap();
    }
    assert!(known::AT_ONCE.load(Ordering::Relaxed) >= before + 5, "an append beside nothing takes one passage");
    two.append(Append { changes: vec![Change::SetStatus(RunStatus::Closed)], ..notes(run, 5) }).await.unwrap();
    assert_eq!(code(one.append(open(6)).await), ErrorCode::RunState);
    two.append(Append { changes: vec![Change::SetStatus(RunStatus::Running)], ..notes(run, 6) }).await.unwrap();
    assert_eq!(one.append(open(7)).await.unwrap()[0].seq, 9);
    // Without an event, and past the store.
    sql(home.path(), "UPDATE runs SET status = 'closed'").await;
    assert_eq!(code(one.append(open(8)).await), ErrorCode::RunState);
    sql(home.path(), "UPDATE runs SET status = 'running'").await;
    assert_eq!(two.append(open(9)).await.unwrap()[0].seq, 10);
    assert_eq!(one.append(open(10)).await.unwrap()[0].seq, 11);
    assert_eq!(sound(&two).await.events, 11);
}

#[tokio::test]
async fn a_second_outcome_is_refused_where_nothing_else_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let run = run(&store).await;
    store.append(notes(run, 1)).await.unwrap();
    let (call, other) = (call(), call());
    let outcome = |call| Append { changes: vec![], ..outcome(run, call) };
    store.append(outcome(call)).await.unwrap();
    let (again, beside) = tokio::join!(store.append(outcome(call)), store.append(outcome(other)));
    assert_eq!(code(again), ErrorCode::RunState);
    beside.unwrap();
    assert_eq!(sound(&store).await.events, 4);
}
