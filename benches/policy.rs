//! Policy decisions: at 100 and 1,000 rules over 20 tools, and the shipped rules; loading them.
//!
//! Figures to reach: p50 of 20 µs at 100 rules and 50 µs at 1,000.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that cannot be set up may panic")]

use std::sync::Arc;

use divan::{Bencher, black_box};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolgate::call::{NoProgress, Origin, ParsedArgs, ParsedCall, Preparation, PreparedCall, ToolRef};
use toolgate::domain::{Actor, CallId, Effect, Effects, Principal, RunId, Timestamp};
use toolgate::manifest::{ManifestFile, ToolDef, load};
use toolgate::policy::{Current, Facts, PolicySet, PolicySource, shipped};

const TOOLS: usize = 20;

fn main() {
    divan::main();
}

/// Tools with an input like that of `python.run`.
fn tools() -> Vec<ToolDef> {
    let file = json!({ "type": "object", "additionalProperties": false, "required": ["path"],
        "properties": { "path": { "type": "string" }, "content": { "type": "string" } } });
    let input = json!({ "type": "object", "additionalProperties": false, "$defs": { "file": file }, "properties": {
        "code": { "type": "string" }, "args": { "type": "array", "items": { "type": "string" } }, "timeout_sec": { "type": "integer" },
        "allow_network": { "type": "boolean" }, "files": { "type": "array", "items": { "$ref": "#/$defs/file" } } } });
    let siblings =
        [("in", input), ("out", json!({ "type": "object" }))].map(|(name, schema)| (name.to_owned(), schema.to_string().into_bytes()));
    let siblings = Arc::new(siblings.into());
    let files: Vec<ManifestFile> = (0..TOOLS)
        .map(|n| ManifestFile {
            path: format!("t{n}.yaml"),
            text: format!(
                "{{name: bench.tool{n}, version: 1.0.0, description: Does a thing., executor: builtin, effects: [write], scopes: [workspace], \
                 limits: {{wall: 1s, output: 1KiB}}, input_schema: in, output_schema: out, \
                 examples: [{{accept: {{}}}}, {{refuse: 3, because: object}}]}}"
            ),
            siblings: Arc::clone(&siblings),
            is_shipped: false,
        })
        .collect();
    load(&files).expect("the manifests load")
}

/// `count` rules, spread evenly over the tools, that look at input, effects and origin; and the shipped ones.
fn policies(count: usize) -> Vec<PolicySource> {
    let mut text = String::new();
    for n in 0..count {
        let action = format!("action == toolgate::Action::\"bench.tool{}\"", n % TOOLS);
        text += &match n / TOOLS % 4 {
            0 => format!(
                "permit (principal is toolgate::Agent, {action}, resource) when {{ context.input has timeout_sec && context.input.timeout_sec < {n} }};\n"
            ),
            1 => format!(
                "forbid (principal, {action}, resource) when {{ context.input has args && context.input.args.contains(\"--{n}\") }};\n"
            ),
            2 => format!(
                "forbid (principal == toolgate::Agent::\"agent-{n}\", {action}, resource) unless {{ context.origin == \"step\" }};\n"
            ),
            _ => format!(
                "@ask(\"look at it\") permit (principal, {action}, resource) when {{ context.effects.contains(\"egress\") && context.input has code && context.input.code like \"*{n}*\" }};\n"
            ),
        };
    }
    let mut sources = shipped(toolgate::domain::Profile::Default);
    sources.push(PolicySource { name: "bench.cedar".into(), text });
    sources
}

fn call(tool: &ToolDef, arguments: Value, policies: &PolicySet) -> PreparedCall {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    let parsed = ParsedCall {
        asking: toolgate::call::Asking::default(),
        tokens: 0,
        along: Default::default(),
        id: CallId::mint(now),
        tool: ToolRef { name: tool.name.clone(), version: tool.version.clone(), manifest: tool.digest },
        widest: tool.effects.clone(),
        args: ParsedArgs::new(arguments, ()),
        actor: Actor::agent(Principal::local()),
        origin: Origin::Client,
        run: RunId::mint(now),
        limits: tool.limits,
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    };
    PreparedCall::new(parsed, Preparation::of(Effects::only(Effect::Write)), policies.digest()).expect("the effects are stated")
}

fn arguments() -> Value {
    json!({ "code": "print('hi')", "args": ["-v", "--name", "x"], "timeout_sec": 30, "allow_network": false,
        "files": [{ "path": "a.py", "content": "x = 1\n" }, { "path": "b.py", "content": "y = 2\n" }] })
}

#[divan::bench(args = [0, 100, 1_000], sample_count = 1_000)]
fn decide(bencher: Bencher<'_, '_>, rules: usize) {
    let tools = tools();
    let set = PolicySet::load(&policies(rules), &tools).expect("the policies load");
    let call = call(&tools[7], arguments(), &set);
    bencher.bench_local(|| black_box(set.decide(black_box(&call), &Facts::default())));
}

/// A file of 1 MiB among the arguments: rules look at the input, so it is put before them.
#[divan::bench(sample_count = 200)]
fn decide_with_a_large_input(bencher: Bencher<'_, '_>) {
    let tools = tools();
    let set = PolicySet::load(&policies(100), &tools).expect("the policies load");
    let call = call(&tools[7], json!({ "files": [{ "path": "a", "content": "x".repeat(1 << 20) }] }), &set);
    bencher.bench_local(|| black_box(set.decide(black_box(&call), &Facts::default())));
}

#[divan::bench(args = [0, 100, 1_000], sample_count = 10)]
fn load_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let (tools, sources) = (tools(), policies(rules));
    bencher.bench_local(|| PolicySet::load(black_box(&sources), black_box(&tools)).expect("the policies load"));
}

/// A change that is taken up: rules loaded anew and put in force.
#[divan::bench(args = [100, 1_000], sample_count = 10)]
fn reload(bencher: Bencher<'_, '_>, rules: usize) {
    let (tools, sources) = (tools(), policies(rules));
    let current = Current::new(PolicySet::load(&sources, &tools).expect("the policies load"));
    bencher.bench_local(|| current.replace(PolicySet::load(black_box(&sources), black_box(&tools)).expect("the policies load")));
}

/// What each call pays for rules that can be replaced.
#[divan::bench(sample_count = 1_000)]
fn take_the_rules_in_force(bencher: Bencher<'_, '_>) {
    let current = Current::new(PolicySet::load(&policies(0), &tools()).expect("the policies load"));
    bencher.bench_local(|| black_box(current.get()));
}

/// `policy check` without its files: each rule against all others.
#[divan::bench(args = [100, 1_000], sample_count = 5)]
fn check(bencher: Bencher<'_, '_>, rules: usize) {
    let tools = tools();
    let set = PolicySet::load(&policies(rules), &tools).expect("the policies load");
    bencher.bench_local(|| black_box(set.check(&tools, &[])));
}
