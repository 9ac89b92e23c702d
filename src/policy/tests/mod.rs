//! Shared by the room's tests: a few tools, and how to ask about them.

mod check;
mod decide;
mod explain;
mod loading;
mod properties;
mod replay;
mod shapes;
mod words;

use serde_json::{Value, json};

use super::*;
use crate::call::{NoProgress, Origin, ParsedArgs, ParsedCall, Preparation, PreparedCall, ToolRef};
use crate::domain::{Actor, CallId, Digest, Effect, Effects, Principal, RunId, Timestamp};
use crate::manifest::{ManifestFile, ToolDef, load};

/// A tool with this input schema and these effects.
pub(crate) fn tool(name: &str, effects: &[Effect], input: &Value) -> ToolDef {
    let effects: Vec<&str> = effects.iter().map(|effect| effect.as_str()).collect();
    let text = format!(
        "{{name: {name}, version: 1.0.0, description: Does a thing., executor: builtin, effects: [{}], scopes: [thing], \
         limits: {{wall: 1s, output: 1KiB}}, input_schema: in, output_schema: out, \
         examples: [{{accept: {{}}}}, {{refuse: 3, because: object}}]}}",
        effects.join(",")
    );
    let output = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let siblings = [("in".to_owned(), input.to_string().into_bytes()), ("out".to_owned(), output.to_string().into_bytes())];
    let file = ManifestFile { path: format!("{name}.yaml"), text, siblings: std::sync::Arc::new(siblings.into()), is_shipped: false };
    load(&[file]).unwrap_or_else(|problems| panic!("{problems}")).remove(0)
}

fn closed(properties: &Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Tools with the names of the release.
fn tools() -> Vec<ToolDef> {
    use Effect::{Egress, ExternalWrite, Pure, Read, Write};
    let mut python = closed(&json!({
        "code": { "type": ["string", "null"] }, "allow_network": { "type": "boolean" }, "timeout_sec": { "type": "integer" },
        "allowed_hosts": { "type": "array", "items": { "type": "string" } }, "runtime": { "enum": ["wasm", "process"] },
        "files": { "type": "array", "items": { "$ref": "#/$defs/file" } } }));
    python["$defs"] = json!({ "file": closed(&json!({ "path": { "type": "string" }, "size": { "type": "integer" } })) });
    python["$defs"]["file"]["required"] = json!(["path", "size"]);
    let open = json!({ "type": "object" });
    let mut tools = vec![
        tool("python.run", &[Pure, Egress], &python),
        tool("transform.jq", &[Pure], &closed(&json!({ "filter": { "type": "string" }, "input": {} }))),
        tool("notify.send", &[Write, ExternalWrite], &open),
        tool("repo.git.push", &[ExternalWrite], &closed(&json!({ "remote": { "type": "string" }, "force": { "type": "boolean" } }))),
        tool("web.fetch", &[Egress], &closed(&json!({ "url": { "type": "string" } }))),
        tool("web.search", &[Egress], &closed(&json!({ "query": { "type": "string" } }))),
    ];
    for (name, effect) in [
        ("workspace.read", Read),
        ("workspace.list", Read),
        ("workspace.write", Write),
        ("workspace.remove", Write),
        ("repo.git.commit", Write),
        ("eval.run", Pure),
        ("run.start", Write),
    ] {
        tools.push(tool(name, &[effect], &open));
    }
    tools
}

fn source(name: &str, text: &str) -> PolicySource {
    PolicySource { name: name.to_owned(), text: text.to_owned() }
}

fn policies(text: &str) -> PolicySet {
    PolicySet::load(&[source("p.cedar", text)], &tools()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn wrong(text: &str) -> String {
    match PolicySet::load(&[source("p.cedar", text)], &tools()) {
        Ok(_) => panic!("loads: {text}"),
        Err(problems) => problems.to_string(),
    }
}

/// A prepared call by the local agent, with the widest effects of the tool.
pub(crate) fn call_of(tool: &ToolDef, arguments: Value, policy: &Digest) -> PreparedCall {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    let parsed = ParsedCall {
        tokens: 0,
        along: Default::default(),
        id: CallId::mint(now),
        tool: ToolRef { name: tool.name.clone(), version: tool.version.clone(), manifest: tool.digest },
        widest: tool.effects.clone(),
        args: ParsedArgs::new(arguments, ()),
        actor: Actor::agent(Principal::local()),
        origin: Origin::Client,
        run: RunId::mint(now),
        asking: crate::call::Asking::default(),
        limits: tool.limits,
        cancel: tokio_util::sync::CancellationToken::new(),
        progress: std::sync::Arc::new(NoProgress),
    };
    PreparedCall::new(parsed, Preparation::of(tool.effects.clone()), policy).unwrap()
}

fn decide(set: &PolicySet, tool: &str, arguments: Value) -> Decision {
    let tool = tools().into_iter().find(|def| def.name.as_str() == tool).unwrap();
    set.decide(&call_of(&tool, arguments, set.digest()), &crate::policy::Facts::default())
}

fn verdict(set: &PolicySet, tool: &str, effects: &[Effect]) -> Verdict {
    let tool = tool.parse().unwrap();
    let effects = Effects::of(effects.iter().copied());
    set.would(&question(&tool, &effects, &Value::Object(serde_json::Map::new()))).verdict
}

fn question<'a>(tool: &'a crate::domain::ToolName, effects: &'a Effects, arguments: &'a Value) -> Question<'a> {
    static NOTHING: crate::policy::Facts =
        crate::policy::Facts { labels: crate::domain::Labels { untrusted: false, private: false }, workflow: None, grants: Vec::new() };
    static NOWHERE: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    let (role, facts, hosts) = (crate::domain::Role::Agent, &NOTHING, &NOWHERE);
    Question { tool, role, principal: "local", origin: "client", run: "run_x", step: None, facts, effects, hosts, arguments }
}
