//! Text of a PDF, page by page, on a thread of its own.
//!
//! INVARIANT: the reader is a library that was not made for hostile files, so it gets a deep stack, its panics are caught, and whoever
//! waits does so for a bounded time; only so many may be at work at once, whether somebody still waits for them or not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::{ErrorCode, Fault};

/// Readers at once; one that is stuck keeps its place.
const AT_ONCE: usize = 4;
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(20);
/// Stack of the thread; only what is touched costs memory.
const STACK: usize = 256 << 20;

static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// A place among the readers.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = AT_WORK.try_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < AT_ONCE).then_some(count + 1));
        taken.ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The text, with an empty line between pages.
///
/// # Errors
/// `INVALID_OUTPUT` where the file cannot be read; `TIMEOUT`; `LIMIT_EXCEEDED` while too many are read.
pub(super) async fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    let place = Place::take().ok_or_else(|| {
        Fault::new(ErrorCode::LimitExceeded, format!("{AT_ONCE} PDF files are being read already")).hint("try again in a while")
    })?;
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let _place = place;
        let read = catch_unwind(AssertUnwindSafe(|| pdf_extract::extract_text_from_mem_by_pages(&bytes)));
        // Nobody may be waiting any more.
        let _ = sender.send(read.map(|pages| pages.map_err(|error| error.to_string())));
    };
    std::thread::Builder::new()
        .name("pdf".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|error| Fault::internal(format!("no thread for a PDF: {error}")))?;
    let unreadable = || {
        Fault::new(ErrorCode::EgressFailed, "the PDF cannot be read as text").hint("the original is kept; python.run can look at it")
    };
    match tokio::time::timeout(LONGEST, receiver).await {
        Ok(Ok(Ok(Ok(pages)))) => Ok(pages.iter().map(|page| page.trim()).filter(|page| !page.is_empty()).collect::<Vec<_>>().join("\n\n")),
        Ok(Ok(Ok(Err(why)))) => {
            tracing::debug!(%why, "a PDF cannot be read");
            Err(unreadable())
        }
        Ok(Ok(Err(_)) | Err(_)) => Err(unreadable()),
        Err(_) => Err(Fault::new(ErrorCode::Timeout, format!("reading the PDF took longer than {} s", LONGEST.as_secs()))
            .hint("the original is kept; python.run can look at it")),
    }
}
