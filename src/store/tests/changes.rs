use super::*;
use crate::call::ArtifactRef;

#[tokio::test]
async fn a_call_has_one_outcome() {
    for store in both().await.stores {
        let run = run(&store).await;
        let call = call();
        store.append(intent(run, call)).await.unwrap();
        assert_eq!(code(store.append(intent(run, call)).await), ErrorCode::RunState);
        store.append(outcome(run, call)).await.unwrap();
        assert_eq!(code(store.append(outcome(run, call)).await), ErrorCode::RunState);
        assert_eq!(code(store.append(Append { changes: Vec::new(), ..outcome(run, call) }).await), ErrorCode::RunState);
        assert_eq!(code(store.append(intent(run, call)).await), ErrorCode::RunState);
        let mut twice = outcome(run, super::call());
        twice.events.push(twice.events[0].clone());
        assert_eq!(code(store.append(twice).await), ErrorCode::RunState);
        assert_eq!(sound(&store).await.events, 3);
    }
}

#[tokio::test]
async fn intent_and_outcome_may_share_a_commit() {
    for store in both().await.stores {
        let run = run(&store).await;
        let call = call();
        let mut both = intent(run, call);
        both.changes.clear();
        both.events.extend(outcome(run, call).events);
        store.append(both).await.unwrap();
        let (intent, outcome) = store.event_by_call(&call).await.unwrap().unwrap();
        assert_eq!((intent.kind, outcome.unwrap().kind), (EventKind::ToolCall, EventKind::ToolResult));
        assert_eq!(store.orphaned_calls().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_call_is_found_with_and_without_its_outcome() {
    for store in both().await.stores {
        let run = run(&store).await;
        let call = call();
        assert_eq!(store.event_by_call(&call).await.unwrap(), None);
        store.append(intent(run, call)).await.unwrap();
        let (found, none) = store.event_by_call(&call).await.unwrap().unwrap();
        assert_eq!((found.call_id, none), (Some(call), None));
        assert_eq!(found.payload["arguments"]["code"], "print('hi')");
        store.append(outcome(run, call)).await.unwrap();
        assert!(store.event_by_call(&call).await.unwrap().unwrap().1.is_some());
    }
}

async fn asked(store: &Store, run: RunId, span: Millis, clock: &FakeClock) -> NewApproval {
    let asked = question(clock.now().plus(span));
    store.append(changing(run, Change::RequestApproval(asked.clone()))).await.unwrap();
    asked
}

fn decide(id: ApprovalId, approve: bool) -> Change {
    Change::DecideApproval { id, approve, reason: Some("because".into()), channel: crate::store::Channel::Cli }
}

/// Every step from every state: the ones that are allowed, and nothing else.
#[tokio::test]
async fn approvals_move_only_as_they_may() {
    use ApprovalStatus::{Approved, Denied, Expired, Lifted, Pending, Used};
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        for from in [Pending, Approved, Denied, Used, Expired, Lifted] {
            for to in [Approved, Denied, Used, Expired, Lifted] {
                let asked = asked(store, run, Millis(10_000), &both.clock).await;
                let (id, digest) = (asked.id, asked.digest);
                let steps = match from {
                    Pending => vec![],
                    Approved => vec![decide(id, true)],
                    Denied => vec![decide(id, false)],
                    Used => vec![decide(id, true), Change::UseApproval { id, digest }],
                    Expired => vec![Change::ExpireApproval(id)],
                    Lifted => vec![decide(id, false), Change::LiftDenial(id)],
                };
                for step in steps {
                    store.append(changing(run, step)).await.unwrap();
                }
                assert_eq!(store.approval(&id).await.unwrap().unwrap().status, from);
                let step = match to {
                    Approved | Pending => decide(id, true),
                    Denied => decide(id, false),
                    Used => Change::UseApproval { id, digest },
                    Expired => Change::ExpireApproval(id),
                    Lifted => Change::LiftDenial(id),
                };
                let refused = if to == Used { ErrorCode::ApprovalRequired } else { ErrorCode::UnknownApproval };
                let allowed = matches!((from, to), (Pending, Approved | Denied | Expired) | (Approved, Used | Expired) | (Denied, Lifted));
                let result = store.append(changing(run, step)).await;
                let now = store.approval(&id).await.unwrap().unwrap().status;
                if allowed {
                    result.unwrap();
                    assert_eq!(now, to);
                } else {
                    assert_eq!((code(result), now), (refused, from), "{from:?} to {to:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_approval_stands_for_one_digest_and_for_a_time() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        let first = asked(store, run, Millis(1000), &both.clock).await;
        let (id, digest) = (first.id, first.digest);
        store.append(changing(run, decide(id, true))).await.unwrap();
        let other = Change::UseApproval { id, digest: Digest::of(b"another call") };
        assert_eq!(code(store.append(changing(run, other)).await), ErrorCode::ApprovalRequired);
        assert_eq!(store.approval_of(&digest).await.unwrap().unwrap().id, id);
        both.clock.forward(Millis(1000));
        assert_eq!(code(store.append(changing(run, Change::UseApproval { id, digest })).await), ErrorCode::ApprovalRequired);
        let row = store.approval(&id).await.unwrap().unwrap();
        assert_eq!((row.status, row.answer.as_deref(), row.principal), (ApprovalStatus::Expired, Some("because"), Principal::local()));
        assert_eq!(store.approval_of(&digest).await.unwrap(), None);

        let second = asked(store, run, Millis(1000), &both.clock).await;
        both.clock.forward(Millis(1001));
        assert_eq!(code(store.append(changing(run, decide(second.id, true))).await), ErrorCode::UnknownApproval);
        let filter = |status| ApprovalFilter { status: Some(status), run: Some(run), limit: 0 };
        assert_eq!(store.approvals(filter(ApprovalStatus::Pending)).await.unwrap(), []);
        assert_eq!(store.approvals(filter(ApprovalStatus::Expired)).await.unwrap().len(), 2);
        both.clock.back(Millis(2001));
    }
}

#[tokio::test]
async fn an_approval_is_used_once_within_one_batch() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        let asked = asked(store, run, Millis(1000), &both.clock).await;
        store.append(changing(run, decide(asked.id, true))).await.unwrap();
        let uses = (0..8).map(|_| store.append(changing(run, Change::UseApproval { id: asked.id, digest: asked.digest })));
        let results = futures_util::future::join_all(uses).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }
}

#[tokio::test]
async fn a_lease_fences_off_whoever_lost_it() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        let first = store.take_lease(&run, Millis(1000)).await.unwrap().unwrap();
        assert_eq!(store.take_lease(&run, Millis(1000)).await.unwrap(), None);
        store.append(Append { guards: vec![Guard::Holds(first.clone())], ..notes(run, 1) }).await.unwrap();
        both.clock.forward(Millis(900));
        assert!(store.renew_lease(&first, Millis(1000)).await.unwrap());
        both.clock.forward(Millis(900));
        assert_eq!(store.take_lease(&run, Millis(1000)).await.unwrap(), None);
        both.clock.forward(Millis(100));
        let second = store.take_lease(&run, Millis(1000)).await.unwrap().unwrap();
        assert_eq!(second.fence, first.fence + 1);
        assert!(!store.renew_lease(&first, Millis(1000)).await.unwrap());
        store.release_lease(first.clone()).await.unwrap();
        let with = |lease: &Lease| Append { guards: vec![Guard::Holds(lease.clone())], ..notes(run, 1) };
        assert_eq!(code(store.append(with(&first)).await), ErrorCode::LeaseLost);
        store.append(with(&second)).await.unwrap();
        store.release_lease(second.clone()).await.unwrap();
        assert_eq!(code(store.append(with(&second)).await), ErrorCode::LeaseLost);
        assert_eq!(store.take_lease(&run, Millis(1000)).await.unwrap().unwrap().fence, 3);
    }
}

#[tokio::test]
async fn artifacts_are_linked_to_their_run() {
    let both = both().await;
    for store in &both.stores {
        let run = run(store).await;
        let mut linked = Vec::new();
        for text in ["b", "a"] {
            let artifact: ArtifactRef = store.artifacts().put(text.into(), "text/plain").await.unwrap();
            for change in
                [Change::NameArtifact(artifact.clone()), Change::OwnArtifact(artifact.clone()), Change::NameArtifact(artifact.clone())]
            {
                store.append(changing(run, change)).await.unwrap();
            }
            linked.push(artifact);
            both.clock.forward(Millis(1));
        }
        assert_eq!(store.run_artifacts(&run).await.unwrap(), linked);
        assert_eq!(store.run_artifacts(&RunId::mint(Timestamp::from_unix_millis(1))).await.unwrap(), []);
    }
}

#[tokio::test]
async fn who_stored_an_artifact_may_read_it_and_who_names_it_may_not() {
    let both = both().await;
    for store in &both.stores {
        let mine = run(store).await;
        let other = Principal::new("other");
        let theirs = run_of(store, &other).await;
        let artifact = store.artifacts().put(b"mine".to_vec(), "text/plain").await.unwrap();
        let may = async |who: &Actor| store.may_read(who, &artifact.artifact).await.unwrap();
        let (me, them) = (Actor::agent(Principal::local()), Actor::agent(other.clone()));
        assert!(!may(&me).await && !may(&them).await, "nobody's run stored it yet");
        store.append(changing(mine, Change::OwnArtifact(artifact.clone()))).await.unwrap();
        store.append(changing(theirs, Change::NameArtifact(artifact.clone()))).await.unwrap();
        assert!(may(&me).await && may(&Actor::operator()).await);
        assert!(!may(&them).await, "to name it is not to have stored it");
        assert!(!may(&Actor::agent(Principal::operator())).await, "a name makes no operator");
        store.append(changing(theirs, Change::OwnArtifact(artifact.clone()))).await.unwrap();
        assert!(may(&them).await, "the same bytes, stored by both, are both's");
        let none = Actor::agent(Principal::new("none"));
        assert!(!store.may_read(&none, &artifact.artifact).await.unwrap());
    }
}
