//! A server spoken with as the client that starts it would: a program of the operator's own settings, unconfined, line by line.
//!
//! INVARIANT: the program gets its arguments as a list, never by a shell, and no environment but the one handed over; it is gone, with its
//! process group, when this value is. Nothing that an agent says comes here: `doctor` alone uses it. Knows no protocol.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Most bytes that are read of what it says.
const MOST: u64 = 16 << 20;
/// Most bytes of its complaints that are kept, from the end.
const COMPLAINTS: usize = 4 << 10;
/// How long it may take to go once its input has ended.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// A program that was started, and the ways to it.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    complaints: Option<std::thread::JoinHandle<String>>,
    /// Whether it was waited for: its number may then belong to another.
    is_gone: bool,
}

impl Peer {
    /// Starts it.
    ///
    /// # Errors
    /// What the operating system says where it cannot be started.
    pub fn start(program: &Path, arguments: &[String], environment: &[(String, OsString)]) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "doctor starts what a client would start")]
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = sync_channel(64);
        let mut peer = Self { input: child.stdin.take(), child, lines, complaints: None, is_gone: false };
        if let Some(output) = output {
            std::thread::Builder::new().name("peer-lines".into()).spawn(move || {
                let lines = BufReader::new(output.take(MOST)).lines().map_while(Result::ok);
                // Nobody listens any more: it is over.
                lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
            })?;
        }
        if let Some(errors) = errors {
            peer.complaints = Some(std::thread::Builder::new().name("peer-errors".into()).spawn(move || last_words(errors))?);
        }
        Ok(peer)
    }

    /// Says one line to it.
    ///
    /// # Errors
    /// Where it does not listen any more.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(format!("{line}\n").as_bytes())?;
        input.flush()
    }

    /// The next line it says until then; `None` where none came, or none can come any more.
    #[must_use]
    pub fn hear(&self, until: Instant) -> Option<String> {
        self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// Ends its input and then, if it must be, the program; gives the last of its complaints.
    #[must_use]
    pub fn end(mut self) -> String {
        drop(self.input.take());
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        self.kill();
        self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    /// Without waiting for it, so that its number, and that of its group, stay its own.
    #[cfg(unix)]
    fn has_ended(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.number().is_none_or(|number| !matches!(waitid(WaitId::Pid(number), options), Ok(None)))
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    #[cfg(unix)]
    fn number(&self) -> Option<rustix::process::Pid> {
        i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.is_gone, true) {
            return;
        }
        #[cfg(unix)]
        if let Some(group) = self.number() {
            // Where the group is empty already there is nothing to end.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn last_words(mut errors: impl Read) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = errors.read(&mut chunk) {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let surplus = kept.len().saturating_sub(COMPLAINTS);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn it_is_spoken_with_and_sees_nothing_but_what_it_is_given() {
        let environment = [("WORD".to_owned(), OsString::from("given"))];
        let script = "read line; echo \"$line $1 $WORD $USER\"; echo complaint >&2; cat >/dev/null".to_owned();
        let mut peer = Peer::start(Path::new("/bin/sh"), &["-c".into(), script, "sh".into(), "$(x) y".into()], &environment).unwrap();
        peer.tell("said").unwrap();
        assert_eq!(peer.hear(soon()).unwrap(), "said $(x) y given ");
        assert_eq!(peer.hear(Instant::now()), None);
        assert_eq!(peer.end(), "complaint\n");
    }

    #[test]
    fn one_that_does_not_go_is_ended_with_its_children() {
        let script = "trap '' TERM; sleep 300 & echo $!; exec 0<&-; wait".to_owned();
        let peer = Peer::start(Path::new("/bin/sh"), &["-c".into(), script], &[("PATH".into(), "/usr/bin:/bin".into())]).unwrap();
        let child: i32 = peer.hear(soon()).unwrap().parse().unwrap();
        drop(peer);
        let began = Instant::now();
        let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).ok();
        while state().is_some_and(|stat| !stat.contains(") Z ")) {
            assert!(began.elapsed() < Duration::from_secs(20), "a child of it lives on");
            std::thread::sleep(PAUSE);
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(Peer::start(Path::new("/no/such/program"), &[], &[]).map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
