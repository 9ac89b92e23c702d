//! Taking connections: so many at once, each with a bound on the time and size of its headers.
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

use crate::domain::Fault;

/// Connections at once; more wait until one ends.
const MOST_CONNECTIONS: usize = 512;
/// How long the headers of a request may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Bytes that are held for a connection; headers that are not whole then are too long, so twice as much at most.
const HEADER_BYTES: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;

/// Serves connections until `shutdown`; then those at work get `grace` to end.
///
/// # Errors
/// Where the listener is broken for good.
pub(super) async fn accept(listener: TcpListener, router: Router, shutdown: &CancellationToken, grace: Duration) -> Result<(), Fault> {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            next = take(&listener, &room) => next,
        };
        match next {
            Ok((stream, place)) => {
                connections.spawn(serve(stream, router.clone(), shutdown.clone(), place));
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

async fn serve(stream: TcpStream, router: Router, shutdown: CancellationToken, _place: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
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
