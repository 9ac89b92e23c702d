//! Text of a PDF, page by page, read in a process of its own.
//!
//! INVARIANT: the reader is a library that was not made for hostile files: it panics, runs without end and unpacks without bound. All of
//! that ends one child of this program, and the caller is told.

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::sandbox::reader::{Bounds, Lost, Reader, serve};

/// The word that makes the program this reader.
pub const VERB: &str = "read-pdf";

/// Children at once; more wait.
static PLACES: Semaphore = Semaphore::const_new(2);

const BOUNDS: Bounds = Bounds { memory: Bytes(1 << 30), answer: Bytes(16 << 20), wall: Millis(20_000) };
/// Longest file.
const FILE: Bytes = Bytes(32 << 20);
/// Stack of the thread that reads; only what is touched costs memory.
const STACK: usize = 64 << 20;

/// The child: a PDF on standard input, its text on standard output. The exit code.
#[must_use]
pub fn main() -> u8 {
    serve(&BOUNDS, FILE, |bytes| {
        let bytes = bytes.to_vec();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || pages(&bytes)).ok()?;
        thread.join().ok()?
    })
}

/// The text, with an empty line between pages.
fn pages(bytes: &[u8]) -> Option<String> {
    let pages = pdf_extract::extract_text_from_mem_by_pages(bytes).ok()?;
    Some(pages.iter().map(|page| page.trim()).filter(|page| !page.is_empty()).collect::<Vec<_>>().join("\n\n"))
}

/// The text.
///
/// # Errors
/// `EGRESS_FAILED` where the file cannot be read; `TIMEOUT`, `LIMIT_EXCEEDED`, `CANCELLED`.
pub(super) async fn text(reader: &Reader, bytes: bytes::Bytes, cancel: &CancellationToken) -> Result<String, Fault> {
    let place = PLACES.acquire().await.map_err(|_| Fault::internal("no more files are read"))?;
    let (reader, ended) = (reader.clone(), cancel.clone());
    let work = move || {
        let _place = place;
        reader.read(VERB, &bytes, &BOUNDS, &ended)
    };
    let read = tokio::task::spawn_blocking(work).await.map_err(|_| Fault::internal("reading a PDF was broken off"))?;
    let hint = "python.run can look at the original";
    match read {
        Ok(text) if text.trim_ascii().is_empty() => {
            Err(Fault::new(ErrorCode::EgressFailed, "the PDF holds no text that can be read; its pages may be pictures").hint(hint))
        }
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(Lost::Broken) => Err(Fault::new(ErrorCode::EgressFailed, "the PDF cannot be read as text").hint(hint)),
        Err(Lost::TooSlow) => {
            Err(Fault::new(ErrorCode::Timeout, format!("reading the PDF took longer than {} ms", BOUNDS.wall.0)).hint(hint))
        }
        Err(Lost::TooLong) => {
            Err(Fault::new(ErrorCode::LimitExceeded, format!("the PDF holds more than {} bytes of text", BOUNDS.answer.0)).hint(hint))
        }
        Err(Lost::Cancelled) => Err(Fault::new(ErrorCode::Cancelled, "reading the PDF was broken off")),
        Err(Lost::NotStarted) => Err(Fault::internal("the reader of PDF files cannot be started")),
    }
}
