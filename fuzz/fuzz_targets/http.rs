//! Any bytes as a client's connection: see `tests/it/wire_bytes.rs` for what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolgate::mcp::probe;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (passed, answer) = runtime.block_on(probe::requests(bytes));
    let has_token = bytes.windows(probe::TOKEN.len()).any(|window| window == probe::TOKEN.as_bytes());
    assert!(has_token || passed.is_empty(), "a request came through without the token");
    for request in &passed {
        assert_eq!(request.principal.as_deref(), Some("local"));
        assert!(!request.headers.iter().any(|(name, _)| name == "authorization"), "the token went on");
        let hosts: Vec<&str> = request.headers.iter().filter(|(name, _)| name == "host").map(|(_, value)| value.as_str()).collect();
        assert_eq!(hosts.len(), 1);
        let host = hosts[0].to_ascii_lowercase();
        assert!(["localhost", "127.0.0.1", "[::1]"].iter().any(|ours| host.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))), "{host}");
    }
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."));
});
