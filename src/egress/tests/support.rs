//! A server of a few lines, a log in memory, a resolver with a script.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault, Millis};
use crate::egress::*;

/// What the server does after it has read a request.
pub(crate) enum Reply {
    /// Writes this and closes.
    Say(String),
    /// Writes this and waits until the other side goes.
    Hang(String),
    /// Writes the first, then the second without end.
    Flood(String, String),
    /// Waits a little, then writes this and closes.
    Late(String),
    /// Writes a byte, then another whenever there is time.
    Drip(String),
}

pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    /// Told once a request was read and the reply has begun.
    pub(crate) began: Arc<Notify>,
    /// Told once a connection has ended: the reply was done, or the other side went.
    pub(crate) left: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, began, left) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (shared, reply) = ((seen.clone(), began.clone(), left.clone()), Arc::new(reply));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let ((seen, began, left), reply) = (shared.clone(), reply.clone());
                connections.spawn(async move {
                    let mut stream = stream;
                    if let Some(request) = read(&mut stream).await {
                        let what = reply(&request);
                        seen.lock().unwrap().push(request);
                        perform(stream, what, &began).await;
                    }
                    left.notify_one();
                });
            }
        });
        Self { port, seen, began, left, _tasks: tasks }
    }

    /// Answers everything with this status, these header lines and body.
    pub(crate) async fn fixed(status: u16, headers: &str, body: &str) -> Self {
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
        Self::start(move |_| Reply::Say(text.clone())).await
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }
}

pub(crate) fn ok(headers: &str, body: &str) -> Reply {
    Reply::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

pub(crate) fn redirect(status: u16, location: &str) -> Reply {
    Reply::Say(format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 6\r\n\r\nsecret"))
}

/// Head and body, or nothing where the client went without a request.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap()));
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

async fn perform(mut stream: TcpStream, reply: Reply, began: &Notify) {
    match reply {
        Reply::Late(text) => {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Say(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            began.notify_one();
        }
        Reply::Hang(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            began.notify_one();
            while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
        }
        Reply::Flood(first, rest) => {
            stream.write_all(first.as_bytes()).await.unwrap();
            began.notify_one();
            while stream.write_all(rest.as_bytes()).await.is_ok() {}
        }
        Reply::Drip(first) => {
            stream.write_all(first.as_bytes()).await.unwrap();
            began.notify_one();
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(5));
            while stream.write_all(b"x").await.is_ok() {
                pause.tick().await;
            }
        }
    }
}

/// Names and the answers given for them, one after the other; the last one stays.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let read = |answers: &[&[&str]]| answers.iter().map(|a| a.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        let answers = names.iter().map(|(name, answers)| ((*name).to_owned(), read(answers))).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::default() })
    }

    /// The names asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Resolve for Script {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name).ok_or_else(|| std::io::Error::other("no such name"))?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

#[derive(Default)]
pub(crate) struct Log {
    records: Mutex<Vec<RequestRecord>>,
    broken: bool,
}

impl Log {
    pub(crate) fn broken() -> Self {
        Self { broken: true, ..Self::default() }
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Host, status and error of each record.
    pub(crate) fn brief(&self) -> Vec<(String, Option<u16>, Option<ErrorCode>)> {
        self.records().into_iter().map(|r| (r.host, r.status, r.error)).collect()
    }
}

#[async_trait]
impl RequestLog for Log {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::new(ErrorCode::StoreFailed, "the disk is full"));
        }
        self.records.lock().unwrap().push(record);
        Ok(())
    }
}

/// The names that lead to the loopback in most tests.
pub(crate) const NAMES: &[&str] = &["a.test", "b.test"];

pub(crate) fn options(ports: &[u16]) -> EgressOptions {
    let private = NAMES.iter().flat_map(|name| ports.iter().map(|port| exception(name, *port))).collect();
    let local: &[&[&str]] = &[&["127.0.0.1"]];
    EgressOptions {
        proxy: None,
        private,
        extra_roots_pem: None,
        resolver: Script::new(&NAMES.iter().map(|name| (*name, local)).collect::<Vec<_>>()),
        credentials: Arc::new(NoCredentials),
    }
}

pub(crate) fn exception(host: &str, port: u16) -> PrivateException {
    PrivateException { purpose: "test".into(), host: host.into(), port }
}

/// A client for which `a.test` and `b.test` may be reached at these servers.
pub(crate) fn egress(servers: &[&Server]) -> Egress {
    Egress::new(options(&servers.iter().map(|server| server.port).collect::<Vec<_>>())).unwrap()
}

/// The same after one request, so that root certificates are loaded before a test that counts milliseconds.
pub(crate) async fn warm(server: &Server, caps: &Caps) -> Egress {
    let quick = Server::fixed(200, "", "").await;
    let (egress, mut terms) = (egress(&[server, &quick]), terms(&[&quick]));
    terms.caps.connect = caps.connect;
    send(&egress, get(&quick.url("a.test", "/")), &terms, &Log::default()).await.unwrap();
    egress
}

pub(crate) fn get(url: &str) -> Request {
    Request { method: "GET".into(), url: url.into(), headers: Vec::new(), body: bytes::Bytes::new() }
}

pub(crate) fn with(mut request: Request, headers: &[(&str, &str)]) -> Request {
    request.headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    request
}

/// Terms that allow the names above at these servers.
pub(crate) fn terms(servers: &[&Server]) -> Terms {
    let hosts = NAMES.iter().flat_map(|name| servers.iter().map(move |server| format!("{name}:{}", server.port)));
    let caps = Caps { wall: Millis(20_000), ..Caps::default() };
    Terms { purpose: "test".into(), rules: HostRules::parse(hosts).unwrap(), caps }
}

pub(crate) async fn send(egress: &Egress, request: Request, terms: &Terms, log: &Log) -> Result<Answer, Fault> {
    egress.send(request, terms, &CancellationToken::new(), log).await
}

pub(crate) fn loopback(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
}

/// A client as one would first write it, for what bites it.
pub(crate) fn naive() -> reqwest::ClientBuilder {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// Inner addresses, in every spelling that some reader of URLs takes for one.
pub const INNER: [&str; 20] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "１２７.0.0.1",
    "127.0.0.1.",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "a.test",
    "A.TEST",
];
