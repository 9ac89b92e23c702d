//! An approval's life against a model of it, with the real gateway and the real store, through restarts; and through processes that are
//! killed at any moment of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use toolgate::domain::{ApprovalId, ErrorCode, GrantId, Millis};
use toolgate::gateway::{AllowFor, Answer, ApprovalSettings};
use toolgate::store::AskLimits;

use crate::main_job::answer;
use crate::support::Toolgate;
use crate::support::house::{TestHouse, patience};

/// Model time goes in these steps; questions stand for two of them.
const STEP: Millis = Millis(30_000);
const STANDS: u32 = 2;

/// What a person and an agent do.
#[derive(Debug, Clone)]
enum Act {
    /// The agent makes the call of this number.
    Call(u8),
    Approve(u8, Allow),
    Deny(u8),
    Forget(u8),
    Revoke,
    Wait,
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum Allow {
    Once,
    ThisRun,
    AWhile,
}

/// Where the newest question of a call stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Question {
    None,
    /// Since which epoch: leave for a run is leave for the run that asked.
    Pending {
        until: u32,
        asked_in: u32,
    },
    Approved {
        until: u32,
    },
    Denied,
}

#[derive(Debug, Clone, Default)]
struct Model {
    now: u32,
    epoch: u32,
    questions: [Option<Question>; 3],
    /// Until when, and in which epoch's run, if in one.
    grants: Vec<(u32, Option<u32>)>,
    ran: u32,
    /// What the last act must have led to.
    expected: Expected,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Expected {
    #[default]
    Nothing,
    Ran,
    Refused(ErrorCode),
}

impl Model {
    fn question(&self, call: u8) -> Question {
        match self.questions[usize::from(call)].unwrap_or(Question::None) {
            Question::Pending { until, .. } | Question::Approved { until } if until <= self.now => Question::None,
            found @ (Question::None | Question::Pending { .. } | Question::Approved { .. } | Question::Denied) => found,
        }
    }

    fn stands(&self, grant: (u32, Option<u32>)) -> bool {
        grant.0 > self.now
    }

    fn is_allowed(&self) -> bool {
        self.grants.iter().any(|grant| self.stands(*grant) && grant.1.is_none_or(|epoch| epoch == self.epoch))
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Act> {
        let allow = prop_oneof![3 => Just(Allow::Once), 1 => Just(Allow::ThisRun), 1 => Just(Allow::AWhile)];
        prop_oneof![
            8 => (0..3_u8).prop_map(Act::Call),
            4 => (0..3_u8, allow).prop_map(|(call, allow)| Act::Approve(call, allow)),
            1 => (0..3_u8).prop_map(Act::Deny),
            1 => (0..3_u8).prop_map(Act::Forget),
            1 => Just(Act::Revoke),
            2 => Just(Act::Wait),
            1 => Just(Act::Restart),
        ]
        .boxed()
    }

    fn apply(mut state: Self, act: &Act) -> Self {
        use Expected::{Nothing, Ran, Refused};
        state.expected = Nothing;
        match act {
            Act::Call(call) => {
                let question = state.question(*call);
                state.expected = match question {
                    Question::Denied => Refused(ErrorCode::ApprovalDenied),
                    Question::Approved { .. } => {
                        state.questions[usize::from(*call)] = None;
                        Ran
                    }
                    Question::None | Question::Pending { .. } if state.is_allowed() => Ran,
                    Question::Pending { .. } => Refused(ErrorCode::ApprovalRequired),
                    Question::None => {
                        state.questions[usize::from(*call)] = Some(Question::Pending { until: state.now + STANDS, asked_in: state.epoch });
                        Refused(ErrorCode::ApprovalRequired)
                    }
                };
                state.ran += u32::from(state.expected == Ran);
            }
            Act::Approve(call, allow) => match state.question(*call) {
                Question::Pending { until, asked_in } => {
                    state.questions[usize::from(*call)] = Some(Question::Approved { until });
                    match allow {
                        Allow::Once => {}
                        // Eight hours, which the model's time never reaches.
                        Allow::ThisRun => state.grants.push((u32::MAX, Some(asked_in))),
                        Allow::AWhile => state.grants.push((state.now + STANDS, None)),
                    }
                }
                Question::None | Question::Approved { .. } | Question::Denied => state.expected = Refused(ErrorCode::UnknownApproval),
            },
            Act::Deny(call) => match state.question(*call) {
                Question::Pending { .. } => state.questions[usize::from(*call)] = Some(Question::Denied),
                Question::None | Question::Approved { .. } | Question::Denied => state.expected = Refused(ErrorCode::UnknownApproval),
            },
            Act::Forget(call) => match state.question(*call) {
                Question::Denied => state.questions[usize::from(*call)] = None,
                Question::None | Question::Approved { .. } | Question::Pending { .. } => {
                    state.expected = Refused(ErrorCode::UnknownApproval);
                }
            },
            Act::Revoke => match state.grants.pop() {
                Some(grant) if state.stands(grant) => {}
                Some(_) | None => state.expected = Refused(ErrorCode::UnknownApproval),
            },
            Act::Wait => state.now += 1,
            Act::Restart => state.epoch += 1,
        }
        state
    }
}

/// The real thing.
struct Real {
    runtime: Runtime,
    home: tempfile::TempDir,
    house: Option<TestHouse>,
    /// The newest question of each call.
    asked: BTreeMap<u8, ApprovalId>,
    grants: Vec<GrantId>,
    forward: u64,
    ran_before: u32,
}

impl Real {
    fn house(&self) -> &TestHouse {
        self.house.as_ref().unwrap()
    }

    fn open(&mut self) {
        let limits = AskLimits { pending_per_run: 200, per_minute: 200 };
        let settings = ApprovalSettings { wait: Millis(0), limits, ..patience() };
        let house = self.runtime.block_on(TestHouse::asking(Some(self.home.path().to_owned()), "", settings));
        house.clock.by(Millis(self.forward));
        self.house = Some(house);
    }

    fn answer(&self, call: u8, said: Answer) -> Result<(), ErrorCode> {
        let none = ApprovalId::mint(toolgate::domain::Timestamp::from_unix_millis(1));
        let id = self.asked.get(&call).copied().unwrap_or(none);
        self.runtime.block_on(self.house().answer(id, said)).map(drop).map_err(|fault| fault.code)
    }

    fn act(&mut self, act: &Act) -> Result<Option<()>, ErrorCode> {
        match act {
            Act::Call(call) => {
                let arguments = json!({ "word": format!("{call}"), "url": "https://example.org" });
                let reply = self.runtime.block_on(self.house().call("probe.network", arguments));
                match reply.outcome {
                    Ok(_) => Ok(Some(())),
                    Err(fault) => {
                        let id = fault.details.as_ref().and_then(|details| details["approval_id"].as_str()?.parse().ok());
                        self.asked.extend(id.map(|id| (*call, id)));
                        Err(fault.code)
                    }
                }
            }
            Act::Approve(call, allow) => {
                let now = toolgate::domain::Clock::now(&*self.house().clock);
                let allow = match allow {
                    Allow::Once => None,
                    Allow::ThisRun => Some(AllowFor::ThisRun),
                    Allow::AWhile => Some(AllowFor::Until(now.plus(Millis(STEP.0 * u64::from(STANDS))))),
                };
                self.answer(*call, Answer::Approve { allow, reason: None })?;
                if allow.is_some() {
                    let newest = self.runtime.block_on(self.house().store.grants(true)).unwrap();
                    let known = |id: GrantId| self.grants.contains(&id);
                    let new = newest.iter().map(|row| row.grant.id).find(|id| !known(*id)).unwrap();
                    self.grants.push(new);
                }
                Ok(None)
            }
            Act::Deny(call) => self.answer(*call, Answer::Deny { reason: "no".into() }).map(|()| None),
            Act::Forget(call) => {
                let none = ApprovalId::mint(toolgate::domain::Timestamp::from_unix_millis(1));
                let id = self.asked.get(call).copied().unwrap_or(none);
                let house = self.house();
                self.runtime.block_on(house.gateway.lift_denial(id, house.proof())).map(|_| None).map_err(|fault| fault.code)
            }
            Act::Revoke => {
                let none = GrantId::mint(toolgate::domain::Timestamp::from_unix_millis(1));
                let id = self.grants.pop().unwrap_or(none);
                let house = self.house();
                self.runtime.block_on(house.gateway.revoke(id, house.proof())).map(|_| None).map_err(|fault| fault.code)
            }
            Act::Wait => {
                self.forward += STEP.0;
                self.house().clock.by(STEP);
                self.runtime.block_on(self.house().gateway.end_what_is_over()).map(|_| None).map_err(|fault| fault.code)
            }
            Act::Restart => {
                let house = self.house.take().unwrap();
                self.ran_before += house.ran();
                self.runtime.block_on(house.store.clone().close());
                self.open();
                Ok(None)
            }
        }
    }
}

struct Life;

impl StateMachineTest for Life {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(_: &Model) -> Real {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut real = Real { runtime, home, house: None, asked: BTreeMap::new(), grants: Vec::new(), forward: 0, ran_before: 0 };
        real.open();
        real
    }

    fn apply(mut real: Real, model: &Model, act: Act) -> Real {
        let found = match real.act(&act) {
            Ok(Some(())) => Expected::Ran,
            Ok(None) => Expected::Nothing,
            Err(code) => Expected::Refused(code),
        };
        assert_eq!(found, model.expected, "{act:?} in {model:?}");
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        assert_eq!(real.house().ran() + real.ran_before, model.ran, "a call ran without leave, or twice by one yes");
    }

    fn teardown(real: Real, _: Model) {
        let report = real.runtime.block_on(real.house().store.verify()).unwrap();
        assert!(report.bad.is_none());
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_life_is_as_the_model_has_it(sequential 1..30 => Life);
}

const PHRASE: &str = "correct horse battery";
const CALL: [&str; 4] = ["tools", "call", "transform.jq", "{\"filter\": \".\", \"input\": 1}"];

/// A home in which the operator's own calls of a harmless tool ask.
fn asking_home() -> Toolgate {
    let toolgate = Toolgate::new();
    let policies: PathBuf = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let rule = "@id(\"ask-me\") @ask(\"test\")\npermit (principal is toolgate::Operator, action == toolgate::Action::\"transform.jq\", resource);\n";
    std::fs::write(policies.join("ask.cedar"), rule).unwrap();
    std::fs::write(toolgate.data().join("toolgate.toml"), "[approvals]\nwait_sec = 0\n").unwrap();
    toolgate
}

/// Starts a verb and kills it after a while; what it had said until then.
fn kill_after(toolgate: &Toolgate, args: &[&str], span: Duration) -> (bool, String) {
    use std::io::{Seek as _, Write as _};
    let mut phrase = tempfile::tempfile().unwrap();
    writeln!(phrase, "{PHRASE}\n{PHRASE}").unwrap();
    phrase.rewind().unwrap();
    let mut child =
        toolgate.command(args).stdin(phrase).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(span);
    let was_going = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (was_going, String::from_utf8(output.stdout).unwrap())
}

fn every_event(toolgate: &Toolgate) -> Vec<Value> {
    let runs = toolgate.json(0, &["runs", "list", "--all", "--json"]);
    let runs: Vec<String> = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    let of = |run: &String| toolgate.run(&["runs", "events", run, "--json"]).exits(0).stdout;
    runs.iter().flat_map(|run| of(run).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()).collect()
}

/// Kills the process that answers, and the one that uses the answer, at moments spread over their lives. A yes that was acknowledged is
/// there; one that was used is used once; the log is whole.
#[test]
fn killed_at_any_moment_no_yes_is_lost_and_none_is_used_twice() {
    let toolgate = asking_home();
    let started = std::time::Instant::now();
    let first = toolgate.json(4, &[&CALL[..], &["--json"]].concat());
    let whole = started.elapsed();
    let mut id = first["error"]["details"]["approval_id"].as_str().unwrap().to_owned();
    let (mut killed, mut used) = (0, 0);
    for n in 0..10_u32 {
        let span = whole * (n + 1) / 9;
        let (was_going, said) = kill_after(&toolgate, &["approvals", "approve", &id, "--passphrase-fd", "0"], span);
        killed += u32::from(was_going);
        let row = toolgate.json(0, &["approvals", "show", &id, "--json"]);
        let status = row["status"].as_str().unwrap().to_owned();
        assert!(["pending", "approved"].contains(&status.as_str()), "{row}");
        assert!(!said.contains("approved") || status == "approved", "an acknowledged yes is lost: {row}");
        if status == "pending" {
            answer(&toolgate, &["approvals", "approve", &id], PHRASE).exits(0);
        }
        let (was_going, _) = kill_after(&toolgate, &CALL, span);
        killed += u32::from(was_going);
        // The next process closes what was cut off, and either the yes is still there or it was used, once.
        let next = toolgate.run(&[&CALL[..], &["--json"]].concat());
        let events = every_event(&toolgate);
        let uses = events.iter().filter(|event| event["payload"]["approval_used"] == id.as_str()).count();
        assert_eq!(uses, 1, "round {n}: {}", next.stdout);
        for intent in events.iter().filter(|event| event["kind"] == "tool_call") {
            let ends = |event: &&Value| {
                event["call_id"] == intent["call_id"] && matches!(event["kind"].as_str(), Some("tool_result" | "tool_error"))
            };
            assert_eq!(events.iter().filter(ends).count(), 1, "one outcome a call: {intent}");
        }
        used += uses;
        let again = if next.code == 4 { next } else { toolgate.run(&[&CALL[..], &["--json"]].concat()).exits(4) };
        let again: Value = serde_json::from_str(&again.stdout).unwrap();
        let new = again["error"]["details"]["approval_id"].as_str().unwrap().to_owned();
        assert_ne!(new, id, "it asks anew");
        id = new;
    }
    assert!(killed >= 5, "only {killed} of the processes were killed before their end");
    assert_eq!(used, 10);
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}
