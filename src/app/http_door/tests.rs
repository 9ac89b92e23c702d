//! What must be settled before a port is opened.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;
use crate::config::{Ambient, Options, Platform, resolve};

fn http(vars: &[(&str, &str)]) -> HttpSettings {
    let vars: BTreeMap<String, OsString> = vars.iter().map(|(name, value)| (format!("TOOLGATE_{name}"), OsString::from(value))).collect();
    let platform = Platform { data_dir: Some("/d".into()), ..Platform::default() };
    resolve(&Options::default(), &Ambient { vars: vars.into_iter().collect(), platform }, None).unwrap().http
}

const URL: (&str, &str) = ("HTTP_PUBLIC_URL", "https://tools.example.com");
const LOCAL: (&str, &str) = ("HTTP_PUBLIC_URL", "http://127.0.0.1:8801");
const PROXY: (&str, &str) = ("HTTP_BEHIND_PROXY", "yes");
const CERT: (&str, &str) = ("HTTP_TLS_CERT", "/c.pem");
const KEY: (&str, &str) = ("HTTP_TLS_KEY", "/k.pem");
const ISSUER: (&str, &str) = ("OIDC_ISSUER", "https://login.example.com");

#[test]
fn a_port_that_others_reach_needs_a_public_url_and_tls_on_the_way() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        // What is not said at all.
        ("0.0.0.0:0", &[], &["http.public_url", "ssh -L"]),
        ("[::]:0", &[], &["http.public_url"]),
        ("192.0.2.7:8801", &[PROXY], &["http.public_url"]),
        ("0.0.0.0:0", &[CERT, KEY], &["http.public_url"]),
        ("0.0.0.0:0", &[ISSUER], &["http.public_url"]),
        // Nothing speaks TLS.
        ("0.0.0.0:0", &[URL], &["http.tls_cert", "http.tls_key", "http.behind_proxy"]),
        ("127.0.0.1:0", &[URL], &["http.tls_cert", "http.behind_proxy"]),
        ("0.0.0.0:0", &[LOCAL, PROXY], &["https"]),
        ("0.0.0.0:0", &[LOCAL, CERT, KEY], &["https"]),
        ("127.0.0.1:0", &[LOCAL, CERT, KEY], &["https"]),
        // Half of a pair.
        ("0.0.0.0:0", &[URL, CERT], &["http.tls_key", "set both"]),
        ("0.0.0.0:0", &[URL, KEY], &["http.tls_cert", "set both"]),
        ("127.0.0.1:0", &[KEY], &["set both"]),
        // What only makes sense with a URL.
        ("127.0.0.1:0", &[PROXY], &["http.public_url"]),
        ("127.0.0.1:0", &[ISSUER], &["http.public_url"]),
    ];
    for (address, vars, words) in table {
        let fault = settle(address.parse().unwrap(), &http(vars)).unwrap_err();
        let told = format!("{} {}", fault.message, fault.hint.clone().unwrap_or_default());
        assert_eq!(fault.code, ErrorCode::ConfigInvalid);
        assert!(words.iter().all(|word| told.contains(word)), "{address} {vars:?}: {told}");
    }
    let good: &[(&str, &[(&str, &str)], bool)] = &[
        ("127.0.0.1:0", &[], false),
        ("[::1]:0", &[CERT, KEY], true),
        ("0.0.0.0:0", &[URL, PROXY], false),
        ("0.0.0.0:0", &[URL, CERT, KEY], true),
        ("[::]:8801", &[URL, CERT, KEY, PROXY, ISSUER], true),
        ("127.0.0.1:0", &[URL, PROXY], false),
        ("127.0.0.1:0", &[LOCAL, ISSUER], false),
    ];
    for (address, vars, is_tls) in good {
        let settled = settle(address.parse().unwrap(), &http(vars));
        assert_eq!(settled.map(|files| files.is_some()).map_err(|fault| fault.to_string()), Ok(*is_tls), "{address} {vars:?}");
    }
}
