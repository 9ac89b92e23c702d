//! The proxy of a program, against real servers on the loopback.

mod end;
mod hostile;
mod ordinary;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::support::*;
use crate::domain::{Fault, Millis};
use crate::egress::*;

/// A log that tells when it was written to.
#[derive(Default)]
struct Kept {
    log: Log,
    news: Notify,
}

#[async_trait]
impl RequestLog for Kept {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let kept = self.log.record(record).await;
        self.news.notify_one();
        kept
    }
}

/// A proxy that serves.
struct Running {
    port: u16,
    kept: Arc<Kept>,
    stop: CancellationToken,
    served: JoinSet<()>,
}

impl Running {
    fn start(egress: &Egress, terms: ProxyTerms) -> Self {
        Self::logged(egress, terms, Log::default())
    }

    fn logged(egress: &Egress, terms: ProxyTerms, log: Log) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, stop) = (listener.local_addr().unwrap().port(), CancellationToken::new());
        let kept = Arc::new(Kept { log, ..Kept::default() });
        let mut served = JoinSet::new();
        served.spawn(serve(egress.clone(), listener, terms, kept.clone(), stop.clone()));
        Self { port, kept, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap()
    }

    /// Says something, ends nothing, and reads up to the other end; a reset ends it as well.
    async fn ask(&self, text: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may be refused before it is all written.
        let _ = stream.write_all(text).await;
        rest(&mut stream).await.0
    }

    /// The records, once there are so many and the proxy has ended.
    async fn records(mut self, count: usize) -> Vec<RequestRecord> {
        while self.kept.log.records().len() < count {
            self.kept.news.notified().await;
        }
        self.stop.cancel();
        self.served.join_next().await.unwrap().unwrap();
        let records = self.kept.log.records();
        assert_eq!(records.len(), count, "{records:?}");
        records
    }
}

/// What is left to read, and whether it ended as it should.
async fn rest(stream: &mut TcpStream) -> (String, Result<(), ErrorKind>) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65536]);
    let end = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => break Err(error.kind()),
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

/// Up to the end of a head and no further.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// Terms with short times that allow these hosts.
fn allowing(hosts: &[&str]) -> ProxyTerms {
    let mut terms = ProxyTerms::new(terms(&[]));
    terms.terms.rules = HostRules::parse(hosts).unwrap();
    terms.terms.caps.connect = Millis(2000);
    terms
}

/// Client and terms for `a.test` at a port.
fn at(port: u16) -> (Egress, ProxyTerms) {
    (Egress::new(options(&[port])).unwrap(), allowing(&[&format!("a.test:{port}")]))
}

fn connect_to(host: &str) -> Vec<u8> {
    format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn get_of(url: &str, host: &str) -> Vec<u8> {
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

/// A server that keeps every byte it is sent, answers once what it got ends with `until`, and reads on.
struct Raw {
    port: u16,
    got: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Raw {
    async fn start(until: &'static str, answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, got) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<u8>>>::default());
        let (shared, mut tasks) = (got.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut answered, mut buffer) = (false, [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    shared.lock().unwrap().extend_from_slice(&buffer[..count]);
                    let complete = shared.lock().unwrap().ends_with(until.as_bytes());
                    if complete && !answered {
                        answered = true;
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                }
            }
        });
        Self { port, got, _tasks: tasks }
    }

    fn got(&self) -> String {
        String::from_utf8_lossy(&self.got.lock().unwrap()).into_owned()
    }
}
