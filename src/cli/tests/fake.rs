//! A house in memory whose runs follow a script, and a desk whose streams are buffers.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::{CheckedOutput, Reply};
use crate::cli::ports::*;
use crate::cli::{Console, Desk, Exit, Looks, parse, run};
use crate::config::{Ambient, Config, Platform};
use crate::domain::*;
use crate::gateway::{Answer, GrantBeside};
use crate::policy::*;
use crate::run::{Event, EventKind, RunKind, RunStatus};
use crate::secrets::operator::{Ask, OperatorProof, Passphrase};
use crate::store::{
    ApprovalFilter, ApprovalRow, ApprovalStatus, Channel, GrantRow, GrantStatus, InclusionProof, PausedRun, RecordColumns, RunFilter,
    RunRow, SignedCheckpoint, StoredRecord,
};

pub(super) const NOW: u64 = 1_700_000_000_000;
pub(super) const PHRASE: &str = "correct horse";

pub(super) fn run_id() -> RunId {
    "run_018bcfe5680070008000000000000001".parse().unwrap()
}

pub(super) fn approval_id() -> ApprovalId {
    "apr_018bcfe5680070008000000000000002".parse().unwrap()
}

pub(super) fn step_id(name: &str) -> StepId {
    name.parse().unwrap()
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(NOW)
    }
}

/// A buffer that can be read while somebody writes.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a verb left behind.
pub(super) struct Transcript {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Transcript {
    /// All of it in one text.
    pub(super) fn whole(&self) -> String {
        format!("{}--- stderr\n{}--- exit {}\n", self.out, self.err, self.exit as u8)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Answers with these passphrases.
struct Person(Mutex<VecDeque<String>>);

impl Ask for Person {
    fn ask(&self, _prompt: &str) -> Result<Passphrase, Fault> {
        let answer = self.0.lock().unwrap().pop_front();
        answer.map(Passphrase::new).ok_or_else(|| Fault::new(ErrorCode::OperatorLocked, "nobody is at the terminal"))
    }
    fn is_a_person(&self) -> bool {
        true
    }
}

/// How a verb is called.
pub(super) struct Scene {
    pub home: tempfile::TempDir,
    pub house: Arc<FakeHouse>,
    pub typed: Vec<String>,
    pub passphrases: Vec<String>,
    pub interactive: bool,
    pub vars: Vec<(String, String)>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            house: Arc::default(),
            typed: Vec::new(),
            passphrases: Vec::new(),
            interactive: false,
            vars: Vec::new(),
        }
    }

    /// On a terminal where these lines are typed.
    pub(super) fn on_terminal(mut self, typed: &[&str], passphrases: &[&str]) -> Self {
        self.interactive = true;
        self.typed = typed.iter().map(|line| (*line).to_owned()).collect();
        self.passphrases = passphrases.iter().map(|phrase| (*phrase).to_owned()).collect();
        self
    }

    pub(super) async fn call(&self, args: &[&str]) -> Transcript {
        let (out, err) = (Buffer::default(), Buffer::default());
        let looks = Looks { interactive: self.interactive, width: None, live: false, colour: false };
        let input = io::Cursor::new(self.typed.join("\n"));
        let platform =
            Platform { data_dir: Some(self.home.path().to_owned()), current_dir: std::env::current_dir().ok(), ..Platform::default() };
        let vars = self.vars.iter().map(|(name, value)| (name.clone(), OsString::from(value))).collect();
        let desk = Desk {
            console: Console::new(Box::new(out.clone()), Box::new(err.clone()), Box::new(input), looks),
            clock: Arc::new(FixedClock),
            ambient: Ambient { vars, platform },
            passphrase: Arc::new(Person(Mutex::new(self.passphrases.clone().into()))),
        };
        let exit = match parse(args.iter().map(OsString::from), &desk.console) {
            Ok(invocation) => run(invocation, &desk, &FakeDoor { house: self.house.clone() }).await,
            Err(exit) => exit,
        };
        let tidy = |text: String| text.replace(&self.home.path().display().to_string(), "$HOME");
        Transcript { exit, out: tidy(out.text()), err: tidy(err.text()) }
    }
}

struct FakeDoor {
    house: Arc<FakeHouse>,
}

#[async_trait]
impl Door for FakeDoor {
    async fn open(&self, _config: &Config) -> Result<Arc<dyn House>, Fault> {
        match &*self.house.broken.lock().unwrap() {
            Some(fault) => Err(fault.clone()),
            None => Ok(self.house.clone()),
        }
    }
    async fn keeper(&self, _config: &Config) -> Result<crate::keeping::Keeper, Fault> {
        Err(Fault::new(ErrorCode::StoreFailed, "there is no store here"))
    }
    async fn restore(&self, _: &Config, from: &Path, reason: &str, _: OperatorProof) -> Result<crate::keeping::Restored, Fault> {
        Err(Fault::new(ErrorCode::StoreFailed, format!("there is no store here to put {} back: {reason}", from.display())))
    }
    async fn audit(&self, _config: &Config, how: AuditAccess) -> Result<Arc<dyn AuditRoom>, Fault> {
        *self.house.accepted.lock().unwrap() = match how {
            AuditAccess::Look => None,
            AuditAccess::Accept(reason, _) => Some(reason),
            AuditAccess::Rotate(_) => Some("rotate".into()),
        };
        Ok(self.house.clone())
    }
    async fn serve_http(&self, _config: &Config, address: std::net::SocketAddr) -> Result<(), Fault> {
        Err(Fault::internal(format!("serves {address}")))
    }

    async fn serve(&self, config: Result<Config, Problems>) -> Result<(), Fault> {
        let told = match config {
            Ok(config) => format!("{} {}", config.tool_names.value.as_str(), config.toolsets.value.join("+")),
            Err(problems) => format!("broken: {problems}"),
        };
        *self.house.served.lock().unwrap() = Some(told);
        Ok(())
    }
    async fn doctor(&self, _config: &Config) -> Vec<Check> {
        let check = |name: &str, ok, detail: &str, mend: Option<&str>| Check {
            name: name.into(),
            ok,
            detail: detail.into(),
            mend: mend.map(str::to_owned),
        };
        let sandbox_works = self.house.broken.lock().unwrap().is_none();
        vec![
            check("database", true, "3 runs, 40 records", None),
            check("python", sandbox_works, "compiled runtime", Some("free 100 MB in the cache folder")),
        ]
    }
    async fn meet(&self, way: Way) -> Result<Met, Fault> {
        match way {
            Way::Reach { url, headers } if headers.is_empty() => {
                Err(Fault::new(ErrorCode::Unauthenticated, format!("`{url}` wants a token")).hint("give it one"))
            }
            way @ (Way::Start { .. } | Way::Reach { .. }) => {
                Ok(Met { server: "toolgate 1.0.0".into(), tools: vec![format!("{way:?}")], took: Millis(7) })
            }
        }
    }
    async fn check_manifest(&self, _config: &Config, file: &Path) -> Result<ToolView, Fault> {
        let name = file.display().to_string();
        if name.contains("broken") {
            return Err(Problems::one(Problem::new(name, "unknown field `efects`").at(Some(4)).hint("did you mean `effects`?"))
                .into_fault(ErrorCode::ManifestInvalid));
        }
        Ok(tools().remove(0))
    }
    async fn check_policy(&self, _config: &Config, files: &[PathBuf]) -> Result<PolicyCheck, Fault> {
        let finding = |level, kind, rule: &str, what: &str| Finding {
            level,
            kind,
            rule: rule.into(),
            file: "policies/team.cedar".into(),
            line: 7,
            what: what.into(),
            mend: "mend it\u{1b}[2J".into(),
        };
        let findings = vec![
            finding(Level::Error, FindingKind::Unreachable, "gone", "whatever it permits, `wall` (policies/team.cedar:3) forbids"),
            finding(Level::Note, FindingKind::Untested, "policies/team.cedar:7", "no test is decided by it"),
        ];
        Ok(PolicyCheck { rules: 5, digest: Digest::of(b"rules"), findings: if files.is_empty() { Vec::new() } else { findings } })
    }
    async fn test_policy(&self, _config: &Config, files: &[PathBuf]) -> Result<Vec<CaseOutcome>, Fault> {
        let outcome = |name: &str, found| CaseOutcome {
            file: "policies/team.test.yaml".into(),
            line: Some(3),
            name: name.into(),
            expected: Verdict::Allow,
            expected_rule: Some("agent-inside".into()),
            found,
            rules: vec![if found == Verdict::Allow { "agent-inside".into() } else { "default".into() }],
        };
        let good = outcome("an agent reads", Verdict::Allow);
        Ok(if files.is_empty() { vec![good] } else { vec![good, outcome("an agent\u{202e}writes", Verdict::Deny)] })
    }
    async fn check_workflow(&self, _config: &Config, _file: &Path) -> Result<WorkflowView, Fault> {
        Ok(workflow())
    }
}

/// One change of a run, made when it is driven.
pub(super) enum Act {
    /// A step's new state.
    Step(&'static str, StepState),
    /// A step waits.
    Wait(&'static str, WaitsFor),
    /// The run ends so.
    End(RunStatus),
}

/// The house.
#[derive(Default)]
pub(super) struct FakeHouse {
    pub broken: Mutex<Option<Fault>>,
    pub served: Mutex<Option<String>>,
    pub script: Mutex<VecDeque<Act>>,
    pub view: Mutex<Option<RunView>>,
    pub approval: Mutex<Option<ApprovalRow>>,
    pub submitted: Mutex<Vec<(String, Value)>>,
    pub started: Mutex<Option<Map<String, Value>>>,
    pub decided: Mutex<Option<(bool, Option<String>)>>,
    pub audit_broken: Mutex<bool>,
    pub accepted: Mutex<Option<String>>,
    pub driven_elsewhere: Mutex<bool>,
    pub closed: Mutex<u32>,
    commits: watch::Sender<u64>,
    reads: AtomicU64,
}

impl FakeHouse {
    pub(super) fn script(&self, acts: Vec<Act>) {
        *self.script.lock().unwrap() = acts.into();
    }
    fn with_view<T>(&self, change: impl FnOnce(&mut RunView) -> T) -> Result<T, Fault> {
        let mut view = self.view.lock().unwrap();
        view.as_mut().map(change).ok_or_else(|| Fault::new(ErrorCode::UnknownRun, "there is no run of that id"))
    }
}

fn checkpoint() -> SignedCheckpoint {
    let note = "toolgate/00\n40\nroot\nhead 00\n\n\u{2014} toolgate/00 signature\n".to_owned();
    SignedCheckpoint { size: 40, root: Digest::of(b"root"), head: Some(Digest::of(b"head")), key: "0badc0de".into(), note }
}

#[async_trait]
impl AuditRoom for FakeHouse {
    async fn verify(&self) -> Result<AuditReport, Fault> {
        let head = Some(AuditHead { index: 41, hash: Digest::of(b"head") });
        Ok(match *self.audit_broken.lock().unwrap() {
            false => AuditReport { records: 42, head, checkpoints: 2, proven: Some(checkpoint()), broken: None },
            true => AuditReport {
                records: 7,
                head,
                checkpoints: 2,
                proven: None,
                broken: Some(BrokenRecord { index: 7, run: Some(run_id()), why: "its hash is another".into() }),
            },
        })
    }
    async fn head(&self) -> Result<Option<AuditHead>, Fault> {
        Ok(Some(AuditHead { index: 41, hash: Digest::of(b"head") }))
    }
    async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Fault> {
        Ok(Some(checkpoint()))
    }
    async fn place(&self, _run: &RunId, seq: u64) -> Result<u64, Fault> {
        Ok(seq + 10)
    }
    async fn proof(&self, index: u64) -> Result<InclusionProof, Fault> {
        let (leaf, public_key) = (Digest::of(b"leaf"), "toolgate/00+0badc0de+AQ==".to_owned());
        Ok(InclusionProof { index, record: "{}".into(), leaf, path: vec![leaf], checkpoint: checkpoint(), public_key })
    }
    async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, Fault> {
        let columns = RecordColumns { run_id: run_id().to_string(), seq: 1, kind: "tool_call".into(), step_id: None, call_id: None };
        let row =
            |index| StoredRecord { index, columns: columns.clone(), record: b"{}".to_vec(), hash: vec![7; 32], sealed: Some("{}".into()) };
        Ok((from..42).take(limit as usize).map(row).collect())
    }
    async fn close(&self) {
        *self.closed.lock().unwrap() += 1;
    }
}

#[async_trait]
impl House for FakeHouse {
    fn tools(&self) -> Vec<ToolView> {
        tools()
    }
    async fn call(&self, ask: CallAsk) -> Result<Reply, Fault> {
        let outcome = match ask.tool.as_str() {
            "python.run" | "python_run" => Ok(CheckedOutput { value: json!({"got": ask.arguments, "text": "a\u{202e}b"}), artifact: None }),
            "notify.send" => Err(Fault::new(ErrorCode::ApprovalRequired, "a human must say yes to this call")
                .details(json!({"approval_id": approval_id().to_string()}))),
            "repo.git.push" => Err(Fault::new(ErrorCode::PolicyDenied, "no rule allows it").hint("ask the operator")),
            other => Err(Fault::new(ErrorCode::UnknownTool, format!("there is no tool `{other}`"))),
        };
        Ok(Reply { call: "call_018bcfe5680070008000000000000003".parse().unwrap(), run: run_id(), outcome })
    }
    async fn set_log_level(&self, level: Option<crate::config::LogLevel>, _proof: OperatorProof) -> Result<&'static str, Fault> {
        Ok(level.map_or("default", crate::config::LogLevel::as_str))
    }
    async fn raise(&self, _run: &RunId, by: Amounts, _proof: OperatorProof) -> Result<(), Fault> {
        self.with_view(|view| {
            let line = |what: Quantity| BudgetLine {
                what: what.as_str().into(),
                used: 1,
                limit: Some(1 + by.get(what)),
                left: Some(by.get(what)),
            };
            view.budget = vec![line(Quantity::Calls)];
        })
    }
    fn workflows(&self) -> Vec<WorkflowView> {
        vec![workflow()]
    }
    async fn workflow(&self, which: &WorkflowRef) -> Result<WorkflowView, Fault> {
        match which {
            WorkflowRef::Name(name) if name != "build_service" => {
                Err(Fault::new(ErrorCode::UnknownWorkflow, format!("there is no workflow `{name}`")))
            }
            WorkflowRef::Name(_) | WorkflowRef::File(_) => Ok(workflow()),
        }
    }
    async fn start(&self, _which: &WorkflowRef, inputs: Map<String, Value>) -> Result<RunId, Fault> {
        *self.started.lock().unwrap() = Some(inputs);
        *self.view.lock().unwrap() = Some(fresh_run());
        Ok(run_id())
    }
    async fn drive(&self, _run: &RunId, _stop: CancellationToken, notes: Arc<dyn StepNotes>) -> Result<RunStatus, Fault> {
        if *self.driven_elsewhere.lock().unwrap() {
            return Err(Fault::new(ErrorCode::LeaseLost, "another process drives the run"));
        }
        loop {
            let act = self.script.lock().unwrap().pop_front();
            let status = self.with_view(|view| match act {
                Some(Act::Step(id, state)) => {
                    let step = view.steps.iter_mut().find(|step| step.id.as_str() == id).unwrap();
                    step.state = state;
                    step.waits_for = None;
                    step.started = Some(Timestamp::from_unix_millis(NOW - 1_500));
                    step.ended = (state != StepState::Running).then(|| Timestamp::from_unix_millis(NOW));
                    step.attempt = 1;
                    match (id, state) {
                        ("repo", StepState::Succeeded) => {
                            step.output = Some(json!({"commit": "3fa9c1", "files": [{"path": "api.py"}, "README.md"]}))
                        }
                        (_, StepState::Failed) => {
                            step.error = Some(Fault::new(ErrorCode::Timeout, "took longer than 30 s").hint("raise `timeout`"));
                        }
                        (_, StepState::Running) => notes.note(&step.id, "half way\u{1b}[2J", Some(1.0), Some(2.0)),
                        _ => {}
                    }
                    None
                }
                Some(Act::Wait(id, waits_for)) => {
                    let step = view.steps.iter_mut().find(|step| step.id.as_str() == id).unwrap();
                    (step.state, step.waits_for) = (StepState::Waiting, Some(waits_for));
                    view.row.status = RunStatus::Waiting;
                    Some(RunStatus::Waiting)
                }
                Some(Act::End(status)) => {
                    view.row.status = status;
                    view.output = (status == RunStatus::Succeeded).then(|| json!({"summary": "all\nfine"}));
                    Some(status)
                }
                None => Some(view.row.status),
            })?;
            if let Some(status) = status {
                return Ok(status);
            }
            // Until whoever watches has seen the change.
            let seen = self.reads.load(Ordering::SeqCst);
            while self.reads.load(Ordering::SeqCst) == seen {
                self.commits.send_modify(|count| *count += 1);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
    async fn submit(&self, _run: &RunId, step: &StepId, output: Value) -> Result<(), Fault> {
        self.submitted.lock().unwrap().push((step.to_string(), output));
        self.with_view(|view| view.row.status = RunStatus::Running)
    }
    async fn cancel(&self, _run: &RunId, _reason: Option<String>) -> Result<(), Fault> {
        self.with_view(|view| view.row.status = RunStatus::Cancelled)
    }
    async fn runs(&self, _filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        Ok(self.view.lock().unwrap().iter().map(|view| view.row.clone()).collect())
    }
    async fn run(&self, _run: &RunId) -> Result<RunView, Fault> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.with_view(|view| view.clone())
    }
    async fn events(&self, _run: &RunId, after: u64, _limit: u32) -> Result<Vec<Event>, Fault> {
        Ok(events().into_iter().filter(|event| event.seq > after).collect())
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
    async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, Fault> {
        let rows = self.approval.lock().unwrap().clone();
        Ok(rows.into_iter().filter(|row| filter.status.is_none_or(|status| status == row.status)).collect())
    }
    async fn approval(&self, id: &ApprovalId) -> Result<ApprovalRow, Fault> {
        let row = self.approval.lock().unwrap().clone();
        row.filter(|row| row.id == *id).ok_or_else(|| Fault::new(ErrorCode::UnknownApproval, "no approval of that id is waiting"))
    }
    async fn decide(&self, _id: &ApprovalId, answer: Answer, _proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        let mut approval = self.approval.lock().unwrap();
        let row = approval.as_mut().unwrap();
        let (approve, reason) = match answer {
            Answer::Approve { reason, .. } => (true, reason),
            Answer::Deny { reason } => (false, Some(reason)),
        };
        row.status = if approve { ApprovalStatus::Approved } else { ApprovalStatus::Denied };
        row.answer.clone_from(&reason);
        *self.decided.lock().unwrap() = Some((approve, reason));
        Ok(row.clone())
    }
    async fn lift_denial(&self, _id: &ApprovalId, _proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        let mut approval = self.approval.lock().unwrap();
        let row = approval.as_mut().unwrap();
        row.status = ApprovalStatus::Lifted;
        Ok(row.clone())
    }
    async fn explain(&self, ask: ExplainAsk) -> Result<ExplainView, Fault> {
        let found = |path: &str, value: Option<&str>| vec![Found { path: path.into(), value: value.map(Into::into) }];
        let (file, line) = ("policies/default.cedar".to_owned(), 11);
        let net = |rule: &str| (rule.to_owned(), file.clone(), line, "the call uses the network".to_owned());
        let wanted =
            Condition { wanted: "context.effects.contains(\"egress\")".into(), found: found("context.effects", Some("[\"egress\"]")) };
        let (rule, file, line, text) = net("agent-network");
        let matched = MatchedRule { rule, file, line, verdict: Verdict::Ask, text, failure: None };
        let (rule, file, line, text) = net("agent-network");
        let differ = Difference { rule, file, line, verdict: Verdict::Ask, text, must: Must::NotMatch, conditions: vec![wanted] };
        let misses =
            Condition { wanted: "context.input.url like \"https://docs.example/*\"".into(), found: found("context.input.url", None) };
        let (rule, file, line, _) = net("docs");
        let near = NearMiss { rule, file, line, verdict: Verdict::Allow, text: String::new(), misses };
        let reasons = vec![Reason { rule: "agent-network".into(), text: "the call uses the network".into() }];
        let grant = |status, misses: &[&str]| GrantBeside {
            grant_id: "grt_018bcfe5680070008000000000000004".parse().unwrap(),
            channel: Some(Channel::Cli),
            given: Timestamp::from_unix_millis(NOW),
            until: Timestamp::from_unix_millis(NOW + 3_600_000),
            run: None,
            status,
            answers: misses.is_empty(),
            misses: misses.iter().map(ToString::to_string).collect(),
        };
        let explanation = Explanation {
            verdict: Verdict::Ask,
            reasons,
            matching: vec![matched],
            considered: 3,
            near: vec![near],
            differ: vec![differ],
            trials: vec![Trial { rule: "strict".into(), would: Verdict::Deny }],
        };
        Ok(ExplainView {
            tool: ask.tool.replace('_', ".").parse().unwrap(),
            actor: ask.actor,
            effects: Effects::only(Effect::Egress),
            hosts: vec!["example.org".into()],
            labels: ask.labels,
            policy: Digest::of(b"rules"),
            explanation,
            grants: vec![
                grant(GrantStatus::Active, &[]),
                grant(GrantStatus::Ended, &["its time is over", "it does not cover `example.org`"]),
            ],
        })
    }
    async fn trials(&self, _run: Option<RunId>, since: Option<Timestamp>) -> Result<Vec<TrialCount>, Fault> {
        let counts = vec![TrialCount { rule: "strict".into(), matched: 12, changed: 3 }];
        Ok(if since.is_some() { Vec::new() } else { counts })
    }
    async fn replay(&self, ask: ReplayAsk) -> Result<ReplayView, Fault> {
        let mut replay = Replay { asked: 12, ..Replay::default() };
        if ask.since.is_none() {
            replay.changed.push(ChangedVerdict {
                call: "call_018bcfe5680070008000000000000003".parse().unwrap(),
                run: run_id(),
                at: Timestamp::from_unix_millis(NOW),
                tool: "web.fetch".parse().unwrap(),
                principal: "local".into(),
                old: Verdict::Ask,
                old_rules: vec!["agent-network".into()],
                new: Verdict::Deny,
                new_rules: vec!["no-web".into()],
                recorded: Verdict::Ask,
            });
            replay.skip(Unasked::Redacted);
        }
        Ok(ReplayView { old: Digest::of(b"old"), new: Digest::of(b"new"), replay })
    }
    async fn grants(&self, _all: bool) -> Result<Vec<GrantRow>, Fault> {
        Ok(Vec::new())
    }
    async fn revoke(&self, id: &GrantId, _proof: OperatorProof) -> Result<GrantRow, Fault> {
        Err(Fault::new(ErrorCode::UnknownApproval, format!("no grant `{id}` stands")))
    }
    async fn paused_runs(&self) -> Result<Vec<PausedRun>, Fault> {
        Ok(Vec::new())
    }
    async fn release(&self, _run: &RunId, _proof: OperatorProof) -> Result<(), Fault> {
        Ok(())
    }
    fn drives(&self) -> Result<Arc<dyn crate::cli::drive_port::DriveDesk>, Fault> {
        Err(Fault::internal("this house has no drives"))
    }
    fn tokens(&self) -> Result<crate::secrets::tokens::Tokens, Fault> {
        Err(Fault::internal("this house has no tokens"))
    }

    fn check_toolsets(&self, _words: &[String]) -> Result<(), Fault> {
        Ok(())
    }

    fn vault(&self) -> Result<crate::secrets::vault::Vault, Fault> {
        Err(Fault::internal("this house has no vault"))
    }

    async fn close(&self) {
        *self.closed.lock().unwrap() += 1;
    }
}

fn tools() -> Vec<ToolView> {
    let tool = |name: &str, description: &str, effects: &[Effect]| ToolView {
        name: name.parse().unwrap(),
        version: "1.0.0".into(),
        title: name.into(),
        description: description.into(),
        executor: "builtin".into(),
        effects: Effects::of(effects.iter().copied()),
        hosts: Vec::new(),
        secrets: Vec::new(),
        scopes: vec!["workspace".into()],
        limits: Limits { wall: Millis(30_000), output: Bytes(1 << 20) },
        idempotent: true,
        digest: Digest::of(name.as_bytes()),
        input_schema: json!({"type": "object"}),
        output_schema: json!({"type": "object"}),
    };
    vec![
        tool("notify.send", "Tells a person. At once.", &[Effect::Write]),
        tool("python.run", "Runs Python in a fresh sandbox. No state is kept.", &[Effect::Pure, Effect::Egress]),
    ]
}

pub(super) fn workflow() -> WorkflowView {
    let step = |id: &str, kind: &str, after: &[&str]| PlannedStep {
        id: step_id(id),
        kind: kind.into(),
        depends_on: after.iter().map(|id| step_id(id)).collect(),
    };
    WorkflowView {
        name: "build_service".into(),
        version: "1.0.0".into(),
        description: "Builds a service. And commits it.".into(),
        source: "shipped".into(),
        inputs: json!({
            "type": "object", "required": ["resource"], "additionalProperties": false,
            "properties": {
                "resource": {"type": "string", "description": "what it serves"},
                "count": {"type": "integer", "default": 1},
            },
        }),
        steps: vec![
            step("plan", "plan", &[]),
            step("docs", "research", &["plan"]),
            step("web", "research", &["plan"]),
            step("ask", "approval", &["docs", "web"]),
            step("repo", "repo", &["ask"]),
        ],
    }
}

pub(super) fn fresh_run() -> RunView {
    let steps = workflow().steps.into_iter().map(|step| StepView {
        id: step.id,
        kind: step.kind,
        depends_on: step.depends_on,
        state: StepState::Pending,
        attempt: 0,
        repair: None,
        started: None,
        ended: None,
        waits_for: None,
        output: None,
        error: None,
    });
    RunView {
        budget: Vec::new(),
        row: RunRow {
            id: run_id(),
            kind: RunKind::Workflow,
            workflow: Some("build_service".into()),
            principal: Principal::operator(),
            status: RunStatus::Running,
            created: Timestamp::from_unix_millis(NOW - 12_000),
            updated: Timestamp::from_unix_millis(NOW - 1_000),
            last_seq: 3,
            labels: Default::default(),
        },
        goal: Some("a service\u{200b} for Listing".into()),
        steps: steps.collect(),
        output: None,
        error: None,
        workspace: Some("/home/ann/runs/1".into()),
    }
}

pub(super) fn approval() -> ApprovalRow {
    ApprovalRow {
        id: approval_id(),
        run_id: run_id(),
        step_id: Some(step_id("ask")),
        digest: Digest::of(b"call"),
        tool: "workflow.approval".parse().unwrap(),
        principal: Principal::local(),
        shown: json!({"files": ["api.py"], "message": "commit 12 files\n  approved by the operator\u{202e}"}),
        reason: "the step asks".into(),
        note: None,
        covers: None,
        asked: 1,
        channel: None,
        status: ApprovalStatus::Pending,
        answer: None,
        created: Timestamp::from_unix_millis(NOW - 60_000),
        expires: Timestamp::from_unix_millis(NOW + 840_000),
    }
}

fn events() -> Vec<Event> {
    let event = |seq: u64, kind, step: Option<&str>, payload: Value| Event {
        v: 1,
        index: seq,
        run_id: run_id(),
        seq,
        ts: Timestamp::from_unix_millis(NOW),
        kind,
        step_id: step.map(step_id),
        call_id: None,
        actor: Actor::operator(),
        payload: payload.as_object().unwrap().clone(),
        prev_hash: Digest::ZERO,
        hash: Digest::ZERO,
    };
    vec![
        event(1, EventKind::RunCreated, None, json!({"workflow": "build_service"})),
        event(2, EventKind::SystemEvent, Some("plan"), json!({"event": "step_started", "attempt": 1})),
        event(3, EventKind::UserMessage, None, json!({"text": "go\u{1b}[31m"})),
    ]
}
