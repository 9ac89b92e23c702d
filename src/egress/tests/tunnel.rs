//! Connections to allowed hosts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::support::*;
use crate::domain::{ErrorCode, Fault, Millis};
use crate::egress::*;

fn origin(host: &str, port: u16) -> Origin {
    Origin { scheme: Scheme::Https, host: Host::parse(host).unwrap(), port }
}

fn allowing(hosts: &[String]) -> Terms {
    let mut terms = terms(&[]);
    terms.rules = HostRules::parse(hosts).unwrap();
    terms.caps.connect = Millis(2000);
    terms
}

async fn open(egress: &Egress, host: &str, port: u16) -> Result<Tunnel, Fault> {
    egress.tunnel(&origin(host, port), &allowing(&[format!("{host}:{port}")]), &CancellationToken::new()).await
}

/// What a server says in a tunnel after a request.
async fn said(tunnel: &mut Tunnel) -> String {
    let mut text = String::new();
    tunnel.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    tunnel.stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn an_allowed_host_is_reached_and_no_other() {
    let server = Server::start(|_| Reply::Say("here".into())).await;
    let egress = egress(&[&server]);
    let mut tunnel = open(&egress, "a.test", server.port).await.unwrap();
    assert_eq!((Some(tunnel.address), tunnel.proxied), (loopback(server.port), false));
    assert_eq!(said(&mut tunnel).await, "here");
    for (host, rules) in [("a.test", vec![]), ("a.test", vec!["a.test".to_owned()]), ("b.test", vec![format!("a.test:{}", server.port)])] {
        let fault = egress.tunnel(&origin(host, server.port), &allowing(&rules), &CancellationToken::new()).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::EgressDenied, "{}", fault.message);
    }
    // Allowed, but private and no exception.
    assert_eq!(open(&egress, "127.0.0.1", server.port).await.unwrap_err().code, ErrorCode::EgressDenied);
    assert_eq!(server.seen().len(), 1);
}

/// Of several addresses only checked ones are dialled, one after the other.
#[tokio::test]
async fn a_dead_address_does_not_hide_the_next() {
    let server = Server::start(|_| Reply::Say("here".into())).await;
    let resolver = Script::new(&[("a.test", &[&["2000::1", "127.0.0.1"]]), ("b.test", &[&["2000::1", "127.0.0.1"]])]);
    let private = vec![exception("a.test", server.port)];
    let egress = Egress::new(EgressOptions { resolver, private, ..options(&[]) }).unwrap();
    let mut tunnel = open(&egress, "a.test", server.port).await.unwrap();
    assert_eq!(said(&mut tunnel).await, "here");
    // Without an exception the inner one is left out, so nothing answers.
    let mut terms = allowing(&[format!("b.test:{}", server.port)]);
    terms.caps.connect = Millis(30);
    let fault = egress.tunnel(&origin("b.test", server.port), &terms, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(fault.code, ErrorCode::EgressFailed | ErrorCode::Timeout), "{}", fault.message);
    assert_eq!(server.seen().len(), 1);
}

/// A resolver that never answers.
struct Never;

#[async_trait]
impl Resolve for Never {
    async fn resolve(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn opening_ends_in_time_and_by_cancel() {
    let egress = Egress::new(EgressOptions { resolver: Arc::new(Never), ..options(&[]) }).unwrap();
    for (connect, wall) in [(20, 20_000), (20_000, 20)] {
        let mut terms = allowing(&["a.test".to_owned()]);
        (terms.caps.connect, terms.caps.wall) = (Millis(connect), Millis(wall));
        let fault = egress.tunnel(&origin("a.test", 443), &terms, &CancellationToken::new()).await.unwrap_err();
        assert_eq!((fault.code, fault.message.contains("20 ms")), (ErrorCode::Timeout, true), "{}", fault.message);
    }
    let cancel = CancellationToken::new();
    let terms = allowing(&["a.test".to_owned()]);
    let target = origin("a.test", 443);
    let opening = egress.tunnel(&target, &terms, &cancel);
    let (opened, ()) = tokio::join!(opening, async { cancel.cancel() });
    assert_eq!(opened.unwrap_err().code, ErrorCode::Cancelled);
}

fn through(proxy: &str, private: Vec<PrivateException>) -> Egress {
    Egress::new(EgressOptions { proxy: Some(proxy.parse().unwrap()), private, ..options(&[]) }).unwrap()
}

#[tokio::test]
async fn the_operators_proxy_is_asked_for_a_tunnel() {
    let proxy = Server::start(|_| Reply::Say("HTTP/1.0 200 Fine\r\nx: y\r\n\r\nfirst words".into())).await;
    let direct = Server::start(|_| Reply::Say("direct".into())).await;
    let url = format!("http://us%65r:p%40s%zs@127.0.0.1:{}", proxy.port);
    let egress = through(&url, vec![exception("a.test", direct.port)]);
    let mut tunnel = open(&egress, "public.test", 8443).await.unwrap();
    assert_eq!((Some(tunnel.address), tunnel.proxied), (loopback(proxy.port), true));
    let mut text = String::new();
    tunnel.stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "first words", "what follows the head is the far end's");
    let head = "CONNECT public.test:8443 HTTP/1.1\r\nhost: public.test:8443\r\nproxy-authorization: Basic dXNlcjpwQHMlenM=\r\n\r\n";
    assert_eq!(proxy.seen(), [head]);
    // What is near is not sent away; literal addresses are judged here.
    let mut tunnel = open(&egress, "a.test", direct.port).await.unwrap();
    assert_eq!((said(&mut tunnel).await.as_str(), tunnel.proxied), ("direct", false));
    for host in ["10.0.0.1", "[::ffff:169.254.169.254]"] {
        assert_eq!(open(&egress, host, 443).await.unwrap_err().code, ErrorCode::EgressDenied, "{host}");
    }
    assert_eq!(proxy.seen().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_gives_no_tunnel() {
    for (text, why) in [
        ("HTTP/1.1 403 inner words\r\n\r\n<b>inner words</b>", "status 403"),
        ("HTTP/1.1 407 Auth\r\nproxy-authenticate: inner words\r\n\r\n", "status 407"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP"),
        ("SSH-2.0-inner words\r\n\r\n", "not HTTP"),
        ("HTTP/1.1 200 OK\r\n", "closed"),
        ("", "closed"),
    ] {
        let proxy = Server::start(move |_| Reply::Say(text.into())).await;
        let fault = open(&through(&format!("http://127.0.0.1:{}", proxy.port), Vec::new()), "public.test", 443).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::EgressFailed, "{}", fault.message);
        assert!(fault.message.contains(why) && !format!("{fault:?}").contains("inner"), "{text:?}: {}", fault.message);
    }
    let endless = Server::start(|_| Reply::Flood("HTTP/1.1 200 OK\r\n".into(), "x: y\r\n".repeat(100))).await;
    let fault = open(&through(&format!("http://127.0.0.1:{}", endless.port), Vec::new()), "public.test", 443).await.unwrap_err();
    assert!(fault.message.contains("no end"), "{}", fault.message);
    let listening = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://127.0.0.1:{}", listening.local_addr().unwrap().port());
    let fault = open(&through(&url, Vec::new()), "public.test", 443).await.unwrap_err();
    assert!(fault.message.contains("TLS"), "{}", fault.message);
}
