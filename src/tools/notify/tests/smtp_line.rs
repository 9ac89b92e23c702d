//! The conversation with a mail server, against servers that do not keep to it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::*;
use super::out::mail;
use crate::domain::{MessageId, Timestamp};
use crate::egress::{Origin, Roots};

fn written() -> email::Written {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    let to = vec!["ann@example.com".parse().unwrap()];
    let letter = Letter { channel: "mail".into(), kind: "email", level: Level::Info, title: "T".into(), text: "t".into(), to };
    email::written(&Parcel { id: MessageId::mint(now), run: RunId::mint(now), queued: now, letter }, &mail(&["ann@example.com"])).unwrap()
}

/// A server that says this at once, reads a line before each further text, and gives all that it was told in plain text.
#[expect(clippy::disallowed_methods, reason = "a test has no app that ends its tasks")]
async fn says(texts: &'static [&'static str]) -> (TcpStream, Origin, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut told = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            while n > 0 && !told.ends_with(b"\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => told.push(byte),
                    Err(_) => return String::from_utf8_lossy(&told).into_owned(),
                }
            }
            stream.write_all(text.as_bytes()).await.unwrap();
            told.push(b'|');
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut told)).await;
        String::from_utf8_lossy(&told).into_owned()
    });
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    (stream, origin_of("127.0.0.1", port, false).unwrap(), server)
}

async fn attempt(texts: &'static [&'static str]) -> (Attempt, String) {
    let (stream, origin, server) = says(texts).await;
    let password = "a long password".to_owned().into();
    let attempt = smtp::hand_over(stream, (&origin, MailTls::StartTls, &Roots::new(None)), Some(("user", &password)), &written()).await;
    (attempt, server.await.unwrap())
}

#[tokio::test]
async fn without_tls_neither_mail_nor_login_is_said() {
    for texts in [
        // Somebody in between takes the offer away.
        &["220 hello\r\n", "250-hello\r\n250 AUTH PLAIN LOGIN\r\n", "250 ok\r\n", "250 ok\r\n"][..],
        &["220 hello\r\n", "250-hello\r\n250 STARTTLS\r\n", "502 no\r\n", "250 ok\r\n"],
        &["554 no\r\n", "250 ok\r\n"],
    ] {
        let (attempt, told) = attempt(texts).await;
        assert!(matches!(attempt, Attempt::Refused(_)), "{texts:?}: {attempt:?}");
        assert!(!told.contains("MAIL") && !told.contains("AUTH") && !told.contains("example.com"), "{told}");
    }
}

#[tokio::test]
async fn what_is_slipped_in_before_tls_counts_for_nothing() {
    // A reader that keeps what came with the yes to STARTTLS would take this for answers under TLS, and the mail for taken.
    let injected = "220 go\r\n250-hello\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n";
    let texts: &'static [&'static str] = Box::leak(Box::new(["220 hello\r\n", "250-hello\r\n250 STARTTLS\r\n", injected]));
    let (attempt, told) = attempt(texts).await;
    assert!(matches!(&attempt, Attempt::Later(fault, None) if fault.code == ErrorCode::EgressFailed), "{attempt:?}");
    assert!(!told.contains("AUTH") && !told.contains("MAIL"), "{told}");
}

#[tokio::test]
async fn a_busy_or_endless_greeting_is_tried_later() {
    let (busy, _) = attempt(&["421 busy\r\n"]).await;
    assert!(matches!(&busy, Attempt::Later(fault, None) if fault.message.contains("421") && !fault.message.contains("busy")), "{busy:?}");
    let endless: &'static str = Box::leak(format!("220-{}\r\n", "x".repeat(10_000)).into_boxed_str());
    let texts: &'static [&'static str] = Box::leak(Box::new([endless]));
    assert!(matches!(attempt(texts).await.0, Attempt::Later(..)));
    assert!(matches!(attempt(&["hello\r\n"]).await.0, Attempt::Later(..)));
    assert!(matches!(attempt(&["é\r\n"]).await.0, Attempt::Later(..)));
}
