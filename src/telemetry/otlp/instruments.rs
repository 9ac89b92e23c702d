//! The same figures as at `/metrics`, as a collector takes them.

use std::sync::atomic::{AtomicI64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter as Instrument, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::domain::{ErrorCode, Measured, Meter};
use crate::telemetry::figures::{NO_TOOL, SPANS_OF_CALLS, SPANS_OF_COMMITS, class, whose};

/// One instrument for each figure.
pub(super) struct Instruments {
    calls: Histogram<f64>,
    decisions: Counter<u64>,
    over_budget: Counter<u64>,
    appends: Histogram<f64>,
    failed_appends: Counter<u64>,
    sandboxes: Histogram<f64>,
    hops: Counter<u64>,
    runs_ended: Counter<u64>,
    steps_ended: Counter<u64>,
    requests: Counter<u64>,
    connections: Gauge<i64>,
    connections_open: AtomicI64,
    sessions: Gauge<u64>,
    runs: Gauge<u64>,
    approvals: Gauge<u64>,
    dropped: Counter<u64>,
}

impl Instruments {
    pub(super) fn of(provider: &SdkMeterProvider) -> Self {
        let all: Instrument = provider.meter("toolgate");
        let counter = |name: &'static str, about: &'static str| all.u64_counter(name).with_description(about).build();
        let gauge = |name: &'static str, about: &'static str| all.u64_gauge(name).with_description(about).build();
        let times = |name: &'static str, about: &'static str, bounds: &[f64]| {
            all.f64_histogram(name).with_unit("s").with_description(about).with_boundaries(bounds.to_vec()).build()
        };
        Self {
            calls: times("toolgate.call.duration", "From a call's arrival to its outcome, by tool and code", &SPANS_OF_CALLS),
            decisions: counter("toolgate.decisions", "Decisions of policy, by verdict"),
            over_budget: counter("toolgate.budget.refusals", "What limits turned away"),
            appends: times("toolgate.journal.append.duration", "From an append to its durable commit", &SPANS_OF_COMMITS),
            failed_appends: counter("toolgate.journal.append.failures", "Appends that were not recorded, by code"),
            sandboxes: times("toolgate.sandbox.run.duration", "Programs that sandboxes ran", &SPANS_OF_CALLS),
            hops: counter("toolgate.egress.requests", "Requests that went out, by class of status"),
            runs_ended: counter("toolgate.runs.ended", "Runs of workflows that ended, by state"),
            steps_ended: counter("toolgate.steps.ended", "Attempts at steps that ended, by result"),
            requests: counter("toolgate.http.requests", "Requests over HTTP, by status"),
            connections: all.i64_gauge("toolgate.http.connections").with_description("Connections that are open").build(),
            connections_open: AtomicI64::new(0),
            sessions: gauge("toolgate.http.sessions", "Sessions that are open"),
            runs: gauge("toolgate.runs.active", "Runs of workflows of the home that are not over"),
            approvals: gauge("toolgate.approvals.waiting", "Questions of the home that wait for a human"),
            dropped: counter("toolgate.telemetry.dropped", "What did not reach the collector, by signal"),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Meter for Instruments {
    fn tell(&self, what: Measured<'_>) {
        match what {
            Measured::Call { tool, code, took } => {
                let tool = tool.map_or_else(|| NO_TOOL.to_owned(), |tool| tool.as_str().to_owned());
                let labels = [KeyValue::new("tool", tool), KeyValue::new("code", code.map_or("ok", ErrorCode::as_str))];
                self.calls.record(took.as_secs_f64(), &labels);
            }
            Measured::Decision { verdict } => self.decisions.add(1, &[KeyValue::new("verdict", verdict)]),
            Measured::OverBudget { of } => self.over_budget.add(1, &[KeyValue::new("of", whose(of))]),
            Measured::Append { took, code: None } => self.appends.record(took.as_secs_f64(), &[]),
            Measured::Append { code: Some(code), .. } => self.failed_appends.add(1, &[KeyValue::new("code", code.as_str())]),
            Measured::Sandbox { kind, took } => self.sandboxes.record(took.as_secs_f64(), &[KeyValue::new("sandbox", kind)]),
            Measured::Hop { status, code } => self.hops.add(1, &[KeyValue::new("class", class(status, code))]),
            Measured::RunEnded { status } => self.runs_ended.add(1, &[KeyValue::new("status", status)]),
            Measured::StepEnded { result } => self.steps_ended.add(1, &[KeyValue::new("result", result)]),
            Measured::Request { status } => self.requests.add(1, &[KeyValue::new("status", i64::from(status))]),
            Measured::Connection(opened) => {
                let change = if opened { 1 } else { -1 };
                let open = self.connections_open.fetch_add(change, Ordering::Relaxed) + change;
                self.connections.record(open, &[]);
            }
            Measured::Sessions(open) => self.sessions.record(count(open), &[]),
            Measured::Waiting { runs, approvals } => {
                self.runs.record(count(runs), &[]);
                self.approvals.record(count(approvals), &[]);
            }
            Measured::Dropped { signal, count: lost } => self.dropped.add(count(lost), &[KeyValue::new("signal", signal)]),
        }
    }
}
