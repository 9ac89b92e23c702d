use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::ErrorCode;
use crate::tools::testing::{bench, call};
use crate::tools::{Handler, handler};

fn tool() -> Arc<dyn Handler> {
    handler(TransformJq)
}

async fn jq(filter: &str, input: Value) -> Result<Value, crate::domain::Fault> {
    call(&tool(), &bench(), json!({ "filter": filter, "input": input })).await.map(|answer| answer["values"].clone())
}

#[tokio::test]
async fn filters_do_what_jq_does() {
    let people = json!([{ "n": "b", "a": 2 }, { "n": "a", "a": 1 }, { "n": "c" }]);
    for (filter, input, expected) in [
        (".", json!({ "b": 1, "a": [1.5, null, true] }), json!([{ "b": 1, "a": [1.5, null, true] }])),
        (".[] | .n", people.clone(), json!(["b", "a", "c"])),
        ("map(.a)", people.clone(), json!([[2, 1, null]])),
        ("sort_by(.n) | map(.n) | join(\"-\")", people.clone(), json!(["a-b-c"])),
        ("[.[] | select(.a > 1)] | length", people.clone(), json!([1])),
        ("group_by(.a | type) | map(length)", people, json!([[1, 2]])),
        ("to_entries | map(\"\\(.key)=\\(.value)\")", json!({ "x": 1, "y": [2] }), json!([["x=1", "y=[2]"]])),
        ("with_entries(.value += 1)", json!({ "x": 1 }), json!([{ "x": 2 }])),
        ("del(.b) | .a.c = 3", json!({ "a": {}, "b": 1 }), json!([{ "a": { "c": 3 } }])),
        (".a.b.c = 1", json!(null), json!([{ "a": { "b": { "c": 1 } } }])),
        (".[1:3], .[-1], .[0:1] + [9]", json!([1, 2, 3, 4]), json!([[2, 3], 4, [1, 9]])),
        (".[1:3] = [9]", json!([1, 2, 3, 4]), json!([[1, 9, 4]])),
        ("{a: {x: 1}, b: 1} * {a: {y: 2}}", json!(null), json!([{ "a": { "x": 1, "y": 2 }, "b": 1 }])),
        ("[1, 2, 1, 3] - [1], ([1, 2, 1] | indices(1)), (\"abab\" | indices(\"b\"))", json!(null), json!([[2, 3], [0, 2], [1, 3]])),
        (
            "\"a,b\" | split(\",\"), test(\"B\"; \"i\"), sub(\",\"; \";\"), ascii_upcase, (. * 2)",
            json!(null),
            json!([["a", "b"], true, "a;b", "A,B", "a,ba,b"]),
        ),
        ("tojson, (\"[1]\" | fromjson)", json!({ "a": [1, "ü"] }), json!(["{\"a\":[1,\"ü\"]}", [1]])),
        (
            "[range(0; 10; 3)], [range(3)], [limit(2; repeat(1))], first(range(5; 0; -2))",
            json!(null),
            json!([[0, 3, 6, 9], [0, 1, 2], [1, 1], 5]),
        ),
        ("reduce .[] as $x (0; . + $x), [foreach .[] as $x (0; . + $x)]", json!([1, 2, 3]), json!([6, [1, 3, 6]])),
        ("[paths], getpath([\"a\", 0]), (path(.a[0]))", json!({ "a": [1] }), json!([[["a"], ["a", 0]], 1, ["a", 0]])),
        ("try error(\"x\") catch ., (.a? // \"none\")", json!(1), json!(["x", "none"])),
        ("unique, (map(tostring) | unique_by(length)), min, max, add", json!([3, 1, 3]), json!([[1, 3], ["3"], 1, 3, 7])),
        (
            "contains({a: [1]}), has(\"a\"), inside({a: [1, 2], b: 1}), any, all",
            json!({ "a": [1, 2] }),
            json!([true, true, true, true, true]),
        ),
        ("@base64, @uri, @html", json!("<a b>"), json!(["PGEgYj4=", "%3Ca%20b%3E", "&lt;a b&gt;"])),
        (
            "1e1000, 0.1 + 0.2, 5 / 2, 6 / 2, 7 % 3, 9007199254740993",
            json!(null),
            json!([null, 0.30000000000000004, 2.5, 3, 1, 9_007_199_254_740_993_i64]),
        ),
        ("empty", json!(1), json!([])),
        ("1700000000 | todate", json!(null), json!(["2023-11-14T22:13:20Z"])),
    ] {
        assert_eq!(jq(filter, input).await.unwrap(), expected, "{filter}");
    }
    let answer = call(&tool(), &bench(), json!({ "filter": "1, 2" })).await.unwrap();
    assert_eq!(answer, json!({ "value": 1, "values": [1, 2] }));
    assert_eq!(call(&tool(), &bench(), json!({ "filter": "empty" })).await.unwrap()["value"], Value::Null);
}

#[tokio::test]
async fn a_wrong_filter_is_told_with_its_place() {
    for (filter, said) in [
        (".a | [", "at character 7: found the end"),
        (".a | }", "at character 6: found `}`"),
        ("nonsense(1)", "the filter `nonsense` is not defined"),
        ("$x", "the variable `$x` is not defined"),
        ("include \"x\"; .", "modules cannot be loaded"),
        (".a.b", "cannot index a number with \"a\""),
        ("1 + \"a\"", "cannot compute a number + a string"),
        ("{(1): 2}", "a number cannot be a key"),
        ("error({a: 1})", "{\"a\":1}"),
        ("{} | error", "{}"),
    ] {
        let fault = jq(filter, json!(1)).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::FilterFailed, "{filter}: {}", fault.message);
        assert!(fault.message.contains(said), "{filter}: {}", fault.message);
    }
}

#[tokio::test]
async fn nothing_but_the_input_is_seen() {
    for filter in [
        "env",
        "$ENV",
        "now",
        "input",
        "inputs",
        "debug",
        "stderr",
        "halt",
        "halt_error",
        "localtime",
        "input_filename",
        "$__prog_args",
        "import \"a\" as $a; .",
    ] {
        assert_eq!(jq(filter, json!(1)).await.unwrap_err().code, ErrorCode::FilterFailed, "{filter}");
    }
}

/// Each of these would take all time, all memory or the whole process.
#[tokio::test]
async fn what_does_not_end_is_stopped() {
    for filter in [
        "repeat(1) | empty",
        "[repeat(1)]",
        "[range(1e12)] | length",
        "last(range(1e12))",
        "[limit(1e12; repeat(1))] | length",
        "def f: f; f",
        "def f: 1 + f; f",
        "def f: [f]; f",
        "until(false; .)",
        "reduce range(60) as $i (\"a\"; . + .) | length",
        "\"a\" * 1000000000000",
        "reduce range(60) as $i ([1]; . + .) | length",
        "reduce range(60) as $i ([1]; [.[], .[]]) | length",
        "reduce range(60) as $i (1; [., .]) | tojson | length",
        "reduce range(60) as $i (1; [., .]) as $x | $x == ($x | map(.))",
        "reduce range(60) as $i (1; [., .]) | flatten | length",
        "reduce range(60) as $i (1; [., .]) | [..] | length",
        "reduce range(60) as $i (1; [., .]) | .[0] as $a | error($a)",
        "reduce range(60) as $i (1; [., .]) | . + 1",
        "reduce range(60) as $i (1; [., .])",
        "reduce range(60) as $i ({}; {a: ., b: .}) | . * .",
        "reduce range(1000000) as $i (1; [.])",
        "reduce range(1000000) as $i (null; {a: .})",
        "reduce range(1000000) as $i (null; .a = .)",
        "[range(100000)] as $big | [range(100000) | $big | .[0] = 1] | length",
        "reduce range(100) as $i (3; . * .)",
        "[range(3000)] | . as $a | [$a[] | $a[] | $a[]] | length",
        "null | path(def f: .a | f; f)",
        "null | path(def f: .a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a | f; f)",
        "null | last(path(repeat(.a)))",
        "null | [path(limit(100000; recurse(.a)))] | length",
        "def f($x): f($x + 1); f(0)",
        "def f($x): . as $y | f($y); f(0)",
        "[recurse(. + 1)] | length",
        "\"[\" * 1000000 | fromjson",
        "\"a\" * 8000000 | [splits(\"\")] | length",
        "\"a\" * 8000000 | repeat(test(\"b\")) | empty",
        "\"x\" * 8000000 | explode | implode | ascii_upcase | length",
        "def f(x): x | f(f(x)); f(.)",
        "range(20000)",
        "\"x\" * 2000000",
        "label $out | foreach repeat(1) as $x (0; . + 1; if . < 0 then ., break $out else empty end)",
        "[.[]?, limit(1000000000; range(1e9))] | sort",
        "input_line_number?, repeat(.) | select(false)",
    ] {
        let outcome = tokio::time::timeout(Duration::from_secs(300), jq(filter, json!(1))).await;
        let fault = outcome.unwrap_or_else(|_| panic!("{filter} was not stopped")).unwrap_err();
        assert!(matches!(fault.code, ErrorCode::LimitExceeded | ErrorCode::FilterFailed), "{filter}: {fault:?}");
    }
}

#[tokio::test]
async fn deep_programs_are_refused_or_run_but_never_overflow() {
    for filter in [
        "(".repeat(16_000),
        "[".repeat(16_000),
        format!("{}1", "-".repeat(16_000)),
        "if ".repeat(5_000),
        format!("{}1", "1|".repeat(8_000)),
        format!("1{}", "|1".repeat(8_000)),
        format!("1{}", "+1".repeat(8_000)),
        "def f:".repeat(2_600),
        format!(".{}", "[0]".repeat(5_000)),
        "\"\\(".repeat(5_000),
    ] {
        let _ = jq(&filter, json!(null)).await;
    }
    assert_eq!(jq(&"x".repeat(16_385), json!(1)).await.unwrap_err().code, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn honest_work_of_some_size_goes_through() {
    let items: Vec<_> = (0..20_000).map(|n| json!({ "id": n, "name": format!("item {n}"), "tags": ["a", "b"] })).collect();
    let answer = jq("(map(select(.id % 2 == 0) | {id, t: (.tags | join(\",\"))}) | length), (reduce .[] as $x (0; . + $x.id)), ([.[] | .name] | sort | length)", json!(items)).await;
    assert_eq!(answer.unwrap(), json!([10_000, 199_990_000, 20_000]));
    let appended = jq("reduce range(20000) as $i ([]; . + [$i]) | length", json!(null)).await;
    assert_eq!(appended.unwrap(), json!([20_000]));
}

#[tokio::test]
async fn a_cancelled_filter_ends() {
    let bench = bench();
    bench.context.cancel.cancel();
    let fault = call(&tool(), &bench, json!({ "filter": "last(range(1e9))" })).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Cancelled);
}
