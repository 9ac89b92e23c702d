//! A job's output, read as it comes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::call::{OutStream, Progress};
use crate::sandbox::Captured;
use crate::sandbox::kept::Kept;

/// Bytes taken at once; as many as a pipe holds.
const PIECE: usize = 64 << 10;

/// One stream, and the end of it that the job gets.
pub(super) struct Stream {
    from: pipe::Receiver,
    kept: Kept,
}

impl Stream {
    pub(super) fn new(limit: u64, whole: u64, stream: OutStream, progress: &Arc<dyn Progress>) -> io::Result<(Self, OwnedFd)> {
        let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let listener = progress.wants_output().then(|| (stream, progress.clone()));
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok((Self { from: pipe::Receiver::from_owned_fd(from)?, kept: Kept::new(size(limit), size(whole), listener) }, to))
    }

    /// Reads until nobody can write any more. What is not kept is thrown away, so that a flood never blocks and never grows.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mut piece = vec![0_u8; PIECE];
        loop {
            let got = self.from.read(&mut piece).await?;
            if got == 0 {
                return Ok(());
            }
            self.kept.push(piece.get(..got).unwrap_or_default());
        }
    }

    pub(super) fn take(&mut self) -> Captured {
        self.kept.take()
    }
}
