//! A small HTTP/1.1 server for programs to talk to: each connection has a thread of its own, and nothing of it outlives the test process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;

/// The server's address, and what it was asked.
pub struct HttpServer {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<String>>,
    heard: Mutex<Vec<String>>,
    together: Mutex<usize>,
    changed: Condvar,
}

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl HttpServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = ours.clone();
                std::thread::spawn(move || drop(serve(&shared, stream)));
            }
        });
        Self { port, shared }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request so far: its first line, its headers and its body.
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Method and path of every request so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read(&mut reader)? {
        shared.asked.lock().unwrap().push(format!("{} {}", request.method, request.path));
        let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let query: String = request.query.iter().map(|(name, value)| format!("{name}={value}&")).collect();
        shared.heard.lock().unwrap().push(format!("{} {}?{query}\n{headers}\n{body}", request.method, request.path));
        answer(shared, &request, &mut stream)?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim().to_owned();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
        headers.push((name.to_owned(), value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path: path.to_owned(), query, headers, body }))
}

fn answer(shared: &Shared, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    let number = |name: &str| request.query.get(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    match request.path.as_str() {
        "/hello" => send(stream, request, "200 OK", &["Content-Type: text/plain"], b"hello"),
        "/echo" => {
            let body: String = request.body.iter().copied().map(char::from).collect();
            let echo = json!({ "method": request.method, "headers": request.headers, "body": body }).to_string();
            send(stream, request, "200 OK", &["Content-Type: application/json"], echo.as_bytes())
        }
        // A service that is careless with what it was sent.
        "/tickets" => {
            let sent = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            let title = format!("asked with {}", sent.map_or("nothing", |(_, value)| value));
            let tickets = json!([{ "id": 7, "title": title, "state": request.query.get("state") }]);
            send(stream, request, "200 OK", &["Content-Type: application/json"], tickets.to_string().as_bytes())
        }
        "/redirect" => send(stream, request, "302 Found", &["Location: /hello"], b""),
        "/away" => send(stream, request, "302 Found", &["Location: http://denied.invalid/"], b""),
        "/inside" => send(stream, request, "302 Found", &["Location: http://127.0.0.1:1/"], b""),
        "/chunked" => stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
        "/gzip" => send(stream, request, "200 OK", &["Content-Encoding: gzip", "Content-Type: text/plain"], GZIP),
        "/set-cookie" => send(stream, request, "200 OK", &["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/"], b"ok"),
        "/big" => send(stream, request, "200 OK", &[], &vec![b'x'; number("n")]),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(number("ms") as u64));
            send(stream, request, "200 OK", &[], b"late")
        }
        "/together" => {
            wait_for_company(shared, number("n"));
            send(stream, request, "200 OK", &[], b"together")
        }
        path => match path.strip_prefix("/status/") {
            Some("204") => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Some(status) => send(stream, request, &format!("{status} Status"), &[], b"as asked"),
            None => send(stream, request, "404 Not Found", &[], b"no such page"),
        },
    }
}

/// Returns once so many requests are waiting here at the same time.
fn wait_for_company(shared: &Shared, company: usize) {
    let mut waiting = shared.together.lock().unwrap();
    *waiting += 1;
    shared.changed.notify_all();
    let patience = Duration::from_secs(30);
    drop(shared.changed.wait_timeout_while(waiting, patience, |waiting| *waiting < company).unwrap());
}

fn send(stream: &mut TcpStream, request: &Request, status: &str, headers: &[&str], body: &[u8]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(body)?;
    }
    Ok(())
}

/// `hello, compressed`, by `gzip` with no name and time 0.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0x48, 0xce, 0xcf, 0x2d, 0x28,
    0x4a, 0x2d, 0x2e, 0x4e, 0x4d, 0x01, 0x00, 0x12, 0x7e, 0x19, 0x78, 0x11, 0x00, 0x00, 0x00,
];
