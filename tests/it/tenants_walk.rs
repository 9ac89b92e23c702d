//! T12 and the tenants of one server: whatever tool or resource names a run, an artifact or a question of another principal is answered
//! exactly as where there is none. The walk goes through every shipped tool; one that names such things and is not here fails it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use toolgate::domain::{ArtifactId, Clock as _, RunId};

use crate::support::Toolgate;
use crate::support::tenants::Tenants;

/// What arguments are called that name something of somebody's.
const NAMING: [&str; 10] = ["run", "runs", "artifact", "artifacts", "approval", "approvals", "call", "calls", "task", "ticket"];

/// A workflow that waits for an agent, and one that reads whatever it is told to.
const WORKFLOWS: [(&str, &str); 3] = [
    (
        "asks",
        "name: asks\nversion: 1.0.0\ntools: [worker.*, workspace.*, repo.git.*, python.run, eval.run]\nsteps:\n- {id: think, kind: plan}\n",
    ),
    (
        "looks",
        "name: looks\nversion: 1.0.0\ninputs: {what: string}\ntools: [workspace.read]\nsteps:\n\
         - {id: look, kind: tool, input: {tool: workspace.read, arguments: {run_id: \"{{ inputs.what }}\", paths: [a.txt]}}}\n",
    ),
    (
        "fetches",
        "name: fetches\nversion: 1.0.0\ninputs: {what: string}\ntools: [artifact.read]\nsteps:\n\
         - {id: fetch, kind: tool, input: {tool: artifact.read, arguments: {artifact: \"{{ inputs.what }}\"}}}\n",
    ),
];

/// What alice has, or what nobody has.
#[derive(Clone)]
struct Things {
    run: String,
    direct: String,
    artifact: String,
    large: String,
}

/// A server with alice, who did something, and bob. `names` are those that the server tells apart.
struct World {
    tenants: Tenants,
    hers: Things,
    nobodys: Things,
}

/// The operator on the same home.
fn operator(tenants: &Tenants, args: &[&str]) -> Value {
    let home = tenants.home();
    let mut all = vec!["--home", home.to_str().unwrap()];
    all.extend(args);
    Toolgate::new().json(0, &all)
}

impl World {
    async fn new() -> Self {
        let ask = "@id(\"one\") @ask(\"a message\") permit (principal, action == toolgate::Action::\"notify.send\", resource) \
                   when { context.input.message == \"let me\" };\n";
        let tenants = Tenants::serve(&["alice", "bob"], "[approvals]\nwait_sec = 0\n", ask).await;
        let home = tenants.stop().await;
        std::fs::create_dir_all(home.path().join("workflows")).unwrap();
        for (name, text) in WORKFLOWS {
            std::fs::write(home.path().join(format!("workflows/{name}.yaml")), text).unwrap();
        }
        std::fs::create_dir_all(home.path().join("drive")).unwrap();
        std::fs::write(home.path().join("drive/raw.png"), b"\x89PNG alice's own").unwrap();
        let tenants = Tenants::serve_on(home, &["alice", "bob"]).await;
        let hers = Things::of_alice(&tenants).await;
        let now = toolgate::app::SystemClock.now();
        let (run, direct) = (RunId::mint(now).to_string(), RunId::mint(now).to_string());
        let unknown = |text: &[u8]| ArtifactId::of(text).to_string();
        let nobodys = Things { run, direct, artifact: unknown(b"nobody's"), large: unknown(b"nobody's either") };
        Self { tenants, hers, nobodys }
    }
}

impl Things {
    /// Lets alice start a run, store files and ask.
    async fn of_alice(tenants: &Tenants) -> Self {
        let wrote =
            tenants.call("alice", "workspace.write", json!({ "files": [{ "path": "secret.txt", "content": "alice's own" }] })).await;
        assert_eq!(wrote["written"][0]["path"], "secret.txt", "{wrote}");
        let started = tenants.call("alice", "run.start", json!({ "workflow": "asks" })).await;
        let run = started["run_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
        let file = json!({ "run_id": run, "files": [{ "path": "a.txt", "content": "alice's own" }] });
        tenants.call("alice", "workspace.write", file).await;
        let got = tenants.call("alice", "drive.get", json!({ "path": "raw.png" })).await;
        let artifact = got["artifact"]["artifact"].as_str().unwrap_or_else(|| panic!("{got}")).to_owned();
        // What is too large for the journal lies in an artifact that no answer names.
        let large = json!({ "filter": "[range(20000)]", "input": null });
        tenants.call("alice", "transform.jq", large).await;
        let rows = operator(tenants, &["runs", "list", "--json"]);
        let direct = rows.as_array().unwrap().iter().find(|row| row["principal"] == "alice" && row["kind"] == "adhoc").unwrap();
        let direct = direct["id"].as_str().unwrap().to_owned();
        let events =
            Toolgate::new().run(&["--home", tenants.home().to_str().unwrap(), "runs", "events", &direct, "--json"]).exits(0).stdout;
        let large = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|event| {
            let output = &event["payload"]["output"];
            output.get("size").and_then(|_| output["artifact"].as_str()).map(str::to_owned)
        });
        Self { run, direct, artifact, large: large.expect("nothing large in the log") }
    }

    /// The text without these names.
    fn blank(&self, text: &str) -> String {
        [&self.run, &self.direct, &self.artifact, &self.large].into_iter().fold(text.to_owned(), |text, name| text.replace(name, "NAME"))
    }
}

/// Every way in which each shipped tool can name things, in an order in which alice could use them too.
fn ways(things: &Things) -> Vec<(&'static str, Value)> {
    let Things { run, direct, artifact, large } = things;
    let stored = |id: &str| json!([{ "path": "x", "artifact": id }]);
    let mut all = vec![
        ("run.show", json!({ "run_id": run })),
        ("run.watch", json!({ "run_id": run, "wait_sec": 0 })),
        ("run.watch", json!({ "run_id": direct, "wait_sec": 0 })),
        ("artifact.list", json!({ "run_id": run })),
        ("artifact.list", json!({ "run_id": direct })),
        ("artifact.read", json!({ "artifact": artifact })),
        ("artifact.read", json!({ "artifact": large })),
        ("python.run", json!({ "code": "pass", "files": stored(artifact) })),
        ("python.run", json!({ "code": "pass", "run_id": run })),
        ("eval.run", json!({ "commands": ["python -c pass"], "files": stored(large) })),
        ("eval.run", json!({ "commands": ["python -c pass"], "files": [], "run_id": run })),
    ];
    for run in [run, direct] {
        all.extend([
            ("workspace.list", json!({ "run_id": run })),
            ("workspace.read", json!({ "run_id": run, "paths": ["a.txt", "secret.txt"] })),
            ("workspace.write", json!({ "run_id": run, "files": [{ "path": "b.txt", "content": "b" }] })),
            ("workspace.remove", json!({ "run_id": run, "paths": ["b.txt"] })),
            ("repo.git.init", json!({ "run_id": run })),
            ("repo.git.status", json!({ "run_id": run })),
            ("repo.git.add_all", json!({ "run_id": run })),
            ("repo.git.log", json!({ "run_id": run })),
            ("repo.git.commit", json!({ "run_id": run, "message": "m" })),
            ("drive.download", json!({ "run_id": run, "path": "raw.png", "to": "got.png" })),
            ("drive.upload", json!({ "run_id": run, "path": if run == direct { "secret.txt" } else { "a.txt" }, "name": "put.txt" })),
            ("policy.explain", json!({ "tool": "workspace.list", "arguments": { "run_id": run } })),
            ("policy.explain", json!({ "tool": "run.show", "arguments": { "run_id": run } })),
        ]);
    }
    all.extend([
        ("workspace.write", json!({ "files": stored(artifact) })),
        ("workspace.write", json!({ "files": stored(large) })),
        ("drive.upload", json!({ "artifact": artifact, "name": "put.png" })),
        ("run.submit", json!({ "run_id": run, "step_id": "think", "output": { "no": "plan" } })),
        ("run.cancel", json!({ "run_id": run })),
    ]);
    all
}

/// The names of a schema's arguments, at any depth.
fn arguments(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            fields.values().for_each(|field| arguments(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| arguments(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Arguments that name something and that no way here gives.
fn unwalked(schema: &Value, ways: &[&Value]) -> Vec<String> {
    let mut names = BTreeSet::new();
    arguments(schema, &mut names);
    let given: String = ways.iter().map(|way| way.to_string()).collect();
    let is_naming = |name: &String| name.split('_').any(|word| NAMING.contains(&word));
    names.into_iter().filter(|name| is_naming(name) && !given.contains(&format!("\"{name}\""))).collect()
}

/// Walks through every tool as `who` and tells where it matters whether the thing is alice's or nobody's.
async fn leaks(world: &World, who: &str) -> BTreeMap<String, String> {
    let mut leaks = BTreeMap::new();
    let (hers, nobodys) = (ways(&world.hers), ways(&world.nobodys));
    for def in toolgate::manifest::shipped().unwrap() {
        let name = def.name.as_str();
        let given: Vec<&Value> = hers.iter().filter(|(tool, _)| *tool == name).map(|(_, arguments)| arguments).collect();
        assert_eq!(unwalked(def.input.json(), &given), [""; 0], "`{name}` names what is somebody's: say here how");
    }
    for ((tool, hers), (_, nobodys)) in hers.iter().zip(&nobodys) {
        let call = async |arguments: &Value| {
            let got = world.tenants.ask(who, "tools/call", json!({ "name": tool.replace('.', "_"), "arguments": arguments })).await;
            (got.status, got.json()["result"].clone())
        };
        let ((first, of_hers), (second, of_nobodys)) = (call(hers).await, call(nobodys).await);
        let plain = |answer: &Value, things: &Things| {
            let text = things.blank(&answer["structuredContent"].to_string());
            (answer["isError"].clone(), text)
        };
        let (told, expected) = (plain(&of_hers, &world.hers), plain(&of_nobodys, &world.nobodys));
        if (first, &told) != (second, &expected) {
            leaks.insert(format!("{tool} {hers}"), format!("{}\nand for nobody's\n{}", told.1, expected.1));
        }
    }
    leaks
}

#[tokio::test(flavor = "multi_thread")]
async fn by_no_tool_does_it_matter_whether_a_thing_is_anothers_or_nobodys() {
    let world = World::new().await;
    let found = leaks(&world, "bob").await;
    assert!(found.is_empty(), "{found:#?}");
    // The log tells the two kinds of calls apart by nothing but what bob himself said.
    let rows = operator(&world.tenants, &["runs", "list", "--json"]);
    let bobs: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["principal"] == "bob").collect();
    assert_eq!(bobs.len(), 1, "one run of direct calls: {rows}");
    assert_eq!(bobs[0]["labels"], json!({ "untrusted": false, "private": false }));
    let home = world.tenants.home();
    let run = bobs[0]["id"].as_str().unwrap();
    let events = Toolgate::new().run(&["--home", home.to_str().unwrap(), "runs", "events", run, "--json"]).exits(0).stdout;
    let fields = |event: &Value| event["payload"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let outcomes: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| matches!(event["kind"].as_str(), Some("tool_result" | "tool_error")))
        .collect();
    assert!(outcomes.len() >= 2 * ways(&world.hers).len(), "{}", outcomes.len());
    for pair in outcomes.chunks_exact(2) {
        assert_eq!(
            (&pair[0]["kind"], &pair[0]["payload"]["refused_at"], fields(&pair[0])),
            (&pair[1]["kind"], &pair[1]["payload"]["refused_at"], fields(&pair[1]))
        );
    }
    // She has all of it still.
    let hers = &world.hers;
    let read = world.tenants.call("alice", "workspace.read", json!({ "run_id": hers.run, "paths": ["a.txt"] })).await;
    assert_eq!(read["files"][0]["text"], "alice's own", "{read}");
    let listed = world.tenants.call("alice", "workspace.list", json!({})).await;
    assert_eq!(listed["files"], json!([{ "path": "secret.txt", "size": 11 }]), "nothing was put beside it");
}

/// The naive house: a doorkeeper's names are told, and nobody asks whose a thing is. To it bob is whoever asks, so alice stands for him;
/// the same walk then finds every single way in, so that none of its rows is blind.
#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_is_the_same_the_walk_finds_every_way() {
    let world = World::new().await;
    let found = leaks(&world, "alice").await;
    let missed: Vec<String> =
        ways(&world.hers).iter().map(|(tool, arguments)| format!("{tool} {arguments}")).filter(|way| !found.contains_key(way)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn an_argument_that_names_something_is_seen_wherever_it_stands() {
    let schema = json!({ "properties": { "files": { "items": { "properties": { "from_artifact": {} } } }, "runtime": {}, "run_id": {} } });
    assert_eq!(unwalked(&schema, &[&json!({ "run_id": "x" })]), ["from_artifact"]);
    assert_eq!(unwalked(&schema, &[]), ["from_artifact", "run_id"]);
}

/// Resources and completions in both generations, and every list.
#[tokio::test(flavor = "multi_thread")]
async fn by_no_resource_list_or_completion_is_anything_of_hers_seen() {
    let world = World::new().await;
    let (tenants, hers, nobodys) = (&world.tenants, &world.hers, &world.nobodys);
    let (session, her_session) = (tenants.session("bob").await, tenants.session("alice").await);
    let uris = |things: &Things| {
        [&things.run, &things.direct]
            .map(|run| [format!("run://{run}"), format!("run://{run}/events")])
            .concat()
            .into_iter()
            .chain([&things.artifact, &things.large].map(|id| format!("artifact://{id}")))
            .collect::<Vec<_>>()
    };
    let plain = |answer: &Value, things: &Things| {
        let mut answer = answer.clone();
        answer["id"] = Value::Null;
        things.blank(&answer.to_string())
    };
    for (hers_at, nobodys_at) in uris(hers).iter().zip(uris(nobodys)) {
        let modern = async |who: &str, uri: &str| tenants.request(who, "resources/read", json!({ "uri": uri })).await;
        let older =
            async |who: &str, session: &str, uri: &str| tenants.within(who, session, "resources/read", json!({ "uri": uri })).await.json();
        let of_nobody = modern("bob", &nobodys_at).await;
        assert!(of_nobody.get("error").is_some(), "{of_nobody}");
        assert_eq!(plain(&modern("bob", hers_at).await, hers), plain(&of_nobody, nobodys), "{hers_at}");
        let of_nobody = older("bob", &session, &nobodys_at).await;
        assert!(of_nobody.get("error").is_some(), "{of_nobody}");
        assert_eq!(plain(&older("bob", &session, hers_at).await, hers), plain(&of_nobody, nobodys), "{hers_at}");
        // To her it is there, but for the direct calls, which are no workflow.
        if !hers_at.contains(&hers.direct) {
            assert!(modern("alice", hers_at).await.get("result").is_some(), "{hers_at}");
            assert!(older("alice", &her_session, hers_at).await.get("result").is_some(), "{hers_at}");
        }
    }
    let reference = json!({ "ref": { "type": "ref/resource", "uri": "run://{id}" }, "argument": { "name": "id", "value": "run_" } });
    for (method, params) in [("resources/list", json!({})), ("completion/complete", reference)] {
        for answer in
            [tenants.request("bob", method, params.clone()).await, tenants.within("bob", &session, method, params.clone()).await.json()]
        {
            assert!(answer.get("result").is_some() && !answer.to_string().contains(&hers.run), "{method}: {answer}");
        }
        assert!(tenants.request("alice", method, params).await.to_string().contains(&hers.run), "{method}");
    }
    assert_eq!(tenants.call("bob", "run.list", json!({})).await["runs"], json!([]));
    assert_eq!(tenants.call("alice", "run.list", json!({})).await["runs"][0]["run_id"], hers.run.as_str());
    // The operator sees all.
    let rows = operator(tenants, &["runs", "list", "--json"]).to_string();
    assert!(rows.contains(&hers.run) && rows.contains(&hers.direct));
    let read = operator(tenants, &["tools", "call", "artifact.read", &json!({ "artifact": hers.artifact }).to_string(), "--json"]);
    assert!(read["output"]["size"].as_u64().unwrap() > 0, "{read}");
}

/// Whoever's calls a program or a workflow makes, they are its principal's.
#[tokio::test(flavor = "multi_thread")]
async fn programs_and_workflows_reach_no_further_than_whoever_started_them() {
    let world = World::new().await;
    let (tenants, hers) = (&world.tenants, &world.hers);
    let program = format!(
        "import toolgate\nresult = []\nfor tool, arguments in [('workspace.read', dict(run_id='{run}', paths=['a.txt'])), \
         ('artifact.read', dict(artifact='{artifact}')), ('run.show', dict(run_id='{run}'))]:\n    try:\n        \
         result.append(str(toolgate.call(tool, **arguments)))\n    except Exception as error:\n        result.append('refused ' + str(error))\n",
        run = hers.run,
        artifact = hers.artifact
    );
    let arguments = json!({ "code": program, "tools": ["workspace.read", "artifact.read", "run.show"], "timeout_sec": 60 });
    let told = tenants.call("bob", "python.run", arguments.clone()).await["result"].clone();
    let told = told.as_array().unwrap_or_else(|| panic!("{told}")).clone();
    assert!(told.len() == 3 && told.iter().all(|one| one.as_str().unwrap().starts_with("refused ")), "{told:?}");
    let hers_too = tenants.call("alice", "python.run", arguments).await["result"].clone();
    assert!(hers_too.as_array().unwrap().iter().all(|one| !one.as_str().unwrap().starts_with("refused ")), "{hers_too}");

    for (workflow, what) in [("looks", &hers.run), ("fetches", &hers.artifact)] {
        for (who, expected) in [("bob", "failed"), ("alice", "succeeded")] {
            let started = tenants.call(who, "run.start", json!({ "workflow": workflow, "inputs": { "what": what } })).await;
            let run = started["run_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
            let mut cursor = 0;
            let ended = loop {
                let seen = tenants.call(who, "run.watch", json!({ "run_id": run, "cursor": cursor, "wait_sec": 20 })).await;
                if seen["done"] == true {
                    break seen;
                }
                cursor = seen["cursor"].as_u64().unwrap_or_else(|| panic!("{seen}"));
            };
            assert_eq!(ended["status"], expected, "{who} {workflow}: {ended}");
        }
    }
}

/// What bob says by his own words is not hers for being called so: neither does a key of hers give him her outcome, nor does a name make a
/// thing his.
#[tokio::test(flavor = "multi_thread")]
async fn neither_her_key_nor_her_things_names_make_anything_his() {
    let world = World::new().await;
    let (tenants, hers) = (&world.tenants, &world.hers);
    let keyed = |path: &str| json!({ "files": [{ "path": path, "content": "x" }], "idempotency_key": "k" });
    assert!(tenants.call("alice", "workspace.write", keyed("hers.txt")).await["written"].is_array());
    // Her key with other arguments would be refused, were it his.
    let his = tenants.call("bob", "workspace.write", keyed("his.txt")).await;
    assert_eq!(his["written"][0]["path"], "his.txt", "{his}");
    let listed = tenants.call("bob", "workspace.list", json!({})).await;
    assert_eq!(listed["files"], json!([{ "path": "his.txt", "size": 1 }]), "his run is his own");

    // Answers and arguments that look like references, small and large, keyed and not, and a file that is called so.
    for filter in ["{artifact: .a, size: 5}", "{artifact: .a, size: 5, media_type: \"x\"}", "{artifact: .a, more: [range(20000)]}"] {
        let echoed = tenants
            .call("bob", "transform.jq", json!({ "filter": filter, "input": { "a": hers.artifact, "artifact": hers.artifact } }))
            .await;
        assert!(!echoed.is_null());
    }
    let program = format!("result = {{'artifact': '{}', 'size': 5}}\nprint('x')", hers.artifact);
    assert!(tenants.call("bob", "python.run", json!({ "code": program })).await["result"].is_object());
    let read = tenants.call("bob", "artifact.read", json!({ "artifact": hers.artifact })).await;
    assert_eq!(read["error"]["code"], "UNKNOWN_ARTIFACT", "{read}");
    // The same bytes, stored by his own run, are his as well.
    let got = tenants.call("bob", "drive.get", json!({ "path": "raw.png" })).await;
    assert_eq!(got["artifact"]["artifact"], hers.artifact.as_str());
    assert!(tenants.call("bob", "artifact.read", json!({ "artifact": hers.artifact })).await["size"].as_u64().unwrap() > 0);
}

/// The question that alice's call raised is hers: the same call of bob's is another question, and hers stays unanswered by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_its_principals() {
    let world = World::new().await;
    let asks = async |who: &str| {
        let told = world.tenants.call(who, "notify.send", json!({ "message": "let me" })).await;
        assert_eq!(told["error"]["code"], "APPROVAL_REQUIRED", "{told}");
        told["error"]["details"]["approval_id"].as_str().unwrap().to_owned()
    };
    let (hers, his) = (asks("alice").await, asks("bob").await);
    assert!(hers != his && asks("alice").await == hers && asks("bob").await == his);
}

/// A notice of alice's run reaches her client and no other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_reaches_its_principals_clients_alone() {
    let tenants = Tenants::serve(&["alice", "bob"], "", "").await;
    let (hers, his) = (tenants.session("alice").await, tenants.session("bob").await);
    let (mut to_her, mut to_him) = (tenants.stream("alice", &hers, None).await, tenants.stream("bob", &his, None).await);
    assert_eq!((to_her.status, to_him.status), (200, 200));
    let is_message = |message: &Value| message["method"] == "notifications/message";
    for (who, text) in [("alice", "of alice"), ("bob", "of bob")] {
        let sent = tenants.call(who, "notify.send", json!({ "message": text })).await;
        assert!(sent["delivered"].to_string().contains("mcp"), "{sent}");
    }
    let seen = to_her.until(is_message).await.expect("she hears nothing").json();
    assert_eq!(seen["params"]["data"]["message"], "of alice");
    // His own is the first that he hears, though hers was sent before.
    let seen = to_him.until(is_message).await.expect("he hears nothing").json();
    assert_eq!(seen["params"]["data"]["message"], "of bob");
}
