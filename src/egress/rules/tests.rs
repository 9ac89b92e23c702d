use proptest::prelude::*;

use super::*;
use crate::domain::host::Host;
use crate::egress::Scheme;
use crate::egress::target::Target;

fn rules(entries: &[&str]) -> HostRules {
    HostRules::parse(entries).unwrap()
}

/// Whether rules allow a URL; a URL that is refused is not allowed.
fn allows(entries: &[&str], url: &str) -> bool {
    Target::parse(url, 8192).is_ok_and(|target| rules(entries).allows(&target.origin))
}

#[test]
fn an_empty_list_allows_nothing() {
    // The naive reading, "no list, no limit", would let everything pass.
    let naive = |entries: &[&str], host: &str| entries.is_empty() || entries.contains(&host);
    assert!(naive(&[], "example.com"));
    assert!(!allows(&[], "https://example.com/"));
    assert!(!HostRules::default().allows(&Origin { scheme: Scheme::Https, host: Host::parse("example.com").unwrap(), port: 443 }));
}

#[test]
fn what_matches() {
    for (entry, url, expected) in [
        ("example.com", "https://example.com/x", true),
        ("example.com", "http://example.com/", true),
        ("example.com", "https://EXAMPLE.com./", true),
        ("EXAMPLE.COM.", "https://example.com/", true),
        ("example.com", "https://example.com:8443/", false),
        ("example.com", "http://example.com:443/", false),
        ("example.com", "https://example.com:80/", false),
        ("example.com:443", "http://example.com:443/", true),
        ("example.com:8443", "https://example.com:8443/", true),
        ("example.com:8443", "https://example.com/", false),
        ("example.com", "https://www.example.com/", false),
        ("example.com", "https://example.com.evil.net/", false),
        ("example.com", "https://notexample.com/", false),
        ("*.example.com", "https://www.example.com/", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://evilexample.com/", false),
        ("*.example.com", "https://example.com.evil.org/", false),
        ("*.example.com", "https://evilexample.com/", false),
        ("*.example.com:8080", "http://a.example.com:8080/", true),
        ("bücher.example", "https://xn--bcher-kva.example/", true),
        ("xn--bcher-kva.example", "https://Bücher.example/", true),
        ("127.0.0.1", "http://0x7f.1/", true),
        ("127.0.0.1", "http://0177.0.0.1/", true),
        ("127.0.0.1", "http://2130706433/", true),
        ("127.0.0.1", "http://127.0.0.1/", true),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]/", true),
        ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/", true),
        ("[::1]", "http://[::1]/", true),
        ("[::1]", "http://[::2]/", false),
        ("*.0.com", "http://1.0.com/", true),
    ] {
        assert_eq!(allows(&[entry], url), expected, "{entry} {url}");
    }
    assert!(allows(&["a.test", "b.test"], "http://b.test/"));
}

#[test]
fn entries_that_are_refused() {
    for (entry, why) in [
        ("", "empty"),
        ("a\0.com", "NUL"),
        ("allowed.com\0.evil.net", "NUL"),
        ("a.com\r\nb.com", "line break"),
        ("a.com\n", "line break"),
        ("a\u{1b}.com", "control"),
        (" a.com", "white space"),
        ("a%2ecom", "`%`"),
        ("[fe80::1%eth0]", "`%`"),
        ("user@a.com", "user name"),
        ("a.com/path", "path"),
        ("a.com\\path", "path"),
        ("a.com?x", "path"),
        ("a.com#x", "path"),
        ("https://a.com", "scheme"),
        ("a..com", "empty label"),
        (".a.com", "empty label"),
        ("a.com..", "empty label"),
        (".", "empty"),
        ("*", "wildcard"),
        ("*.", "empty"),
        ("*.*.com", "wildcard"),
        ("a.*.com", "wildcard"),
        ("a*.com", "wildcard"),
        ("*a.com", "wildcard"),
        ("*.127.0.0.1", "address"),
        ("*.[::1]", "address"),
        ("::1", "brackets"),
        ("fe80::1:80", "brackets"),
        ("[::1", "brackets"),
        ("[::1]x", "brackets"),
        ("[1.2.3.4]", "IPv6"),
        ("a.com:", "port"),
        ("a.com:0", "port"),
        ("a.com:+80", "port"),
        ("a.com:65536", "port"),
        ("a.com:http", "port"),
        ("-a.com", "`-`"),
        ("a-.com", "`-`"),
        ("a!b.com", "character"),
        ("1.2.3.4.5", "not a host name"),
        ("256.1.1.1", "not a host name"),
        ("xn--\u{fffd}.com", "not a host name"),
    ] {
        let fault = HostRules::parse([entry]).unwrap_err();
        assert_eq!(fault.code, ErrorCode::InvalidInput, "{entry:?}");
        assert!(fault.message.contains(why), "{entry:?}: {}", fault.message);
        assert!(!fault.message.contains(char::is_control), "{entry:?}: {:?}", fault.message);
    }
    assert!(HostRules::parse([format!("{}.com", "a".repeat(64))]).is_err());
    assert!(HostRules::parse([["a"; 130].join(".")]).is_err());
    assert!(HostRules::parse(vec!["a.com"; MAX_ENTRIES + 1]).is_err());
}

#[test]
fn urls_that_are_refused() {
    for (url, code) in [
        ("", ErrorCode::InvalidInput),
        ("example.com", ErrorCode::InvalidInput),
        ("//example.com/", ErrorCode::InvalidInput),
        ("file:///etc/passwd", ErrorCode::InvalidInput),
        ("file://host/etc/passwd", ErrorCode::EgressDenied),
        ("gopher://example.com/", ErrorCode::EgressDenied),
        ("ftp://example.com/", ErrorCode::EgressDenied),
        ("data:text/plain,x", ErrorCode::EgressDenied),
        ("javascript:alert(1)", ErrorCode::EgressDenied),
        ("unix:/run/docker.sock", ErrorCode::EgressDenied),
        ("http+unix://%2Frun%2Fdocker.sock/", ErrorCode::InvalidInput),
        ("ws://example.com/", ErrorCode::EgressDenied),
        ("https://user:pw@example.com/", ErrorCode::InvalidInput),
        ("https://@example.com/", ErrorCode::InvalidInput),
        ("https://good.com@evil.com/", ErrorCode::InvalidInput),
        ("https://ex%61mple.com/", ErrorCode::InvalidInput),
        ("https://example.com%00.evil.net/", ErrorCode::InvalidInput),
        ("https://exam\nple.com/", ErrorCode::InvalidInput),
        ("https://exam\tple.com/", ErrorCode::InvalidInput),
        ("https://example.com/a\r\nX: y", ErrorCode::InvalidInput),
        (" https://example.com/", ErrorCode::InvalidInput),
        ("https:example.com", ErrorCode::InvalidInput),
        ("https:/example.com", ErrorCode::InvalidInput),
        ("HTTPS:example.com", ErrorCode::InvalidInput),
        ("https:///example.com", ErrorCode::InvalidInput),
        ("https:\\\\example.com", ErrorCode::InvalidInput),
        ("https://example.com\\@evil.com/", ErrorCode::InvalidInput),
        ("https://example..com/", ErrorCode::InvalidInput),
        ("https://example.com:0/", ErrorCode::InvalidInput),
        ("https://[fe80::1%25eth0]/", ErrorCode::InvalidInput),
    ] {
        let fault = Target::parse(url, 8192).unwrap_err();
        assert_eq!(fault.code, code, "{url:?}: {}", fault.message);
        assert!(fault.hint.is_some(), "{url:?}");
        assert!(!fault.message.contains("pw"), "{}", fault.message);
    }
    assert_eq!(Target::parse("https://example.com/aaaaaaaa", 20).unwrap_err().code, ErrorCode::LimitExceeded);
}

/// The URL that is dialled holds the host that was decided on.
#[test]
fn the_canonical_form_is_what_is_dialled() {
    for (url, dialled) in [
        ("HTTPS://EXAMPLE.com.:443/a b?q=1#frag", "https://example.com/a%20b?q=1"),
        ("http://0x7f.0.0.1:80/", "http://127.0.0.1/"),
        ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
        ("http://[::ffff:7f00:1]:81/", "http://127.0.0.1:81/"),
        ("https://ⓔxample。com/", "https://example.com/"),
        ("https://exam\u{ad}ple.com/", "https://example.com/"),
    ] {
        assert_eq!(Target::parse(url, 8192).unwrap().url.as_str(), dialled, "{url}");
    }
}

proptest! {
    #[test]
    fn a_host_has_one_form_or_none(text in prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9._%@:*/\\-\\[\\]\u{3002}\u{ff0e}\u{ad}üß٣]{0,24}",
        "[0-9a-fx.]{1,20}",
        "\\[[0-9a-f:.]{2,24}\\]",
    ]) {
        if let Ok(host) = Host::parse(&text) {
            let form = host.to_string();
            prop_assert_eq!(Host::parse(&form), Ok(host.clone()), "{}", form);
            prop_assert!(form.is_ascii() && !form.ends_with('.') && form == form.to_lowercase());
            // A URL with this host names the same one.
            let target = Target::parse(&format!("http://{form}/"), 8192).unwrap();
            prop_assert_eq!(&target.origin.host, &host);
            prop_assert_eq!(target.url.host_str(), Some(form.as_str()));
        }
        if let Ok(rules) = HostRules::parse([&text]) {
            let again: Vec<String> = rules.entries().collect();
            prop_assert_eq!(HostRules::parse(&again).unwrap(), rules);
        }
    }

    #[test]
    fn a_url_is_read_in_one_way(text in "(http|HTTPS|ftp)?:?/{0,3}[a-z0-9@%:.\\[\\]\\\\\t ]{0,20}[/?#]?[a-z@/\\\\]{0,8}") {
        if let Ok(target) = Target::parse(&text, 8192) {
            let again = Target::parse(target.url.as_str(), 8192).unwrap();
            prop_assert_eq!(again.origin, target.origin);
            prop_assert_eq!(again.url, target.url);
        }
    }
}
