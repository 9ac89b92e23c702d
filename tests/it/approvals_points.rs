//! An approval's life, with its process killed at every point of it: each time anything looks at the clock, which is before and after every
//! stage of the path and inside each of the store's transactions. What the disk then holds names the point.
//!
//! INVARIANT: a yes is used once at most, nothing runs without one, and nothing that was acknowledged is lost.
//! The last test does the same to the real program and a workflow's step, by watching the journal from outside.
//! Does not break the store itself: that is `src/store/tests/crash.rs`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use toolgate::call::Reply;
use toolgate::domain::{Clock as _, ErrorCode, Millis};
use toolgate::gateway::{AllowFor, Answer, ApprovalSettings};
use toolgate::run::{Event, EventKind};
use toolgate::store::{ApprovalFilter, ApprovalRow, ApprovalStatus, GrantStatus, RunFilter};

use crate::main_job::answer;
use crate::support::Toolgate;
use crate::support::house::{TestHouse, World, patience};

const HOME: &str = "TOOLGATE_TEST_POINTS_HOME";
const AT: &str = "TOOLGATE_TEST_POINTS_AT";
const SAYS: &str = "TOOLGATE_TEST_POINTS_SAYS";
const OUTSIDE: &str = "outside.log";

/// What the operator says in a life.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Yes,
    No,
    ForAnHour,
}

impl Says {
    const ALL: [(&'static str, Self); 3] = [("yes", Self::Yes), ("no", Self::No), ("for-an-hour", Self::ForAnHour)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, says)| *says == self).unwrap().0
    }

    fn answer(self, house: &TestHouse) -> Answer {
        match self {
            Self::Yes => Answer::yes(),
            Self::No => Answer::Deny { reason: "no".into() },
            Self::ForAnHour => {
                let until = house.clock.now().plus(Millis(3_600_000));
                Answer::Approve { allow: Some(AllowFor::Until(until)), reason: None }
            }
        }
    }
}

async fn open(home: &Path) -> TestHouse {
    let settings = ApprovalSettings { wait: Millis(0), expires: Millis(3_600_000), ..patience() };
    TestHouse::differing(home.join("home"), World::default(), settings).await
}

async fn call(house: &TestHouse) -> Reply {
    house.call("probe.outside", json!({ "word": "a", "url": "https://example.org" })).await
}

fn code(reply: &Reply) -> Option<ErrorCode> {
    reply.outcome.as_ref().err().map(|fault| fault.code)
}

/// The id in a reply that says that a human must be asked.
fn asked(reply: &Reply) -> String {
    let fault = reply.outcome.as_ref().expect_err("it should have asked");
    assert_eq!(fault.code, ErrorCode::ApprovalRequired, "{fault}");
    fault.details.as_ref().unwrap()["approval_id"].as_str().unwrap().to_owned()
}

/// The whole life: a call that asks, the answer, the call again.
async fn live(house: &TestHouse, says: Says, told: impl Fn(&str)) {
    house.gateway.recover().await.unwrap();
    let first = call(house).await;
    if code(&first) == Some(ErrorCode::ApprovalRequired) {
        let id = asked(&first);
        told(&format!("asked {id}"));
        house.answer(id.parse().unwrap(), says.answer(house)).await.unwrap();
        told(&format!("answered {id}"));
        let second = call(house).await;
        told(if second.outcome.is_ok() { "ran" } else { "refused" });
    } else {
        told(if first.outcome.is_ok() { "ran" } else { "refused" });
    }
    // The reply is out.
    house.clock.now();
}

/// What is done outside: the clock is looked at before, in the middle and after.
fn act_outside(house: &TestHouse, home: &Path) {
    let (clock, path) = (house.clock.clone(), home.join(OUTSIDE));
    let act = move || {
        let line = |word: &str| writeln!(std::fs::File::options().create(true).append(true).open(&path).unwrap(), "{word}").unwrap();
        clock.now();
        line("begun");
        clock.now();
        line("done");
        clock.now();
    };
    assert!(house.outside.set(Box::new(act)).is_ok());
}

/// Not a test of its own: what the children of the tests below run, told so by their environment. It stops for good at a point.
#[tokio::test]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a child process of a test tells its parent where it is")]
async fn child() {
    let Ok(home) = std::env::var(HOME) else { return };
    let home = std::path::PathBuf::from(home);
    let at: u32 = std::env::var(AT).unwrap().parse().unwrap();
    let says = std::env::var(SAYS).unwrap();
    let says = Says::ALL.iter().find(|(word, _)| *word == says).unwrap().1;
    let house = open(&home).await;
    act_outside(&house, &home);
    let readings = AtomicU32::new(0);
    house.clock.at_each_reading(Box::new(move || {
        if readings.fetch_add(1, Ordering::SeqCst) + 1 == at {
            println!("told stopped");
            loop {
                std::thread::park();
            }
        }
    }));
    live(&house, says, |word| println!("told {word}")).await;
    println!("told over");
}

/// Runs a life in a process of its own that is killed at this point; what it had told by then, and whether the point was reached.
#[expect(clippy::disallowed_methods, reason = "starts this very test binary, to kill it")]
fn kill_at(home: &Path, says: Says, at: u32) -> (Vec<String>, bool) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["approvals_points::child", "--exact", "--nocapture"])
        .envs([(HOME, home.as_os_str()), (AT, at.to_string().as_ref()), (SAYS, says.word().as_ref()), ("TMPDIR", home.as_os_str())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut told, mut end) = (Vec::new(), None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let Some((_, word)) = line.split_once("told ") else { continue };
        if word == "stopped" || word == "over" {
            end = Some(word == "stopped");
            break;
        }
        told.push(word.to_owned());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let was_stopped = end.unwrap_or_else(|| panic!("it ended by itself, having told {told:?}"));
    (told, was_stopped)
}

/// What a home holds.
struct Held {
    rows: Vec<ApprovalRow>,
    events: Vec<Event>,
    /// Whether something outside was begun, and done, and how often.
    begun: usize,
    done: usize,
}

async fn held(house: &TestHouse, home: &Path) -> Held {
    let mut events = Vec::new();
    for run in house.store.runs(RunFilter::default()).await.unwrap() {
        events.extend(house.store.events(&run.id, 0, 0).await.unwrap());
    }
    let outside = std::fs::read_to_string(home.join(OUTSIDE)).unwrap_or_default();
    let times = |word: &str| outside.lines().filter(|line| *line == word).count();
    let rows = house.store.approvals(ApprovalFilter::default()).await.unwrap();
    Held { rows, events, begun: times("begun"), done: times("done") }
}

impl Held {
    fn intents(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.kind == EventKind::ToolCall)
    }

    fn outcomes(&self, intent: &Event) -> usize {
        let ends = |event: &&Event| event.call_id == intent.call_id && matches!(event.kind, EventKind::ToolResult | EventKind::ToolError);
        self.events.iter().filter(ends).count()
    }

    fn uses(&self, id: &str) -> usize {
        self.intents().filter(|intent| intent.payload.get("approval_used").is_some_and(|used| used == id)).count()
    }

    /// The point at which the process died, of a life in which it was asked once.
    fn point(&self) -> &'static str {
        let Some(row) = self.rows.first() else { return "before the question was written" };
        let has_outcome = self.intents().next().is_some_and(|intent| self.outcomes(intent) > 0);
        match row.status {
            ApprovalStatus::Pending => "the question was written",
            ApprovalStatus::Approved => "the yes was written",
            ApprovalStatus::Denied => "the no was written",
            ApprovalStatus::Used if has_outcome => "the outcome was written",
            ApprovalStatus::Used if self.done > 0 => "the tool was done",
            ApprovalStatus::Used if self.begun > 0 => "the tool had begun",
            ApprovalStatus::Used => "the yes was taken and the intent written, before the tool",
            ApprovalStatus::Expired | ApprovalStatus::Lifted => panic!("{row:?}"),
        }
    }

    /// Whether a path that takes the yes with the outcome, not with the intent, would run the call now.
    fn naive_path_would_run(&self) -> bool {
        let ended = |intent: &Event| self.events.iter().any(|event| event.call_id == intent.call_id && event.kind == EventKind::ToolResult);
        let was_granted = self.events.iter().any(|event| event.payload.get("event") == Some(&json!("approval_granted")));
        was_granted && !self.intents().any(ended)
    }

    /// What holds at all times.
    fn check(&self, says: Says, told: &[String]) {
        for row in &self.rows {
            assert!(self.uses(&row.id.to_string()) <= 1, "one yes, used twice: {row:?}");
            assert_eq!(self.uses(&row.id.to_string()) == 1, row.status == ApprovalStatus::Used, "{row:?}");
        }
        for intent in self.intents() {
            let leave = ["approval_used", "grant_used"].into_iter().filter(|leave| intent.payload.contains_key(*leave)).count();
            assert_eq!(leave, 1, "a call without a human's leave: {:?}", intent.payload);
        }
        assert!(self.begun <= self.intents().count() && self.done <= self.begun, "something ran that no intent tells of");
        assert!(says != Says::No || self.intents().count() == 0, "it ran against a no");
        for word in told {
            match word.split_once(' ') {
                Some((what, id)) => {
                    let row = self.rows.iter().find(|row| row.id.to_string() == id).unwrap_or_else(|| panic!("{word} is lost"));
                    assert!(what == "asked" || row.status != ApprovalStatus::Pending, "an acknowledged answer is lost: {row:?}");
                }
                None if word == "ran" => {
                    let ended = self.events.iter().any(|event| event.kind == EventKind::ToolResult);
                    assert!(self.done > 0 && ended, "an acknowledged outcome is lost");
                }
                None => assert_eq!(word, "refused"),
            }
        }
    }
}

/// What the next call after a restart gets, by the point of the death.
async fn goes_on(house: &TestHouse, point: &str, before: &Held) {
    let known = before.rows.first().map(|row| row.id.to_string());
    let interrupted = house.gateway.recover().await.unwrap();
    let is_open = ["the yes was taken and the intent written, before the tool", "the tool had begun", "the tool was done"];
    assert_eq!(interrupted, usize::from(is_open.contains(&point)), "{point}");
    let ran = house.ran();
    let reply = call(house).await;
    match point {
        "before the question was written" => assert_ne!(Some(asked(&reply)), known, "{point}"),
        "the question was written" => assert_eq!(Some(asked(&reply)), known, "{point}"),
        "the yes was written" => assert!(reply.outcome.is_ok(), "{point}: {:?}", reply.outcome),
        "the no was written" => assert_eq!(code(&reply), Some(ErrorCode::ApprovalDenied), "{point}"),
        _ => assert_ne!(Some(asked(&reply)), known, "{point}: what may have run is asked about anew"),
    }
    assert_eq!(house.ran() - ran, u32::from(point == "the yes was written"), "{point}");
}

/// T53: every point of an approval's life, by name; then a second death at some other point while the next process goes on.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_a_yes_is_used_once_and_nothing_is_lost() {
    let (mut points, mut naive) = (BTreeSet::new(), 0);
    for at in 1.. {
        let home = tempfile::tempdir().unwrap();
        let (told, was_killed) = kill_at(home.path(), Says::Yes, at);
        if !was_killed {
            assert!(at > 20, "a life has more points than {at}");
            break;
        }
        let house = open(home.path()).await;
        act_outside(&house, home.path());
        let after = held(&house, home.path()).await;
        after.check(Says::Yes, &told);
        let point = after.point();
        points.insert(point);
        naive += usize::from(after.begun > 0 && after.naive_path_would_run());
        goes_on(&house, point, &after).await;
        held(&house, home.path()).await.check(Says::Yes, &told);
        assert!(house.store.verify().await.unwrap().bad.is_none());
        house.store.clone().close().await;
    }
    let all = [
        "before the question was written",
        "the question was written",
        "the yes was written",
        "the yes was taken and the intent written, before the tool",
        "the tool had begun",
        "the tool was done",
        "the outcome was written",
    ];
    assert_eq!(points, BTreeSet::from(all), "each of them was met");
    assert!(naive >= 2, "taking the yes with the outcome would have run it again after {naive} of these deaths");
}

/// Deaths upon deaths: each process goes on with the home of the one before and dies a little later in its life.
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_each_yes_is_used_once() {
    for stride in [3, 5] {
        let home = tempfile::tempdir().unwrap();
        for life in 1..=8 {
            let (told, _) = kill_at(home.path(), Says::Yes, life * stride);
            let house = open(home.path()).await;
            held(&house, home.path()).await.check(Says::Yes, &told);
            house.store.clone().close().await;
        }
        let house = open(home.path()).await;
        house.gateway.recover().await.unwrap();
        let last = held(&house, home.path()).await;
        for intent in last.intents() {
            assert_eq!(last.outcomes(intent), 1, "one outcome a call: {:?}", intent.payload);
        }
        assert!(last.rows.iter().filter(|row| row.status == ApprovalStatus::Used).count() >= 1, "none was ever used");
        assert!(house.store.verify().await.unwrap().bad.is_none());
    }
}

/// The other answers: a no that was acknowledged stands, and leave for a while is there whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_a_no_stands_and_leave_for_a_while_is_whole() {
    for says in [Says::No, Says::ForAnHour] {
        let mut statuses = Vec::new();
        for at in (1..).step_by(2) {
            let home = tempfile::tempdir().unwrap();
            let (told, was_killed) = kill_at(home.path(), says, at);
            let house = open(home.path()).await;
            let after = held(&house, home.path()).await;
            after.check(says, &told);
            let status = after.rows.first().map(|row| row.status);
            let grants = house.store.grants(true).await.unwrap();
            let is_answered = status.is_some_and(|status| status != ApprovalStatus::Pending);
            assert_eq!(grants.len(), usize::from(says == Says::ForAnHour && is_answered), "{says:?} {status:?}");
            assert!(grants.iter().all(|grant| grant.status == GrantStatus::Active), "{grants:?}");
            house.gateway.recover().await.unwrap();
            let next = code(&call(&house).await);
            match says {
                Says::No if is_answered => assert_eq!(next, Some(ErrorCode::ApprovalDenied)),
                Says::ForAnHour if is_answered => assert_eq!(next, None, "what was allowed for an hour"),
                Says::Yes | Says::No | Says::ForAnHour => assert_eq!(next, Some(ErrorCode::ApprovalRequired)),
            }
            statuses.push(status);
            assert!(house.store.verify().await.unwrap().bad.is_none());
            house.store.clone().close().await;
            if !was_killed {
                break;
            }
        }
        statuses.dedup();
        assert!(statuses.len() >= 3, "nothing, asked, answered: {statuses:?}");
    }
}

/// Starts a verb that tells events and kills it when it has told so many; whether it was still going.
fn kill_after(toolgate: &Toolgate, args: &[&str], events: usize) -> bool {
    let mut child = toolgate.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.filter(|line| line.contains("\"seq\"")).take(events).count();
    let was_going = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_going && told == events
}

fn events_of(toolgate: &Toolgate, run: &str) -> Vec<Value> {
    let ran = toolgate.run(&["runs", "events", run, "--json"]).exits(0);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The real program: a step that a human is asked about. The process that asks is killed after each of its events, then the one that goes
/// on after the yes; the run ends well, or says that the step was interrupted, and the yes is used once.
#[test]
fn a_step_that_asks_is_killed_after_each_event_and_uses_its_yes_once() {
    let (mut killed, mut ended_well) = (0, 0);
    for n in 1..=9 {
        let toolgate = Toolgate::new();
        let policies = toolgate.data().join("policies");
        std::fs::create_dir_all(&policies).unwrap();
        let rule = "@id(\"ask-me\") @ask(\"test\")\npermit (principal is toolgate::Operator, action == toolgate::Action::\"workspace.write\", resource);\n";
        std::fs::write(policies.join("ask.cedar"), rule).unwrap();
        let file = toolgate.home().join("w.yaml");
        let step = "- {id: a, kind: tool, input: {tool: workspace.write, arguments: {files: [{path: a.txt, content: a}]}}}\n";
        std::fs::write(&file, format!("name: w\nversion: 1.0.0\nsteps:\n{step}")).unwrap();
        killed += usize::from(kill_after(&toolgate, &["run", file.to_str().unwrap(), "--json"], n));
        let run = toolgate.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
        let _until_it_asks = toolgate.run(&["runs", "watch", &run, "--json"]).exits(4);
        let asked = toolgate.json(0, &["approvals", "list", "--all", "--json"]);
        assert_eq!((asked.as_array().unwrap().len(), &asked[0]["status"]), (1, &json!("pending")), "after {n} events: {asked}");
        let id = asked[0]["id"].as_str().unwrap().to_owned();
        answer(&toolgate, &["approvals", "approve", &id], "correct horse battery").exits(0);
        let so_far = events_of(&toolgate, &run).len();
        killed += usize::from(kill_after(&toolgate, &["runs", "watch", &run, "--json"], so_far + n - 1));
        let last = toolgate.run(&["runs", "watch", &run, "--json"]);
        let events = events_of(&toolgate, &run);
        let intents: Vec<&Value> = events.iter().filter(|event| event["kind"] == "tool_call").collect();
        assert!(intents.iter().all(|intent| intent["payload"]["approval_used"].is_string()), "it ran without a yes: {intents:#?}");
        assert_eq!(intents.iter().filter(|intent| intent["payload"]["approval_used"] == id.as_str()).count(), 1, "{intents:#?}");
        assert_eq!(toolgate.json(0, &["approvals", "show", &id, "--json"])["status"], "used", "after {n} events: it could be used again");
        let is_done = events.iter().any(|event| event["payload"]["event"] == "run_succeeded");
        ended_well += usize::from(is_done);
        assert!(is_done || last.stdout.contains("INTERRUPTED") || last.stdout.contains("approval_requested"), "after {n}: {}", last.stdout);
        assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    }
    assert!(killed >= 5 && ended_well >= 5, "{killed} were killed before their end, {ended_well} runs ended well");
}
