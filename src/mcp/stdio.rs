//! Serving over standard input and output.
//!
//! INVARIANT: from the first moment only protocol lines reach the real standard output; whatever else in the process prints goes to
//! standard error. The server is gone within a second after its input ended or it was told to stop.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::{QuitReason, ServerInitializeError, serve_server_with_ct};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::Fault;

use super::notices::Listeners;
use super::server::{Ending, Server};
use super::wire::{Wire, write_lines};
use super::{Gate, ServeOptions, Toolset};

/// After the input's end everything is over within this, whatever still hangs.
const LAST_MOMENT: Duration = Duration::from_millis(850);

/// Serves over the process's standard input and output until the input ends or `shutdown` fires. From then on the process's standard
/// output is its standard error, as a stray print would break the protocol. Call it once in a process.
///
/// # Errors
/// `CONFIG_INVALID` for a toolset that does not exist, before anything is touched, so that [`super::serve_broken`] can tell it; else only
/// where standard output cannot be set apart.
pub async fn serve_stdio(gate: Arc<dyn Gate>, options: ServeOptions, shutdown: CancellationToken) -> Result<(), Fault> {
    if let Toolset::Words(_) = options.toolset {
        options.toolset.check(&gate.tools())?;
    }
    let failed = |what: &str, error: io::Error| Fault::internal(format!("{what}: {error}"));
    let output = private_stdout().map_err(|error| failed("standard output cannot be set apart", error))?;
    let (written, flushed) = write_thread(output).map_err(|error| failed("the writer cannot start", error))?;
    let read = read_thread(io::stdin()).map_err(|error| failed("the reader cannot start", error))?;
    let served = serve_over(gate, read, written, options, shutdown).await;
    // A client that does not read its end does not keep the process.
    let _ = tokio::time::timeout(Duration::from_millis(100), flushed).await;
    served
}

/// Serves over any pair of streams until `input` ends or `shutdown` fires.
///
/// # Errors
/// `CONFIG_INVALID` for a toolset that does not exist; else where the protocol library fails in a way no client caused.
pub async fn serve_over<R, W>(
    gate: Arc<dyn Gate>,
    input: R,
    output: W,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Result<(), Fault>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin,
{
    let notices = options.notices.as_ref().map(|notices| notices.subscribe());
    let redact = options.redaction();
    let ending = Ending { ended: CancellationToken::new(), hurry: shutdown.clone() };
    let ended = ending.ended.clone();
    let listeners = Listeners::default();
    let server = Arc::new(Server::new(gate.clone(), options, ending)?.again(listeners.enter()));
    let beside = server.beside();
    let (out, lines) = mpsc::channel(64);
    let wire = Wire::new(input, out, redact, shutdown, ended.clone());
    let writing = async {
        if let Err(error) = write_lines(output, lines).await {
            tracing::info!("the client no longer reads: {error}");
        }
        ended.cancel();
    };
    let serving = async {
        tokio::select! {
            served = Box::pin(serve(server, wire)) => served,
            () = listeners.forward(notices) => Ok(()),
            () = beside.go_on(&*gate) => Ok(()),
        }
    };
    let last_moment = async {
        ended.cancelled().await;
        tokio::time::sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        (served, ()) = async { tokio::join!(serving, writing) } => served,
        () = last_moment => Ok(()),
    }
}

async fn serve<R>(server: Arc<Server>, wire: Wire<R>) -> Result<(), Fault>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    match serve_server_with_ct(server, wire, CancellationToken::new()).await {
        Ok(running) => match running.waiting().await {
            Ok(QuitReason::JoinError(error)) | Err(error) => Err(Fault::internal(format!("the protocol loop ended: {error}"))),
            Ok(_) => Ok(()),
        },
        // The client left before it said anything, or while the first answer was on its way.
        Err(
            ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled | ServerInitializeError::TransportError { .. },
        ) => Ok(()),
        Err(error) => Err(Fault::internal(format!("the connection could not be opened: {error}"))),
    }
}

/// The real standard output, from now on known to nobody else: descriptor 1 leads to standard error.
#[cfg(unix)]
fn private_stdout() -> io::Result<impl Write + Send + 'static> {
    use std::os::fd::AsFd;
    let real = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(std::fs::File::from(real))
}

/// Without descriptors to duplicate, standard output stays what it is.
#[cfg(not(unix))]
fn private_stdout() -> io::Result<impl Write + Send + 'static> {
    Ok(io::stdout())
}

const PIPE: usize = 64 * 1024;

/// Reads blocking in a thread of its own, which may hang until the process ends without keeping it from ending.
fn read_thread(mut input: impl Read + Send + 'static) -> io::Result<DuplexStream> {
    let (near, mut far) = duplex(PIPE);
    let runtime = Handle::current();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut buffer = vec![0_u8; PIPE];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!("standard input cannot be read: {error}");
                    0
                }
            };
            let part = buffer.get(..read).unwrap_or_default();
            if part.is_empty() || runtime.block_on(far.write_all(part)).is_err() {
                return;
            }
        }
    })?;
    Ok(near)
}

/// Writes blocking in a thread of its own; the receiver resolves once all is written.
fn write_thread(mut output: impl Write + Send + 'static) -> io::Result<(DuplexStream, oneshot::Receiver<()>)> {
    let (near, mut far) = duplex(PIPE);
    let (done, flushed) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new().name("stdout".into()).spawn(move || {
        let mut buffer = vec![0_u8; PIPE];
        while let Ok(read) = runtime.block_on(far.read(&mut buffer)) {
            let part = buffer.get(..read).unwrap_or_default();
            if part.is_empty() || output.write_all(part).and_then(|()| output.flush()).is_err() {
                break;
            }
        }
        let _ = done.send(());
    })?;
    Ok((near, flushed))
}
