//! The one page to which a person's browser comes back from the sign-in service.
//!
//! INVARIANT: it listens on 127.0.0.1 at a port that the system chose, hears only a request that brings the one state it waits for, hears one,
//! and is gone. What else comes is turned away and changes nothing. No answer repeats anything of a request.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use url::Url;

use crate::domain::{ErrorCode, Fault};

/// Where the browser comes back to.
const PATH: &str = "/drive/callback";
/// Bytes of a request's head, and how long it may take to come.
const MOST_HEAD: usize = 8 << 10;
const HEAD_WAIT: Duration = Duration::from_secs(5);
/// Connections at the same time.
const MOST_OPEN: usize = 16;

/// The page.
pub(super) struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// What the browser brought.
enum Brought {
    Code(SecretString),
    /// The person said no, or the service did.
    Refused,
}

impl Loopback {
    /// Listens.
    pub(super) async fn open() -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::internal(format!("no port of this machine can be listened on: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port })
    }

    /// Where the service is to send the browser.
    pub(super) fn address(&self) -> Result<Url, Fault> {
        Url::parse(&format!("http://127.0.0.1:{}{PATH}", self.port)).map_err(|error| Fault::internal(error.to_string()))
    }

    /// The code that came with this state.
    ///
    /// # Errors
    /// `DRIVE_REFUSED` where the person said no.
    pub(super) async fn code(self, state: &str) -> Result<SecretString, Fault> {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                came = self.listener.accept(), if open.len() < MOST_OPEN => {
                    if let Ok((stream, _)) = came {
                        open.push(timeout(HEAD_WAIT, self.hear(stream, state)));
                    }
                }
                Some(heard) = open.next() => match heard {
                    Ok(Some(Brought::Code(code))) => return Ok(code),
                    Ok(Some(Brought::Refused)) => {
                        return Err(Fault::new(ErrorCode::DriveRefused, "the login was not allowed in the browser").hint("run `toolgate drive login` again, and allow it there"));
                    }
                    Ok(None) | Err(_) => {}
                },
            }
        }
    }

    async fn hear(&self, mut stream: TcpStream, state: &str) -> Option<Brought> {
        let mut head = Vec::new();
        let mut part = [0_u8; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
            head.extend_from_slice(part.get(..count)?);
            if head.len() > MOST_HEAD {
                break;
            }
        }
        let brought = read(&head, self.port, state);
        let (status, words) = match &brought {
            Ok(Brought::Code(_)) => ("200 OK", "The login has come. You can close this page and go back to the terminal."),
            Ok(Brought::Refused) => ("200 OK", "Nothing was allowed. You can close this page."),
            Err(status) => (*status, "This is not the login that is waited for."),
        };
        let page = format!("<!doctype html><meta charset=utf-8><title>toolgate</title><p>{words}</p>");
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\
             x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        // The code counts, whether or not the browser waits for its page.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        brought.ok()
    }
}

/// What a request brings, or the status that it gets.
fn read(head: &[u8], port: u16, state: &str) -> Result<Brought, &'static str> {
    const BAD: &str = "400 Bad Request";
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let (head, _) = head.split_once("\r\n\r\n").ok_or(BAD)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next().unwrap_or_default(), words.next());
    if method != Some("GET") || !version.is_some_and(|version| version.starts_with("HTTP/1.")) || words.next().is_some() {
        return Err("405 Method Not Allowed");
    }
    // A page elsewhere whose name leads here asks with that name.
    let mut hosts =
        lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, host)| host.trim());
    if hosts.next() != Some(format!("127.0.0.1:{port}").as_str()) || hosts.next().is_some() {
        return Err("421 Misdirected Request");
    }
    let (path, query) = target.split_once('?').ok_or("404 Not Found")?;
    if path != PATH {
        return Err("404 Not Found");
    }
    let mut brought: [Option<String>; 3] = [None, None, None];
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = ["state", "code", "error"].iter().position(|known| *known == name).and_then(|at| brought.get_mut(at));
        if let Some(place) = place
            && place.replace(value.into_owned()).is_some()
        {
            return Err(BAD);
        }
    }
    match brought {
        [Some(came), code, error] if same(&came, state) => match (code, error) {
            (Some(code), None) if !code.is_empty() => Ok(Brought::Code(code.into())),
            (None, Some(_)) => Ok(Brought::Refused),
            _ => Err(BAD),
        },
        _ => Err("403 Forbidden"),
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn heard(head: &str) -> Result<Option<String>, &'static str> {
        read(head.as_bytes(), 80, "the-state").map(|brought| match brought {
            Brought::Code(code) => Some(code.expose_secret().to_owned()),
            Brought::Refused => None,
        })
    }

    #[test]
    fn only_the_one_answer_is_heard() {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAccept: */*\r\n\r\n");
        assert_eq!(heard(&get("/drive/callback?state=the-state&code=4%2Fabc&scope=x")), Ok(Some("4/abc".to_owned())));
        assert_eq!(heard(&get("/drive/callback?error=access_denied&state=the-state")), Ok(None));
        for (head, status) in [
            (get("/drive/callback?state=the-statf&code=x"), "403"),
            (get("/drive/callback?code=x"), "403"),
            (get("/drive/callback?state=&code=x"), "403"),
            (get("/drive/callback?state=the-state"), "400"),
            (get("/drive/callback?state=the-state&code="), "400"),
            (get("/drive/callback?state=the-state&code=x&error=y"), "400"),
            (get("/drive/callback?state=the-state&state=the-state&code=x"), "400"),
            (get("/drive/callback?state=the-state&code=x&code=y"), "400"),
            (get("/favicon.ico"), "404"),
            (get("/drive/callback/?state=the-state&code=x"), "404"),
            (get("/drive/callback?state=the-state&code=x").replace("GET", "POST"), "405"),
            (get("/drive/callback?state=the-state&code=x").replace("127.0.0.1:80", "evil.example:80"), "421"),
            (get("/drive/callback?state=the-state&code=x").replace("127.0.0.1:80", "localhost:80"), "421"),
            (get("/drive/callback?state=the-state&code=x").replace("Accept: */*", "Host: evil.example"), "421"),
            (get("/drive/callback?state=the-state&code=x").replace("\r\n\r\n", "\r\n"), "400"),
            ("\r\n\r\n".to_owned(), "405"),
        ] {
            assert!(heard(&head).is_err_and(|told| told.starts_with(status)), "{head}: {:?}", heard(&head));
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test has no app that ends its tasks")]
    async fn it_listens_on_this_machine_alone_and_hears_once() {
        let page = Loopback::open().await.unwrap();
        assert!(page.listener.local_addr().unwrap().ip().is_loopback());
        let port = page.port;
        let waiting = tokio::spawn(async move { page.code("the-state").await });
        let ask = async |target: &str| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.map(|_| answer)
        };
        // One that says nothing holds up nobody.
        let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert!(ask("/drive/callback?state=wrong&code=stolen").await.unwrap().starts_with("HTTP/1.1 403"));
        let good = ask("/drive/callback?state=the-state&code=good").await.unwrap();
        assert!(good.starts_with("HTTP/1.1 200") && !good.contains("good") && good.contains("default-src 'none'"), "{good}");
        assert_eq!(waiting.await.unwrap().unwrap().expose_secret(), "good");
        assert!(ask("/drive/callback?state=the-state&code=again").await.is_err(), "nobody listens any more");
    }
}
