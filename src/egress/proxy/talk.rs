//! One connection of a program, from its head to its record.
//!
//! INVARIANT: each connection leaves one record, kept before a refusal is told and before an answer is seen to end; what is cut off
//! ends with a reset, so that it cannot be taken for whole.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault};
use crate::egress::send::{MAX_WALL, Note};
use crate::egress::{Egress, Origin, RequestLog};

use super::ProxyTerms;
use super::ask::Ask;
use super::fetch::{self, Ends};
use super::head::{self, NoHead};
use super::refusal::{self, Stop, malformed};
use super::relay::{self, Budget, Meter};

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// Longest time that a program gets to read its refusal, or the end of its answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// What all connections share.
pub(super) struct Desk {
    pub(super) egress: Egress,
    pub(super) terms: ProxyTerms,
    pub(super) log: Arc<dyn RequestLog>,
    pub(super) budget: Budget,
    pub(super) stop: CancellationToken,
}

impl Desk {
    /// Serves a connection to its end; false where its record could not be kept. `surplus` is one more than there may be.
    pub(super) async fn attend(&self, mut client: TcpStream, surplus: bool) -> bool {
        let mut note = Note::new(&self.terms.terms.purpose, "", 0);
        let meter = Meter::new(&self.budget, &*self.log);
        let mut far = None;
        let wall = self.terms.terms.caps.wall;
        let done = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Fault::new(ErrorCode::Cancelled, "the program's time is over").into()),
            () = sleep(wall.duration().min(MAX_WALL)) => {
                let fault = Fault::new(ErrorCode::Timeout, format!("the connection lasted longer than the {} ms allowed", wall.0));
                Err(fault.hint("move less in one connection, or allow more time").into())
            }
            done = self.converse(&mut client, &mut far, &mut note, &meter, surplus) => done,
        };
        (note.record.bytes_out, note.record.bytes_in) = meter.bytes();
        note.record.reserved = meter.reserved();
        let cut = done.is_err();
        let refused = match done {
            Ok(()) | Err(Stop::Left) => None,
            Err(Stop::Broken) => Some((502, broken())),
            Err(Stop::Refused(status, fault)) => Some((status, fault)),
        };
        let farewell = match &refused {
            Some((status, fault)) if !meter.has_spoken() && fault.code != ErrorCode::Cancelled => Some(refusal::answer(*status, fault)),
            Some(_) => None,
            None => (!cut).then(String::new),
        };
        if let (true, Some(far)) = (cut, &far) {
            reset(far);
        }
        drop(far);
        let client = if farewell.is_some() {
            Some(client)
        } else {
            reset(&client);
            drop(client);
            None
        };
        let fault = refused.as_ref().map(|(_, fault)| fault);
        if let Err(fault) = self.egress.inner.keep(note.finish(fault), &*self.log).await {
            tracing::error!(code = fault.code.as_str(), "a connection of a program cannot be recorded; its proxy ends");
            if let Some(client) = &client {
                reset(client);
            }
            return false;
        }
        if let (Some(mut client), Some(text)) = (client, farewell) {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = sleep(FAREWELL) => {}
                // Whether the program still listens is its own business.
                _gone = async {
                    client.write_all(text.as_bytes()).await?;
                    refusal::farewell(&mut client).await
                } => {}
            }
        }
        true
    }

    async fn converse(
        &self,
        client: &mut TcpStream,
        far: &mut Option<TcpStream>,
        note: &mut Note,
        meter: &Meter<'_>,
        surplus: bool,
    ) -> Result<(), Stop> {
        if surplus {
            return Err(self.surplus());
        }
        let ProxyTerms { terms, head: patience, idle, .. } = &self.terms;
        let read = timeout(patience.duration().min(MAX_WALL), head::read(client, Vec::new(), MAX_HEAD)).await;
        let (bytes, rest) = match read {
            Ok(read) => read.map_err(no_head)?,
            Err(_) => {
                let fault = Fault::new(ErrorCode::Timeout, format!("no whole request came within {} ms", patience.0));
                return Err(Stop::Refused(408, fault.hint("send the request's head at once")));
            }
        };
        let ask = Ask::parse(&bytes, &terms.caps, note)?;
        self.budget.check()?;
        match ask {
            Ask::Tunnel(origin) => {
                let far = far.insert(self.open(&origin, note).await?);
                note.record.status = Some(200);
                meter.speak();
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.map_err(|_| Stop::Left)?;
                relay::both(client, far, &rest, *idle, meter).await
            }
            Ask::Fetch(request) => {
                let far = far.insert(self.open(&request.origin, note).await?);
                meter.touch();
                fetch::exchange(&request, Ends { client, far, rest: &rest }, (&terms.caps, *idle), note, meter).await
            }
        }
    }

    async fn open(&self, origin: &Origin, note: &mut Note) -> Result<TcpStream, Stop> {
        Ok(self.egress.open(origin, &self.terms.terms, &self.stop, note).await?.stream)
    }

    fn surplus(&self) -> Stop {
        let fault = Fault::new(ErrorCode::LimitExceeded, format!("this program has made the {} connections that it may", self.terms.total));
        Stop::Refused(429, fault.hint("make fewer requests, or allow the program more connections"))
    }
}

fn no_head(why: NoHead) -> Stop {
    match why {
        NoHead::Gone { begun: false } => Stop::Left,
        NoHead::Gone { begun: true } => malformed("it ends in the middle of its head").into(),
        NoHead::Malformed(why) => malformed(why).into(),
        NoHead::TooLarge => {
            let fault = Fault::new(ErrorCode::LimitExceeded, format!("the request's head is larger than {MAX_HEAD} bytes"));
            fault.hint("send fewer or shorter headers").into()
        }
    }
}

fn broken() -> Fault {
    Fault::new(ErrorCode::EgressFailed, "the host broke the connection off").hint("try again later")
}

/// Makes the end of a connection a reset.
fn reset(stream: &TcpStream) {
    if stream.set_zero_linger().is_err() {
        tracing::debug!("a connection ends without reset");
    }
}
