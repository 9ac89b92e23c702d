//! A gateway over an in-memory store with a few tools whose behaviour the test sets: the real path, without a home.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use toolgate::app::{SystemClock, Tasks};
use toolgate::call::{Along, Asking, Inquiry, NoProgress, Origin, Preparation, Question, RawCall, Reply};
use toolgate::domain::{Actor, ApprovalId, Budgets, Bytes, Clock, Effect, Effects, Fault, Millis, OwnerId, Principal, RunId, Timestamp};
use toolgate::egress::{Egress, EgressOptions, NoCredentials, RequestLog, RequestRecord, SystemResolver};
use toolgate::gateway::{Answer, ApprovalSettings, CodeGate, Gateway, Parts};
use toolgate::manifest::{self, ManifestFile};
use toolgate::packages::{
    BuildBox, BuildJob, BuildOutcome, Compile, Environments, EnvironmentsOptions, InstallerOptions, Packages, PackagesOptions, PythonAt,
};
use toolgate::policy::{self, PolicySet, PolicySource, Principals};
use toolgate::registry::Registry;
use toolgate::run::Event;
use toolgate::sandbox::Sandbox;
use toolgate::sandbox::process::{Launcher, ProcessOptions, ProcessSandbox};
use toolgate::secrets::operator::{Ask, Operator, OperatorProof, Passphrase, Session};
use toolgate::store::ApprovalRow;
use toolgate::store::{Durability, OpenOptions, Store};
use toolgate::tools::native::Native;
use toolgate::tools::network::{HttpEvents, NetworkPorts};
use toolgate::tools::python::PythonRun;
use toolgate::tools::{CallContext, Handler, Tool, handler};

/// What the test tools do besides answering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Answer,
    Hang,
    HangForGood,
    Panic,
    WrongAnswer,
    LargeAnswer,
    /// Asks its client twice, one after the other, and answers with what it heard.
    Ask,
}

/// What a test does at some moment.
pub type Moment = Box<dyn Fn() + Send + Sync>;

/// A tool that counts how often it ran.
pub struct Probe {
    /// What it does outside, where a test wants to see it there.
    pub outside: Arc<OnceLock<Moment>>,
    pub target: Arc<Mutex<Value>>,
    pub effect: Effect,
    pub deed: Deed,
    pub ran: Arc<AtomicU32>,
}

#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ProbeInput {
    pub word: String,
    /// Where the probe would go.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub run_id: Option<String>,
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct ProbeOutput {
    #[schemars(length(max = 100_000))]
    pub echo: String,
}

#[async_trait]
impl Tool for Probe {
    type Input = ProbeInput;
    type Output = ProbeOutput;

    async fn prepare(&self, _: &ProbeInput, _: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(self.effect)).about(self.target.lock().unwrap().clone()))
    }

    async fn execute(&self, input: &ProbeInput, context: &CallContext) -> Result<ProbeOutput, Fault> {
        let echo = if self.deed == Deed::Ask { heard(context).await? } else { input.word.clone() };
        self.ran.fetch_add(1, Ordering::SeqCst);
        if let Some(act) = self.outside.get() {
            act();
        }
        match self.deed {
            Deed::Answer | Deed::Ask => {}
            Deed::Hang => context.cancel.cancelled().await,
            Deed::HangForGood => std::future::pending().await,
            Deed::Panic => panic!("the tool fell over"),
            Deed::WrongAnswer => return Ok(ProbeOutput { echo: "x".repeat(100_001) }),
            Deed::LargeAnswer => return Ok(ProbeOutput { echo: "x".repeat(90_000) }),
        }
        Ok(ProbeOutput { echo })
    }
}

/// What the client answers to two questions.
async fn heard(context: &CallContext) -> Result<String, Fault> {
    let mut heard = Vec::new();
    for name in ["name", "colour"] {
        let schema = serde_json::json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] });
        let answers = context.ask(Inquiry::of(name, Question::Form { message: format!("Your {name}?"), schema })).await?;
        heard.push(answers.get(name).and_then(|answer| answer.pointer("/content/text")?.as_str()).unwrap_or("nothing").to_owned());
    }
    Ok(heard.join(" "))
}

/// The whole thing.
pub struct TestHouse {
    pub gateway: Gateway,
    pub store: Store,
    /// The rules, which a test may replace.
    pub rules: Arc<policy::Current>,
    /// What rules are loaded for.
    pub defs: Vec<manifest::ToolDef>,
    /// Holds the workspaces; gone with the house.
    _runs: tempfile::TempDir,
    pub ran: Arc<AtomicU32>,
    pub me: Actor,
    /// What the probes act on.
    pub target: Arc<Mutex<Value>>,
    /// What the probes do outside.
    pub outside: Arc<OnceLock<Moment>>,
    /// The machine's clock, which a test can put forward.
    pub clock: Arc<PutForward>,
    pub run: RunId,
}

/// The machine's clock and a span that is added to it.
#[derive(Default)]
pub struct PutForward {
    span: AtomicU64,
    reading: OnceLock<Moment>,
}

impl PutForward {
    pub fn by(&self, span: Millis) {
        self.span.fetch_add(span.0, Ordering::SeqCst);
    }

    /// Does this from now on whenever somebody looks at the clock: on the path, and inside the store's transactions.
    pub fn at_each_reading(&self, act: Moment) {
        assert!(self.reading.set(act).is_ok(), "one act is enough");
    }
}

impl Clock for PutForward {
    fn now(&self) -> Timestamp {
        if let Some(act) = self.reading.get() {
            act();
        }
        SystemClock.now().plus(Millis(self.span.load(Ordering::SeqCst)))
    }
}

/// Types the operator's passphrase.
struct Types;

impl Ask for Types {
    fn ask(&self, _: &str) -> Result<Passphrase, Fault> {
        Ok(Passphrase::new("correct horse battery".to_owned()))
    }
    fn is_a_person(&self) -> bool {
        true
    }
}

/// How a house asks, and what may be used up in it.
struct Bounds {
    approvals: ApprovalSettings,
    budgets: Budgets,
    world: World,
}

impl Bounds {
    fn usual() -> Self {
        Self { approvals: patience(), budgets: Budgets::default(), world: World::default() }
    }
}

/// What differs from the usual house.
#[derive(Default)]
pub struct World {
    /// A text in the probes' manifests, and what stands there instead.
    pub manifests: Option<(&'static str, &'static str)>,
    /// Who has which roles of policy.
    pub principals: Principals,
    /// Rules besides the shipped ones.
    pub policy: &'static str,
}

/// How humans are asked where a test says nothing else.
pub fn patience() -> ApprovalSettings {
    ApprovalSettings { wait: Millis(300), expires: Millis(60_000), ..ApprovalSettings::default() }
}

/// The probes there are, by the last part of their names.
const PROBES: &[(&str, Effect, Deed)] = &[
    ("pure", Effect::Pure, Deed::Answer),
    ("write", Effect::Write, Deed::Answer),
    ("outside", Effect::ExternalWrite, Deed::Answer),
    ("network", Effect::Egress, Deed::Answer),
    ("hang", Effect::Write, Deed::Hang),
    ("hang_for_good", Effect::Write, Deed::HangForGood),
    ("panic", Effect::Write, Deed::Panic),
    ("wrong", Effect::Pure, Deed::WrongAnswer),
    ("large", Effect::Pure, Deed::LargeAnswer),
    ("page", Effect::Read, Deed::Answer),
    ("letter", Effect::Read, Deed::Answer),
    ("fetch", Effect::Egress, Deed::Hang),
    ("asks", Effect::Write, Deed::Ask),
    ("asks_outside", Effect::ExternalWrite, Deed::Ask),
];

/// What the answers of probes bring into their run.
const MARKS: &[(&str, &str)] = &[("page", "untrusted"), ("letter", "private"), ("fetch", "untrusted if egress")];

/// The default rules, and these.
fn added(more_policy: &str) -> Vec<PolicySource> {
    let mut sources = policy::shipped(toolgate::domain::Profile::Default);
    sources.push(PolicySource { name: "test.cedar".into(), text: more_policy.into() });
    sources
}

impl TestHouse {
    pub async fn new() -> Self {
        Self::on(None, Durability::Relaxed, "").await
    }

    /// Where runs and principals may use up so much.
    pub async fn within(budgets: Budgets) -> Self {
        Self::made_of(None, Durability::Relaxed, added(""), None, Bounds { budgets, ..Bounds::usual() }).await
    }

    pub async fn on(home: Option<std::path::PathBuf>, durability: Durability, more_policy: &str) -> Self {
        Self::made_of(home, durability, added(more_policy), None, Bounds::usual()).await
    }

    /// Where these are all the rules there are.
    pub async fn ruled_by(policy: &str) -> Self {
        let source = PolicySource { name: "test.cedar".into(), text: policy.into() };
        Self::made_of(None, Durability::Relaxed, vec![source], None, Bounds::usual()).await
    }

    /// With `python.run` as shipped, in this sandbox.
    pub async fn with_python(sandbox: Arc<dyn Sandbox>, more_policy: &str) -> Self {
        Self::made_of(None, Durability::Relaxed, added(more_policy), Some(sandbox), Bounds::usual()).await
    }

    /// With `python.run`, where these are all the rules there are.
    pub async fn with_python_ruled_by(sandbox: Arc<dyn Sandbox>, policy: &str) -> Self {
        let source = PolicySource { name: "test.cedar".into(), text: policy.into() };
        Self::made_of(None, Durability::Relaxed, vec![source], Some(sandbox), Bounds::usual()).await
    }

    /// In which humans are asked like this.
    pub async fn asking(home: Option<std::path::PathBuf>, more_policy: &str, approvals: ApprovalSettings) -> Self {
        Self::made_of(home, Durability::Relaxed, added(more_policy), None, Bounds { approvals, ..Bounds::usual() }).await
    }

    /// On a disk, where humans are asked like this and these things are different.
    pub async fn differing(home: std::path::PathBuf, world: World, approvals: ApprovalSettings) -> Self {
        let sources = added(world.policy);
        Self::made_of(Some(home), Durability::Relaxed, sources, None, Bounds { approvals, world, ..Bounds::usual() }).await
    }

    /// The operator's proof, had by the passphrase.
    pub fn proof(&self) -> OperatorProof {
        let session = Some(Session::told(1, "tty"));
        Operator::in_session(self._runs.path(), Arc::new(SystemClock), session).prove(&Types).unwrap()
    }

    /// The operator's answer.
    pub async fn answer(&self, id: ApprovalId, answer: Answer) -> Result<ApprovalRow, Fault> {
        self.gateway.answer(id, answer, self.proof()).await
    }

    async fn made_of(
        home: Option<std::path::PathBuf>,
        durability: Durability,
        sources: Vec<PolicySource>,
        sandbox: Option<Arc<dyn Sandbox>>,
        bounds: Bounds,
    ) -> Self {
        Self::built((home, durability), sources, sandbox, Arc::new(toolgate::call::NoRedaction), bounds).await
    }

    /// On a disk, with what takes secrets out of whatever is recorded.
    pub async fn redacted(home: std::path::PathBuf, redact: Arc<dyn toolgate::call::Redact>) -> Self {
        Self::built((Some(home), Durability::Relaxed), added(""), None, redact, Bounds::usual()).await
    }

    async fn built(
        (home, durability): (Option<std::path::PathBuf>, Durability),
        sources: Vec<PolicySource>,
        sandbox: Option<Arc<dyn Sandbox>>,
        redact: Arc<dyn toolgate::call::Redact>,
        bounds: Bounds,
    ) -> Self {
        let moved = Arc::new(PutForward::default());
        let clock: Arc<dyn Clock> = moved.clone();
        let target = Arc::<Mutex<Value>>::default();
        let store =
            Store::open(OpenOptions { home, owner: OwnerId::mint(clock.now()), clock: clock.clone(), durability, redact }).await.unwrap();
        let ran = Arc::new(AtomicU32::new(0));
        let outside = Arc::<OnceLock<Moment>>::default();
        let mut handlers: BTreeMap<_, Arc<dyn Handler>> = BTreeMap::new();
        let mut files = Vec::new();
        for (name, effect, deed) in PROBES {
            let probe = handler(Probe { outside: outside.clone(), target: target.clone(), effect: *effect, deed: *deed, ran: ran.clone() });
            let mut file = manifest_of(name, *effect, &probe);
            if let Some((old, new)) = bounds.world.manifests {
                assert!(file.text.contains(old), "{}", file.text);
                file.text = file.text.replace(old, new);
            }
            files.push(file);
            handlers.insert(format!("probe.{name}").parse().unwrap(), probe);
        }
        let code = Arc::new(CodeGate::default());
        let shipped = manifest::shipped_files().unwrap_or_else(|p| panic!("{p}"));
        files.extend(shipped.iter().filter(|file| file.path.ends_with("tool.call.yaml")).cloned());
        handlers.insert("tool.call".parse().unwrap(), handler(toolgate::tools::tool_search::ToolCall));
        if let Some(sandbox) = sandbox {
            files.extend(shipped.into_iter().filter(|file| file.path.ends_with("python.run.yaml")));
            handlers.insert("python.run".parse().unwrap(), handler(python(sandbox, code.clone())));
        }
        let defs = manifest::load(&files).unwrap_or_else(|p| panic!("{p}"));
        let registry = Registry::build(defs.clone(), handlers).unwrap_or_else(|p| panic!("{p}"));
        // The shipped rules speak of tools that are not here.
        let mut spoken_of = manifest::shipped().unwrap_or_else(|p| panic!("{p}"));
        spoken_of.retain(|def| defs.iter().all(|here| here.name != def.name));
        spoken_of.extend(defs.iter().cloned());
        let rules = Arc::new(policy::Current::new(
            PolicySet::load_for(&sources, &spoken_of, &bounds.world.principals).unwrap_or_else(|p| panic!("{p}")),
        ));
        let runs = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(Parts {
            registry,
            policy: rules.clone(),
            store: store.clone(),
            clock,
            spawner: Arc::new(Tasks::default()),
            runs_folder: runs.path().to_owned(),
            approvals: bounds.approvals,
            inline: Bytes(16 * 1024),
            private_paths: toolgate::domain::Globs::parse(["secrets/**"]).unwrap(),
            budgets: bounds.budgets,
        });
        code.lead_to(&gateway);
        let me = Actor::agent(Principal::local());
        let run = gateway.adhoc_run(&me).await.unwrap();
        Self { gateway, store, rules, defs: spoken_of, _runs: runs, ran, me, target, outside, clock: moved, run }
    }

    pub fn raw(&self, tool: &str, arguments: Value) -> RawCall {
        RawCall {
            tokens: 0,
            along: Along::default(),
            tool: tool.into(),
            arguments,
            origin: Origin::Client,
            actor: self.me.clone(),
            run: self.run,
            cancel: CancellationToken::new(),
            asking: Asking::default(),
            progress: Arc::new(NoProgress),
        }
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.gateway.call(self.raw(tool, arguments)).await
    }

    pub async fn events(&self) -> Vec<Event> {
        self.store.events(&self.run, 0, 1_000).await.unwrap()
    }

    pub fn now(&self) -> toolgate::domain::Timestamp {
        SystemClock.now()
    }

    pub fn ran(&self) -> u32 {
        self.ran.load(Ordering::SeqCst)
    }
}

/// `python.run` without packages and network.
fn python(sandbox: Arc<dyn Sandbox>, code: Arc<CodeGate>) -> PythonRun {
    struct Nothing;
    impl HttpEvents for Nothing {
        fn of(&self, _: &CallContext) -> Arc<dyn RequestLog> {
            Arc::new(Nothing)
        }
    }
    #[async_trait]
    impl RequestLog for Nothing {
        async fn record(&self, _: RequestRecord) -> Result<(), Fault> {
            Ok(())
        }
    }
    #[async_trait]
    impl Compile for Nothing {
        async fn compile(&self, _: &[(String, Arc<[u8]>)], _: &CancellationToken) -> Result<Vec<(String, Arc<[u8]>)>, Fault> {
            Ok(Vec::new())
        }
    }
    let packages = PackagesOptions {
        cache: std::env::temp_dir().join("toolgate-tests-packages"),
        installer: InstallerOptions::default(),
        compiler: Arc::new(Nothing),
        clock: Arc::new(SystemClock),
    };
    let egress = EgressOptions {
        proxy: None,
        private: Vec::new(),
        extra_roots_pem: None,
        resolver: Arc::new(SystemResolver),
        credentials: Arc::new(NoCredentials),
    };
    #[async_trait]
    impl BuildBox for Nothing {
        async fn run(&self, _: BuildJob, _: &CancellationToken) -> Result<BuildOutcome, Fault> {
            unreachable!("no package was named")
        }
    }
    let egress = Egress::new(egress).unwrap();
    let environments = Environments::new(EnvironmentsOptions {
        cache: std::env::temp_dir().join("toolgate-tests-environments"),
        installer: InstallerOptions::default(),
        python: PythonAt { exe: std::path::PathBuf::new(), version: String::new(), tag: String::new() },
        build_box: Arc::new(Nothing),
        clock: Arc::new(SystemClock),
    });
    let process = ProcessSandbox::new(ProcessOptions {
        launcher: Launcher { program: env!("CARGO_BIN_EXE_toolgate").into(), first: Vec::new() },
        path: "/usr/local/bin:/usr/bin:/bin".into(),
        cgroup: None,
        require_cgroup: false,
        at_once: 8,
        spawner: Arc::new(Tasks::default()),
    });
    let native = Native {
        sandbox: Arc::new(process),
        environments: Arc::new(environments),
        egress: egress.clone(),
        spawner: Arc::new(Tasks::default()),
    };
    PythonRun {
        native,
        sandbox,
        packages: Arc::new(Packages::new(packages)),
        network: NetworkPorts {
            egress,
            http_events: Arc::new(Nothing),
            secrets: Arc::new(toolgate::secrets::source::NoSecrets),
            redact: Arc::new(toolgate::call::NoRedaction),
            spawner: Arc::new(Tasks::default()),
        },
        calls: code,
    }
}

fn manifest_of(name: &str, effect: Effect, probe: &Arc<dyn Handler>) -> ManifestFile {
    let marks = MARKS.iter().find(|(marked, _)| *marked == name).map_or("", |(_, marks)| *marks);
    let text = format!(
        "name: probe.{name}\nversion: 1.0.0\ndescription: A probe.\nexecutor: builtin\neffects: [{}]\nscopes: [probe]\nmarks: [{marks}]\n\
         limits: {{wall: 400ms, output: 1MiB}}\nidempotent: true\ninput_schema: in.json\noutput_schema: out.json\n\
         examples:\n  - accept: {{word: hi}}\n  - refuse: {{word: 1}}\n    because: word\n",
        effect.as_str()
    );
    let schemas = BTreeMap::from([
        ("in.json".to_owned(), probe.input_schema().to_string().into_bytes()),
        ("out.json".to_owned(), probe.output_schema().to_string().into_bytes()),
    ]);
    ManifestFile { path: format!("probe.{name}.yaml"), text, siblings: Arc::new(schemas), is_shipped: false }
}
