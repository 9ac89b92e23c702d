use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call::{NoProgress, Origin, Preparation, PreparedCall, RawCall, RawOutput};
use crate::confine::Folder;
use crate::domain::{Actor, Bytes, CallId, Digest, Effect, Effects, ErrorCode, Fault, Limits, Millis, Principal, RunId, Timestamp};
use crate::manifest::{ManifestFile, load};
use crate::policy::{PolicySet, PolicySource};
use crate::tools::{CallContext, Tool, handler};

/// Repeats a word.
struct Echo;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    word: String,
    #[serde(default)]
    times: u32,
    #[serde(default)]
    run_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    text: String,
}

#[async_trait]
impl Tool for Echo {
    type Input = Input;
    type Output = Output;

    async fn prepare(&self, _input: &Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &Input, _context: &CallContext) -> Result<Output, Fault> {
        let _ = &input.run_id;
        Ok(Output { text: input.word.repeat(input.times as usize) })
    }
}

fn defs(names: &[&str], change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) -> Vec<ToolDef> {
    let echo = handler(Echo);
    let mut siblings = BTreeMap::from([
        ("in".to_owned(), echo.input_schema().to_string().into_bytes()),
        ("out".to_owned(), echo.output_schema().to_string().into_bytes()),
    ]);
    change(&mut siblings);
    let siblings = Arc::new(siblings);
    let files: Vec<ManifestFile> = names
        .iter()
        .map(|name| {
            let text = format!(
                "{{name: {name}, version: 1.0.0, description: Repeats., executor: builtin, effects: [pure], limits: {{wall: 1s, output: 64B}}, \
                 input_schema: in, output_schema: out, examples: [{{accept: {{word: a}}}}, {{refuse: {{}}, because: word}}]}}"
            );
            ManifestFile { path: format!("{name}.yaml"), text, siblings: Arc::clone(&siblings), is_shipped: false }
        })
        .collect();
    load(&files).unwrap_or_else(|problems| panic!("{problems}"))
}

fn handlers(names: &[&str]) -> BTreeMap<ToolName, Arc<dyn Handler>> {
    names.iter().map(|name| (name.parse().unwrap(), handler(Echo))).collect()
}

fn registry(names: &[&str]) -> Registry {
    Registry::build(defs(names, |_| {}), handlers(names)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000)
}

fn raw(tool: &str, arguments: Value) -> RawCall {
    RawCall {
        tokens: 0,
        along: crate::call::Along::default(),
        tool: tool.to_owned(),
        arguments,
        origin: Origin::Client,
        actor: Actor::agent(Principal::local()),
        run: RunId::mint(now()),
        cancel: CancellationToken::new(),
        asking: crate::call::Asking::default(),
        progress: Arc::new(NoProgress),
    }
}

fn context(folder: &std::path::Path) -> CallContext {
    CallContext {
        call: CallId::mint(now()),
        run: RunId::mint(now()),
        actor: Actor::agent(Principal::local()),
        from_code: false,
        digest: crate::domain::Digest::ZERO,
        wall: Arc::default(),
        labels: Default::default(),
        brought: Default::default(),
        artifacts: Arc::new(crate::tools::testing::MemoryArtifacts::default()),
        workspace: Arc::new(Folder::create(folder).unwrap()),
        limits: Limits { wall: Millis(1), output: Bytes(64) },
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    }
}

fn prepared(registry: &Registry, arguments: Value, policy: &Digest) -> PreparedCall {
    let parsed = registry.parse(raw("echo.word", arguments), CallId::mint(now())).unwrap();
    PreparedCall::new(parsed, Preparation::of(Effects::only(Effect::Pure)), policy).unwrap()
}

fn open(registry: &Registry) -> PolicySet {
    let source = PolicySource { name: "p.cedar".into(), text: "permit (principal, action, resource);".into() };
    PolicySet::load(&[source], &registry.iter().map(|entry| entry.def.clone()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn both_names_find_a_tool() {
    let registry = registry(&["echo.word", "echo.long.word"]);
    assert_eq!(registry.find("echo.word").unwrap().def.name.as_str(), "echo.word");
    assert_eq!(registry.find("echo_long_word").unwrap().def.name.as_str(), "echo.long.word");
    assert!(registry.find("echo.long_word").is_none());
    assert!(registry.find("").is_none());
    assert_eq!(registry.iter().map(|entry| entry.exposed.as_str()).collect::<Vec<_>>(), ["echo_long_word", "echo_word"]);
}

#[test]
fn what_does_not_fit_together_is_told_all_at_once() {
    let build = |defs: Vec<ToolDef>, names: &[&str]| Registry::build(defs, handlers(names)).unwrap_err().to_string();
    let told = build(defs(&["echo.word", "a.b_c", "a_b.c"], |_| {}), &["other.tool", "a.b_c", "a_b.c"]);
    assert!(told.contains("echo.word.yaml: tool `echo.word` has no handler"), "{told}");
    assert!(told.contains("handler `other.tool` has no manifest"), "{told}");
    assert!(told.contains("`a.b_c` and `a_b.c` are both exposed as `a_b_c`"), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");
    let changed = defs(&["echo.word"], |siblings| {
        siblings.insert("out".into(), json!({ "type": "object" }).to_string().into_bytes());
    });
    let told = build(changed, &["echo.word"]);
    assert!(told.contains("schema `echo.word.output.json` of `echo.word` is not what the code has"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn generated_schemas_are_what_a_manifest_must_refer_to() {
    let files = generated_schemas(&handlers(&["echo.word"]));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["echo.word.input.json", "echo.word.output.json"]);
    assert!(files["echo.word.input.json"].ends_with("}\n"));
    let back: Value = serde_json::from_str(&files["echo.word.input.json"]).unwrap();
    assert_eq!(back, handler(Echo).input_schema());
}

#[test]
fn an_unknown_tool_is_told_with_what_may_be_meant() {
    let registry = registry(&["echo.word", "echo.ward", "run.list"]);
    let fault = |name: &str| registry.parse(raw(name, json!({})), CallId::mint(now())).err().unwrap();
    let near = fault("ecko.word");
    assert_eq!(near.code, ErrorCode::UnknownTool);
    assert_eq!(near.hint.as_deref(), Some("did you mean `echo.word` or `echo.ward`?"));
    assert_eq!(fault("run_lst").hint.as_deref(), Some("did you mean `run.list`?"));
    assert_eq!(fault("list").hint.as_deref(), Some("did you mean `run.list`?"));
    assert_eq!(fault("nothing like it").hint.as_deref(), Some("list the tools to see their names"));
    assert!(fault(&"x".repeat(100_000)).message.len() < 200);
}

#[test]
fn arguments_are_checked_and_read_once() {
    let registry = registry(&["echo.word"]);
    let parse = |arguments: Value| registry.parse(raw("echo_word", arguments), CallId::mint(now()));
    let fault = parse(json!({"word": 3})).err().unwrap();
    assert_eq!((fault.code, fault.message.as_str()), (ErrorCode::InvalidInput, "`echo.word`: at `/word`: must be a string, is a number"));
    assert!(parse(Value::Null).err().unwrap().message.contains("`word` is missing"));
    assert_eq!(parse(json!({"word": "a", "times": 1.5})).err().unwrap().code, ErrorCode::InvalidInput);
    let own = RunId::mint(now());
    assert_eq!(parse(json!({"word": "a", "run_id": own.to_string()})).unwrap().run, own);
    let fault = parse(json!({"word": "a", "run_id": "run_x"})).err().unwrap();
    assert_eq!(fault.code, ErrorCode::InvalidInput);
    assert!(fault.message.contains("/run_id"), "{}", fault.message);
    let given = raw("echo.word", json!({"word": "a"}));
    let run = given.run;
    let parsed = registry.parse(given, CallId::mint(now())).unwrap();
    assert_eq!(parsed.run, run);
    assert_eq!(parsed.args.typed::<Input>().unwrap().word, "a");
}

#[tokio::test]
async fn only_a_grant_for_the_very_call_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&["echo.word"]);
    let policy = open(&registry);
    let wanted = prepared(&registry, json!({"word": "a", "times": 2}), policy.digest());
    let other = prepared(&registry, json!({"word": "b", "times": 2}), policy.digest());
    let grant = policy.decide(&other, &crate::policy::Facts::default()).grant(&other).unwrap();
    let fault = registry.execute(&wanted, grant, &context(folder.path())).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Internal);
    let grant = policy.decide(&wanted, &crate::policy::Facts::default()).grant(&wanted).unwrap();
    let output = registry.execute(&wanted, grant, &context(folder.path())).await.unwrap();
    assert_eq!(registry.check(&wanted, output).unwrap(), json!({"text": "aa"}));
}

#[test]
fn answers_are_checked_and_bounded() {
    let registry = registry(&["echo.word"]);
    let call = prepared(&registry, json!({"word": "a"}), &Digest::ZERO);
    let fault = registry.check(&call, RawOutput(json!({"text": 3}))).unwrap_err();
    assert_eq!(fault.code, ErrorCode::InvalidOutput);
    assert!(fault.message.contains("`/text`"), "{}", fault.message);
    assert!(registry.check(&call, RawOutput(json!({"text": "x".repeat(53)}))).is_ok());
    let fault = registry.check(&call, RawOutput(json!({"text": "x".repeat(54)}))).unwrap_err();
    assert_eq!(fault.code, ErrorCode::LimitExceeded);
    assert!(fault.message.contains("65 bytes"), "{}", fault.message);
}

#[test]
fn a_call_of_another_set_of_tools_does_not_run_here() {
    let one = registry(&["echo.word"]);
    let call = prepared(&one, json!({"word": "a"}), &Digest::ZERO);
    let other = registry(&["echo.other"]);
    assert_eq!(other.check(&call, RawOutput(json!({"text": "a"}))).unwrap_err().code, ErrorCode::Internal);
}
