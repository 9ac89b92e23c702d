//! Taking connections, in the clear or over TLS: so many at once, each with a bound on the time and size of its headers.
//!
//! INVARIANT: no client can hold more than its connection, and all are gone soon after the order to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::{Fault, Measured, Meter};

use super::Tls;

/// How long the headers of a request may take to arrive, and before them the handshake of TLS.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Bytes that are held for a connection; headers that are not whole then are too long, so twice as much at most.
const HEADER_BYTES: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;

/// Serves connections until `shutdown`, at most as many at once as there is room for; then those at work get `grace` to end. Each is told
/// to `meter`.
///
/// # Errors
/// Where the listener is broken for good.
pub(super) async fn accept(
    (listener, tls): (TcpListener, Option<Tls>),
    (router, room): (Router, Arc<Semaphore>),
    shutdown: &CancellationToken,
    (grace, meter): (Duration, Arc<dyn Meter>),
) -> Result<(), Fault> {
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            next = take(&listener, &room) => next,
        };
        match next {
            Ok((stream, place)) => {
                let counted = Counted::begin(meter.clone());
                connections.spawn(serve(stream, tls.clone(), router.clone(), shutdown.clone(), (place, counted)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of descriptors, mostly: those in use come back.
            Err(error) => {
                tracing::warn!("no connection can be taken: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// A connection among those that are counted as open, until dropped.
struct Counted(Arc<dyn Meter>);

impl Counted {
    fn begin(meter: Arc<dyn Meter>) -> Self {
        meter.tell(Measured::Connection(true));
        Self(meter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.tell(Measured::Connection(false));
    }
}

async fn take(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

/// How requests are read.
fn reader() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES).max_headers(MOST_HEADERS);
    builder
}

/// Serves one connection that nobody accepted, until it ends: see [`super::probe`].
pub(super) async fn one<S: AsyncRead + AsyncWrite + Unpin>(stream: S, router: Router) {
    // Whoever sends bytes that may never make a request says at once that no more come, and still hears the answers.
    let _broken = reader().half_close(true).serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

async fn serve(stream: TcpStream, tls: Option<Tls>, router: Router, shutdown: CancellationToken, _held: (OwnedSemaphorePermit, Counted)) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return talk(stream, router, shutdown).await };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HEADER_TIME, tls.acceptor().accept(stream)) => shaken,
        () = shutdown.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => talk(stream, router, shutdown).await,
        Ok(Err(error)) => tracing::debug!("no TLS with a client: {error}"),
        Err(_) => tracing::debug!("a client took too long for TLS"),
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, shutdown: CancellationToken) {
    let builder = reader();
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}
