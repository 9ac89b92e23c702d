//! The servers that are measured, as child processes: the real binary, and the peer on the reference SDK.
//!
//! INVARIANT: a server ends with its handle. Homes are scratch folders; only the loopback is used.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::shared::Outcome;

/// A server that is started again and again.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The real binary on this home.
    Ours { home: PathBuf },
    /// The peer, by this interpreter.
    Peer { python: String },
}

/// A process that serves.
pub struct Running {
    child: Child,
    /// Where it is reached over HTTP.
    pub address: Option<SocketAddr>,
}

impl Kind {
    /// Ours on a new home with these lines of settings, each a `key = value`, and no limit to requests in a second.
    pub fn ours(home: PathBuf, settings: &str) -> Outcome<Self> {
        std::fs::create_dir_all(&home)?;
        let mut file = std::fs::File::create(home.join("toolgate.toml"))?;
        std::iter::once("http.rate = 0").chain(settings.split(';')).try_for_each(|line| writeln!(file, "{}", line.trim()))?;
        Ok(Self::Ours { home })
    }

    /// The peer, or why it cannot be measured.
    pub fn peer() -> Result<Self, String> {
        #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
        let python = std::env::var("TOOLGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let imports = program(&python).args(["-c", "import mcp.server.mcpserver, uvicorn"]).stderr(Stdio::null()).status();
        match imports {
            Ok(status) if status.success() => Ok(Self::Peer { python }),
            Ok(_) => Err(format!("`{python}` lacks the packages of tests/clients/requirements.txt; TOOLGATE_TEST_PYTHON names another")),
            Err(error) => Err(format!("`{python}` does not start: {error}; TOOLGATE_TEST_PYTHON names another")),
        }
    }

    /// Its name in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ours { .. } => "toolgate",
            Self::Peer { .. } => "peer",
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Ours { home } => {
                let mut command = program(env!("CARGO_BIN_EXE_toolgate"));
                command.args(["--log", "error", "--home"]).arg(home).arg("serve");
                command
            }
            Self::Peer { python } => {
                let mut command = program(python);
                command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/mcp/peer.py"));
                command
            }
        }
    }

    /// Starts it on its standard streams.
    pub fn lines(&self) -> Outcome<(Running, ChildStdin, ChildStdout)> {
        let mut child = self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (input, output) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        Ok((Running { child, address: None }, input, output))
    }

    /// Starts it on a free port; it may not listen yet.
    pub fn http(&self) -> Outcome<Running> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = self.command();
        match self {
            Self::Ours { .. } => command.arg("--http").arg(address.to_string()),
            Self::Peer { .. } => command.arg(address.port().to_string()),
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Running { child, address: Some(address) })
    }

    /// What it wants to see of a client over HTTP, once it listens.
    pub fn token(&self) -> Outcome<Option<String>> {
        match self {
            Self::Ours { home } => Ok(Some(std::fs::read_to_string(home.join("http.token"))?.trim().to_owned())),
            Self::Peer { .. } => Ok(None),
        }
    }
}

impl Running {
    /// Processor time so far, in steps of 10 ms; of its children once they ended.
    pub fn used(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let ticks = stat.rsplit(')').next().into_iter().flat_map(|rest| rest.split_whitespace().skip(11).take(4));
        Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
    }

    /// Resident memory and its share of it, what others have too counted in part, in KiB.
    pub fn memory(&self) -> Outcome<(u64, u64)> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        Ok((field("Rss:"), field("Pss:")))
    }

    /// Waits until it listens.
    pub async fn listening(&mut self) -> Outcome<tokio::net::TcpStream> {
        let address = self.address.ok_or("not over HTTP")?;
        let begun = Instant::now();
        loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(_) if begun.elapsed() < Duration::from_secs(60) && self.child.try_wait()?.is_none() => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(format!("nothing listens at {address}: {error}").into()),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// KiB of memory that may be used without pushing others out.
pub fn available() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a user, and a user starts programs")]
fn program(name: &str) -> Command {
    Command::new(name)
}
