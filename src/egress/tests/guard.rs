//! Names, addresses, exceptions and the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;

use super::support::*;
use crate::domain::{ErrorCode, Millis};
use crate::egress::*;

/// An address that is global unicast by its prefix and that nobody routes to.
const NOBODY: &str = "2000::1";

/// The resolver turned into what a library calls when it dials: asked again each time.
struct Asked(Arc<Script>);

impl reqwest::dns::Resolve for Asked {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let script = self.0.clone();
        Box::pin(async move {
            let found = script.resolve(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as reqwest::dns::Addrs)
        })
    }
}

#[tokio::test]
async fn a_name_that_turns_inward_is_resolved_once() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let url = inner.url("turn.test", "/");
    let turning = || Script::new(&[("turn.test", &[&[NOBODY], &["127.0.0.1"]])]);

    // Naive: resolve, check, then let the library dial the name.
    let script = turning();
    for address in script.resolve("turn.test").await.unwrap() {
        address::judge(address).unwrap();
    }
    let naive = naive().dns_resolver(Asked(script)).build().unwrap();
    assert_eq!(naive.get(&url).send().await.unwrap().text().await.unwrap(), "inner secret");

    let script = turning();
    let egress = Egress::new(EgressOptions { resolver: script.clone(), ..options(&[]) }).unwrap();
    let mut terms = terms(&[]);
    terms.rules = HostRules::parse([format!("turn.test:{}", inner.port)]).unwrap();
    terms.caps.connect = Millis(20);
    let log = Log::default();
    let fault = send(&egress, get(&url), &terms, &log).await.unwrap_err();
    assert!(matches!(fault.code, ErrorCode::EgressFailed | ErrorCode::Timeout), "{}", fault.message);
    assert_eq!(script.asked(), ["turn.test"]);
    assert_eq!(log.records()[0].address, Some(SocketAddr::new(NOBODY.parse().unwrap(), inner.port)));
    assert_eq!(inner.seen().len(), 1, "only the naive client came");
    // The next request asks again, and is refused.
    assert_eq!(send(&egress, get(&url), &terms, &log).await.unwrap_err().code, ErrorCode::EgressDenied);
    assert_eq!(inner.seen().len(), 1);
}

/// Of several addresses only those that passed are dialled.
#[tokio::test]
async fn inner_addresses_among_others_are_left_out() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let script = Script::new(&[("mixed.test", &[&["127.0.0.1", NOBODY, "::ffff:127.0.0.1"]])]);
    let egress = Egress::new(EgressOptions { resolver: script, ..options(&[]) }).unwrap();
    let mut terms = terms(&[]);
    terms.rules = HostRules::parse([format!("mixed.test:{}", inner.port)]).unwrap();
    terms.caps.connect = Millis(20);
    let log = Log::default();
    let fault = send(&egress, get(&inner.url("mixed.test", "/")), &terms, &log).await.unwrap_err();
    assert!(matches!(fault.code, ErrorCode::EgressFailed | ErrorCode::Timeout), "{}", fault.message);
    assert_eq!(log.records()[0].address, Some(SocketAddr::new(NOBODY.parse().unwrap(), inner.port)));
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn addresses_in_every_spelling_are_refused() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let egress = Egress::new(options(&[])).unwrap();
    for host in INNER {
        let mut terms = terms(&[]);
        terms.rules = HostRules::parse([format!("{host}:{}", inner.port)]).unwrap();
        let log = Log::default();
        let fault = send(&egress, get(&inner.url(host, "/")), &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::EgressDenied, "{host}: {}", fault.message);
        assert!(fault.message.contains("not public"), "{host}: {}", fault.message);
        assert_eq!((log.records()[0].error, log.records()[0].address), (Some(ErrorCode::EgressDenied), None), "{host}");
    }
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn an_exception_is_exact() {
    let server = Server::fixed(200, "", "x").await;
    let other = Server::fixed(200, "", "x").await;
    let private = vec![exception("A.Test.", server.port)];
    let egress = Egress::new(EgressOptions { private, ..options(&[]) }).unwrap();
    for (purpose, url, allowed) in [
        ("test", server.url("a.test", "/"), true),
        ("Test", server.url("a.test", "/"), false),
        ("", server.url("a.test", "/"), false),
        ("test", server.url("b.test", "/"), false),
        ("test", server.url("127.0.0.1", "/"), false),
        ("test", other.url("a.test", "/"), false),
    ] {
        let mut terms = terms(&[]);
        terms.purpose = purpose.into();
        let ports = [server.port, other.port];
        terms.rules = HostRules::parse(["a.test", "b.test", "127.0.0.1"].iter().flat_map(|h| ports.map(|p| format!("{h}:{p}")))).unwrap();
        let answer = send(&egress, get(&url), &terms, &Log::default()).await;
        assert_eq!(answer.is_ok(), allowed, "{purpose} {url}");
    }
    // An address as an exception is meant in any spelling.
    let private = vec![exception("[::ffff:7f00:1]", server.port)];
    let egress = Egress::new(EgressOptions { private, ..options(&[]) }).unwrap();
    let terms = Terms { rules: HostRules::parse([format!("127.0.0.1:{}", server.port)]).unwrap(), ..terms(&[]) };
    assert!(send(&egress, get(&server.url("0x7f.1", "/")), &terms, &Log::default()).await.is_ok());
    // An exception is not a rule: without one the host stays closed.
    let none = Terms { rules: HostRules::default(), ..terms };
    let fault = send(&egress, get(&server.url("a.test", "/")), &none, &Log::default()).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::EgressDenied);
    assert!(other.seen().is_empty());
}

/// A named exception must not become a way to the machine's credentials.
#[tokio::test]
async fn a_named_exception_does_not_open_metadata_services() {
    let resolver = Script::new(&[("a.test", &[&["169.254.169.254"]])]);
    let egress = Egress::new(EgressOptions { resolver, private: vec![exception("a.test", 80)], ..options(&[]) }).unwrap();
    let terms = Terms { rules: HostRules::parse(["a.test"]).unwrap(), ..terms(&[]) };
    assert_eq!(send(&egress, get("http://a.test/"), &terms, &Log::default()).await.unwrap_err().code, ErrorCode::EgressDenied);
}

#[tokio::test]
async fn options_that_cannot_be_used() {
    let base = || options(&[]);
    let fails = |options| Egress::new(options).err().map(|fault: crate::domain::Fault| (fault.code, fault.message)).unwrap();
    for (code, message) in [
        fails(EgressOptions { private: vec![exception("*.a.test", 80)], ..base() }),
        fails(EgressOptions { private: vec![exception("a.test:80", 80)], ..base() }),
        fails(EgressOptions { proxy: Some("socks5://user:pw@p.test:1080".parse().unwrap()), ..base() }),
        fails(EgressOptions { extra_roots_pem: Some(b"no certificate".to_vec()), ..base() }),
    ] {
        assert_eq!(code, ErrorCode::ConfigInvalid, "{message}");
        assert!(!message.contains("pw"), "{message}");
    }
}

#[tokio::test]
async fn a_proxy_gets_what_passed_the_rules() {
    let proxy = Server::start(|_| ok("", "from the proxy")).await;
    let direct = Server::fixed(200, "", "direct").await;
    let script = Script::new(&[("proxy.test", &[&["127.0.0.1"]]), ("a.test", &[&["127.0.0.1"]])]);
    let egress = Egress::new(EgressOptions {
        proxy: Some(format!("http://user:pass@proxy.test:{}", proxy.port).parse().unwrap()),
        private: vec![exception("a.test", direct.port)],
        resolver: script.clone(),
        ..options(&[])
    })
    .unwrap();
    let mut terms = terms(&[]);
    terms.rules = HostRules::parse(["public.test".into(), "10.0.0.1".into(), format!("a.test:{}", direct.port)]).unwrap();
    let log = Log::default();

    let answer = send(&egress, get("http://public.test/x"), &terms, &log).await.unwrap();
    assert_eq!(&answer.body[..], b"from the proxy");
    assert!(proxy.seen()[0].starts_with("GET http://public.test/x HTTP/1.1\r\n"), "{}", proxy.seen()[0]);
    assert!(proxy.seen()[0].contains("proxy-authorization: Basic dXNlcjpwYXNz"), "{}", proxy.seen()[0]);
    assert_eq!(script.asked(), ["proxy.test"], "the name is the proxy's to resolve");
    assert_eq!((log.records()[0].proxied, log.records()[0].address), (true, loopback(proxy.port)));

    // Rules and literal addresses are still checked here.
    for url in ["http://c.test/", "http://10.0.0.1/"] {
        assert_eq!(send(&egress, get(url), &terms, &log).await.unwrap_err().code, ErrorCode::EgressDenied, "{url}");
    }
    assert_eq!(proxy.seen().len(), 1);
    // What is near is not sent away.
    let answer = send(&egress, get(&direct.url("a.test", "/")), &terms, &log).await.unwrap();
    assert_eq!(&answer.body[..], b"direct");
    assert!(!direct.seen()[0].contains("proxy-"), "{}", direct.seen()[0]);
    assert_eq!(log.records().last().map(|r| r.proxied), Some(false));
}

/// A resolver with one answer, whatever it is asked.
struct Always(Vec<IpAddr>);

#[async_trait]
impl Resolve for Always {
    async fn resolve(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

/// Told in other words than the guard's table.
fn inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            matches!(first, 0 | 10 | 127 | 224..) || a.is_private() || a.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(a) => {
            a.to_ipv4_mapped().map_or_else(|| a.segments()[0] >> 13 != 1 && a.segments()[..2] != [0x64, 0xff9b], |a| inner(a.into()))
        }
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped())),
        (0..4_u32, 0..1000_u32).prop_map(|(net, host)| {
            let nets = [0x7f00_0000, 0x0a00_0000, 0xa9fe_0000, 0xc0a8_0000];
            IpAddr::V4(Ipv4Addr::from(nets[net as usize] + host))
        }),
        Just(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ]
}

proptest! {
    #[test]
    fn no_inner_address_is_ever_given_to_dial(answers in prop::collection::vec(any_address(), 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let origin = Origin { scheme: Scheme::Https, host: Host::Name("x.test".into()), port: 443 };
        let guard = resolve::Guard::new(&[]).unwrap();
        match runtime.block_on(guard.addresses(&Always(answers.clone()), "test", &origin)) {
            Ok(addresses) => {
                prop_assert!(!addresses.is_empty());
                for address in addresses {
                    prop_assert!(!inner(address.ip()), "{}", address);
                    prop_assert!(answers.iter().any(|a| a.to_canonical() == address.ip()));
                }
            }
            Err(fault) if answers.is_empty() => prop_assert_eq!(fault.code, ErrorCode::EgressFailed),
            Err(fault) => prop_assert_eq!(fault.code, ErrorCode::EgressDenied),
        }
    }
}
