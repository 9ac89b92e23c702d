//! Any bytes as the lines of a client: see `tests/it/wire_bytes.rs` for what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolgate::mcp::probe;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let whole = runtime.block_on(probe::lines(bytes, usize::MAX));
    // However the bytes are cut on their way, the client said the same.
    let part = bytes.first().map_or(1, |first| usize::from(*first) + 1);
    assert_eq!(whole, runtime.block_on(probe::lines(bytes, part)));
    let ended = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(whole.messages.len() + whole.answers.len() <= ended);
    for answer in &whole.answers {
        let (last, text) = answer.split_last().expect("an answer is a line");
        assert!(*last == b'\n' && !text.contains(&b'\n'));
    }
});
