//! A world with one log and several processes that come and go.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::call::Spawner;
use crate::domain::{Actor, Clock, Digest, Fault, Millis, Principal, RunId, StepId, Timestamp};
use crate::engine::{Control, Driver, DriverParts, DriverSettings};
use crate::run::{Event, RunState, RunStatus, StepStatus, fold};
use crate::workflow::{Library, read_yaml};

use super::calls::{Act, Deed, FakePath, Tools, recover};
use super::log::{MemLog, Shared, field};

pub const FOREVER: i64 = i64::MAX;

pub struct World {
    pub shared: Arc<Mutex<Shared>>,
    pub tools: Arc<Tools>,
    pub clock: Arc<Moving>,
}

pub struct Process {
    pub log: Arc<MemLog>,
    pub control: Control,
    pub driver: Driver,
    pub stop: CancellationToken,
    spawner: Arc<Tasks>,
}

/// Real time, which a test can push ahead.
pub struct Moving {
    start: Instant,
    ahead: AtomicI64,
}

impl Moving {
    pub fn push(&self, millis: i64) {
        self.ahead.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.start.elapsed().as_millis()).unwrap() + self.ahead.load(Ordering::SeqCst);
        Timestamp::from_unix_millis(1_700_000_000_000 + u64::try_from(millis).unwrap())
    }
}

#[derive(Default)]
struct Tasks(Mutex<JoinSet<()>>);

impl Spawner for Tasks {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().spawn(task);
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(Tools::default())
    }

    pub fn with(tools: Tools) -> Self {
        Self { shared: Arc::default(), tools: Arc::new(tools), clock: Arc::new(Moving { start: Instant::now(), ahead: AtomicI64::new(0) }) }
    }

    /// A tool that does as told.
    pub fn tool(&self, name: &str, act: impl Fn(&Value, usize) -> Deed + Send + Sync + 'static) -> &Self {
        self.tools.acts.lock().unwrap().insert(name.into(), Arc::new(act) as Act);
        self
    }

    /// A tool that gives its arguments back.
    pub fn echo(&self, name: &str) -> &Self {
        self.tool(name, |arguments, _| Deed::Give(json!({ "value": arguments })))
    }

    pub fn idempotent(&self, name: &str) -> &Self {
        self.tools.idempotent.lock().unwrap().insert(name.into());
        self
    }

    /// A process that dies after so many appends. It does not drive yet.
    pub fn process(&self, lives: i64) -> Process {
        self.process_with(lives, |_| {})
    }

    pub fn process_with(&self, lives: i64, change: impl FnOnce(&mut DriverSettings)) -> Process {
        let log = MemLog::new(self.shared.clone(), self.clock.clone(), lives);
        let calls = Arc::new(FakePath { tools: self.tools.clone(), log: log.clone(), clock: self.clock.clone() });
        let spawner = Arc::new(Tasks::default());
        let mut settings = DriverSettings { poll: Millis(5), ..DriverSettings::default() };
        change(&mut settings);
        let driver = Driver::new(DriverParts { log: log.clone(), calls, clock: self.clock.clone(), spawner: spawner.clone(), settings });
        let library = Arc::new(Library::open(None).unwrap());
        let control = Control::new(log.clone(), library, self.clock.clone(), Arc::new(|| Digest::of(b"policy")));
        Process { log, control, driver, stop: CancellationToken::new(), spawner }
    }

    /// A process that lives and drives, begun as one is: with the recovery of what the dead left.
    pub async fn driving(&self) -> Process {
        let process = self.process(FOREVER);
        recover(&process.log).await;
        process.drive();
        process
    }

    pub fn events(&self, run: &RunId) -> Vec<Event> {
        self.shared.lock().unwrap().events.get(run).cloned().unwrap_or_default()
    }

    pub fn state(&self, run: &RunId) -> RunState {
        let mut state = RunState::default();
        for event in self.events(run) {
            fold(&mut state, &event).unwrap();
        }
        state
    }

    pub fn status(&self, run: &RunId) -> RunStatus {
        self.shared.lock().unwrap().runs[run].status
    }

    pub fn step(&self, run: &RunId, step: &str) -> StepStatus {
        self.state(run).phase(&step.parse::<StepId>().unwrap()).status()
    }

    pub fn output(&self, run: &RunId, step: &str) -> Value {
        self.state(run).steps[&step.parse::<StepId>().unwrap()].output.clone()
    }

    /// How often an event of that word was written about a step.
    pub fn told(&self, run: &RunId, word: &str, step: &str) -> usize {
        let of_step = |event: &&Event| event.step_id.as_ref().is_some_and(|id| id.as_str() == step);
        self.events(run).iter().filter(of_step).filter(|event| field(event, "event") == word).count()
    }

    /// Waits until it holds.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let patience = Instant::now();
        while !holds() {
            assert!(patience.elapsed() < Duration::from_secs(20), "waited in vain until {what}\n{}", self.timeline());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_over(&self, run: &RunId) -> RunStatus {
        self.until("the run is over", || self.status(run).is_final()).await;
        self.status(run)
    }

    fn timeline(&self) -> String {
        let shared = self.shared.lock().unwrap();
        let line = |event: &Event| {
            let step = event.step_id.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {step} {} {}", event.seq, event.kind.as_str(), field(event, "event"), field(event, "tool"))
        };
        shared.events.values().flatten().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Process {
    pub fn drive(&self) {
        let (driver, stop) = (self.driver.clone(), self.stop.clone());
        self.spawner.spawn("driver", async move { driver.drive(stop).await }.boxed());
    }

    pub async fn start(&self, who: &Actor, yaml: &str, inputs: Value) -> Result<RunId, Fault> {
        let plan = read_yaml("test.yaml", yaml).unwrap_or_else(|problems| panic!("{problems}"));
        self.control.start_plan(who, &plan, inputs, None, crate::domain::Labels::default()).await
    }

    /// Starts a workflow with these steps as the operator.
    pub async fn begin(&self, steps: &str) -> RunId {
        self.start(&Actor::operator(), &workflow(steps), Value::Null).await.unwrap()
    }

    /// Ends at once, whatever it is in the middle of.
    pub async fn kill(&self) {
        self.log.bury();
        let mut tasks = std::mem::take(&mut *self.spawner.0.lock().unwrap());
        tasks.shutdown().await;
    }
}

pub fn workflow(steps: &str) -> String {
    format!("name: test\nversion: 1.0.0\nsteps:\n{steps}")
}

pub fn agent() -> Actor {
    Actor::agent(Principal::local())
}
