//! TLS with a root certificate of the operator's, and without.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::support::*;
use crate::domain::ErrorCode;
use crate::egress::*;

/// A root and a server that shows a certificate for `name`; it tells the name it was asked for.
pub(super) fn serve(name: &str, connections: usize) -> (String, u16, std::thread::JoinHandle<Vec<Option<String>>>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &root).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming().take(connections) {
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = stream.unwrap();
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let mut request = [0; 4096];
            if tls.read(&mut request).is_ok_and(|count| count > 0) {
                tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").unwrap();
                connection.send_close_notify();
                let _ = connection.complete_io(&mut stream);
            }
            asked.push(connection.server_name().map(str::to_owned));
        }
        asked
    });
    (root.pem(), port, thread)
}

/// What a thread gives; the runtime goes on meanwhile, as closing a connection is its work.
pub(super) async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_extra_root_is_trusted_and_only_for_its_names() {
    let (pem, port, server) = serve("a.test", 3);
    let trusting = Egress::new(EgressOptions { extra_roots_pem: Some(pem.into_bytes()), ..options(&[port]) }).unwrap();
    let plain = Egress::new(options(&[port])).unwrap();
    let terms = Terms { rules: HostRules::parse(NAMES.iter().map(|name| format!("{name}:{port}"))).unwrap(), ..terms(&[]) };
    let log = Log::default();
    let url = |name: &str| format!("https://{name}:{port}/");

    let answer = send(&trusting, get(&url("a.test")), &terms, &log).await.unwrap();
    assert_eq!(&answer.body[..], b"secret");
    for (egress, name, expected) in [(&trusting, "b.test", "another name"), (&plain, "a.test", "not trusted")] {
        let fault = send(egress, get(&url(name)), &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::EgressFailed, "{}", fault.message);
        assert!(fault.message.contains(expected), "{}", fault.message);
    }
    let asked: Vec<_> = joined(server).await.into_iter().flatten().collect();
    assert_eq!(asked, ["a.test", "b.test", "a.test"], "the name is told although an address is dialled");
}

/// A proxy that opens one tunnel to this port, and gives the head it was sent.
pub(super) fn tunnel(to: u16) -> (u16, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let count = near.read(&mut head).unwrap();
        let mut far = std::net::TcpStream::connect(("127.0.0.1", to)).unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let _ = std::io::copy(&mut near, &mut far);
        let _ = far.shutdown(std::net::Shutdown::Write);
        let _ = back.join().unwrap();
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    (port, thread)
}

#[tokio::test]
async fn https_goes_through_a_proxy_unread() {
    let (pem, port, server) = serve("public.test", 1);
    let (proxy, tunnelled) = tunnel(port);
    let egress = Egress::new(EgressOptions {
        proxy: Some(format!("http://user:pass@127.0.0.1:{proxy}").parse().unwrap()),
        extra_roots_pem: Some(pem.into_bytes()),
        ..options(&[])
    })
    .unwrap();
    let terms = Terms { rules: HostRules::parse(["public.test"]).unwrap(), ..terms(&[]) };
    let log = Log::default();
    let request = with(get("https://public.test/x"), &[("Authorization", "Bearer mine")]);
    let answer = send(&egress, request, &terms, &log).await.unwrap();
    assert_eq!(&answer.body[..], b"secret");
    assert_eq!((log.records()[0].proxied, log.records()[0].address), (true, loopback(proxy)));
    drop(egress);
    assert_eq!(joined(server).await, [Some("public.test".to_owned())]);
    let head = joined(tunnelled).await;
    assert!(head.starts_with("CONNECT public.test:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic") && !head.contains("mine"), "{head}");
}

/// A redirect from https to http is refused before anything is dialled.
#[test]
fn https_does_not_fall_back() {
    let hop = || hop::Hop::first(get("https://a.test/"), &Caps::default()).unwrap();
    let refusal = hop().follow(302, "http://a.test/", &Caps::default()).unwrap_err();
    assert_eq!(refusal.fault.code, ErrorCode::EgressDenied);
    assert!(refusal.target.is_some());
    assert!(hop().follow(302, "//a.test/", &Caps::default()).is_ok());
}
