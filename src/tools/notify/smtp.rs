//! A mail server, spoken to over a connection that egress dialled.
//!
//! INVARIANT: where the channel wants TLS nothing but greetings is said before it is there: neither name nor mail, and what the server says
//! before counts for nothing after. No text of the server's is repeated.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::domain::{ErrorCode, Fault};
use crate::egress::{Origin, Roots};

use super::email::Written;
use super::{Attempt, MailTls};

/// The longest that the end of a conversation may take; the mail is taken by then.
const FAREWELL: Duration = Duration::from_secs(1);
/// Longest answer before TLS is there.
const MOST_GREETING: usize = 8 << 10;
/// What lettre waits for at the beginning of a connection; where TLS came later, the server greeted before it.
const GREETED: &[u8] = b"220 secured\r\n";

/// Hands mail over by this connection.
pub(super) async fn hand_over(
    mut stream: TcpStream,
    (origin, tls, roots): (&Origin, MailTls, &Roots),
    login: Option<(&str, &SecretString)>,
    mail: &Written,
) -> Attempt {
    let line: Result<Box<dyn AsyncTokioStream>, Attempt> = match (tls, stream.peer_addr()) {
        (_, Err(_)) => Err(Attempt::Later(broke_off(origin), None)),
        (MailTls::Plain, Ok(peer)) => Ok(Box::new(Line { greeting: b"", stream, peer })),
        (MailTls::Implicit, Ok(peer)) => secured(stream, peer, b"", (origin, roots)).await,
        (MailTls::StartTls, Ok(peer)) => match start_tls(&mut stream, origin).await {
            Ok(()) => secured(stream, peer, GREETED, (origin, roots)).await,
            Err(attempt) => Err(attempt),
        },
    };
    let spoken = match line {
        Ok(line) => converse(line, login, mail).await,
        Err(attempt) => return attempt,
    };
    match spoken {
        Ok(()) => Attempt::Taken,
        Err(error) => attempt_of(&error, origin),
    }
}

async fn secured(
    stream: TcpStream,
    peer: SocketAddr,
    greeting: &'static [u8],
    (origin, roots): (&Origin, &Roots),
) -> Result<Box<dyn AsyncTokioStream>, Attempt> {
    match roots.secure(stream, origin).await {
        Ok(stream) => Ok(Box::new(Line { greeting, stream, peer })),
        Err(fault) => Err(Attempt::Later(fault, None)),
    }
}

async fn converse(
    line: Box<dyn AsyncTokioStream>,
    login: Option<(&str, &SecretString)>,
    mail: &Written,
) -> Result<(), lettre::transport::smtp::Error> {
    let mut connection = AsyncSmtpConnection::connect_with_transport(line, &ClientId::default()).await?;
    if let Some((user, password)) = login {
        let credentials = Credentials::new(user.to_owned(), password.expose_secret().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }
    connection.send(&mail.envelope, &mail.bytes).await?;
    // It is taken; how the conversation ends changes nothing.
    let _ = tokio::time::timeout(FAREWELL, connection.quit()).await;
    Ok(())
}

/// Asks for TLS. Read byte by byte, as what follows the server's yes must be the handshake and nothing that was slipped in before it.
async fn start_tls(stream: &mut TcpStream, origin: &Origin) -> Result<(), Attempt> {
    let refused = |why: &str| Attempt::Refused(failed(origin, why).hint("`tls = \"none\"` is for an excepted private host alone"));
    let busy = |code: u16| Attempt::Later(failed(origin, &format!("it answered {code}")), None);
    match answer(stream).await.map_err(|_| Attempt::Later(broke_off(origin), None))? {
        (220, _) => {}
        (code @ 400..=499, _) => return Err(busy(code)),
        (code, _) => return Err(refused(&format!("it greeted with {code}"))),
    }
    let mut said = async |words: &[u8]| -> io::Result<(u16, Vec<String>)> {
        stream.write_all(words).await?;
        answer(stream).await
    };
    let (code, lines) = said(b"EHLO [127.0.0.1]\r\n").await.map_err(|_| Attempt::Later(broke_off(origin), None))?;
    if code != 250 || !lines.iter().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
        return Err(refused("it does not offer STARTTLS"));
    }
    match said(b"STARTTLS\r\n").await.map_err(|_| Attempt::Later(broke_off(origin), None))? {
        (220, _) => Ok(()),
        (code @ 400..=499, _) => Err(busy(code)),
        (code, _) => Err(refused(&format!("it answered STARTTLS with {code}"))),
    }
}

/// One answer: its code, and what stands after the code in each of its lines.
async fn answer(stream: &mut TcpStream) -> io::Result<(u16, Vec<String>)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut lines, mut line, mut read) = (Vec::new(), Vec::new(), 0);
    loop {
        line.push(stream.read_u8().await?);
        read += 1;
        if read > MOST_GREETING {
            return Err(bad());
        }
        if !line.ends_with(b"\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        let (code, rest) = text.split_at_checked(3).ok_or_else(bad)?;
        let code: u16 = code.parse().map_err(|_| bad())?;
        let is_last = !rest.starts_with('-');
        lines.push(rest.chars().skip(1).collect());
        if is_last {
            return Ok((code, lines));
        }
    }
}

fn attempt_of(error: &lettre::transport::smtp::Error, origin: &Origin) -> Attempt {
    match error.status() {
        Some(code) if error.is_permanent() => Attempt::Refused(failed(origin, &format!("it refused with {code}"))),
        Some(code) => Attempt::Later(failed(origin, &format!("it put the mail off with {code}")), None),
        None if error.is_client() => Attempt::Refused(failed(origin, "it does not offer what this mail or login needs")),
        None => Attempt::Later(broke_off(origin), None),
    }
}

fn failed(origin: &Origin, why: &str) -> Fault {
    Fault::new(ErrorCode::NotifyFailed, format!("the mail server `{}:{}` did not take the mail: {why}", origin.host, origin.port))
}

fn broke_off(origin: &Origin) -> Fault {
    Fault::new(ErrorCode::EgressFailed, format!("the connection to the mail server `{}:{}` broke off", origin.host, origin.port))
}

/// A connection that may begin with bytes that are known already.
struct Line<S> {
    greeting: &'static [u8],
    stream: S,
    peer: SocketAddr,
}

impl<S> fmt::Debug for Line<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line to {}", self.peer)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Line<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(into.remaining()));
        into.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
