//! Bytes from one side to the other: counted, watched for silence, each direction ended on its own.
//!
//! INVARIANT: what passes is first taken from the budget that all connections of a program share; what it does not hold never passes.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::RequestLog;
use crate::egress::send::{MAX_WALL, len};

use super::refusal::Stop;

/// Bytes read at once.
const BUFFER: usize = 16 << 10;
/// Bytes out that are reserved at once.
const RESERVE: u64 = 64 << 10;

/// What a program may still move.
#[derive(Debug)]
pub(super) struct Budget {
    all: Bytes,
    left: AtomicU64,
}

impl Budget {
    pub(super) fn new(all: Bytes) -> Self {
        Self { all, left: AtomicU64::new(all.0) }
    }

    /// Takes as much of `wanted` as there is.
    fn take(&self, wanted: usize) -> usize {
        let wanted = len(wanted);
        let before = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(wanted))).unwrap_or_default();
        Bytes(before.min(wanted)).as_usize()
    }

    /// Refuses where there is nothing left.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.left.load(Relaxed) > 0 { Ok(()) } else { Err(self.used_up()) }
    }

    fn used_up(&self) -> Stop {
        let fault = Fault::new(ErrorCode::LimitExceeded, format!("this program has moved the {} bytes that it may", self.all.0))
            .hint("move less, or allow the program more bytes");
        Stop::Refused(429, fault)
    }
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the program to the host.
    Out,
    /// From the host to the program.
    In,
}

impl Way {
    fn source_failed(self) -> Stop {
        if self == Self::Out { Stop::Left } else { Stop::Broken }
    }

    fn sink_failed(self) -> Stop {
        if self == Self::Out { Stop::Broken } else { Stop::Left }
    }
}

/// What one connection has moved.
pub(super) struct Meter<'a> {
    budget: &'a Budget,
    log: &'a dyn RequestLog,
    /// Bytes out that the log has let pass.
    reserved: AtomicU64,
    begun: Instant,
    /// Milliseconds after `begun` at which something moved last.
    moved: AtomicU64,
    out: AtomicU64,
    into: AtomicU64,
    said: AtomicBool,
}

impl<'a> Meter<'a> {
    pub(super) fn new(budget: &'a Budget, log: &'a dyn RequestLog) -> Self {
        Self {
            budget,
            log,
            reserved: AtomicU64::new(0),
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            out: AtomicU64::new(0),
            into: AtomicU64::new(0),
            said: AtomicBool::new(false),
        }
    }

    /// Bytes that went out and came in.
    pub(super) fn bytes(&self) -> (Bytes, Bytes) {
        (Bytes(self.out.load(Relaxed)), Bytes(self.into.load(Relaxed)))
    }

    /// Bytes out that were reserved.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Relaxed)
    }

    /// Asks the log for what goes out now, and for some more, so that it is not asked for each piece.
    async fn reserve(&self) -> Result<(), Stop> {
        let missing = self.out.load(Relaxed).saturating_sub(self.reserved());
        if missing == 0 {
            return Ok(());
        }
        let ample = missing.max(RESERVE);
        let granted = match self.log.reserve(Bytes(ample)).await {
            Ok(()) => ample,
            Err(_) => match self.log.reserve(Bytes(missing)).await {
                Ok(()) => missing,
                Err(fault) => {
                    // It does not go out, so it is not counted.
                    self.out.fetch_sub(missing, Relaxed);
                    return Err(Stop::Refused(429, fault));
                }
            },
        };
        self.reserved.fetch_add(granted, Relaxed);
        Ok(())
    }

    /// Notes that the program is told something, so that it can be told no refusal any more.
    pub(super) fn speak(&self) {
        self.said.store(true, Relaxed);
        self.touch();
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.said.load(Relaxed)
    }

    pub(super) fn touch(&self) {
        self.moved.store(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many of so many bytes may pass.
    fn grant(&self, wanted: usize, way: Way) -> usize {
        let granted = self.budget.take(wanted);
        let counter = if way == Way::Out { &self.out } else { &self.into };
        counter.fetch_add(len(granted), Relaxed);
        granted
    }

    /// Counts bytes that pass in another form.
    pub(super) fn count(&self, bytes: usize, way: Way) -> Result<(), Stop> {
        self.touch();
        if self.grant(bytes, way) == bytes { Ok(()) } else { Err(self.budget.used_up()) }
    }

    /// Hands bytes on, as far as the budget goes.
    pub(super) async fn pass(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], way: Way) -> Result<(), Stop> {
        let granted = self.grant(bytes.len(), way);
        if way == Way::Out {
            self.reserve().await?;
        }
        to.write_all(bytes.get(..granted).unwrap_or_default()).await.map_err(|_| way.sink_failed())?;
        self.touch();
        if granted == bytes.len() { Ok(()) } else { Err(self.budget.used_up()) }
    }

    /// Hands on what comes, until its end.
    pub(super) async fn pump<R, W>(&self, from: &mut R, to: &mut W, way: Way) -> Result<(), Stop>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = self.read(from, &mut buffer, way).await?;
            if count == 0 {
                return Ok(());
            }
            self.pass(to, buffer.get(..count).unwrap_or_default(), way).await?;
        }
    }

    /// Reads once; 0 is the end.
    pub(super) async fn read(&self, from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8], way: Way) -> Result<usize, Stop> {
        let count = from.read(buffer).await.map_err(|_| way.source_failed())?;
        self.touch();
        Ok(count)
    }

    /// Does something as long as bytes move; it ends when they have not for `idle`.
    pub(super) async fn watch(&self, idle: Millis, work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.silence(idle) => Err(Fault::new(ErrorCode::Timeout, format!("no byte passed for {} ms", idle.0))
                .hint("the host may be slow; try again later")
                .into()),
        }
    }

    async fn silence(&self, idle: Millis) {
        loop {
            let last = Millis(self.moved.load(Relaxed)).duration().min(MAX_WALL);
            let until = self.begun + last + idle.duration().min(MAX_WALL);
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Both ways of a tunnel, `rest` of the program's bytes first, each until its own end.
pub(super) async fn both(client: &mut TcpStream, far: &mut TcpStream, rest: &[u8], idle: Millis, meter: &Meter<'_>) -> Result<(), Stop> {
    let ((mut from_client, mut to_client), (mut from_far, mut to_far)) = (client.split(), far.split());
    let up = async {
        meter.pass(&mut to_far, rest, Way::Out).await?;
        meter.pump(&mut from_client, &mut to_far, Way::Out).await?;
        to_far.shutdown().await.map_err(|_| Stop::Broken)
    };
    let down = async {
        meter.pump(&mut from_far, &mut to_client, Way::In).await?;
        to_client.shutdown().await.map_err(|_| Stop::Left)
    };
    let work = async {
        let (mut up, mut down) = (pin!(up), pin!(down));
        tokio::select! {
            done = &mut up => {
                done?;
                down.await
            }
            done = &mut down => {
                done?;
                // A host that has said all it had to may well not listen any more.
                match up.await {
                    Err(Stop::Broken) => Ok(()),
                    other => other,
                }
            }
        }
    };
    meter.watch(idle, work).await
}
