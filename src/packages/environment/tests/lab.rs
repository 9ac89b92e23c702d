//! A box that shows the real paths but confines only by mounts: a root of its own with the system's folders, the Python's, and what a job
//! names; hosts through a proxy that lets nothing else pass. Whatever is missing in a job's list is missing inside.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::{Clock, ErrorCode, Fault, Timestamp};
use crate::packages::environment::{BuildBox, BuildJob, BuildOutcome, Environment, Environments, EnvironmentsOptions, PythonAt};
use crate::packages::{InstallerOptions, Requirement};

/// Builds the root: `$1` is an empty folder for it, `$2` the Python's folder, `$3` the work folder, `$4` a list of `how from to` lines.
const ROOT: &str = r#"
set -e
PATH="$PATH:/usr/sbin:/sbin"
R="$1"
mount -t tmpfs tmpfs "$R"
for name in usr bin sbin lib lib64; do
  if [ -L "/$name" ]; then cp -P "/$name" "$R/$name"; elif [ -d "/$name" ]; then mkdir "$R/$name"; mount --rbind "/$name" "$R/$name"; fi
done
mkdir -p "$R/dev" "$R/proc" "$R/etc" "$R/tmp" "$R/work" "$R$2"
mount --rbind /dev "$R/dev"
mount --rbind /proc "$R/proc"
cp /etc/passwd /etc/resolv.conf /etc/hosts /etc/nsswitch.conf "$R/etc/" 2>/dev/null || true
mount --bind "$2" "$R$2"
mount --bind "$3" "$R/work"
while IFS='	' read -r how from to; do
  [ -n "$how" ] || continue
  if [ -d "$from" ]; then mkdir -p "$R$to"; else mkdir -p "$(dirname "$R$to")"; : > "$R$to"; fi
  mount --bind "$from" "$R$to"
  [ "$how" = rw ] || mount -o remount,bind,ro "$R$to" || true
done < "$4"
shift 4
exec chroot "$R" /usr/bin/env -i -C /work "$@"
"#;

#[expect(clippy::disallowed_methods, reason = "the tests' box starts programs")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// The machine's Python: what is told of it, and the folder it lies in.
static PYTHON: LazyLock<Option<(PythonAt, PathBuf)>> = LazyLock::new(|| {
    let code = "import os, platform, sys\n\
                print(platform.machine(), *platform.libc_ver(), sep='-')\n\
                print(sys.base_prefix)\nprint(os.path.realpath(sys._base_executable))\nprint(platform.python_version())";
    let told = command("python3").args(["-I", "-c", code]).output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let lines: Vec<&str> = told.lines().collect();
    Some((PythonAt { exe: lines[2].into(), version: lines[3].into(), tag: lines[0].into() }, lines[1].into()))
});

/// How to get a mount namespace here, if there is a way.
static UNSHARE: LazyLock<Option<Vec<&'static str>>> = LazyLock::new(|| {
    let ways = [vec!["--mount"], vec!["--map-root-user", "--mount"]];
    ways.into_iter()
        .find(|way| command("unshare").args(way).args(["mount", "-t", "tmpfs", "x", "/mnt"]).status().is_ok_and(|s| s.success()))
});

pub(super) fn python() -> PythonAt {
    PYTHON.as_ref().unwrap().0.clone()
}

/// Whether this machine can make environments in the tests' box; says so where not.
#[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
pub(super) fn usable() -> bool {
    let usable = PYTHON.is_some() && UNSHARE.is_some();
    if !usable {
        eprintln!("skipped: this machine has no python3, or no mount namespaces");
    }
    usable
}

type Meddle = dyn Fn(&BuildJob) + Send + Sync;

/// The box, and what was seen of its jobs.
#[derive(Default)]
pub(super) struct Lab {
    pub(super) jobs: Mutex<Vec<BuildJob>>,
    pub(super) refused: Arc<Mutex<Vec<String>>>,
    /// Called before each job.
    pub(super) meddle: Option<Box<Meddle>>,
    /// The limit that ends every job.
    pub(super) limit: Option<&'static str>,
    /// Whether the Python is without `venv` and `pip`.
    pub(super) bare: bool,
    /// How many jobs run.
    pub(super) running: Arc<AtomicU64>,
}

impl Lab {
    /// What steps were run.
    pub(super) fn steps(&self) -> Vec<String> {
        self.jobs.lock().unwrap().iter().map(step).collect()
    }
}

/// What a job's driver is told to do.
pub(super) fn step(job: &BuildJob) -> String {
    let task = job.files.iter().find(|(name, _)| name == "task.json").unwrap();
    let task: serde_json::Value = serde_json::from_slice(&task.1).unwrap();
    task["do"].as_str().unwrap().to_owned()
}

struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl BuildBox for Lab {
    async fn run(&self, mut job: BuildJob, cancel: &CancellationToken) -> Result<BuildOutcome, Fault> {
        self.jobs.lock().unwrap().push(job.clone());
        if let Some(meddle) = &self.meddle {
            meddle(&job);
        }
        if let Some(limit) = self.limit {
            return Ok(BuildOutcome { code: -1, stdout: String::new(), stderr: String::new(), limit: Some(limit) });
        }
        if self.bare {
            let driver = job.files.iter_mut().find(|(name, _)| name == "driver.py").unwrap();
            let hidden = b"import importlib.util as u\nfind = u.find_spec\nhide = ('venv', 'pip', 'ensurepip')\n\
                           u.find_spec = lambda name: None if name in hide else find(name)\n";
            driver.1 = [&hidden[..], &driver.1].concat();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (_guard, refused, running) = (Stop(Arc::clone(&stop)), Arc::clone(&self.refused), Arc::clone(&self.running));
        let work = tokio::task::spawn_blocking(move || {
            running.fetch_add(1, Ordering::SeqCst);
            let outcome = confined(job, &stop, &refused);
            running.fetch_sub(1, Ordering::SeqCst);
            outcome
        });
        tokio::select! {
            outcome = work => outcome.unwrap(),
            () = cancel.cancelled() => Err(Fault::new(ErrorCode::Cancelled, "cancelled")),
        }
    }
}

/// Runs a job in a root of its own.
pub(super) fn confined(job: BuildJob, stop: &Arc<AtomicBool>, refused: &Arc<Mutex<Vec<String>>>) -> Result<BuildOutcome, Fault> {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for folder in ["root", "work"] {
        fs::create_dir(path(folder)).unwrap();
    }
    for (name, bytes) in &job.files {
        fs::write(path("work").join(name), bytes).unwrap();
    }
    let mut mounts = String::new();
    for (from, to) in &job.read_only {
        mounts.push_str(&format!("ro\t{}\t{}\n", from.display(), to.display()));
    }
    if let Some((from, to)) = &job.writable {
        mounts.push_str(&format!("rw\t{}\t{to}\n", from.display()));
    }
    fs::write(path("mounts"), mounts).unwrap();
    let mut unshare = command("unshare");
    unshare.args(UNSHARE.as_ref().unwrap());
    let mut environment = job.environment.clone();
    if job.hosts.is_empty() {
        unshare.arg("--net");
    } else {
        let allowed = job.hosts.iter().chain(&job.linked).cloned().collect();
        let port = proxy(allowed, Arc::clone(stop), Arc::clone(refused));
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            environment.push((name.into(), format!("http://127.0.0.1:{port}").into()));
        }
    }
    let joined = |(name, value): &(OsString, OsString)| {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        text
    };
    let (out, err) = (path("out"), path("err"));
    unshare.args(["sh", "-c", ROOT, "sh"]).arg(path("root")).arg(&PYTHON.as_ref().unwrap().1).arg(path("work")).arg(path("mounts"));
    unshare.args(environment.iter().map(joined)).args(&job.argv).stdin(Stdio::null());
    unshare.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    std::os::unix::process::CommandExt::process_group(&mut unshare, 0);
    let mut child = unshare.spawn().unwrap();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if stop.load(Ordering::SeqCst) {
            let group = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
            child.wait().unwrap();
            break -1;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    stop.store(true, Ordering::SeqCst);
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Ok(BuildOutcome { code, stdout: read(&out), stderr: read(&err), limit: None })
}

/// A proxy that reaches the hosts allowed; gives its port.
fn proxy(allowed: Vec<String>, stop: Arc<AtomicBool>, refused: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let Ok((client, _)) = listener.accept() else {
                std::thread::sleep(std::time::Duration::from_millis(3));
                continue;
            };
            let (allowed, refused) = (allowed.clone(), Arc::clone(&refused));
            std::thread::spawn(move || pass(client, &allowed, &refused));
        }
    });
    port
}

fn pass(client: TcpStream, allowed: &[String], refused: &Mutex<Vec<String>>) -> Option<()> {
    client.set_nonblocking(false).ok()?;
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line);
    }
    let (mut client, first) = (client, head[0].clone());
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let tunnel = method == "CONNECT";
    let (place, path) = if tunnel {
        (target.to_owned(), String::new())
    } else {
        let rest = target.strip_prefix("http://")?;
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        (if place.contains(':') { place.to_owned() } else { format!("{place}:80") }, format!("/{path}"))
    };
    if !allowed.contains(&place) {
        refused.lock().unwrap().push(place);
        client.write_all(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
        return None;
    }
    let mut server = TcpStream::connect(&place).ok()?;
    if tunnel {
        client.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").ok()?;
    } else {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        let keep =
            |line: &&String| !line.to_ascii_lowercase().starts_with("proxy-") && !line.to_ascii_lowercase().starts_with("connection:");
        head[1..].iter().filter(keep).for_each(|line| request.push_str(line));
        request.push_str("Connection: close\r\n\r\n");
        server.write_all(request.as_bytes()).ok()?;
    }
    let (mut from_client, mut to_server) = (reader, server.try_clone().ok()?);
    std::thread::spawn(move || {
        copy(&mut from_client, &mut to_server);
        drop(to_server.shutdown(Shutdown::Write));
    });
    copy(&mut server, &mut client);
    drop(client.shutdown(Shutdown::Both));
    Some(())
}

fn copy(from: &mut dyn std::io::Read, to: &mut TcpStream) {
    let mut buffer = [0_u8; 1 << 14];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

#[derive(Default)]
pub(super) struct TestClock(pub(super) AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// Environments in a folder, and what they are made with.
pub(super) struct House {
    pub(super) lab: Arc<Lab>,
    pub(super) clock: Arc<TestClock>,
    pub(super) environments: Environments,
}

pub(super) fn house(cache: &Path, installer: InstallerOptions, lab: Lab) -> House {
    let (lab, clock) = (Arc::new(lab), Arc::new(TestClock::default()));
    let options = EnvironmentsOptions {
        cache: cache.to_owned(),
        installer,
        python: python(),
        build_box: Arc::clone(&lab) as Arc<dyn BuildBox>,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
    };
    House { lab, clock, environments: Environments::new(options) }
}

impl House {
    pub(super) async fn get(&self, entries: &[&str]) -> Result<Arc<Environment>, Fault> {
        self.environments.get(&roots(entries), &CancellationToken::new(), &|_| {}).await
    }
}

pub(super) fn roots(entries: &[&str]) -> Vec<Requirement> {
    Requirement::parse_all(entries).unwrap()
}

/// Runs a program of an environment as a job would: mounted read-only at its place, nothing else, no network.
pub(super) fn run_in(environment: &Environment, argv: &[&str]) -> BuildOutcome {
    let job = BuildJob {
        argv: argv.iter().map(OsString::from).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        writable: None,
        read_only: vec![(environment.folder.clone(), "/env".into())],
        files: Vec::new(),
        hosts: Vec::new(),
        linked: Vec::new(),
        wall: crate::domain::Millis(60_000),
        disk: crate::domain::Bytes(1 << 20),
        memory: crate::domain::Bytes(1 << 30),
    };
    confined(job, &Arc::default(), &Arc::default()).unwrap()
}

/// The machine's `uv`, by its folder, if it has one: on PATH, or where tests of this project put it.
pub(super) fn uv_folder() -> Option<PathBuf> {
    let path = std::env::vars_os().find(|(name, _)| name == "PATH")?.1;
    let home = std::env::vars_os().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    let own = home.map(|home| home.join(".cache/toolgate/venv-uv/bin"));
    std::env::split_paths(&path).chain(own).find(|folder| folder.join("uv").is_file())
}
