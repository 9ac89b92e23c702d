//! A fake gate and a client that speaks lines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::call::{ArtifactRef, BLOCKS, Block, CheckedOutput, LogLevel, RawCall, Reply, Trace};
use crate::domain::{Actor, ArtifactId, CallId, Effect, Effects, ErrorCode, Fault, RunId, TaskId, TaskUse, Timestamp};
use crate::gateway::{Glance, KeptTask, Standing, TaskOpening};
use crate::mcp::{Gate, Notice, Notices, Pace, PublishedTool, ServeOptions, serve_over};

pub(super) const RUN: &str = "run_0190b1c2d3e4f5061728394a5b6c7d8e";

/// Remembers what reached it.
#[derive(Default)]
pub(in crate::mcp) struct FakeGate {
    pub(in crate::mcp) calls: Mutex<Vec<(String, Value)>>,
    pub(in crate::mcp) cancelled: AtomicUsize,
    pub(in crate::mcp) refused: Mutex<Vec<(String, String)>>,
    /// The trace of the last call.
    pub(super) trace: Mutex<Trace>,
    /// Whether tasks can be recorded.
    pub(super) is_full: AtomicBool,
    tasks: Mutex<BTreeMap<TaskId, (Actor, TaskOpening, bool)>>,
    outcomes: Mutex<BTreeMap<CallId, Result<CheckedOutput, Fault>>>,
    /// The last event of [`RUN`], whether it goes on, and the runs there are.
    pub(super) run: Mutex<(u64, bool)>,
    pub(super) runs: Mutex<Vec<RunId>>,
    pub(super) changed: watch::Sender<u64>,
}

impl FakeGate {
    /// [`RUN`] gets so many events more.
    pub(super) fn moves(&self, events: u64) {
        self.run.lock().unwrap().0 += events;
        self.changed.send_modify(|count| *count += 1);
    }
}

pub(super) fn tool(name: &str, effects: &[Effect], output: Value) -> PublishedTool {
    PublishedTool {
        name: name.parse().unwrap(),
        title: name.to_owned(),
        description: format!("Does {name}."),
        input: json!({"type": "object", "properties": {"text": {"type": ["string", "null"]}}, "title": "Input"}),
        output,
        effects: Effects::of(effects.iter().copied()),
        scopes: vec![name.split('.').next().unwrap().to_owned()],
        idempotent: false,
        task: TaskUse::default(),
        search_hint: None,
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000)
}

fn whole(value: &Value) -> ArtifactRef {
    let bytes = value.to_string().into_bytes();
    ArtifactRef { artifact: ArtifactId::of(&bytes), size: bytes.len() as u64, media_type: "application/json".into() }
}

#[async_trait]
impl Gate for FakeGate {
    async fn call(&self, raw: RawCall) -> Reply {
        self.calls.lock().unwrap().push((raw.tool.clone(), raw.arguments.clone()));
        self.trace.lock().unwrap().clone_from(&raw.along.trace);
        let text = raw.arguments.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        let outcome = match raw.tool.replace('_', ".").as_str() {
            "test.echo" => Ok(json!({"text": text})),
            "test.blocks" => {
                raw.progress.log(LogLevel::Debug, "quiet");
                raw.progress.log(LogLevel::Warning, "loud");
                let picture = Block::image(&[7; 30_000], "image/png");
                Ok(json!({"text": text, "shown": [Block::text("seen"), picture, Block::text_file("test://a", "text/plain", "whole")]}))
            }
            "test.broken" => Ok(json!({"text": text, "shown": [{"type": "smell"}]})),
            "test.big" => Ok(json!({"text": format!("HEAD{}TAIL", "x".repeat(100_000))})),
            "test.fail" | "test.must" => Err(fault(&text)),
            "test.slow" => {
                raw.progress.note("halfway", Some(1.0), Some(2.0));
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(text.parse().unwrap_or(60_000))) => Ok(json!({"text": "slept"})),
                    () = raw.cancel.cancelled() => {
                        self.cancelled.fetch_add(1, Ordering::SeqCst);
                        Err(Fault::new(ErrorCode::Cancelled, "cancelled"))
                    }
                }
            }
            // Ignores its cancellation, as no tool may.
            "test.deaf" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok(json!({"text": "late"}))
            }
            "test.panic" => panic!("as told"),
            "workflow.list" if raw.arguments["detail"] == true => Ok(json!({"workflows": [
                {"name": "w", "description": "Does \"w\".", "inputs": ["what"], "schema": inputs(), "definition": "name: w\n"}]})),
            "workflow.list" => {
                Ok(json!({"workflows": [{"name": "w", "description": "Does \"w\".", "inputs": ["what", "count?", "loud?"]}]}))
            }
            "workflow.show" if raw.arguments["workflow"] == "w" => Ok(json!({"description": "Does \"w\".", "inputs": inputs()})),
            "run.start" => Ok(json!({"run_id": RUN, "status": "running"})),
            "run.cancel" => Ok(json!({"status": "cancelled", "cursor": 1})),
            "tool.search" => Ok(json!({"tools": [{"name": "test.echo", "input_schema": {}}], "more": []})),
            "workflow.show" => Err(Fault::new(ErrorCode::UnknownWorkflow, "no such workflow").hint("see `workflow.list`")),
            "run.list" => Ok(json!({"runs": [{"run_id": RUN, "status": "running", "workflow": "build_service"}]})),
            "run.show" if raw.arguments["run_id"] == RUN => Ok(json!({"run_id": RUN, "status": "running"})),
            "run.watch" if raw.arguments["run_id"] == RUN => Ok(json!({"events": [{"seq": 1}], "cursor": raw.arguments["cursor"]})),
            "run.show" | "run.watch" => Err(Fault::new(ErrorCode::UnknownRun, "no such run").hint("see `run.list`")),
            "artifact.read" => page(&raw.arguments),
            _ => Err(Fault::new(ErrorCode::UnknownTool, format!("no tool is named `{}`", raw.tool)).hint("see `tool.search`")),
        };
        let outcome = outcome.map(|value| {
            let artifact = (value.to_string().len() > 16_384).then(|| whole(&value));
            CheckedOutput { value, artifact }
        });
        let call = raw.along.call.unwrap_or_else(|| CallId::mint(now()));
        self.outcomes.lock().unwrap().insert(call, outcome.clone());
        Reply { call, run: raw.run, outcome }
    }

    fn new_call(&self) -> Option<CallId> {
        Some(CallId::mint(now()))
    }

    async fn open_task(&self, actor: &Actor, opening: &TaskOpening) -> Result<TaskId, Fault> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Fault::new(ErrorCode::StoreFailed, "no room"));
        }
        let id = TaskId::mint(now());
        self.tasks.lock().unwrap().insert(id, (actor.clone(), opening.clone(), false));
        Ok(id)
    }

    async fn task(&self, actor: &Actor, task: &TaskId) -> Result<Option<KeptTask>, Fault> {
        let goes_on = self.run.lock().unwrap().1;
        let mut tasks = self.tasks.lock().unwrap();
        let Some((_, opening, over)) = tasks.get_mut(task).filter(|(whose, ..)| whose.principal == actor.principal) else {
            return Ok(None);
        };
        let (tool, call, run, follows, updated) = (opening.tool.clone(), opening.call, opening.run, opening.follows, now());
        let standing = match follows {
            Some(_) if goes_on && !*over => Standing::Working,
            Some(run) => {
                *over = true;
                Standing::Ended(Ok(CheckedOutput { value: json!({"run_id": run, "status": "waiting"}), artifact: None }))
            }
            None => self.outcomes.lock().unwrap().get(&call).cloned().map_or(Standing::Working, Standing::Ended),
        };
        Ok(Some(KeptTask { call, run, tool, follows, updated, standing }))
    }

    async fn glance(&self, _actor: &Actor, run: &RunId) -> Result<Option<Glance>, Fault> {
        let (last_seq, goes_on) = *self.run.lock().unwrap();
        Ok((run.to_string() == RUN).then_some(Glance { goes_on, last_seq, updated: now() }))
    }

    async fn newest_runs(&self, _actor: &Actor, _limit: u32) -> Result<Vec<RunId>, Fault> {
        let runs = self.runs.lock().unwrap().clone();
        Ok(if runs.is_empty() { vec![RUN.parse().unwrap()] } else { runs })
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changed.subscribe())
    }

    async fn refuse(&self, raw: RawCall, fault: Fault) -> Reply {
        self.refused.lock().unwrap().push((raw.tool.clone(), raw.actor.principal.to_string()));
        Reply { call: CallId::mint(now()), run: raw.run, outcome: Err(fault) }
    }

    async fn adhoc_run(&self, _actor: &Actor) -> Result<RunId, Fault> {
        Ok(RUN.parse().unwrap())
    }

    fn tools(&self) -> Vec<PublishedTool> {
        let text = || json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
        let blocks = || {
            let properties = json!({"text": {"type": "string"}, "shown": {"type": "array"}});
            json!({"type": "object", "properties": properties, "required": ["text", "shown"], BLOCKS: "shown"})
        };
        vec![
            PublishedTool { task: TaskUse::Soon, ..tool("test.slow", &[Effect::Write], text()) },
            PublishedTool { task: TaskUse::Must, ..tool("test.must", &[Effect::Write], text()) },
            tool("test.echo", &[Effect::Pure], text()),
            tool("test.blocks", &[Effect::Pure], blocks()),
            tool("test.broken", &[Effect::Pure], blocks()),
            tool("test.big", &[Effect::Read], text()),
            tool("test.fail", &[Effect::ExternalWrite], text()),
            tool("test.deaf", &[Effect::Egress], json!({"type": "string"})),
            tool("test.panic", &[Effect::Pure], text()),
            tool("run.list", &[Effect::Read], json!({"type": "object"})),
            tool("workflow.list", &[Effect::Read], json!({"type": "object"})),
            tool("workflow.show", &[Effect::Read], json!({"type": "object"})),
            PublishedTool { task: TaskUse::Soon, ..tool("run.start", &[Effect::Write], json!({"type": "object"})) },
            tool("run.cancel", &[Effect::Write], json!({"type": "object"})),
            tool("tool.search", &[Effect::Read], json!({"type": "object"})),
            tool("tool.call", &[Effect::Read, Effect::ExternalWrite], json!({"type": "object"})),
            tool("run.show", &[Effect::Read], json!({"type": "object"})),
            tool("run.watch", &[Effect::Read], json!({"type": "object"})),
            tool("artifact.read", &[Effect::Read], json!({"type": "object"})),
        ]
    }
}

fn inputs() -> Value {
    json!({"required": ["what"], "properties": {
        "count": {"type": "integer", "description": "How many."},
        "what": {"type": "string", "description": "Which animal.", "enum": ["cat", "cow", "dog"]},
        "loud": {"type": "boolean"}, "base_branch": {"type": "string"}, "after_run": {"type": "string"}, "with_tool": {"type": "string"},
        "next_workflow": {"type": "string"},
    }})
}

fn fault(text: &str) -> Fault {
    match text {
        "approval" => Fault::new(ErrorCode::ApprovalRequired, "a human must approve this call")
            .hint("run `toolgate approvals approve apr_1`")
            .details(json!({"approval_id": "apr_1", "expires_at": "2026-01-01T00:00:00.000Z", "how": "…"})),
        "internal" => Fault::internal("the secret path is /root/x").details(json!({"secret": true})),
        other => Fault::new(ErrorCode::InvalidInput, format!("`/text` must not be `{other}`")).hint("send another"),
    }
}

/// An artifact of 300,000 bytes, 100,000 a page; or of five bytes that are no text; or a huge one.
fn page(arguments: &Value) -> Result<Value, Fault> {
    let id = arguments["artifact"].as_str().unwrap_or_default();
    let next = arguments["offset"].as_u64().unwrap_or_default() + 100_000;
    if id.starts_with("aa") {
        let mut page = json!({"text": "y".repeat(100_000), "size": 300_000});
        if next < 300_000 {
            page["next_offset"] = json!(next);
        }
        Ok(page)
    } else if id.starts_with("bb") {
        Ok(json!({"base64": "AP/+gAE=", "size": 5}))
    } else if id.starts_with("cc") {
        Ok(json!({"text": "z", "size": 1_u64 << 40, "next_offset": 1}))
    } else {
        Err(Fault::new(ErrorCode::UnknownArtifact, "no such artifact"))
    }
}

/// Notices on demand.
pub(super) struct FakeNotices(pub(super) broadcast::Sender<Notice>);

impl Notices for FakeNotices {
    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}

/// A client over lines, and the server it talks to.
pub(super) struct Client {
    write: Option<WriteHalf<DuplexStream>>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    server: JoinSet<Result<(), Fault>>,
    pub(super) gate: Arc<FakeGate>,
    pub(super) shutdown: CancellationToken,
    modern: bool,
    next: i64,
    /// What a client of the newer generation says that it can do.
    pub(super) capabilities: Value,
}

/// Fast enough for a test.
pub(in crate::mcp) fn options() -> ServeOptions {
    let pace = Pace { least: Duration::from_millis(20), heartbeat: Duration::from_millis(60) };
    ServeOptions { pace, toolset: crate::mcp::Toolset::All, ..ServeOptions::default() }
}

impl Client {
    /// A client that has said nothing yet.
    pub(super) fn connect(options: ServeOptions) -> Self {
        let gate = Arc::new(FakeGate::default());
        Self::connect_to(gate.clone(), gate, options)
    }

    pub(super) fn connect_to(serving: Arc<dyn Gate>, gate: Arc<FakeGate>, options: ServeOptions) -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(far);
        let shutdown = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve_over(serving, input, output, options, shutdown.clone()));
        let (read, write) = tokio::io::split(near);
        Self {
            write: Some(write),
            lines: BufReader::new(read).lines(),
            server,
            gate,
            shutdown,
            modern: false,
            next: 100,
            capabilities: json!({}),
        }
    }

    /// A client of the older generation, ready to call.
    pub(super) async fn legacy(options: ServeOptions) -> Self {
        let mut client = Self::connect(options);
        client.initialize("2025-11-25").await;
        client
    }

    /// A client of the newer generation.
    pub(super) fn modern(options: ServeOptions) -> Self {
        let mut client = Self::connect(options);
        client.modern = true;
        client
    }

    /// A client of the newer generation that takes tasks.
    pub(super) fn taking_tasks(gate: &Arc<FakeGate>) -> Self {
        let mut client = Self::connect_to(gate.clone(), gate.clone(), options());
        client.modern = true;
        client.capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        client
    }

    /// One of each generation.
    pub(super) async fn both() -> [Self; 2] {
        [Self::legacy(options()).await, Self::modern(options())]
    }

    pub(super) fn is_modern(&self) -> bool {
        self.modern
    }

    pub(super) async fn initialize(&mut self, version: &str) -> Value {
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        self.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        let answer = self.receive().await;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        let write = self.write.as_mut().unwrap();
        write.write_all(bytes).await.unwrap();
        write.flush().await.unwrap();
    }

    pub(super) async fn send(&mut self, message: &Value) {
        self.raw(format!("{message}\n").as_bytes()).await;
    }

    /// Sends a request and gives its id.
    pub(super) async fn ask(&mut self, method: &str, mut params: Value) -> i64 {
        self.next += 1;
        if self.modern {
            let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "t", "version": "1"});
        }
        self.send(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})).await;
        self.next
    }

    /// The next line, which must be JSON.
    pub(super) async fn receive(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next_line()).await.expect("no answer in time");
        serde_json::from_str(&line.unwrap().expect("the server is gone")).unwrap()
    }

    /// The answer to the request of this id; what else comes first is given with it.
    pub(super) async fn answer(&mut self, id: i64) -> (Value, Vec<Value>) {
        let mut others = Vec::new();
        loop {
            let message = self.receive().await;
            if message["id"] == id && message.get("method").is_none() {
                return (message, others);
            }
            others.push(message);
        }
    }

    pub(super) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        self.answer(id).await.0
    }

    pub(super) async fn call(&mut self, tool: &str, text: &str) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": {"text": text}})).await
    }

    /// Ends the input and gives what the server still said, how it ended, and after how long.
    pub(super) async fn end(mut self) -> (Vec<Value>, Result<(), Fault>, Duration) {
        if let Some(mut write) = self.write.take() {
            write.shutdown().await.unwrap();
        }
        let ended = self.wait().await;
        assert!(!ended.0.contains(&Value::Null), "a line that is not JSON");
        ended
    }

    /// Whether the server has ended, though nobody read what it said.
    pub(super) fn is_over(&mut self) -> bool {
        self.server.try_join_next().is_some()
    }

    /// As [`Client::end`], for a server that ends by itself; a line that was broken off is `null`.
    pub(super) async fn wait(mut self) -> (Vec<Value>, Result<(), Fault>, Duration) {
        let begin = tokio::time::Instant::now();
        let mut said = Vec::new();
        let lines = &mut self.lines;
        let server = &mut self.server;
        let listen = async {
            while let Ok(Some(line)) = lines.next_line().await {
                said.push(serde_json::from_str(&line).unwrap_or_default());
            }
        };
        let served = async { server.join_next().await.unwrap().unwrap() };
        let ((), served) = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(listen, served) }).await.expect("it hangs");
        (said, served, begin.elapsed())
    }
}
