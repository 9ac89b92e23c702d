//! What the program is told when it gets no connection.
//!
//! INVARIANT: the text is ours; nothing a far end wrote is in it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::domain::{ErrorCode, Fault, Reader};

/// Most bytes taken from a program that goes on writing after its refusal.
const MAX_IGNORED: u64 = 256 << 10;

/// Why a connection ended before its time.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The program went away or broke off: its own business.
    Left,
    /// The far end broke off.
    Broken,
    /// It was ended here, with the status that says so where nothing was said yet.
    Refused(u16, Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        const STATUS: &[(ErrorCode, u16)] = &[
            (ErrorCode::EgressDenied, 403),
            (ErrorCode::InvalidInput, 400),
            (ErrorCode::LimitExceeded, 413),
            (ErrorCode::Timeout, 504),
            (ErrorCode::EgressFailed, 502),
        ];
        // Whatever else there may be is not the program's doing.
        let status = STATUS.iter().find(|(code, _)| *code == fault.code).map_or(500, |(_, status)| *status);
        Self::Refused(status, fault)
    }
}

/// What was sent is not a request that is taken.
pub(super) fn malformed(why: &str) -> Fault {
    Fault::new(ErrorCode::InvalidInput, format!("the request to the proxy cannot be read: {why}"))
        .hint("send `CONNECT host:port HTTP/1.1` for https, or `GET http://host/path HTTP/1.1`, one request per connection")
}

/// The whole answer.
pub(super) fn answer(status: u16, fault: &Fault) -> String {
    let (message, hint) = match fault.code.reader() {
        Reader::Model | Reader::Policy => (fault.message.as_str(), fault.hint.as_deref()),
        Reader::Internal => ("the proxy has a fault of its own", Some("this is not a mistake in the request")),
    };
    let mut body = format!("{}: {message}\n", fault.code.as_str());
    if let Some(hint) = hint {
        body.push_str(hint);
        body.push('\n');
    }
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

/// Ends what is written, then reads away what the program still sends: closed at once, the connection would be reset, and the program
/// might never see the answer.
pub(super) async fn farewell(client: &mut TcpStream) -> std::io::Result<()> {
    client.shutdown().await?;
    tokio::io::copy(&mut client.take(MAX_IGNORED), &mut tokio::io::sink()).await.map(drop)
}
