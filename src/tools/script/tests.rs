use serde_json::{Value, json};

use super::{Script, ScriptNetwork};
use crate::call::Preparation;
use crate::domain::{Effect, Effects, ErrorCode, Fault, Millis};
use crate::egress::HostRules;
use crate::sandbox::wasm;
use crate::tools::Handler as _;
use crate::tools::guest_testing::{call, context, network};

async fn run(source: &str, input: Value) -> Result<Value, Fault> {
    let script = Script {
        name: "word_count.py".into(),
        source: source.into(),
        input_schema: json!({"type": "object"}),
        output_schema: json!(true),
        sandbox: wasm::tests::shared(),
        network: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let mut context = context(folder.path());
    context.limits.wall = Millis(1_000);
    call(&script, input, &context).await
}

#[tokio::test]
async fn the_input_comes_three_ways_and_the_answer_two() {
    let text = json!({"text": "a b c"});
    for source in [
        "import json, sys\nprint(json.dumps({'words': len(json.load(sys.stdin)['text'].split())}))",
        "result = {'words': len(toolgate_input['text'].split())}",
        "import json\nresult = {'words': len(json.loads(input())['text'].split())}\nprint('noise')",
    ] {
        assert_eq!(run(source, text.clone()).await, Ok(json!({"words": 3})), "{source}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_the_scripts_name() {
    for (source, code) in [
        ("raise ValueError('sorry')", ErrorCode::InvalidOutput),
        ("print('not json')", ErrorCode::InvalidOutput),
        ("", ErrorCode::InvalidOutput),
        ("while True: pass", ErrorCode::Timeout),
        ("x = 'x' * (1 << 29)", ErrorCode::LimitExceeded),
    ] {
        let fault = run(source, json!({})).await.unwrap_err();
        assert_eq!(fault.code, code, "{source}: {fault}");
        assert!(fault.message.contains("`word_count.py`"), "{fault}");
    }
    assert!(run("raise ValueError('sorry')", json!({})).await.unwrap_err().message.ends_with("ValueError: sorry"));
}

#[tokio::test]
async fn with_hosts_a_call_has_the_effects_hosts_and_secrets_of_its_manifest() {
    let script = |network| Script {
        name: "tickets.list".into(),
        source: "result = {}".into(),
        input_schema: json!({"type": "object"}),
        output_schema: json!(true),
        sandbox: wasm::tests::shared(),
        network,
    };
    let reach = |secrets: &[&str]| ScriptNetwork {
        hosts: HostRules::parse(["b.example:8443", "*.a.example"]).unwrap(),
        secrets: secrets.iter().map(|name| name.parse().unwrap()).collect(),
        effects: Effects::of([Effect::Egress, Effect::ExternalWrite]),
        ports: network(std::sync::Arc::new(crate::app::Tasks::default())),
    };
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let prepare = async |script: Script| {
        let arguments = script.parse(json!({})).unwrap();
        script.prepare(&arguments, &context).await
    };
    assert_eq!(prepare(script(None)).await.unwrap(), Preparation::of(Effects::only(Effect::Pure)));
    let open = prepare(script(Some(reach(&[])))).await.unwrap();
    assert_eq!(open.effects, Effects::of([Effect::Egress, Effect::ExternalWrite]));
    assert_eq!(open.hosts.iter().map(String::as_str).collect::<Vec<_>>(), ["*.a.example", "b.example:8443"]);
    assert_eq!(open.target, json!({"hosts": ["b.example:8443", "*.a.example"], "secrets": []}));
    // There is no secret in this house, and nobody is asked about a call that cannot succeed.
    assert_eq!(prepare(script(Some(reach(&["TOKEN"])))).await.unwrap_err().code, ErrorCode::UnknownSecret);
}
