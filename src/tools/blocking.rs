//! Work that waits for the disk or the processor, kept off the threads that serve everyone.
//!
//! INVARIANT: the caller gets the work's own answer; a panic inside becomes `INTERNAL`, never a hang. Does not cancel: the work must
//! be bounded by its own limits.

use crate::domain::Fault;

/// Runs `work` on a thread that may wait.
///
/// # Errors
/// Those of `work`; `INTERNAL` where it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(answer) => answer,
        Err(error) => Err(Fault::internal(format!("work on the side ended early: {error}"))),
    }
}
