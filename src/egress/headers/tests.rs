use super::*;

fn list(headers: &[(&str, &str)]) -> Result<HeaderList, Fault> {
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    HeaderList::of_caller(&headers, 4096)
}

fn names(list: &HeaderList) -> Vec<String> {
    list.names().map(str::to_owned).collect()
}

#[test]
fn what_is_ours_to_write_is_dropped() {
    let given = [
        ("Host", "evil.test"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close, X-Gone"),
        ("X-Gone", "1"),
        ("Keep-Alive", "1"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "close"),
        ("Proxy-Anything", "1"),
        ("TE", "trailers"),
        ("Trailer", "X"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("Expect", "100-continue"),
        ("Accept", "text/html"),
        ("accept", "*/*"),
        ("Authorization", "Bearer mine"),
    ];
    assert_eq!(names(&list(&given).unwrap()), ["accept", "accept", "authorization"]);
}

#[test]
fn names_and_values_that_are_refused() {
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("a\r\nX", "x"),
        ("a\0", "x"),
        ("ä", "x"),
        ("a", "x\r\nHost: evil"),
        ("a", "x\ny"),
        ("a", "x\0y"),
        ("a", "x\u{7f}"),
        // Also in what would be dropped.
        ("Host", "x\r\nX: y"),
    ] {
        let fault = list(&[(name, value)]).unwrap_err();
        assert_eq!(fault.code, ErrorCode::InvalidInput, "{name:?} {value:?}");
        assert!(!fault.message.contains("evil"), "{}", fault.message);
    }
    assert_eq!(list(&[("a", &"x".repeat(5000))]).unwrap_err().code, ErrorCode::LimitExceeded);
    assert_eq!(list(&[("a", "b"); MAX_COUNT + 1]).unwrap_err().code, ErrorCode::LimitExceeded);
}

#[test]
fn secrets_replace_and_stay_out_of_debug() {
    let mut headers = list(&[("authorization", "Bearer placeholder"), ("X-A", "1")]).unwrap();
    let before = headers.caller_bytes();
    headers.set_secret("Authorization", "Bearer s3cr3t-value").unwrap();
    assert_eq!(headers.get("AUTHORIZATION"), Some("Bearer s3cr3t-value"));
    assert_eq!(names(&headers), ["x-a", "authorization"]);
    assert!(!format!("{headers:?} {:?}", headers.to_map()).contains("s3cr3t"));
    assert!(headers.caller_bytes() < before);
    assert_eq!(headers.secrets().count(), 1);
    headers.drop_secrets();
    assert_eq!(names(&headers), ["x-a"]);
    let fault = headers.set_secret("x-b", "s3cr3t\n").unwrap_err();
    assert!(!fault.message.contains("s3cr3t"), "{}", fault.message);
    assert!(headers.set_secret("Host", "x").is_err());
}
