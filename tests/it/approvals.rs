//! A human's yes: bound to one deed, used once, never given by an agent, never worn out.

use std::time::Duration;

use serde_json::{Value, json};
use toolgate::call::{Asking, Origin, RawCall, Reply};
use toolgate::domain::{Actor, ApprovalId, ErrorCode, Millis, Principal};
use toolgate::gateway::{AllowFor, Answer, ApprovalSettings};
use toolgate::run::Event;
use toolgate::store::{ApprovalFilter, ApprovalRow, ApprovalStatus, AskLimits, Durability};

use crate::support::house::{TestHouse, patience};

fn code(reply: &Reply) -> ErrorCode {
    reply.outcome.as_ref().expect_err("the call should have failed").code
}

fn asked(reply: &Reply) -> ApprovalId {
    let fault = reply.outcome.as_ref().expect_err("the call should have asked");
    assert_eq!(fault.code, ErrorCode::ApprovalRequired, "{fault}");
    fault.details.as_ref().unwrap()["approval_id"].as_str().unwrap().parse().unwrap()
}

async fn named<'a>(events: &'a [Event], name: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.payload.get("event") == Some(&json!(name))).collect()
}

async fn count(house: &TestHouse, name: &str) -> usize {
    named(&house.events().await, name).await.len()
}

/// Does not wait, so that a test can look at what was asked.
fn hasty() -> ApprovalSettings {
    ApprovalSettings { wait: Millis(0), ..patience() }
}

async fn yes(house: &TestHouse, reply: &Reply, allow: Option<AllowFor>) -> ApprovalRow {
    house.answer(asked(reply), Answer::Approve { allow, reason: None }).await.unwrap()
}

const OUT: &str = "probe.network";

fn to(host: &str) -> Value {
    json!({ "word": "a", "url": format!("https://{host}/x") })
}

/// T53. A yes to one deed is used for another: a naive approval is bound to the tool, or to the run, and lets all of these through.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_changes_it_is_another_question() {
    let house = TestHouse::asking(None, "", hasty()).await;
    *house.target.lock().unwrap() = json!({ "url": "ssh://host/a.git", "ref": "main", "oid": "1111" });
    let call = json!({ "word": "a" });
    let first = house.call("probe.outside", call.clone()).await;
    let row = yes(&house, &first, None).await;
    assert_eq!(row.shown["target"], json!({ "url": "ssh://host/a.git", "ref": "main", "oid": "1111" }), "the human sees what it acts on");

    let mut asked_for = vec![row.digest];
    let mut other = async |what: &str, reply: Reply| {
        let row = house.store.approval(&asked(&reply)).await.unwrap().unwrap();
        assert_eq!(row.status, ApprovalStatus::Pending, "{what}");
        assert!(!asked_for.contains(&row.digest), "{what} is the same deed");
        asked_for.push(row.digest);
    };
    other("arguments", house.call("probe.outside", json!({ "word": "b" })).await).await;
    other("tool", house.call(OUT, call.clone()).await).await;
    let stranger = Actor::agent(Principal::new("mallory"));
    let run = house.gateway.adhoc_run(&stranger).await.unwrap();
    let raw = RawCall { actor: stranger, run, ..house.raw("probe.outside", call.clone()) };
    other("principal", house.gateway.call(raw).await).await;
    for moved in [("url", "ssh://evil/a.git"), ("ref", "release"), ("oid", "2222")] {
        let before = house.target.lock().unwrap().clone();
        house.target.lock().unwrap()[moved.0] = json!(moved.1);
        other(moved.0, house.call("probe.outside", call.clone()).await).await;
        *house.target.lock().unwrap() = before;
    }
    let step =
        RawCall { origin: Origin::Step { run: house.run, step: "push".parse().unwrap() }, ..house.raw("probe.outside", call.clone()) };
    other("a step of a run", house.gateway.call(step).await).await;
    assert_eq!(house.ran(), 0, "nothing ran without its own yes");
    assert!(house.call("probe.outside", call.clone()).await.outcome.is_ok(), "the deed that was agreed to");
    assert_eq!((house.ran(), code(&house.call("probe.outside", call).await)), (1, ErrorCode::ApprovalRequired), "once");
}

/// T53. What a call acts on moves while the human reads: a naive path runs the call it began with.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_while_a_human_reads_is_not_what_was_agreed_to() {
    let house = TestHouse::asking(None, "", ApprovalSettings { wait: Millis(5_000), ..patience() }).await;
    *house.target.lock().unwrap() = json!({ "oid": "1111" });
    let answering = async {
        let id = pending(&house).await;
        *house.target.lock().unwrap() = json!({ "oid": "2222" });
        house.answer(id, Answer::yes()).await.unwrap();
    };
    let (reply, ()) = tokio::join!(house.call("probe.outside", json!({ "word": "a" })), answering);
    assert_eq!((code(&reply), house.ran()), (ErrorCode::ApprovalRequired, 0));
}

async fn pending(house: &TestHouse) -> ApprovalId {
    loop {
        let filter = ApprovalFilter { status: Some(ApprovalStatus::Pending), ..ApprovalFilter::default() };
        if let Some(row) = house.store.approvals(filter).await.unwrap().first() {
            return row.id;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_survives_a_restart_and_is_used_once() {
    let home = tempfile::tempdir().unwrap();
    let call = json!({ "word": "a" });
    let open = |policy: &'static str| TestHouse::asking(Some(home.path().to_owned()), policy, hasty());
    let house = open("").await;
    let first = house.call(OUT, call.clone()).await;
    house.store.clone().close().await;
    let house = open("").await;
    assert_eq!(asked(&house.call(OUT, call.clone()).await), asked(&first), "the question still stands");
    yes(&house, &first, None).await;
    house.store.clone().close().await;
    let house = open("@id(\"more\") @reason(\"x\") forbid (principal, action == toolgate::Action::\"probe.large\", resource);").await;
    assert_ne!(asked(&house.call(OUT, call.clone()).await), asked(&first), "other rules, another question");
    house.store.clone().close().await;
    let house = open("").await;
    assert!(house.call(OUT, call.clone()).await.outcome.is_ok(), "the yes outlived two restarts");
    assert_eq!(code(&house.call(OUT, call).await), ErrorCode::ApprovalRequired);
    assert_eq!(house.ran(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_a_no_and_is_written_down_once() {
    let house = TestHouse::asking(None, "", ApprovalSettings { wait: Millis(20_000), expires: Millis(60_000), ..patience() }).await;
    let forward = async {
        pending(&house).await;
        house.clock.by(Millis(61_000));
    };
    let (reply, ()) = tokio::join!(house.call(OUT, json!({ "word": "a" })), forward);
    let fault = reply.outcome.unwrap_err();
    assert_eq!(fault.code, ErrorCode::ApprovalDenied, "{fault}");
    assert!(fault.message.contains("nobody answered"));
    for _ in 0..2 {
        house.gateway.end_what_is_over().await.unwrap();
    }
    assert_eq!((count(&house, "approval_expired").await, house.ran()), (1, 0));

    // A yes that nobody used ends as well, without anybody looking.
    let house = TestHouse::asking(None, "", hasty()).await;
    let first = house.call(OUT, json!({ "word": "b" })).await;
    yes(&house, &first, None).await;
    house.clock.by(Millis(61_000));
    assert_eq!((house.gateway.end_what_is_over().await.unwrap(), house.gateway.end_what_is_over().await.unwrap()), (1, 0));
    assert_ne!(asked(&house.call(OUT, json!({ "word": "b" })).await), asked(&first), "an old yes is none");
    let late = house.answer(asked(&first), Answer::yes()).await.unwrap_err();
    assert_eq!((late.code, count(&house, "approval_expired").await), (ErrorCode::UnknownApproval, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_stands_until_it_is_taken_back() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let call = json!({ "word": "a" });
    let id = asked(&house.call(OUT, call.clone()).await);
    house.answer(id, Answer::Deny { reason: "not now".into() }).await.unwrap();
    house.clock.by(Millis(48 * 3_600_000));
    assert_eq!(code(&house.call(OUT, call.clone()).await), ErrorCode::ApprovalDenied, "also after two days");
    let row = house.gateway.lift_denial(id, house.proof()).await.unwrap();
    assert_eq!(row.status, ApprovalStatus::Lifted);
    assert_ne!(asked(&house.call(OUT, call).await), id, "it may be asked again, anew");
    assert_eq!(house.gateway.lift_denial(id, house.proof()).await.unwrap_err().code, ErrorCode::UnknownApproval);
    assert_eq!((count(&house, "approval_lifted").await, house.ran()), (1, 0));
}

/// T56. A naive path asks eight times.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_asked_by_many_is_one_question() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let calls = (0..8).map(|_| house.call(OUT, json!({ "word": "a" })));
    let replies = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<ApprovalId> = replies.iter().map(asked).collect();
    assert_eq!((ids.len(), count(&house, "approval_requested").await), (1, 1));
    let row = house.store.approval(ids.first().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.asked, 8);
}

/// T56. A hundred questions a minute wear a human down until she says yes to all.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_much_asks_no_more() {
    let limits = AskLimits { pending_per_run: 3, per_minute: 8 };
    let house = TestHouse::asking(None, "", ApprovalSettings { limits, ..hasty() }).await;
    let word = |n: usize| json!({ "word": format!("{n}") });
    let mut first = None;
    for n in 0..3 {
        first = Some(asked(&house.call(OUT, word(n)).await)).filter(|_| n == 0).or(first);
    }
    for n in 3..100 {
        assert_eq!(code(&house.call(OUT, word(n)).await), ErrorCode::ApprovalsPaused);
    }
    assert_eq!((count(&house, "approval_requested").await, count(&house, "questions_paused").await), (3, 1));
    assert_eq!(house.store.paused_runs().await.unwrap()[0].run_id, house.run);
    assert!(house.call("probe.pure", word(0)).await.outcome.is_ok(), "what needs no human goes on");
    house.answer(first.unwrap(), Answer::yes()).await.unwrap();
    assert!(house.call(OUT, word(0)).await.outcome.is_ok(), "and so does what was agreed to");
    assert_eq!(code(&house.call(OUT, word(200)).await), ErrorCode::ApprovalsPaused, "though fewer wait now");
    house.gateway.release(house.run, house.proof()).await.unwrap();
    asked(&house.call(OUT, word(201)).await);
    assert_eq!(house.gateway.release(house.run, house.proof()).await.unwrap_err().code, ErrorCode::RunState);

    // Another run of the same principal does not start the count anew.
    let mut last = ErrorCode::Internal;
    for n in 0..3_u8 {
        let run = toolgate::domain::RunId::mint(toolgate::domain::Timestamp::from_unix_millis(u64::from(n)));
        begin(&house, run).await;
        for more in 0..3 {
            last = code(&house.gateway.call(RawCall { run, ..house.raw(OUT, word(300 + usize::from(n) * 10 + more)) }).await);
        }
    }
    assert_eq!((last, count(&house, "approval_requested").await), (ErrorCode::ApprovalsPaused, 4));
    let all = house.store.approvals(ApprovalFilter::default()).await.unwrap().len();
    assert_eq!(all, 8, "so many within a minute, in whatever run");
}

/// T56. The counts stand in the log, not in a process: a naive count begins anew with each start, or is one for each of two servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_start_and_a_second_server_ask_no_more_than_one() {
    let home = tempfile::tempdir().unwrap();
    let limits = AskLimits { pending_per_run: 10, per_minute: 4 };
    let open = || TestHouse::asking(Some(home.path().to_owned()), "", ApprovalSettings { limits, ..hasty() });
    let word = |n: usize| json!({ "word": format!("{n}") });
    let first = open().await;
    for n in 0..2 {
        asked(&first.call(OUT, word(n)).await);
    }
    let beside = open().await;
    asked(&beside.call(OUT, word(2)).await);
    first.store.clone().close().await;
    beside.store.clone().close().await;
    let again = open().await;
    asked(&again.call(OUT, word(3)).await);
    assert_eq!(code(&again.call(OUT, word(4)).await), ErrorCode::ApprovalsPaused, "four within a minute, by whatever process");
    assert_eq!(again.store.approvals(ApprovalFilter::default()).await.unwrap().len(), 4);
    // The run that asked too much stays as it is, also when the minute is over and for whoever opens the home next.
    again.clock.by(Millis(120_000));
    let paused = again.run;
    assert_eq!(code(&again.call(OUT, word(5)).await), ErrorCode::ApprovalsPaused);
    again.store.clone().close().await;
    let later = open().await;
    let raw = RawCall { run: paused, ..later.raw(OUT, word(6)) };
    assert_eq!(code(&later.gateway.call(raw).await), ErrorCode::ApprovalsPaused, "after a new start");
    later.gateway.release(paused, later.proof()).await.unwrap();
    later.clock.by(Millis(120_000));
    asked(&later.gateway.call(RawCall { run: paused, ..later.raw(OUT, word(7)) }).await);
}

/// T56. The same asked by two servers, and after a new start, is one question with a count.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_asked_by_two_servers_is_one_question() {
    let home = tempfile::tempdir().unwrap();
    let open = || TestHouse::asking(Some(home.path().to_owned()), "", hasty());
    let (one, other) = (open().await, open().await);
    let calls = [&one, &other, &one, &other].map(|house| house.call(OUT, json!({ "word": "a" })));
    let replies = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<ApprovalId> = replies.iter().map(asked).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    one.store.clone().close().await;
    other.store.clone().close().await;
    let next = open().await;
    assert_eq!(Some(&asked(&next.call(OUT, json!({ "word": "a" })).await)), ids.first());
    let rows = next.store.approvals(ApprovalFilter::default()).await.unwrap();
    assert_eq!((rows.len(), rows[0].asked), (1, 5));
}

/// A run of its own of the house's agent.
pub async fn begin(house: &TestHouse, run: toolgate::domain::RunId) {
    use toolgate::run::{EventDraft, EventKind, RunKind};
    use toolgate::store::{Append, Change};
    let created = EventDraft::new(EventKind::RunCreated, house.me.clone()).field("kind", "adhoc");
    let change = Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: house.me.principal.clone() };
    house.store.append(Append { run: Some(run), events: vec![created], changes: vec![change], ..Append::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_for_a_run_lets_what_is_alike_through_and_nothing_else() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let first = house.call(OUT, to("example.org")).await;
    yes(&house, &first, Some(AllowFor::ThisRun)).await;
    for path in ["/x", "/y", "/z"] {
        let like = json!({ "word": path, "url": format!("https://example.org{path}") });
        assert!(house.call(OUT, like).await.outcome.is_ok());
    }
    assert_eq!(house.ran(), 3);
    let grant = house.store.grants(false).await.unwrap().remove(0);
    let events = house.events().await;
    let used = events.iter().filter(|event| event.payload.get("grant_used") == Some(&json!(grant.grant.id))).count();
    assert_eq!((grant.uses, used, named(&events, "grant_given").await.len()), (3, 3, 1));

    asked(&house.call(OUT, to("evil.example")).await);
    asked(&house.call(OUT, json!({ "word": "a" })).await);
    asked(&house.call("probe.outside", to("example.org")).await);
    let run = toolgate::domain::RunId::mint(toolgate::domain::Timestamp::from_unix_millis(7));
    begin(&house, run).await;
    let like = json!({ "word": "q", "url": "https://example.org/q" });
    asked(&house.gateway.call(RawCall { run, ..house.raw(OUT, like.clone()) }).await);
    assert_eq!(house.ran(), 3);

    house.gateway.revoke(grant.grant.id, house.proof()).await.unwrap();
    asked(&house.call(OUT, json!({ "word": "w", "url": "https://example.org/w" })).await);
    assert_eq!(house.gateway.revoke(grant.grant.id, house.proof()).await.unwrap_err().code, ErrorCode::UnknownApproval);
    assert_eq!(count(&house, "grant_ended").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_for_a_while_ends() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let now = toolgate::domain::Clock::now(&*house.clock);
    let first = house.call(OUT, to("example.org")).await;
    for (until, wrong) in [(now.plus(Millis(9 * 3_600_000)), "at most"), (now, "before it begins")] {
        let fault = house.answer(asked(&first), Answer::Approve { allow: Some(AllowFor::Until(until)), reason: None }).await.unwrap_err();
        assert!(fault.message.contains(wrong), "{fault}");
    }
    yes(&house, &first, Some(AllowFor::Until(now.plus(Millis(3_600_000))))).await;
    let like = |n: u32| json!({ "word": format!("{n}"), "url": "https://example.org/" });
    let run = toolgate::domain::RunId::mint(now);
    begin(&house, run).await;
    assert!(house.gateway.call(RawCall { run, ..house.raw(OUT, like(1)) }).await.outcome.is_ok(), "in whatever run");
    house.clock.by(Millis(3_600_001));
    asked(&house.call(OUT, like(2)).await);
    for _ in 0..2 {
        house.gateway.end_what_is_over().await.unwrap();
    }
    assert_eq!(count(&house, "grant_ended").await, 1);
    assert_eq!(house.store.grants(true).await.unwrap()[0].status, toolgate::store::GrantStatus::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_which_grants_answer_and_why_others_do_not() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let now = toolgate::domain::Clock::now(&*house.clock);
    let beside = async |arguments: Value| {
        let explained = house.gateway.explain(house.raw(OUT, arguments), toolgate::domain::Labels::default()).await.unwrap();
        assert_eq!(explained.explanation.verdict, toolgate::policy::Verdict::Ask);
        explained.grants
    };
    assert!(beside(to("example.org")).await.is_empty(), "nothing was given yet");
    let first = house.call(OUT, to("example.org")).await;
    yes(&house, &first, Some(AllowFor::Until(now.plus(Millis(3_600_000))))).await;
    let told = beside(to("example.org")).await;
    assert_eq!((told.len(), told[0].answers, told[0].misses.len()), (1, true, 0), "{told:?}");
    assert_eq!((told[0].channel, told[0].until), (Some(toolgate::store::Channel::Cli), now.plus(Millis(3_600_000))));
    assert_eq!(told[0].grant_id, house.store.grants(true).await.unwrap()[0].grant.id);
    let uses = house.store.grants(true).await.unwrap()[0].uses;
    let like = json!({ "word": "like it", "url": "https://example.org/y" });
    assert!(beside(like.clone()).await[0].answers && house.call(OUT, like).await.outcome.is_ok(), "as was told");
    assert!(house.store.grants(true).await.unwrap()[0].uses > uses, "asking why used nothing, the call did");
    // Elsewhere it does not answer, and neither does it once its time is over or it was taken back.
    let told = beside(to("elsewhere.example")).await;
    assert_eq!((told[0].answers, &told[0].misses), (false, &vec!["it does not cover `elsewhere.example`".to_owned()]));
    asked(&house.call(OUT, to("elsewhere.example")).await);
    house.clock.by(Millis(3_600_001));
    assert_eq!(beside(to("example.org")).await[0].misses, ["its time is over"]);
    let again = house.call(OUT, json!({ "word": "again", "url": "https://example.org/" })).await;
    yes(&house, &again, Some(AllowFor::ThisRun)).await;
    let told = beside(to("example.org")).await;
    assert_eq!(told.iter().map(|grant| grant.answers).collect::<Vec<_>>(), [true, false], "{told:?}");
    let elsewhere = toolgate::domain::RunId::mint(now);
    begin(&house, elsewhere).await;
    let raw = RawCall { run: elsewhere, ..house.raw(OUT, to("example.org")) };
    let told = house.gateway.explain(raw, toolgate::domain::Labels::default()).await.unwrap().grants;
    assert!(!told[0].answers && told[0].misses[0].starts_with("it is for run `run_"), "{told:?}");
    house.gateway.revoke(told[0].grant_id, house.proof()).await.unwrap();
    assert_eq!(beside(to("example.org")).await[0].misses, ["the operator took it back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_lifts_no_refusal_and_answers_no_other_question() {
    let home = tempfile::tempdir().unwrap();
    let open = |policy: &'static str| TestHouse::asking(Some(home.path().to_owned()), policy, hasty());
    let house = open("").await;
    let denied = house.call(OUT, to("example.org")).await;
    house.answer(asked(&denied), Answer::Deny { reason: "no".into() }).await.unwrap();
    let other = json!({ "word": "b", "url": "https://example.org/b" });
    let now = toolgate::domain::Clock::now(&*house.clock);
    yes(&house, &house.call(OUT, other.clone()).await, Some(AllowFor::Until(now.plus(Millis(3_600_000))))).await;
    assert_eq!(code(&house.call(OUT, to("example.org")).await), ErrorCode::ApprovalDenied, "a no to this very call stands");
    assert!(house.call(OUT, other.clone()).await.outcome.is_ok());
    house.store.clone().close().await;

    let forbids = "@id(\"none\") @reason(\"no network\") forbid (principal, action == toolgate::Action::\"probe.network\", resource);";
    let house = open(forbids).await;
    assert_eq!(code(&house.call(OUT, json!({ "word": "c", "url": "https://example.org/c" })).await), ErrorCode::PolicyDenied);
    house.store.clone().close().await;
    let asks = "@id(\"more\") @ask(\"for another reason\") permit (principal, action == toolgate::Action::\"probe.network\", resource);";
    let house = open(asks).await;
    asked(&house.call(OUT, json!({ "word": "d", "url": "https://example.org/d" })).await);
    house.store.clone().close().await;
    let unrelated = "@id(\"x\") @reason(\"x\") forbid (principal, action == toolgate::Action::\"probe.large\", resource);";
    let house = open(unrelated).await;
    assert!(house.call(OUT, json!({ "word": "e", "url": "https://example.org/e" })).await.outcome.is_ok(), "still asked by the same rule");
}

/// A yes to one question is none to another: the rules ask for another reason than when the human answered.
#[tokio::test(flavor = "multi_thread")]
async fn the_models_reason_is_kept_apart_and_short() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let asking = Asking { reason: Some(format!("  because {}", "x".repeat(5_000))), elsewhere: false };
    let reply = house.gateway.call(RawCall { asking, ..house.raw(OUT, json!({ "word": "a" })) }).await;
    let row = house.store.approval(&asked(&reply)).await.unwrap().unwrap();
    let note = row.note.clone().unwrap();
    assert_eq!((note.chars().count(), note.starts_with("because ")), (500, true));
    assert!(!row.shown.to_string().contains("because") && row.reason == "the call uses the network");
    assert_eq!(asked(&house.call(OUT, json!({ "word": "a" })).await), row.id, "it is no part of the deed");
}

/// T12. Another's handle is as unknown as none, and there is none that an agent could use.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_questions_answer_alike() {
    let house = TestHouse::asking(None, "", hasty()).await;
    let id = asked(&house.call(OUT, json!({ "word": "a" })).await);
    house.answer(id, Answer::yes()).await.unwrap();
    let none = ApprovalId::mint(toolgate::domain::Timestamp::from_unix_millis(1));
    let mut said = Vec::new();
    for id in [id, none] {
        let fault = house.answer(id, Answer::yes()).await.unwrap_err();
        said.push(fault.code);
    }
    assert_eq!(said, [ErrorCode::UnknownApproval; 2], "an answered one is as unknown as one that never was");
    let stranger = Actor::agent(Principal::new("mallory"));
    assert!(house.gateway.form(&stranger, &none).await.unwrap().is_none());
    assert!(house.gateway.form(&stranger, &id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_said_is_in_the_log_and_the_log_is_whole() {
    let house = TestHouse::on(None, Durability::Relaxed, "").await;
    let reply = house.call(OUT, json!({ "word": "a" })).await;
    house.answer(asked(&reply), Answer::Approve { allow: None, reason: Some("fine".into()) }).await.unwrap();
    assert!(house.call(OUT, json!({ "word": "a" })).await.outcome.is_ok());
    let events = house.events().await;
    let granted = named(&events, "approval_granted").await;
    assert_eq!(granted[0].payload["channel"], "cli");
    assert_eq!(granted[0].payload["reason"], "fine");
    let intent = events.iter().find(|event| event.payload.get("approval_used").is_some()).unwrap();
    assert_eq!(intent.payload["approval_used"], json!(asked(&reply)));
    assert!(house.store.verify().await.unwrap().bad.is_none());
}
