//! What an honest program gets.

use std::io::{Read, Write};

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use super::*;
use crate::egress::tests::tls;

#[tokio::test]
async fn a_plain_request_and_its_answer() {
    let server =
        Server::start(|_| ok("keep-alive: 5\r\nConnection: keep-alive, X-Hop\r\nx-hop: 1\r\nProxy-Thing: 1\r\nx-kept: 1\r\n", "hello"))
            .await;
    let (egress, terms) = at(server.port);
    let proxy = Running::start(&egress, terms);
    let request = format!(
        "GET http://A.Test.:{port}/a/./b?secret=1 HTTP/1.1\r\nHost: a.test:{port}\r\nProxy-Authorization: Basic eA==\r\n\
         Proxy-Connection: keep-alive\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         X-Other:  y z \r\n\r\n",
        port = server.port
    );
    let answer = proxy.ask(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(
        answer.contains("x-kept: 1") && !answer.contains("x-hop") && !answer.contains("keep-alive") && !answer.contains("proxy"),
        "{answer}"
    );
    let expected = format!("GET /a/b?secret=1 HTTP/1.1\r\nhost: a.test:{}\r\nconnection: close\r\nx-other: y z\r\n\r\n", server.port);
    assert_eq!(server.seen(), std::slice::from_ref(&expected));

    let records = proxy.records(1).await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.method.as_str(), record.scheme.as_str(), record.host.as_str(), record.port), ("GET", "http", "a.test", server.port));
    assert_eq!((record.path.as_str(), record.status, record.error), ("/a/b", Some(200), None));
    assert_eq!((record.address, record.proxied, record.purpose.as_str()), (loopback(server.port), false, "test"));
    assert_eq!(record.bytes_out.0, expected.len() as u64);
    assert!(record.bytes_in.0 > 60, "{record:?}");
}

#[tokio::test]
async fn a_tunnel_carries_a_tls_handshake() {
    let (pem, port, server) = tls::serve("a.test", 1);
    let (egress, terms) = at(port);
    let proxy = Running::start(&egress, terms);
    let proxy_port = proxy.port;
    let client = std::thread::spawn(move || {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", proxy_port)).unwrap();
        stream.write_all(&connect_to(&format!("a.test:{port}"))).unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        let name = ServerName::try_from("a.test").unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut secure = rustls::Stream::new(&mut connection, &mut stream);
        secure.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        secure.read_to_string(&mut answer).unwrap();
        (String::from_utf8(said).unwrap(), answer)
    });
    let (said, answer) = tls::joined(client).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(answer.ends_with("secret"), "{answer}");
    assert_eq!(tls::joined(server).await, [Some("a.test".to_owned())]);
    let records = proxy.records(1).await;
    assert_eq!((records.len(), records[0].method.as_str(), records[0].path.as_str()), (1, "CONNECT", ""));
    assert_eq!((records[0].status, records[0].error, records[0].address), (Some(200), None, loopback(port)));
    assert!(records[0].bytes_in.0 > 500 && records[0].bytes_out.0 > 200, "{:?}", records[0]);
}

/// A program that begins to speak before it hears that the tunnel is open loses nothing.
#[tokio::test]
async fn bytes_sent_with_the_head_of_a_tunnel_arrive() {
    let raw = Raw::start("early later", "answer").await;
    let (egress, terms) = at(raw.port);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    let mut early = connect_to(&format!("a.test:{}", raw.port));
    early.extend(b"early ");
    stream.write_all(&early).await.unwrap();
    head(&mut stream).await;
    stream.write_all(b"later").await.unwrap();
    assert_eq!(rest(&mut stream).await.0, "answer");
    assert_eq!(raw.got(), "early later");
}

#[tokio::test]
async fn a_side_that_has_said_everything_still_hears() {
    // The server answers once the program has ended its writing, and only then.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (text, end) = rest(&mut stream).await;
            assert_eq!(end, Ok(()));
            let body = format!("{} bytes", text.split_once("\r\n\r\n").map_or(text.len(), |(_, body)| body.len()));
            let _ = stream.write_all(body.as_bytes()).await;
        }
    });
    let (egress, terms) = at(port);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    stream.write_all(&connect_to(&format!("a.test:{port}"))).await.unwrap();
    head(&mut stream).await;
    stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, ("100000 bytes".to_owned(), Ok(())));
    assert_eq!(proxy.records(1).await[0].error, None);

    // Plain http: the program ends its writing with the request, and the answer comes.
    let server = Server::start(|_| Reply::Late("HTTP/1.1 200 OK\r\n\r\nlate".into())).await;
    let (egress, terms) = at(server.port);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    stream.write_all(&get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(rest(&mut stream).await.0.ends_with("\r\n\r\nlate"));
}

#[tokio::test]
async fn bodies_pass_as_they_are() {
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Content-Length: 0", ""),
        ("Transfer-Encoding: Chunked", "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
    ] {
        let raw = Raw::start(if body.is_empty() { "\r\n\r\n" } else { body }, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let (egress, terms) = at(raw.port);
        let proxy = Running::start(&egress, terms);
        let request = format!("POST http://a.test:{0}/ HTTP/1.1\r\nHost: a.test:{0}\r\n{framing}\r\n\r\n{body}", raw.port);
        // Byte by byte as well, so that every boundary lies between two reads.
        for piece in [request.len(), 1] {
            raw.got.lock().unwrap().clear();
            let mut stream = proxy.connect().await;
            for bytes in request.as_bytes().chunks(piece) {
                stream.write_all(bytes).await.unwrap();
            }
            let answer = rest(&mut stream).await.0;
            assert!(answer.ends_with("\r\n\r\nok"), "{framing}: {answer}");
            let got = raw.got();
            assert!(got.ends_with(&format!("{}\r\n\r\n{body}", framing.to_lowercase())), "{framing}: {got}");
        }
    }
}

#[tokio::test]
async fn a_program_that_waits_before_its_body_is_told_to_go_on() {
    let raw = Raw::start("hello", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (egress, terms) = at(raw.port);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    let request =
        format!("PUT http://a.test:{0}/ HTTP/1.1\r\nHost: a.test:{0}\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n", raw.port);
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let answer = rest(&mut stream).await.0;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "interim answers end here: {answer}");
    assert!(!raw.got().contains("xpect"), "{}", raw.got());
}

#[tokio::test]
async fn a_tunnel_leads_through_the_operators_proxy() {
    let (pem, port, server) = tls::serve("public.test", 1);
    drop(pem);
    let (upstream, tunnelled) = tls::tunnel(port);
    let options = EgressOptions { proxy: Some(format!("http://us%65r:p%40ss@127.0.0.1:{upstream}").parse().unwrap()), ..options(&[]) };
    let proxy = Running::start(&Egress::new(options).unwrap(), allowing(&["public.test", "10.0.0.1"]));
    // A literal address is judged here, although the other proxy would dial it.
    assert_eq!(status(&proxy.ask(&connect_to("10.0.0.1:443")).await), "403");
    let mut stream = proxy.connect().await;
    stream.write_all(&connect_to("PUBLIC.test.:443")).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(b"not TLS at all").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(!rest(&mut stream).await.0.is_empty(), "the server answers with an alert");
    tls::joined(server).await;
    let head = tls::joined(tunnelled).await;
    assert_eq!(head, "CONNECT public.test:443 HTTP/1.1\r\nhost: public.test:443\r\nproxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n");
    let records = proxy.records(2).await;
    assert_eq!((records[1].proxied, records[1].address, records[1].host.as_str()), (true, loopback(upstream), "public.test"));
}
