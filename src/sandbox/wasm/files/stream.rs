//! Streams over a file's bytes. They never wait.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::node::File;

/// How much one read may carry.
pub(super) const CHUNK: usize = 256 << 10;

/// How much one write may carry: programs rarely look whether `os.write` has taken all. Below what a guest may send over at once.
const WRITE: usize = 4 << 20;

/// Reads on from a place in a file; of `/dev/null` nothing.
pub(super) struct Reader {
    pub(super) file: Option<Arc<File>>,
    pub(super) offset: u64,
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.file.as_ref().map_or_else(Bytes::new, |file| file.read_at(self.offset, size.min(CHUNK)));
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

/// Writes on from a place in a file, or at its end; `/dev/null` swallows.
pub(super) struct Writer {
    pub(super) file: Option<Arc<File>>,
    /// `None` for the end.
    pub(super) offset: Option<u64>,
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let done = match &mut self.offset {
            Some(offset) => file.write_at(*offset, &bytes).map(|()| *offset += bytes.len() as u64),
            None => file.append(&bytes),
        };
        // The guest asks for the code behind a failed operation by `filesystem-error-code`.
        done.map_err(|code| StreamError::LastOperationFailed(code.into()))
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}
