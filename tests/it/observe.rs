//! What the process tells of itself, by the real binary: lines of the log that say what they belong to, and figures that agree with the
//! journal.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::served::Served;

/// Samples by name and labels.
type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics text and takes nothing that is not well formed: families are declared before their samples, names and labels are
/// plain, counters end in `_total`, buckets grow and end with all, nothing stands twice, and the end is marked.
fn read_strictly(text: &str) -> Samples {
    let body = text.strip_suffix("# EOF\n").expect("no mark of the end");
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let (mut types, mut samples) = (BTreeMap::new(), Samples::new());
    let mut buckets: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in body.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(is_name(name) && !rest.is_empty(), "{line}");
            match kind {
                "HELP" | "UNIT" => {}
                "TYPE" => assert!(types.insert(name.to_owned(), rest.to_owned()).is_none(), "declared twice: {line}"),
                _ => panic!("what is this: {line}"),
            }
            continue;
        }
        let (what, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        let (name, labels) = what.split_once('{').map_or((what, ""), |(name, labels)| (name, labels.strip_suffix('}').unwrap()));
        assert!(is_name(name), "{line}");
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let (word, after) = after.split_once('"').unwrap_or_else(|| panic!("{line}"));
            assert!(word.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        let of = |suffix: &str, kind: &str| name.strip_suffix(suffix).is_some_and(|family| types.get(family).is_some_and(|t| t == kind));
        let histogram = of("_bucket", "histogram") || of("_sum", "histogram") || of("_count", "histogram");
        assert!(of("_total", "counter") || of("_info", "info") || of("", "gauge") || histogram, "not declared: {line}");
        assert!(samples.insert(what.to_owned(), value).is_none(), "twice: {line}");
        if name.ends_with("_bucket") {
            let (bound, series) = labels.split_once(',').unwrap_or((labels, ""));
            let bound = bound.strip_prefix("le=\"").unwrap().trim_end_matches('"');
            let bound: f64 = bound.replace("+Inf", "inf").parse().unwrap();
            let last = buckets.entry(format!("{name}{{{series}}}")).or_insert((f64::NEG_INFINITY, 0.0));
            assert!(bound > last.0 && value >= last.1, "buckets do not grow: {line}");
            *last = (bound, value);
        }
    }
    for (series, (bound, all)) in buckets {
        assert_eq!(bound, f64::INFINITY, "{series}");
        assert_eq!(samples[&series.replacen("_bucket", "_count", 1).replace("{}", "")], all, "{series}");
    }
    samples
}

/// Counts of a family, by its labels' values.
fn family(samples: &Samples, name: &str) -> BTreeMap<Vec<String>, u64> {
    let of = samples.iter().filter_map(|(what, value)| {
        let labels = what.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
        let values = labels.split(',').map(|label| label.split_once('=').unwrap().1.trim_matches('"').to_owned()).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole")]
        Some((values, *value as u64))
    });
    of.collect()
}

/// Every event of the home.
fn journal(toolgate: &Toolgate) -> Vec<Value> {
    let runs = toolgate.json(0, &["runs", "list", "--json", "--limit", "1000"]);
    let runs = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let events = runs.iter().flat_map(|run| {
        let events = toolgate.run(&["runs", "events", run, "--json"]).exits(0).stdout;
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    });
    events.collect()
}

#[test]
fn metrics_need_a_token_and_agree_with_the_journal() {
    let toolgate = Toolgate::new();
    let mut served = Served::start(&toolgate, &[("TOOLGATE_APPROVALS_WAIT_SEC", "0")]);
    for _ in 0..3 {
        served.call("transform_jq", &json!({"filter": ".", "input": 1}), &json!({}));
    }
    served.call("transform_jq", &json!({"filter": 7}), &json!({}));
    served.call("transform_jq", &json!({"filter": "error(\"x\")", "input": 1}), &json!({}));
    served.call("no_such_tool_c4nary", &json!({}), &json!({}));
    let ran = served.call("python_run", &json!({"entrypoint": "inline", "code": "print(1)"}), &json!({}));
    assert_eq!(ran["result"]["structuredContent"]["return_code"], 0, "{ran}");
    let asked = served.call("python_run", &json!({"entrypoint": "inline", "code": "1", "allow_network": true, "allowed_hosts": ["example.com"]}), &json!({}));
    assert_eq!(asked["result"]["structuredContent"]["error"]["code"], "APPROVAL_REQUIRED", "{asked}");

    for headers in [&[][..], &[("Authorization", "Bearer wrong")], &[("Authorization", "Basic Zm9v")]] {
        let refused = served.ask("GET", "/metrics", headers, "");
        assert!(refused.status == 401 && !refused.body.contains("toolgate_"), "{refused:?}");
    }
    let got = served.get("/metrics");
    assert_eq!(got.status, 200, "{got:?}");
    let samples = read_strictly(&got.body);
    assert!(!got.body.contains("c4nary"), "a caller's word is a label");

    let events = journal(&toolgate);
    let known: BTreeSet<String> =
        toolgate.json(0, &["tools", "list", "--json"]).as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect();
    let (mut calls, mut decisions) = (BTreeMap::<Vec<String>, u64>::new(), BTreeMap::<Vec<String>, u64>::new());
    for event in &events {
        let payload = &event["payload"];
        let kind = event["kind"].as_str().unwrap();
        if kind == "tool_result" || kind == "tool_error" {
            let tool = payload["tool"].as_str().unwrap().replace('_', ".");
            let tool = if known.contains(&tool) { tool } else { "(unknown)".to_owned() };
            *calls.entry(vec![tool, payload["code"].as_str().unwrap_or("ok").to_owned()]).or_default() += 1;
        }
        if let Some(verdict) = payload["verdict"].as_str() {
            *decisions.entry(vec![verdict.to_owned()]).or_default() += 1;
        }
    }
    assert_eq!(calls[&vec!["transform.jq".to_owned(), "ok".to_owned()]], 3, "{calls:?}");
    assert!(calls.len() >= 5 && decisions.len() == 2, "{calls:?} {decisions:?}");
    assert_eq!(family(&samples, "toolgate_calls_total"), calls);
    assert_eq!(family(&samples, "toolgate_decisions_total"), decisions);
    assert_eq!(samples["toolgate_approvals_waiting"], 1.0);
    assert_eq!(
        family(&samples, "toolgate_http_requests_total"),
        BTreeMap::from([(vec!["200".to_owned()], 8), (vec!["401".to_owned()], 3)])
    );
    assert!(samples["toolgate_sandbox_run_duration_seconds_count{sandbox=\"wasm\"}"] >= 1.0);
    assert!(samples["toolgate_journal_append_duration_seconds_count"] >= 8.0);
    assert_eq!(samples["toolgate_http_connections_open"], 1.0, "this one");
    served.stop();
}

/// Every line has these, in this order, before anything else.
const KEYS: [&str; 6] = ["ts", "level", "event", "run_id", "step_id", "call_id"];

#[test]
fn a_line_says_what_it_belongs_to_and_nothing_forges_one() {
    let toolgate = Toolgate::new();
    let mut served = Served::start(&toolgate, &[("TOOLGATE_LOG", "trace")]);
    let forged =
        "x\n{\"ts\":\"2026-01-01T00:00:00.000Z\",\"level\":\"info\",\"event\":\"approved\",\"call_id\":\"call_1\"}\u{1b}[2K\u{202e}";
    served.call("transform_jq", &json!({"filter": ".", "input": 1, forged: 1}), &json!({}));
    served.call("transform_jq", &json!({"filter": format!("error({})", json!(forged)), "input": 1}), &json!({}));
    let code = "import toolgate\ntoolgate.call('transform.jq', filter='nonsense(', input=1)";
    served.call("python_run", &json!({"entrypoint": "inline", "code": code, "tools": ["transform.jq"]}), &json!({}));
    served.call("run_start", &json!({"workflow": "hello_world", "inputs": {}}), &json!({}));
    served.wait_for("a step's call", |line| line["step_id"].is_string() && line["call_id"].is_string());
    served.stop();

    for line in served.raw_lines() {
        assert!(!line.contains(|c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)), "{line:?}");
        let mut at = 0;
        for key in KEYS {
            let found = line.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key}: {line}"));
            assert!(found >= at, "{key} is not in its place: {line}");
            at = found;
        }
    }
    let lines = served.lines();
    assert!(!lines.iter().any(|line| line["event"] == "approved"), "{lines:#?}");
    // The journal's calls, and the run of each.
    let calls: BTreeMap<String, String> = journal(&toolgate)
        .iter()
        .filter_map(|event| Some((event["call_id"].as_str()?.to_owned(), event["run_id"].as_str()?.to_owned())))
        .collect();
    let told: BTreeMap<&str, &str> =
        lines.iter().filter_map(|line| Some((line["call_id"].as_str()?, line["run_id"].as_str().expect("a call without a run")))).collect();
    for (call, run) in &told {
        assert_eq!(calls.get(*call).map(String::as_str), Some(*run), "{call} is not in the journal");
    }
    // Each of them said something at this level: what it was refused for, or the tasks that it began.
    assert!(lines.iter().filter(|line| line["event"] == "call_failed").count() >= 3, "{lines:#?}");
    let of_program = lines.iter().filter(|line| line["task"] == "call of a program" && line["call_id"].is_string()).count();
    assert!(of_program >= 1, "what a program asks belongs to its call");
    assert!(lines.iter().any(|line| line["step_id"].is_string() && line["run_id"].is_string()), "no line of a step");
}
