//! Two pieces of work at once, for a start that somebody waits for.

use std::panic::resume_unwind;
use std::thread::{Builder, ScopedJoinHandle, scope};

/// Does `one` here and `other` beside it on a thread of that name; one after the other where no thread is to be had.
///
/// # Panics
/// Where one of them does.
pub fn beside<A, B: Send>(name: &str, one: impl FnOnce() -> A, other: impl Fn() -> B + Sync) -> (A, B) {
    scope(|scope| {
        let there = Builder::new().name(name.to_owned()).spawn_scoped(scope, &other);
        let here = one();
        match there.map(ScopedJoinHandle::join) {
            Ok(Ok(there)) => (here, there),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => (here, other()),
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_are_done_and_a_panic_comes_through() {
        assert_eq!(super::beside("other", || 1, || std::thread::current().name().map(str::to_owned)), (1, Some("other".to_owned())));
        let panicked = std::panic::catch_unwind(|| super::beside("other", || 1, || -> u8 { panic!("no") }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"no"));
    }
}
