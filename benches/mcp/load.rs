//! Many clients at once, each asking again as soon as it is answered: rates, waiting times and the server's processor time.
//!
//! INVARIANT: bounded in time; every client is connected before the clock starts. What is refused or fails is counted, never timed as an answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Client, Generation};
use super::servers::{Kind, Running};
use super::shared::{Outcome, at, millis};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The list of tools.
    List,
    /// A call that does next to nothing; toolgate looks into an empty folder for it, decides and records it durably.
    Noop,
    /// `print('hi')`, by toolgate in a fresh sandbox, by the peer in a process.
    Python,
}

impl Ask {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "tools/list",
            Self::Noop => "no-op call",
            Self::Python => "print('hi')",
        }
    }

    /// The method and its arguments.
    pub fn of(self, kind: &Kind) -> (&'static str, Value) {
        let code = "print('hi')";
        match (self, kind) {
            (Self::List, _) => ("tools/list", json!({})),
            (Self::Noop, Kind::Ours { .. }) => ("tools/call", json!({"name": "workspace_list", "arguments": {}})),
            (Self::Noop, Kind::Peer { .. }) => ("tools/call", json!({"name": "noop", "arguments": {"word": "hi"}})),
            (Self::Python, Kind::Ours { .. }) => {
                ("tools/call", json!({"name": "python_run", "arguments": {"entrypoint": "inline", "code": code}}))
            }
            (Self::Python, Kind::Peer { .. }) => ("tools/call", json!({"name": "python", "arguments": {"code": code}})),
        }
    }
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Each client has a process of its own.
    Lines,
    /// All clients share one process.
    Http,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub p50: f64,
    pub p95: f64,
    pub rate: f64,
    /// Milliseconds of the servers' processor time for each answer.
    pub used: f64,
    pub refused: usize,
    pub failed: usize,
}

/// Servers with their clients.
pub struct Crowd {
    pub servers: Vec<Running>,
    pub clients: Vec<Client>,
}

impl Crowd {
    /// Starts what is needed and connects so many clients.
    pub async fn gather(kind: &Kind, transport: Transport, generation: Generation, count: usize) -> Outcome<Self> {
        let (mut servers, mut clients) = (Vec::new(), Vec::with_capacity(count));
        if transport == Transport::Lines {
            for _ in 0..count {
                let (server, client) = Client::of_lines(kind, generation).await?;
                servers.push(server);
                clients.push(client);
            }
        } else {
            let mut server = kind.http()?;
            for _ in 0..count {
                clients.push(Client::of_http(kind, &mut server, generation).await?);
            }
            servers.push(server);
        }
        // Whatever is made at the first request is not what is measured; nor is the interpreter's loading.
        for client in &mut clients {
            client.request("tools/list", json!({})).await?;
        }
        Ok(Self { servers, clients })
    }

    /// Ends the sessions, then the servers.
    pub async fn leave(self) -> Outcome<()> {
        for client in self.clients {
            client.end().await?;
        }
        Ok(())
    }

    fn used(&self) -> Duration {
        self.servers.iter().map(Running::used).sum()
    }

    /// Asks for `span`, all at once, and gives the clients back.
    pub async fn ask(&mut self, kind: &Kind, ask: Ask, span: Duration) -> Outcome<Figures> {
        let (method, params) = ask.of(kind);
        for client in &mut self.clients {
            client.request(method, params.clone()).await?;
        }
        let (used, begun) = (self.used(), Instant::now());
        let asking = std::mem::take(&mut self.clients).into_iter().map(|client| one(client, method, &params, begun + span));
        let told = futures_util::future::try_join_all(asking).await?;
        let (took, used) = (begun.elapsed(), self.used().saturating_sub(used));
        let (mut spans, mut refused, mut failed) = (Vec::new(), 0, 0);
        for (client, mine) in told {
            self.clients.push(client);
            spans.extend(mine.spans);
            refused += mine.refused;
            failed += mine.failed;
        }
        spans.sort_unstable();
        let count = spans.len() as f64;
        Ok(Figures {
            p50: millis(at(&spans, 50)),
            p95: millis(at(&spans, 95)),
            rate: count / took.as_secs_f64(),
            used: millis(used) / count,
            refused,
            failed,
        })
    }
}

#[derive(Default)]
struct Told {
    spans: Vec<Duration>,
    refused: usize,
    failed: usize,
}

async fn one(mut client: Client, method: &str, params: &Value, end: Instant) -> Outcome<(Client, Told)> {
    let mut told = Told::default();
    while Instant::now() < end {
        let begun = Instant::now();
        match client.request(method, params.clone()).await? {
            Answer::Result(result) if result.get("isError").and_then(Value::as_bool) == Some(true) => told.failed += 1,
            Answer::Result(_) => told.spans.push(begun.elapsed()),
            Answer::Refused(_) => {
                told.refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    Ok((client, told))
}
