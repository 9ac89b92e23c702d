//! Long calls as tasks: with a human's yes inside, through restarts of the real program, and for nobody but their principal.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolgate::domain::{Actor, Millis, Principal, TaskId};
use toolgate::gateway::{ApprovalSettings, Standing};
use toolgate::mcp::{ServeOptions, Toolset, serve_over};
use toolgate::store::{ApprovalFilter, ApprovalStatus};

use crate::mcp_stdio::Server;
use crate::support::Toolgate;
use crate::support::house::{TestHouse, World, patience};

/// The machine is shared with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

fn with_meta(mut params: Value, forms: bool) -> Value {
    let mut capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    if forms {
        capabilities["elicitation"] = json!({"form": {}});
    }
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    });
    params
}

/// A client of a house whose tools are all answered with tasks.
struct Client {
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    _server: JoinSet<Result<(), toolgate::domain::Fault>>,
    next: i64,
    forms: bool,
}

impl Client {
    fn on(house: &TestHouse, forms: bool) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let (input, output) = tokio::io::split(far);
        let options = ServeOptions { toolset: Toolset::All, ..ServeOptions::default() };
        let mut server = JoinSet::new();
        server.spawn(serve_over(Arc::new(house.gateway.clone()), input, output, options, CancellationToken::new()));
        let (read, write) = tokio::io::split(near);
        Self { write, lines: BufReader::new(read).lines(), _server: server, next: 0, forms }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let params = with_meta(params, self.forms);
        let line = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("no answer in time");
            let message: Value = serde_json::from_str(&line.unwrap().expect("the server is gone")).unwrap();
            if message["id"] == self.next {
                return message;
            }
        }
    }

    async fn call(&mut self, tool: &str, word: &str) -> Value {
        let made = self.ask("tools/call", json!({"name": tool, "arguments": {"word": word}})).await["result"].clone();
        assert_eq!(made["resultType"], "task", "{made}");
        made["taskId"].clone()
    }

    async fn until(&mut self, task: &Value, wanted: &[&str]) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.ask("tasks/get", json!({"taskId": task})).await;
            let shown = &answer["result"];
            if wanted.contains(&shown["status"].as_str().unwrap_or_else(|| panic!("{answer}"))) {
                return shown.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "it stays {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn over(&mut self, task: &Value) -> Value {
        self.until(task, &["completed", "failed", "cancelled"]).await
    }

    async fn answer(&mut self, task: &Value, key: &str, answer: Value) {
        let acknowledged = self.ask("tasks/update", json!({"taskId": task, "inputResponses": {key: answer}})).await;
        assert_eq!(acknowledged["result"]["resultType"], "complete", "{acknowledged}");
    }
}

/// What the human reads from the form and types.
fn typed(message: &Value) -> String {
    let line = message.as_str().unwrap().lines().find(|line| line.starts_with("  digest")).unwrap().to_owned();
    line.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect()
}

async fn house(home: &std::path::Path) -> TestHouse {
    let approvals = ApprovalSettings { wait: Millis(0), trusted: vec![Principal::local()], ..patience() };
    let world = World { manifests: Some(("executor: builtin", "task: must\nexecutor: builtin")), ..World::default() };
    TestHouse::differing(home.to_owned(), world, approvals).await
}

async fn statuses(house: &TestHouse) -> Vec<ApprovalStatus> {
    house.store.approvals(ApprovalFilter::default()).await.unwrap().iter().map(|row| row.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_asks_its_client_s_human_and_goes_on_with_the_yes() {
    let home = tempfile::tempdir().unwrap();
    let house = house(home.path()).await;
    let mut client = Client::on(&house, true);
    let task = client.call("probe_network", "a").await;
    let asked = client.until(&task, &["input_required"]).await;
    let questions = asked["inputRequests"].as_object().unwrap();
    let (key, question) = questions.iter().next().unwrap();
    assert_eq!((questions.len(), &question["method"]), (1, &json!("elicitation/create")), "{asked}");
    assert_eq!(question["params"]["requestedSchema"]["required"], json!(["confirm"]));
    // Whatever else is answered, and whatever is typed wrongly, nothing runs.
    client.answer(&task, "approval", json!({"action": "accept", "content": {"confirm": "yes"}})).await;
    assert_eq!(client.until(&task, &["input_required"]).await["inputRequests"], asked["inputRequests"], "nobody asked that");
    client.answer(&task, key, json!({"action": "accept", "content": {"confirm": "yes"}})).await;
    let again = loop {
        let shown = client.until(&task, &["input_required", "completed"]).await;
        if shown["inputRequests"] != asked["inputRequests"] {
            break shown;
        }
    };
    assert_eq!((house.ran(), &again["status"]), (0, &json!("input_required")), "{again}");
    let (second, question) = again["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_ne!(second, key, "a key is used once");
    client.answer(&task, second, json!({"action": "accept", "content": {"confirm": typed(&question["params"]["message"])}})).await;
    let ended = client.over(&task).await;
    assert_eq!((&ended["status"], &ended["result"]["structuredContent"]["echo"]), (&json!("completed"), &json!("a")), "{ended}");
    assert_eq!((house.ran(), statuses(&house).await), (1, vec![ApprovalStatus::Used]));
    // The log has the same, for whoever asks after a restart.
    let mut other = Client::on(&house, false);
    assert_eq!(other.over(&task).await["result"]["structuredContent"], ended["result"]["structuredContent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_and_a_client_without_forms_end_the_task_with_what_they_mean() {
    let home = tempfile::tempdir().unwrap();
    let house = house(home.path()).await;
    let mut client = Client::on(&house, true);
    let task = client.call("probe_network", "no").await;
    let asked = client.until(&task, &["input_required"]).await;
    let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    client.answer(&task, &key, json!({"action": "decline"})).await;
    let ended = client.over(&task).await;
    assert_eq!((&ended["status"], &ended["result"]["isError"]), (&json!("completed"), &json!(true)));
    assert_eq!(ended["result"]["structuredContent"]["error"]["code"], "APPROVAL_DENIED", "{ended}");
    let mut formless = Client::on(&house, false);
    let task = formless.call("probe_network", "other").await;
    let ended = formless.over(&task).await;
    assert_eq!(ended["result"]["structuredContent"]["error"]["code"], "APPROVAL_REQUIRED", "{ended}");
    assert_eq!(house.ran(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_while_it_asks_stays_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let house = house(home.path()).await;
    let mut client = Client::on(&house, true);
    let task = client.call("probe_network", "a").await;
    let asked = client.until(&task, &["input_required"]).await;
    let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    client.ask("tasks/cancel", json!({"taskId": task})).await;
    assert_eq!(client.over(&task).await["status"], "cancelled");
    client.answer(&task, &key, json!({"action": "accept", "content": {"confirm": "late"}})).await;
    let mut other = Client::on(&house, false);
    assert_eq!(other.over(&task).await["status"], "cancelled", "the log says so too");
    assert_eq!((house.ran(), statuses(&house).await), (0, vec![ApprovalStatus::Pending]));
}

/// A store that looked tasks up by their ids alone would tell a stranger of them: the id is all it is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_principal_s_alone() {
    let home = tempfile::tempdir().unwrap();
    let house = house(home.path()).await;
    let mut client = Client::on(&house, false);
    let task = client.call("probe_write", "mine").await;
    client.over(&task).await;
    let id: TaskId = task.as_str().unwrap().parse().unwrap();
    let stranger = Actor::agent(Principal::new("stranger"));
    assert!(house.gateway.task(&stranger, &id).await.unwrap().is_none());
    let mine = house.gateway.task(&house.me, &id).await.unwrap().unwrap();
    assert!(matches!(mine.standing, Standing::Ended(Ok(_))), "{mine:?}");
    // It is kept for a day.
    house.clock.by(Millis(24 * 3_600_000 + 1));
    assert!(house.gateway.task(&house.me, &id).await.unwrap().is_none());
}

/// Asks the real program.
fn ask(server: &mut Server, id: &mut i64, method: &str, params: Value) -> Value {
    *id += 1;
    server.request(*id, method, with_meta(params, false))
}

fn python(server: &mut Server, id: &mut i64, code: &str) -> Value {
    ask(server, id, "tools/call", json!({"name": "python_run", "arguments": {"code": code, "timeout_sec": 300}}))["result"].clone()
}

fn over(server: &mut Server, id: &mut i64, task: &Value) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let shown = ask(server, id, "tasks/get", json!({"taskId": task}))["result"].clone();
        if matches!(shown["status"].as_str(), Some("completed" | "failed" | "cancelled")) {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "it stays {shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

const SLEEPS: &str = "import time\nfor _ in range(6000): time.sleep(0.1)";

#[test]
fn tasks_outlive_the_process_that_ran_them() {
    let toolgate = Toolgate::new();
    let (mut server, mut id) = (Server::start(&toolgate.data()), 0);
    // The first program is compiled; from then on a second is long.
    python(&mut server, &mut id, "print(1)");
    let finished = python(&mut server, &mut id, "import time\ntime.sleep(1.5)\nresult = {'n': 42}\nprint('done')");
    assert_eq!(finished["resultType"], "task", "{finished}");
    let before = over(&mut server, &mut id, &finished["taskId"]);
    assert_eq!(before["result"]["structuredContent"]["result"]["n"], 42, "{before}");
    let cancelled = python(&mut server, &mut id, SLEEPS)["taskId"].clone();
    ask(&mut server, &mut id, "tasks/cancel", json!({"taskId": cancelled}));
    assert_eq!(over(&mut server, &mut id, &cancelled)["status"], "cancelled");
    let killed = python(&mut server, &mut id, SLEEPS)["taskId"].clone();
    assert_eq!(ask(&mut server, &mut id, "tasks/get", json!({"taskId": killed}))["result"]["status"], "working");

    // Another process of the same home sees that it goes on.
    let (mut beside, mut other) = (Server::start(&toolgate.data()), 0);
    assert_eq!(ask(&mut beside, &mut other, "tasks/get", json!({"taskId": killed}))["result"]["status"], "working");
    server.kill();
    drop(server);

    let (mut server, mut id) = (Server::start(&toolgate.data()), 0);
    let after = over(&mut server, &mut id, &finished["taskId"]);
    assert_eq!((&after["status"], &after["result"]["structuredContent"]), (&before["status"], &before["result"]["structuredContent"]));
    assert_eq!(over(&mut server, &mut id, &cancelled)["status"], "cancelled");
    let dead = over(&mut server, &mut id, &killed);
    assert_eq!(dead["result"]["structuredContent"]["error"]["code"], "INTERRUPTED", "{dead}");
    assert_eq!(over(&mut beside, &mut other, &killed)["result"], dead["result"]);
}

#[test]
fn a_task_is_cancelled_by_way_of_another_process() {
    let toolgate = Toolgate::new();
    let (mut server, mut id) = (Server::start(&toolgate.data()), 0);
    python(&mut server, &mut id, "print(1)");
    let task = python(&mut server, &mut id, SLEEPS)["taskId"].clone();
    let (mut beside, mut other) = (Server::start(&toolgate.data()), 0);
    let cancelled = ask(&mut beside, &mut other, "tasks/cancel", json!({"taskId": task}));
    assert!(cancelled["error"].is_null(), "{cancelled}");
    // The program would go on for ten minutes.
    assert_eq!(over(&mut beside, &mut other, &task)["status"], "cancelled");
    assert_eq!(over(&mut server, &mut id, &task)["status"], "cancelled");
    // Asked again, a task that is over stays what it is, and nothing more is on record.
    ask(&mut beside, &mut other, "tasks/cancel", json!({"taskId": task}));
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let told = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
    let requests =
        told.map(|run| toolgate.run(&["runs", "events", &run, "--json"]).exits(0).stdout.matches("task_cancel_requested").count());
    assert_eq!(requests.sum::<usize>(), 1);
}

#[test]
fn a_run_is_followed_as_a_task_through_a_restart_and_cancelled_by_it() {
    let toolgate = Toolgate::new();
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    let nap = "name: naps\nversion: 1.0.0\nsteps:\n- id: nap\n  kind: tool\n  input:\n    tool: python.run\n    arguments: {code: \"import time\\nfor _ in range(3000): time.sleep(0.1)\", timeout_sec: 300}\n";
    std::fs::write(folder.join("naps.yaml"), nap).unwrap();
    let (mut server, mut id) = (Server::start(&toolgate.data()), 0);
    let started =
        ask(&mut server, &mut id, "tools/call", json!({"name": "run_start", "arguments": {"workflow": "naps"}}))["result"].clone();
    assert_eq!(started["resultType"], "task", "{started}");
    let task = started["taskId"].clone();
    assert_eq!(ask(&mut server, &mut id, "tasks/get", json!({"taskId": task}))["result"]["status"], "working");
    server.kill();
    drop(server);
    let (mut server, mut id) = (Server::start(&toolgate.data()), 0);
    let shown = ask(&mut server, &mut id, "tasks/get", json!({"taskId": task}))["result"].clone();
    assert_eq!(shown["status"], "working", "the run is durable: {shown}");
    ask(&mut server, &mut id, "tasks/cancel", json!({"taskId": task}));
    assert_eq!(over(&mut server, &mut id, &task)["status"], "cancelled");
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let naps = runs.as_array().unwrap().iter().find(|run| run["workflow"] == "naps").unwrap();
    assert_eq!(naps["status"], "cancelled", "{runs}");
}
