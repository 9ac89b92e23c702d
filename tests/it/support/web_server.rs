//! A web server whose answers a test writes: bytes for each path, with a memory of what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// What is answered.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    manner: Manner,
}

/// How the body comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Whole,
    /// Twice the length that comes is told.
    Short,
    /// A byte, then another in a while, without end.
    Dripping,
}

impl Reply {
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), kind.into())], body: body.into(), manner: Manner::Whole }
    }

    pub fn html(body: &str) -> Self {
        Self::new(200, "text/html; charset=utf-8", body)
    }

    pub fn json(body: &serde_json::Value) -> Self {
        Self::new(200, "application/json", body.to_string())
    }

    pub fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// With half the body that its length tells.
    pub fn short(self) -> Self {
        Self { manner: Manner::Short, ..self }
    }

    /// With a body that never ends and hardly begins.
    pub fn dripping(self) -> Self {
        Self { manner: Manner::Dripping, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Answers = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server; its threads end with the test process.
pub struct WebServer {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl WebServer {
    pub fn start(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, answers): (Arc<Mutex<Vec<Asked>>>, Arc<Answers>) = (Arc::default(), Arc::new(answers));
        let ours = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answers) = (ours.clone(), answers.clone());
                std::thread::spawn(move || drop(serve(stream, &asked, &*answers)));
            }
        });
        Self { port, asked }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often this path was asked for.
    pub fn times(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path() == path).count()
    }
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Asked>>, answers: &Answers) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = Asked { method, target, headers, body };
    let reply = answers(&asked);
    all.lock().unwrap().push(asked);
    let length = match reply.manner {
        Manner::Whole => reply.body.len(),
        Manner::Short => 2 * reply.body.len() + 1,
        Manner::Dripping => 1 << 20,
    };
    let mut head = format!("HTTP/1.1 {} Status\r\nContent-Length: {length}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if reply.manner == Manner::Dripping {
        loop {
            stream.write_all(b" ")?;
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    stream.write_all(&reply.body)
}
