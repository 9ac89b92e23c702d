//! Where values are put in, where they are not, and what of them comes back.

use std::borrow::Cow;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call::RedactStream;
use crate::egress::{
    Caps, Egress, EgressOptions, HostRules, NoCredentials, PrivateException, Request, RequestLog, RequestRecord, SystemResolver, Terms,
};

const VALUE: &str = "tok\"en+canary/77";

/// Knows one value, in the spellings of this test.
struct OneValue;

impl Redact for OneValue {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let quoted = serde_json::to_string(VALUE).unwrap();
        let packed = BASE64.encode(format!("user:{VALUE}"));
        let form: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
        let clean =
            [VALUE, quoted.trim_matches('"'), &packed, &form].iter().fold(text.to_owned(), |text, form| text.replace(form, "[GONE]"));
        if clean == text { Cow::Borrowed(text) } else { Cow::Owned(clean) }
    }
    fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Owned(self.text(text).into_owned().into_bytes()),
            Err(_) => Cow::Borrowed(bytes),
        }
    }
    fn value(&self, _: &mut Json) -> usize {
        0
    }
    fn known(&self, _: &mut Json) -> usize {
        0
    }
    fn may_touch(&self, _: &[u8]) -> bool {
        true
    }
    fn stream(&self) -> Box<dyn RedactStream> {
        crate::call::NoRedaction.stream()
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<RequestRecord>>);

#[async_trait]
impl RequestLog for Log {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        self.0.lock().unwrap().push(record);
        Ok(())
    }
}

fn borrowed(hosts: &[String]) -> Borrowed {
    let terms = crate::secrets::vault::Terms { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), ..Default::default() };
    let lent = Lent { name: "TOKEN".parse().unwrap(), value: VALUE.to_owned().into(), terms };
    Borrowed { lent: vec![lent], redact: Arc::new(OneValue), stand_in: "python.run" }
}

/// A server of one answer for each request; keeps what it was sent.
fn serve(answers: Vec<String>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            loop {
                let count = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() >= length.unwrap_or(0) || count == 0 {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            seen.push(text);
        }
        seen
    });
    (port, thread)
}

fn egress(ports: &[u16]) -> Egress {
    let private = ports.iter().map(|port| PrivateException { purpose: "python".into(), host: "127.0.0.1".into(), port: *port });
    Egress::new(EgressOptions {
        proxy: None,
        private: private.collect(),
        extra_roots_pem: None,
        resolver: Arc::new(SystemResolver),
        credentials: Arc::new(NoCredentials),
    })
    .unwrap()
}

struct Sent {
    answer: Result<Answer, Fault>,
    records: String,
}

async fn send(borrowed: &Borrowed, ports: &[u16], (headers, body): (&[(&str, &str)], &str), redirects: u8) -> Sent {
    let rules = HostRules::parse(ports.iter().map(|port| format!("127.0.0.1:{port}"))).unwrap();
    let terms = Terms { purpose: "python".into(), rules, caps: Caps { redirects, ..Caps::default() } };
    let request = Request {
        method: if body.is_empty() { "GET".into() } else { "POST".into() },
        url: format!("http://127.0.0.1:{}/", ports[0]),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    let log = Log::default();
    let answer = egress(ports).send_filled(request, &terms, borrowed, &CancellationToken::new(), &log).await;
    Sent { answer, records: format!("{:?}", log.0.lock().unwrap()) }
}

/// Headers and body as the program writes them, and what arrives.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, String);

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn values_are_put_into_headers_and_bodies_in_the_spelling_of_the_place() {
    let form: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
    let basic = BASE64.encode("user:{{secret:TOKEN}}");
    let cases: [Case<'_>; 5] = [
        (&[("x-key", "Bearer {{secret:TOKEN}}!")], "", format!("x-key: Bearer {VALUE}!")),
        (&[("authorization", &format!("Basic {basic}"))], "", format!("authorization: Basic {}", BASE64.encode(format!("user:{VALUE}")))),
        (&[("content-type", "application/json; charset=utf-8")], r#"{"k":"{{secret:TOKEN}}"}"#, r#"{"k":"tok\"en+canary/77"}"#.to_owned()),
        (&[("content-type", "text/plain")], "a {{secret:TOKEN}} b", format!("a {VALUE} b")),
        (&[], "k=%7B%7Bsecret%3ATOKEN%7D%7D&x=1", format!("k={form}&x=1")),
    ];
    for (headers, body, expected) in cases {
        let (port, server) = serve(vec![ok("", "fine")]);
        let sent = send(&borrowed(&[format!("http://127.0.0.1:{port}")]), &[port], (headers, body), 0).await;
        assert_eq!(&sent.answer.unwrap().body[..], b"fine");
        let seen = server.join().unwrap().remove(0);
        assert!(seen.contains(&expected) && !seen.contains("{{secret"), "{expected}: {seen}");
        assert!(!sent.records.contains("canary"), "{}", sent.records);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_port_or_scheme_that_the_secret_is_not_for() {
    let (port, _server) = serve(vec![]);
    let asked: &[(&str, &str)] = &[("x-key", "{{secret:TOKEN}}")];
    for hosts in [vec![], vec![format!("127.0.0.1:{port}")], vec!["http://127.0.0.1".to_owned()], vec![format!("http://localhost:{port}")]]
    {
        let sent = send(&borrowed(&hosts), &[port], (asked, ""), 0).await;
        let fault = sent.answer.unwrap_err();
        assert_eq!(fault.code, ErrorCode::SecretRefused, "{hosts:?}");
        assert!(fault.message.contains("nothing was sent") && !format!("{fault:?}").contains("canary"), "{fault:?}");
    }
    // In the body as well, and a name that the call was not lent.
    let sent = send(&borrowed(&[]), &[port], (&[], "{{secret:TOKEN}}"), 0).await;
    assert_eq!(sent.answer.unwrap_err().code, ErrorCode::SecretRefused);
    let sent = send(&borrowed(&[format!("http://127.0.0.1:{port}")]), &[port], (&[("x-key", "{{secret:OTHER}}")], ""), 0).await;
    assert!(sent.answer.unwrap_err().message.contains("may not use secret `OTHER`"));
    let nothing = Borrowed { lent: Vec::new(), redact: Arc::new(OneValue), stand_in: "python.run" };
    assert!(send(&nothing, &[port], (asked, ""), 0).await.answer.is_err(), "a placeholder without a secret is not sent either");
}

#[tokio::test]
async fn a_redirect_to_another_host_goes_on_without_the_secret() {
    let (other, there) = serve(vec![ok("", "landed")]);
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n");
    let (port, here) = serve(vec![moved]);
    let asked: &[(&str, &str)] = &[("x-key", "{{secret:TOKEN}}"), ("x-plain", "stays")];
    let sent = send(&borrowed(&[format!("http://127.0.0.1:{port}")]), &[port, other], (asked, ""), 3).await;
    assert_eq!(&sent.answer.unwrap().body[..], b"landed");
    assert!(here.join().unwrap()[0].contains(VALUE));
    let seen = there.join().unwrap().remove(0);
    // Left in place the header, or even only its placeholder, would tell the other host.
    assert!(!seen.contains("canary") && !seen.contains("x-key") && seen.contains("x-plain: stays"), "{seen}");

    let (other, there) = serve(vec![]);
    let moved = format!("HTTP/1.1 307 Same\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n");
    let (port, here) = serve(vec![moved]);
    let sent = send(&borrowed(&[format!("http://127.0.0.1:{port}")]), &[port, other], (&[], "{{secret:TOKEN}}"), 3).await;
    assert_eq!(sent.answer.unwrap_err().code, ErrorCode::SecretRefused, "a body cannot be sent without its secret");
    assert!(here.join().is_ok() && there.join().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_host_repeats_does_not_come_back() {
    let form: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
    let echo = format!("you sent {VALUE}, {}, {form}", BASE64.encode(format!("user:{VALUE}")));
    let (port, server) = serve(vec![ok(&format!("location: https://a.example/?t={VALUE}\r\nx-echo: {VALUE}\r\n"), &echo)]);
    let here = [format!("http://127.0.0.1:{port}")];
    let sent = send(&borrowed(&here), &[port], (&[("x-key", "{{secret:TOKEN}}")], ""), 0).await;
    let answer = sent.answer.unwrap();
    let text = format!("{answer:?}");
    assert!(!text.contains("canary") && text.contains("[GONE]"), "{text}");
    assert!(answer.headers.contains(&("content-length".into(), answer.body.len().to_string())), "{text}");
    server.join().unwrap();
    // Without the scrubbing the value is there: the attack is real.
    let (port, server) = serve(vec![ok("", &echo)]);
    let naive = Borrowed { redact: Arc::new(crate::call::NoRedaction), ..borrowed(&[format!("http://127.0.0.1:{port}")]) };
    let sent = send(&naive, &[port], (&[("x-other", "1")], ""), 0).await;
    assert!(String::from_utf8_lossy(&sent.answer.unwrap().body).contains("canary"));
    server.join().unwrap();
}

#[tokio::test]
async fn an_answer_that_is_packed_or_in_pieces_is_not_asked_for_and_not_taken() {
    for (headers, status) in [("content-encoding: gzip\r\n", "200 OK"), ("content-range: bytes 0-3/20\r\n", "206 Partial Content")] {
        let (port, server) = serve(vec![format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n{headers}\r\ntok\"")]);
        let asked: &[(&str, &str)] = &[("accept-encoding", "gzip, br"), ("range", "bytes=0-3"), ("if-range", "x")];
        let sent = send(&borrowed(&[format!("http://127.0.0.1:{port}")]), &[port], (asked, ""), 0).await;
        assert_eq!(sent.answer.unwrap_err().code, ErrorCode::EgressFailed);
        let seen = server.join().unwrap().remove(0).to_lowercase();
        assert!(seen.contains("accept-encoding: identity") && !seen.contains("range"), "{seen}");
    }
}

#[tokio::test]
async fn a_request_with_very_many_places_is_refused() {
    let (port, _server) = serve(vec![]);
    let here = [format!("http://127.0.0.1:{port}")];
    let sent = send(&borrowed(&here), &[port], (&[], &"{{secret:TOKEN}}".repeat(33)), 0).await;
    assert_eq!(sent.answer.unwrap_err().code, ErrorCode::LimitExceeded);
}
