//! What is counted, as Prometheus reads it.
//!
//! INVARIANT: every label is of a bounded set: registered tools, codes, fixed words. What tells of what others do is in the whole text
//! alone; the text for everyone tells of the process.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::{ErrorCode, LimitOf, Measured, Meter, Timestamp};

use super::process::Process;

/// Stands for the name of a tool that does not exist, whatever it was called.
const NO_TOOL: &str = "(unknown)";

/// Bounds of times, in seconds: from a quick read to a call that waited for a human.
const SPANS_OF_CALLS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
/// Of commits, whose wait for the disk is a few milliseconds.
const SPANS_OF_COMMITS: [f64; 10] = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05, 0.1, 0.5, 2.0];

type One = [(&'static str, Cow<'static, str>); 1];
type Two = [(&'static str, Cow<'static, str>); 2];
type Times = Family<One, Histogram, fn() -> Histogram>;

/// All figures of the process.
pub struct Figures {
    of_process: Registry,
    of_house: Registry,
    process: ProcessGauges,
    calls: Family<Two, Counter>,
    call_times: Times,
    decisions: Family<One, Counter>,
    over_budget: Family<One, Counter>,
    appends: Histogram,
    failed_appends: Family<One, Counter>,
    sandbox_times: Times,
    hops: Family<One, Counter>,
    runs_ended: Family<One, Counter>,
    steps_ended: Family<One, Counter>,
    requests: Family<One, Counter>,
    connections: Gauge,
    sessions: Gauge,
    runs: Gauge,
    approvals: Gauge,
    dropped: Family<One, Counter>,
}

#[derive(Default)]
struct ProcessGauges {
    resident: Gauge,
    cpu: Gauge<f64, AtomicU64>,
    open_files: Gauge,
}

fn call_times() -> Histogram {
    Histogram::new(SPANS_OF_CALLS)
}

fn one(name: &'static str, value: &'static str) -> One {
    [(name, Cow::Borrowed(value))]
}

impl Figures {
    /// None yet, for a process that began `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let mut figures = Self {
            of_process: Registry::with_prefix("toolgate"),
            of_house: Registry::with_prefix("toolgate"),
            process: ProcessGauges::default(),
            calls: Family::default(),
            call_times: Family::new_with_constructor(call_times),
            decisions: Family::default(),
            over_budget: Family::default(),
            appends: Histogram::new(SPANS_OF_COMMITS),
            failed_appends: Family::default(),
            sandbox_times: Family::new_with_constructor(call_times),
            hops: Family::default(),
            runs_ended: Family::default(),
            steps_ended: Family::default(),
            requests: Family::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            runs: Gauge::default(),
            approvals: Gauge::default(),
            dropped: Family::default(),
        };
        figures.register_process(now);
        figures.register_house();
        figures
    }

    fn register_process(&mut self, now: Timestamp) {
        let (all, process) = (&mut self.of_process, &self.process);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The program", build);
        let begun: Gauge<f64, AtomicU64> = Gauge::default();
        begun.set(Duration::from_millis(now.unix_millis()).as_secs_f64());
        all.register("process_start_time_seconds", "When the process began, in seconds since 1970", begun);
        all.register("process_resident_memory_bytes", "Memory of the process", process.resident.clone());
        all.register("process_cpu_seconds", "Time of processors that the process used", process.cpu.clone());
        all.register("process_open_fds", "Files and sockets that the process has open", process.open_files.clone());
    }

    fn register_house(&mut self) {
        let all = &mut self.of_house;
        all.register("calls", "Calls that came to an outcome, by tool and error code (`ok` where there is none)", self.calls.clone());
        all.register("call_duration_seconds", "From a call's arrival to its outcome, waiting included", self.call_times.clone());
        all.register("decisions", "Decisions of policy, by verdict", self.decisions.clone());
        all.register("budget_refusals", "What limits turned away, by whose limit", self.over_budget.clone());
        all.register("journal_append_duration_seconds", "From an append to its durable commit", self.appends.clone());
        all.register("journal_append_failures", "Appends that were not recorded, by code", self.failed_appends.clone());
        all.register("sandbox_run_duration_seconds", "Programs that sandboxes ran, by sandbox", self.sandbox_times.clone());
        all.register("egress_requests", "Requests that went out, by class of the answer's status", self.hops.clone());
        all.register("runs_ended", "Runs of workflows that ended, by state", self.runs_ended.clone());
        all.register("steps_ended", "Attempts at steps of workflows that ended, by result", self.steps_ended.clone());
        all.register("http_requests", "Requests over HTTP, by status", self.requests.clone());
        all.register("http_connections_open", "Connections that are open", self.connections.clone());
        all.register("http_sessions_open", "Sessions that are open", self.sessions.clone());
        all.register("runs_active", "Runs of workflows of the home that are not over", self.runs.clone());
        all.register("approvals_waiting", "Questions of the home that wait for a human", self.approvals.clone());
        all.register("telemetry_dropped", "Spans and figures that did not reach the collector, by signal", self.dropped.clone());
    }

    /// All figures (`whole`), or those of the process alone, as OpenMetrics 1.0 text.
    #[must_use]
    pub fn text(&self, whole: bool) -> String {
        self.look_at_process();
        let mut text = String::with_capacity(8 << 10);
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut text, &self.of_process);
        if whole {
            let _ = encode_registry(&mut text, &self.of_house);
        }
        let _ = encode_eof(&mut text);
        text
    }

    fn look_at_process(&self) {
        let seen = Process::look();
        let count = |number: Option<u64>| i64::try_from(number.unwrap_or_default()).unwrap_or(i64::MAX);
        self.process.resident.set(count(seen.resident));
        self.process.cpu.set(seen.cpu.unwrap_or_default().as_secs_f64());
        self.process.open_files.set(count(seen.open_files));
    }
}

impl Meter for Figures {
    fn tell(&self, what: Measured<'_>) {
        match what {
            Measured::Call { tool, code, took } => {
                let tool: Cow<'static, str> = tool.map_or(Cow::Borrowed(NO_TOOL), |tool| Cow::Owned(tool.as_str().to_owned()));
                self.call_times.get_or_create(&[("tool", tool.clone())]).observe(took.as_secs_f64());
                let code = code.map_or("ok", ErrorCode::as_str);
                self.calls.get_or_create(&[("tool", tool), ("code", Cow::Borrowed(code))]).inc();
            }
            Measured::Decision { verdict } => _ = self.decisions.get_or_create(&one("verdict", verdict)).inc(),
            Measured::OverBudget { of } => _ = self.over_budget.get_or_create(&one("of", whose(of))).inc(),
            Measured::Append { took, code: None } => self.appends.observe(took.as_secs_f64()),
            Measured::Append { code: Some(code), .. } => _ = self.failed_appends.get_or_create(&one("code", code.as_str())).inc(),
            Measured::Sandbox { kind, took } => self.sandbox_times.get_or_create(&one("sandbox", kind)).observe(took.as_secs_f64()),
            Measured::Hop { status, code } => _ = self.hops.get_or_create(&one("class", class(status, code))).inc(),
            Measured::RunEnded { status } => _ = self.runs_ended.get_or_create(&one("status", status)).inc(),
            Measured::StepEnded { result } => _ = self.steps_ended.get_or_create(&one("result", result)).inc(),
            Measured::Request { status } => _ = self.requests.get_or_create(&[("status", Cow::Owned(status.to_string()))]).inc(),
            Measured::Connection(true) => _ = self.connections.inc(),
            Measured::Connection(false) => _ = self.connections.dec(),
            Measured::Sessions(open) => _ = self.sessions.set(i64::try_from(open).unwrap_or(i64::MAX)),
            Measured::Waiting { runs, approvals } => {
                self.runs.set(i64::try_from(runs).unwrap_or(i64::MAX));
                self.approvals.set(i64::try_from(approvals).unwrap_or(i64::MAX));
            }
            Measured::Dropped { signal, count } => {
                _ = self.dropped.get_or_create(&one("signal", signal)).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
    }
}

/// Whose limit, in a word.
pub(super) fn whose(of: LimitOf) -> &'static str {
    match of {
        LimitOf::Run => "run",
        LimitOf::Principal => "principal",
    }
}

/// What came of a request, in a word.
pub(super) fn class(status: Option<u16>, code: Option<ErrorCode>) -> &'static str {
    match (status, code) {
        (_, Some(ErrorCode::EgressDenied)) => "refused",
        (_, Some(_)) | (None, None) => "failed",
        (Some(100..=199), None) => "1xx",
        (Some(200..=299), None) => "2xx",
        (Some(300..=399), None) => "3xx",
        (Some(400..=499), None) => "4xx",
        (Some(_), None) => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_everyone_tells_nothing_of_what_others_do() {
        let figures = Figures::new(Timestamp::from_unix_millis(1_700_000_000_500));
        let tool = "python.run".parse().unwrap();
        figures.tell(Measured::Call { tool: Some(&tool), code: None, took: Duration::from_millis(3) });
        figures.tell(Measured::Call { tool: None, code: Some(ErrorCode::UnknownTool), took: Duration::from_millis(3) });
        figures.tell(Measured::Hop { status: Some(204), code: None });
        figures.tell(Measured::Waiting { runs: 2, approvals: 1 });
        let (whole, part) = (figures.text(true), figures.text(false));
        for line in [
            "toolgate_calls_total{tool=\"python.run\",code=\"ok\"} 1",
            "toolgate_calls_total{tool=\"(unknown)\",code=\"UNKNOWN_TOOL\"} 1",
            "toolgate_call_duration_seconds_bucket{le=\"0.005\",tool=\"python.run\"} 1",
            "toolgate_egress_requests_total{class=\"2xx\"} 1",
            "toolgate_approvals_waiting 1",
            "toolgate_runs_active 2",
        ] {
            assert!(whole.lines().any(|known| known == line), "{line}\n{whole}");
        }
        assert!(part.contains("toolgate_process_start_time_seconds 1700000000.5") && part.ends_with("# EOF\n"), "{part}");
        for word in ["calls", "tool=", "approvals", "runs", "egress", "http", "journal", "decisions"] {
            assert!(!part.contains(word), "{word}\n{part}");
        }
    }

    #[test]
    fn requests_have_one_class_each() {
        assert_eq!(class(Some(200), None), "2xx");
        assert_eq!(class(Some(200), Some(ErrorCode::LimitExceeded)), "failed");
        assert_eq!(class(None, Some(ErrorCode::EgressDenied)), "refused");
        assert_eq!(class(Some(503), None), "5xx");
    }
}
