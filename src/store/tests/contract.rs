use super::*;
use futures_util::future::join_all;

#[tokio::test]
async fn events_get_their_places_and_come_back_whole() {
    for store in both().await.stores {
        let (one, two) = (run(&store).await, run(&store).await);
        let written = store.append(Append { events: vec![note(1), note(2)], ..notes(one, 0) }).await.unwrap();
        let other = store.append(notes(two, 3)).await.unwrap();
        assert_eq!(written.iter().map(|event| (event.index, event.seq)).collect::<Vec<_>>(), [(2, 2), (3, 3)]);
        assert_eq!((other[0].index, other[0].seq), (4, 2));
        assert_eq!(other[0].prev_hash, written[1].hash);
        assert_eq!(written[1].payload["secret"], json!({ "n": 2 }));
        assert_eq!(store.events(&one, 1, 0).await.unwrap(), written);
        assert_eq!(store.events(&one, 2, 10).await.unwrap(), written[1..]);
        assert_eq!(store.events(&one, 0, 1).await.unwrap()[0].kind, EventKind::RunCreated);
        assert_eq!(store.events(&one, 3, 0).await.unwrap(), []);
        assert_eq!(store.head().await.unwrap(), Some((4, other[0].hash)));
        let report = sound(&store).await;
        assert_eq!((report.events, report.redacted, report.head), (5, 0, Some((4, other[0].hash))));
    }
}

#[tokio::test]
async fn an_empty_journal_has_no_head() {
    for store in both().await.stores {
        assert_eq!(store.head().await.unwrap(), None);
        assert_eq!(sound(&store).await, VerifyReport { events: 0, redacted: 0, head: None, bad: None, checkpoints: 0, proven: None });
    }
}

#[tokio::test]
async fn times_never_run_back() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        both.clock.forward(Millis(500));
        let later = store.append(notes(run, 1)).await.unwrap();
        both.clock.back(Millis(400));
        let earlier = store.append(notes(run, 2)).await.unwrap();
        assert_eq!(later[0].ts, earlier[0].ts);
        assert_eq!(store.run(&run).await.unwrap().unwrap().updated, later[0].ts);
    }
}

#[tokio::test]
async fn numbers_and_depth_survive_the_canonical_form() {
    for store in both().await.stores {
        let run = run(&store).await;
        let odd = json!({ "large": u64::MAX, "deep": (0..110).fold(json!(1), |inner, _| json!([inner])), "half": 0.5, "$json": "x" });
        let event = note(0).field("odd", odd.clone()).sealed("odder", odd.clone());
        store.append(Append { events: vec![event], ..notes(run, 0) }).await.unwrap();
        let read = &store.events(&run, 1, 0).await.unwrap()[0];
        assert_eq!((&read.payload["odd"], &read.payload["odder"]), (&odd, &odd));
        sound(&store).await;
    }
}

#[tokio::test]
async fn a_guard_that_does_not_hold_leaves_nothing() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        let stale = Lease { run, owner: store.owner(), fence: 7 };
        let attempts = [(Guard::LastSeq(2), ErrorCode::RunState), (Guard::Holds(stale), ErrorCode::LeaseLost)];
        for (guard, expected) in attempts {
            let asked = question(both.clock.now().plus(Millis(1000)));
            let id = asked.id;
            let append = Append { guards: vec![guard], ..changing(run, Change::RequestApproval(asked)) };
            assert_eq!(code(store.append(append).await), expected);
            assert_eq!(store.approval(&id).await.unwrap(), None);
        }
        store.append(Append { guards: vec![Guard::LastSeq(1), Guard::RunOpen], ..notes(run, 1) }).await.unwrap();
        store.append(changing(run, Change::SetStatus(RunStatus::Closed))).await.unwrap();
        assert_eq!(code(store.append(Append { guards: vec![Guard::RunOpen], ..notes(run, 1) }).await), ErrorCode::RunState);
        assert_eq!(sound(store).await.events, 3);
    }
}

#[tokio::test]
async fn an_append_that_fails_does_not_touch_its_neighbours() {
    for store in both().await.stores {
        let run = run(&store).await;
        let appends = (0..90_u64).map(|n| {
            let guards = if n % 3 == 0 { vec![Guard::LastSeq(10_000)] } else { Vec::new() };
            store.append(Append { guards, ..notes(run, n) })
        });
        let results = join_all(appends).await;
        assert!(results.iter().enumerate().all(|(n, result)| result.is_ok() == (n % 3 != 0)));
        let events = store.events(&run, 0, 0).await.unwrap();
        assert_eq!(events.len(), 61);
        // Each caller was told the very event that stands in the log.
        for written in results.iter().flatten() {
            assert_eq!(events[usize::try_from(written[0].seq).unwrap() - 1], written[0]);
        }
        sound(&store).await;
    }
}

#[tokio::test]
async fn what_the_database_refuses_is_refused_alone() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let (spoiled, healthy) = (run(&store).await, run(&store).await);
    store.append(notes(spoiled, 1)).await.unwrap();
    let mut connection = raw(home.path()).await;
    sqlx::query("UPDATE runs SET last_seq = 1 WHERE id = ?1").bind(spoiled.to_string()).execute(&mut connection).await.unwrap();
    let (bad, good) = tokio::join!(store.append(notes(spoiled, 2)), store.append(notes(healthy, 3)));
    assert_eq!(code(bad), ErrorCode::StoreFailed);
    assert_eq!(good.unwrap()[0].seq, 2);
}

#[tokio::test]
async fn runs_begin_with_their_first_event_and_only_once() {
    for store in both().await.stores {
        let known = run(&store).await;
        let create = || Change::CreateRun { kind: RunKind::Workflow, workflow: Some("hello".into()), principal: Principal::operator() };
        assert_eq!(code(store.append(changing(known, create())).await), ErrorCode::Internal);
        let created = EventDraft::new(EventKind::RunCreated, Actor::operator());
        let again = Append { run: Some(known), events: vec![created], changes: vec![create()], ..Append::default() };
        assert_eq!(code(store.append(again).await), ErrorCode::RunState);
        let unknown = RunId::mint(Timestamp::from_unix_millis(1));
        assert_eq!(code(store.append(notes(unknown, 1)).await), ErrorCode::UnknownRun);
        assert_eq!(code(store.append(Append { run: None, ..notes(unknown, 1) }).await), ErrorCode::Internal);
        assert_eq!(store.run(&unknown).await.unwrap(), None);
        assert_eq!(sound(&store).await.events, 1);
    }
}

#[tokio::test]
async fn runs_are_listed_by_what_is_asked() {
    for store in both().await.stores {
        let (old, new) = (run(&store).await, run(&store).await);
        let (old, new) = (old.min(new), old.max(new));
        store.append(changing(old, Change::SetStatus(RunStatus::Closed))).await.unwrap();
        let list = async |filter| store.runs(filter).await.unwrap().into_iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(list(RunFilter::default()).await, [new, old]);
        assert_eq!(list(RunFilter { limit: 1, ..RunFilter::default() }).await, [new]);
        assert_eq!(list(RunFilter { open: true, ..RunFilter::default() }).await, [new]);
        assert_eq!(list(RunFilter { status: Some(RunStatus::Closed), ..RunFilter::default() }).await, [old]);
        assert_eq!(list(RunFilter { kind: Some(RunKind::Workflow), ..RunFilter::default() }).await, []);
        assert_eq!(list(RunFilter { principal: Some(Principal::new("' OR 1=1 --")), ..RunFilter::default() }).await, []);
        let row = store.run(&old).await.unwrap().unwrap();
        assert_eq!((row.status, row.last_seq, row.kind, row.principal), (RunStatus::Closed, 2, RunKind::Adhoc, Principal::local()));
    }
}

#[tokio::test]
async fn waiting_callers_learn_of_commits() {
    for store in both().await.stores {
        let run = run(&store).await;
        let mut changes = store.changes();
        changes.mark_unchanged();
        store.append(notes(run, 1)).await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn closing_answers_everybody_and_takes_nobody_more() {
    for store in both().await.stores {
        let run = run(&store).await;
        let appends: Vec<_> = (0..50)
            .map(|n| {
                let store = store.clone();
                #[expect(clippy::disallowed_methods, reason = "callers of their own, in a test")]
                tokio::spawn(async move { store.append(notes(run, n)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        store.clone().close().await;
        for append in appends {
            match append.await.unwrap() {
                Ok(events) => assert_eq!(events.len(), 1),
                Err(fault) => assert_eq!(fault.code, ErrorCode::StoreFailed),
            }
        }
        assert_eq!(code(store.append(notes(run, 1)).await), ErrorCode::StoreFailed);
        store.close().await;
    }
}

#[tokio::test]
async fn a_commit_whose_outcome_is_unknown_halts_the_journal() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let run = run(&store).await;
    // A reference that is only checked at the commit makes the commit itself fail.
    sql(
        home.path(),
        "CREATE TABLE late (run TEXT REFERENCES runs (id) DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER spoil AFTER INSERT ON journal BEGIN INSERT INTO late VALUES ('nobody'); END",
    )
    .await;
    let (one, two) = tokio::join!(store.append(notes(run, 1)), store.append(Append { guards: vec![Guard::LastSeq(9)], ..notes(run, 2) }));
    assert_eq!(code(one), ErrorCode::OutcomeUnknown);
    assert_eq!(code(two), ErrorCode::RunState);
    let refused = store.append(notes(run, 3)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::StoreFailed);
    assert!(refused.message.contains("nothing more is recorded"), "{refused}");
    assert_eq!(store.events(&run, 0, 0).await.unwrap().len(), 1);
}
