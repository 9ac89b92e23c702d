use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::call::NoRedaction;
use crate::domain::Timestamp;
use crate::secrets::live::LiveSecrets;
use crate::secrets::redact::Redactor;

const ATTACK: &str = "ok\r\n2026-01-01 INFO approved by the operator\u{1b}[2K\0\u{2028}\u{202e}evil\u{9b}A\u{7f}";

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_700_000_000_123)
    }
}

/// Lines that came out of `act`, as programs read them.
fn as_json(level: LogLevel, redact: Arc<dyn Redact>, act: impl FnOnce()) -> Vec<String> {
    let kept = Arc::<Mutex<String>>::default();
    let keeps = kept.clone();
    let lines = Arc::new(Lines { redact, out: Box::new(move |line| keeps.lock().unwrap().push_str(line)) });
    let layer = json::Json { lines, clock: Arc::new(Still) }.with_filter(targets(level));
    tracing::subscriber::with_default(Registry::default().with(layer), act);
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    kept.lines().map(str::to_owned).collect()
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn an_event_is_one_line_without_hidden_characters() {
    // A log that writes what it is told has a second line that looks like one of its own.
    let naive = format!("INFO toolgate: {ATTACK}\n");
    assert_eq!(naive.lines().count(), 2);
    let text = Lines { redact: Arc::new(NoRedaction), out: Box::new(|_| ()) }.line(&naive);
    assert!(!text.contains(is_hidden), "{text:?}");
    let lines = as_json(LogLevel::Info, Arc::new(NoRedaction), || tracing::info!(path = ATTACK, "{ATTACK}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains(is_hidden), "{lines:?}");
    let line = &parsed(&lines)[0];
    assert_eq!((line["message"].as_str(), line["path"].as_str()), (Some(ATTACK), Some(ATTACK)));
}

#[test]
fn a_long_event_is_cut_and_stays_json() {
    let long = format!("{ATTACK}{}", "x\u{202e}".repeat(1 << 19));
    let text = Lines { redact: Arc::new(NoRedaction), out: Box::new(|_| ()) }.line(&long);
    assert!(text.len() < LONGEST + 64, "{}", text.len());
    let lines = as_json(LogLevel::Info, Arc::new(NoRedaction), || tracing::info!(a = long.as_str(), b = ?vec![&long; 2], "{long}"));
    assert!(lines.len() == 1 && lines[0].len() < LONGEST + 64, "{}", lines[0].len());
    assert!(parsed(&lines)[0]["message"].as_str().unwrap().ends_with("… (cut)"));
}

#[test]
fn every_line_has_the_same_keys_first_and_ids_of_the_spans_around_it() {
    let lines = as_json(LogLevel::Debug, Arc::new(NoRedaction), || {
        tracing::warn!("outside");
        let run = tracing::error_span!(target: SPANS, "step", run_id = %"run_1", step_id = "plan");
        let _in_run = run.enter();
        tracing::info!(name: "thing_done", size = 3_u64, good = true, "in a step");
        let call = tracing::error_span!(target: SPANS, "call", run_id = %"run_1", call_id = %"call_2", step_id = None::<&str>);
        let _in_call = call.enter();
        tracing::debug!(run_id = %"run_9", "in a call of another run");
        tracing::info!(event = "told", level = "high", ts = 1, "reserved names");
    });
    assert_eq!(
        lines[0],
        r#"{"ts":"2023-11-14T22:13:20.123Z","level":"warn","event":"cli.log.tests","run_id":null,"step_id":null,"call_id":null,"message":"outside"}"#
    );
    let lines = parsed(&lines);
    let ids = |line: &Value| ["event", "run_id", "step_id", "call_id"].map(|key| line[key].as_str().unwrap_or("-").to_owned());
    assert_eq!(ids(&lines[1]), ["thing_done", "run_1", "plan", "-"]);
    assert_eq!((&lines[1]["size"], &lines[1]["good"]), (&json!(3), &json!(true)));
    assert_eq!(ids(&lines[2]), ["cli.log.tests", "run_9", "plan", "call_2"]);
    assert_eq!(ids(&lines[3]), ["told", "run_1", "plan", "call_2"]);
    assert_eq!((&lines[3]["field.level"], &lines[3]["field.ts"], &lines[3]["level"]), (&json!("high"), &json!(1), &json!("info")));
}

#[test]
fn libraries_cannot_say_what_a_line_belongs_to() {
    let lines = as_json(LogLevel::Trace, Arc::new(NoRedaction), || {
        let span = tracing::error_span!(target: "library", "call", run_id = "run_forged", call_id = "call_forged");
        let _in_span = span.enter();
        tracing::error!(target: "toolgater", call_id = "call_forged", event = "approved", "a library's line");
    });
    let line = &parsed(&lines)[0];
    assert_eq!((&line["call_id"], &line["run_id"], &line["event"]), (&Value::Null, &Value::Null, &json!("toolgater")));
    assert_eq!(line["field.call_id"], "call_forged");
}

#[test]
fn secrets_are_taken_out_of_messages_and_fields() {
    let live = LiveSecrets::new();
    live.add("word", &"hunter2-and-more".into());
    let lines = as_json(LogLevel::Info, Arc::new(Redactor::new(live).unwrap()), || {
        tracing::info!(key = ?["hunter2-and-more"], word = "hunter2-and-more", "it is hunter2-and-more");
    });
    assert!(!lines[0].contains("hunter2") && lines[0].matches("[REDACTED:word]").count() == 3, "{lines:?}");
}

#[test]
fn levels_let_through_what_they_say() {
    for (level, ours, theirs) in
        [(LogLevel::Off, 0, 0), (LogLevel::Error, 1, 1), (LogLevel::Warn, 2, 1), (LogLevel::Info, 3, 2), (LogLevel::Trace, 5, 4)]
    {
        let lines = as_json(level, Arc::new(NoRedaction), || {
            tracing::error!("1");
            tracing::warn!("2");
            tracing::info!("3");
            tracing::debug!("4");
            tracing::trace!("5");
            tracing::error!(target: "library", "1");
            tracing::warn!(target: "library", "2");
            tracing::info!(target: "library", "3");
            tracing::debug!(target: "library", "4");
            tracing::trace!(target: "library", "5");
        });
        let theirs_seen = lines.iter().filter(|line| line.contains("\"event\":\"library\"")).count();
        assert_eq!((lines.len() - theirs_seen, theirs_seen), (ours, theirs), "{level:?}");
    }
}
