//! Takes a program's connections and carries them all, inside one future.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::egress::{Egress, RequestLog};

use super::ProxyTerms;
use super::relay::Budget;
use super::talk::Desk;

/// Pause after a connection that could not be accepted, as when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves a program's proxy until it is cancelled, or until a record cannot be kept. Returns when every connection has ended and is
/// recorded; a future that is only dropped ends them as well, without record.
pub async fn serve(
    egress: Egress,
    listener: std::net::TcpListener,
    terms: ProxyTerms,
    log: Arc<dyn RequestLog>,
    cancel: CancellationToken,
) {
    let listener = match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the listener of a program's proxy cannot be used");
            return;
        }
    };
    let (at_once, mut left) = (terms.connections.max(1), terms.total);
    let desk = Desk { egress, log, budget: Budget::new(terms.bytes), stop: cancel.child_token(), terms };
    let mut listener = Some(listener);
    let go_on = |recorded: bool| {
        if !recorded {
            desk.stop.cancel();
        }
    };
    let mut running = FuturesUnordered::new();
    while !desk.stop.is_cancelled() {
        let room = running.len() < at_once;
        tokio::select! {
            biased;
            () = desk.stop.cancelled() => {}
            Some(recorded) = running.next(), if !running.is_empty() => go_on(recorded),
            client = accept(listener.as_ref()), if room => {
                running.push(desk.attend(client, left == 0));
                if left == 0 {
                    listener = None;
                }
                left = left.saturating_sub(1);
            }
        }
    }
    drop(listener);
    while running.next().await.is_some() {}
}

/// The next connection; never, where none is taken any more.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                // Without it small writes wait for each other; the connection works all the same.
                client.set_nodelay(true).unwrap_or_default();
                return client;
            }
            Err(error) => {
                tracing::debug!(%error, "a connection of a program could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
