//! A collector that speaks OTLP over HTTP, well or badly, and keeps what it got.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::served::PATIENCE;

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Good,
    Failing,
    Silent,
}

/// The collector; its threads end with the test process.
pub struct Collector {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

/// A request: its path, its headers and its body.
#[derive(Clone)]
struct Got {
    path: String,
    head: String,
    body: Vec<u8>,
}

/// A span as tests look at it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub state: String,
    pub failed: bool,
    pub fields: Vec<(String, String)>,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Collector {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let keeps = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let got = keeps.clone();
                std::thread::spawn(move || take(stream, manner, &got));
            }
        });
        Self { port, got }
    }

    /// What a server needs to be told to send here.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [
            ("TOOLGATE_TELEMETRY_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("TOOLGATE_EGRESS_PRIVATE", format!("telemetry=127.0.0.1:{}", self.port)),
        ]
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    /// Whether these bytes stand anywhere in what came.
    pub fn holds(&self, text: &str) -> bool {
        let got = self.got.lock().unwrap();
        got.iter().any(|got| got.head.contains(text) || got.body.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// Every span that came.
    pub fn spans(&self) -> Vec<Seen> {
        let got = self.got.lock().unwrap().clone();
        let bodies = got.iter().filter(|got| got.path == "/v1/traces").map(|got| got.body.as_slice());
        let requests = bodies.map(|body| ExportTraceServiceRequest::decode(body).expect("not OTLP"));
        let spans = requests.flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
        spans.map(seen).collect()
    }

    /// Names of every figure that came, with the values of its labels.
    pub fn figures(&self) -> Vec<(String, String)> {
        let got = self.got.lock().unwrap().clone();
        let bodies = got.iter().filter(|got| got.path == "/v1/metrics").map(|got| got.body.as_slice());
        let requests = bodies.map(|body| ExportMetricsServiceRequest::decode(body).expect("not OTLP"));
        let all = requests.flat_map(|request| request.resource_metrics).flat_map(|of| of.scope_metrics).flat_map(|of| of.metrics);
        all.map(|metric| (metric.name.clone(), format!("{:?}", metric.data))).collect()
    }

    /// Waits until the spans that came are enough.
    pub fn wait_for(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if enough(&spans) {
                return spans;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {spans:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn seen(span: Span) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fields = span.attributes.iter().map(|field| {
        let value = field.value.as_ref().and_then(|value| value.value.clone());
        let text = match value {
            Some(Any::StringValue(text)) => text,
            Some(Any::IntValue(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        };
        (field.key.clone(), text)
    });
    assert!(span.events.is_empty(), "a line of the log in a trace: {:?}", span.events);
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        failed: span.status.as_ref().is_some_and(|status| status.code == 2),
        fields: fields.collect(),
        name: span.name,
    }
}

fn take(stream: TcpStream, manner: Manner, got: &Mutex<Vec<Got>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        head.push_str(&line);
        line.clear();
    }
    let length = head.lines().filter_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()).next();
    let mut body = vec![0; length.unwrap_or_default()];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    got.lock().unwrap().push(Got { path, head, body });
    let status = match manner {
        Manner::Good => "200 OK",
        Manner::Failing => "500 Internal Server Error",
        Manner::Silent => {
            // Until the other side gives up.
            let _ = reader.read(&mut [0; 1]);
            return;
        }
    };
    let mut stream = stream;
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}
