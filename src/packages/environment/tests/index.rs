//! A package index on this machine: pages, files, or redirects, each at a port of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;

enum Gives {
    /// Pages whose links go to `host:port`, or stay here; perhaps only to who shows a login.
    Pages(PathBuf, String, Option<String>),
    Files(PathBuf),
    RedirectTo(String),
}

/// The server, until it is dropped.
pub(super) struct Index {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Drop for Index {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Index {
    pub(super) fn pages(folder: &Path, files: &str, login: Option<&str>) -> Self {
        let login = login.map(|login| format!("basic {}", base64::engine::general_purpose::STANDARD.encode(login).to_ascii_lowercase()));
        Self::start(Gives::Pages(folder.to_owned(), files.to_owned(), login))
    }

    pub(super) fn files(folder: &Path) -> Self {
        Self::start(Gives::Files(folder.to_owned()))
    }

    pub(super) fn redirecting(place: &str) -> Self {
        Self::start(Gives::RedirectTo(place.to_owned()))
    }

    pub(super) fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn url(&self, login: &str) -> String {
        format!("http://{login}{}/simple", self.place())
    }

    fn start(gives: Gives) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (port, stop) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let (gives, ends) = (Arc::new(gives), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let gives = Arc::clone(&gives);
                        std::thread::spawn(move || answer(stream, &gives));
                    }
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(3)),
                }
            }
        });
        Self { port, stop }
    }
}

fn answer(mut stream: TcpStream, gives: &Gives) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let (method, path) = (first.split(' ').next()?, first.split(' ').nth(1)?);
    let (status, extra, body) = match gives {
        Gives::RedirectTo(place) => ("302 Found", format!("Location: http://{place}{path}\r\n"), Vec::new()),
        Gives::Files(folder) => file(folder, path),
        Gives::Pages(_, _, Some(login)) if !headers.contains(&format!("authorization: {login}")) => {
            ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n".into(), Vec::new())
        }
        Gives::Pages(folder, _, _) if path.starts_with("/files/") => file(folder, path),
        Gives::Pages(folder, files, _) => page(folder, files, path),
    };
    let head = format!("HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body).ok()?;
    }
    Some(())
}

fn file(folder: &Path, path: &str) -> (&'static str, String, Vec<u8>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    fs::read(folder.join(name)).map_or(("404 Not Found", String::new(), Vec::new()), |bytes| {
        ("200 OK", "Content-Type: application/octet-stream\r\n".into(), bytes)
    })
}

fn page(folder: &Path, files: &str, path: &str) -> (&'static str, String, Vec<u8>) {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let base = if files.is_empty() { "/files/".to_owned() } else { format!("http://{files}/files/") };
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let links: Vec<String> =
        names.filter(|file| file.starts_with(&format!("{name}-"))).map(|file| format!("<a href=\"{base}{file}\">{file}</a>")).collect();
    match links.is_empty() {
        true => ("404 Not Found", String::new(), Vec::new()),
        false => (
            "200 OK",
            "Content-Type: text/html\r\n".into(),
            format!("<!doctype html><html><body>{}</body></html>", links.join("\n")).into_bytes(),
        ),
    }
}
