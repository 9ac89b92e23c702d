//! The MCP face as clients have it: the real binary over standard streams and HTTP, by 1, 16 and 256 clients, beside a minimal server on the
//! reference SDK through the same client.
//!
//! `cargo bench --profile dev --bench mcp [-- SECONDS [CLIENTS[,CLIENTS…] [PART-OF-A-LINE]]]`. `TOOLGATE_TEST_PYTHON` names an interpreter
//! with the packages of `tests/clients/requirements.txt` for the peer. `TOOLGATE_BENCH_SETTINGS` is put into the scratch homes, as
//! `key = value; key = value`. The client is one thread of this process; a server's processor time is told apart from it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod client;
mod load;
mod servers;
#[path = "../shared/mod.rs"]
#[expect(dead_code, reason = "shared with other benchmarks")]
mod shared;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use client::{Answer, Client, Generation};
use load::{Ask, Crowd, Figures, Transport};
use servers::{Kind, available};
use shared::{Committer, Outcome, median, millis};

/// Starts that are measured of each kind.
const STARTS: usize = 20;

struct Plan {
    span: Duration,
    clients: Vec<usize>,
    part: Option<String>,
}

impl Plan {
    fn of_arguments() -> Outcome<Self> {
        let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        let span = Duration::from_secs_f64(arguments.next().as_deref().unwrap_or("2").parse()?);
        let clients = arguments.next().unwrap_or_else(|| "1,16,256".to_owned());
        let clients = clients.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { span, clients, part: arguments.next() })
    }

    fn wants(&self, line: &str) -> bool {
        self.part.as_ref().is_none_or(|part| line.contains(part.as_str()))
    }

    fn starts(&self) -> usize {
        if self.span < Duration::from_secs(1) { 3 } else { STARTS }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let plan = Plan::of_arguments()?;
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
    let settings = std::env::var("TOOLGATE_BENCH_SETTINGS").unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let ours = Kind::ours(folder.path().join("home"), &settings)?;
    let peer = Kind::peer();
    if let Err(why) = &peer {
        println!("no peer: {why}");
    }
    // The first start on a machine compiles the interpreter; that is not what is measured.
    let (server, mut warm) = Client::of_lines(&ours, Generation::Older).await?;
    let (method, params) = Ask::Python.of(&ours);
    warm.request(method, params).await?;
    drop(server);

    let floor = floor(&folder.path().join("floor.db")).await?;
    println!("{:<58}{floor:>9.3} ms", "one bare durable commit (the floor): p50");
    let kinds: Vec<Kind> = std::iter::once(ours).chain(peer).collect();
    starts(&plan, &kinds, folder.path(), &settings).await?;
    lists(&kinds).await?;
    memory(&plan, &kinds).await?;
    door(&plan, &kinds).await?;
    loads(&plan, &kinds, floor).await
}

async fn floor(path: &Path) -> Outcome<f64> {
    let mut commit = Committer::open(path).await?;
    let mut spans = Vec::new();
    for _ in 0..200 {
        spans.push(commit.one().await?);
    }
    Ok(millis(median(spans)))
}

/// From the start of the process to the first list of tools.
async fn starts(plan: &Plan, kinds: &[Kind], folder: &Path, settings: &str) -> Outcome<()> {
    for kind in kinds {
        for transport in [Transport::Lines, Transport::Http] {
            let (mut known, mut new) = (Vec::new(), Vec::new());
            for n in 0..plan.starts() {
                known.push(start(kind, transport).await?);
                if let Kind::Ours { .. } = kind {
                    new.push(start(&Kind::ours(folder.join(format!("new {transport:?} {n}")), settings)?, transport).await?);
                }
            }
            let name = format!("{} {transport:?}: start to first tools/list answer: p50", kind.name());
            println!("{name:<58}{:>9.1} ms", millis(median(known)));
            if !new.is_empty() {
                println!("{:<58}{:>9.1} ms", "  the same where the home is new", millis(median(new)));
            }
        }
    }
    Ok(())
}

async fn start(kind: &Kind, transport: Transport) -> Outcome<Duration> {
    let begun = Instant::now();
    let (_server, mut client) = match transport {
        Transport::Lines => Client::of_lines(kind, Generation::Older).await?,
        Transport::Http => {
            let mut server = kind.http()?;
            let client = Client::of_http(kind, &mut server, Generation::Older).await?;
            (server, client)
        }
    };
    client.request("tools/list", json!({})).await?;
    Ok(begun.elapsed())
}

/// How large the list of tools is.
async fn lists(kinds: &[Kind]) -> Outcome<()> {
    for kind in kinds {
        let (_server, mut client) = Client::of_lines(kind, Generation::Older).await?;
        if let Answer::Result(result) = client.request("tools/list", json!({})).await? {
            let (bytes, tools) = (result.to_string().len(), result.get("tools").and_then(serde_json::Value::as_array).map_or(0, Vec::len));
            let name = format!("{}: tools/list, {tools} tools", kind.name());
            println!("{name:<58}{bytes:>9} bytes, some {} tokens of 4 bytes", bytes / 4);
        }
    }
    Ok(())
}

/// Resident memory without a client's doing, and what each client over HTTP adds.
async fn memory(plan: &Plan, kinds: &[Kind]) -> Outcome<()> {
    // All places but a few: somebody may still hold one.
    let count = plan.clients.iter().copied().max().unwrap_or(1).min(250);
    for kind in kinds {
        let mb = |kib: u64| kib as f64 / 1024.0;
        let (server, _client) = Client::of_lines(kind, Generation::Older).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (resident, share) = server.memory()?;
        println!("{:<58}{:>9.1} MB, its share {:.1} MB", format!("{} Lines: resident, idle", kind.name()), mb(resident), mb(share));
        drop(server);
        for generation in [Generation::Older, Generation::Newer] {
            let mut server = kind.http()?;
            let mut first = Client::of_http(kind, &mut server, generation).await?;
            first.request("tools/list", json!({})).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (before, _) = server.memory()?;
            let mut clients = vec![first];
            for _ in 0..count {
                let mut client = Client::of_http(kind, &mut server, generation).await?;
                client.request("tools/list", json!({})).await?;
                clients.push(client);
            }
            let (after, _) = server.memory()?;
            let each = after.saturating_sub(before) as f64 / count as f64;
            let name = format!("{} Http {}: resident, idle; each of {count} more", kind.name(), generation.version());
            println!("{name:<58}{:>9.1} MB; {each:.1} KiB", mb(before));
        }
    }
    Ok(())
}

/// What host, origin and token cost: a request that asks for nothing else, and one that is turned away.
async fn door(plan: &Plan, kinds: &[Kind]) -> Outcome<()> {
    let Some(ours) = kinds.first() else { return Ok(()) };
    let mut server = ours.http()?;
    let mut client = Client::of_http(ours, &mut server, Generation::Newer).await?;
    for (name, with_token, expected) in [("GET /healthz", true, 200), ("the same with a wrong token", false, 401)] {
        let (used, begun, mut spans) = (server.used(), Instant::now(), Vec::new());
        while begun.elapsed() < plan.span {
            let begun = Instant::now();
            let status = client.knock(with_token).await?;
            // Whoever tries many tokens may be slowed down.
            if status != expected && (with_token || status != 429) {
                return Err(format!("{name}: status {status}").into());
            }
            spans.push(begun.elapsed());
        }
        let each = server.used().saturating_sub(used).as_secs_f64() * 1e6 / spans.len() as f64;
        println!("{:<58}{:>9.3} ms, {each:.0} µs of processor time", format!("toolgate Http: {name}: p50"), millis(median(spans)));
    }
    Ok(())
}

async fn loads(plan: &Plan, kinds: &[Kind], floor: f64) -> Outcome<()> {
    println!(
        "\n{:<14}{:<6}{:<12}{:>8}  {:<10}{:>10}{:>10}{:>10}{:>14}",
        "what", "by", "generation", "clients", "", "p50 ms", "p95 ms", "per s", "cpu ms each"
    );
    let ways = [(Transport::Lines, Generation::Older), (Transport::Http, Generation::Older), (Transport::Http, Generation::Newer)];
    for (transport, generation) in ways {
        for &count in &plan.clients {
            let mut rows: Vec<(Ask, &'static str, Figures)> = Vec::new();
            for kind in kinds {
                if let Some(why) = too_many(kind, transport, count).await? {
                    println!("{:<20}{:<12}{count:>8}  {}: left out, {why}", format!("{transport:?}"), generation.version(), kind.name());
                    continue;
                }
                let asks = [Ask::List, Ask::Noop, Ask::Python];
                let asks = asks.into_iter().filter(|ask| plan.wants(&format!("{} {transport:?} {}", ask.name(), generation.version())));
                let asks: Vec<Ask> = asks.collect();
                if asks.is_empty() {
                    continue;
                }
                let mut crowd = Crowd::gather(kind, transport, generation, count).await?;
                for ask in asks {
                    rows.push((ask, kind.name(), crowd.ask(kind, ask, plan.span).await?));
                }
                crowd.leave().await?;
            }
            rows.sort_by_key(|(ask, ..)| *ask as u8);
            print(&rows, (transport, generation, count), floor);
        }
    }
    Ok(())
}

/// Why so many clients cannot be had here.
async fn too_many(kind: &Kind, transport: Transport, count: usize) -> Outcome<Option<String>> {
    if transport == Transport::Http {
        return Ok((count > 256).then(|| "at most 256 sessions are open at once".to_owned()));
    }
    let (server, mut client) = Client::of_lines(kind, Generation::Older).await?;
    let (method, params) = Ask::Python.of(kind);
    client.request(method, params).await?;
    let (resident, _) = server.memory()?;
    // What processes share is counted each time: rather too few than a machine that swaps.
    let (needed, there) = (resident * count as u64 / 1024, available() / 1024);
    Ok((needed > there / 2).then(|| format!("{count} processes may need {needed} MB of {there}")))
}

fn print(rows: &[(Ask, &'static str, Figures)], (transport, generation, count): (Transport, Generation, usize), floor: f64) {
    for (ask, name, figures) in rows {
        let Figures { p50, p95, rate, used, refused, failed } = figures;
        let mut line = format!(
            "{:<14}{:<6}{:<12}{count:>8}  {name:<10}{p50:>10.3}{p95:>10.3}{rate:>10.0}{used:>14.3}",
            ask.name(),
            format!("{transport:?}"),
            generation.version()
        );
        if *refused + *failed > 0 {
            line += &format!("  refused {refused}, failed {failed}");
        }
        let peer = rows.iter().find(|(other, name, _)| other == ask && *name == "peer").filter(|_| *name != "peer");
        if let Some((.., peer)) = peer {
            line += &format!("  {:.1} x the peer's rate, {:.1} x less processor time", rate / peer.rate, peer.used / used);
        }
        if *name != "peer" && *ask != Ask::List && count == 1 {
            line += &format!("; {:.2} ms above a commit", p50 - floor);
        }
        println!("{line}");
    }
}
