use serde_json::{Value, json};

use super::Script;
use crate::domain::{ErrorCode, Fault, Millis};
use crate::sandbox::wasm;
use crate::tools::testing::{call, context};

async fn run(source: &str, input: Value) -> Result<Value, Fault> {
    let script = Script {
        name: "word_count.py".into(),
        source: source.into(),
        input_schema: json!({"type": "object"}),
        output_schema: json!(true),
        sandbox: wasm::tests::shared(),
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
