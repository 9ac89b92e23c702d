//! A part of this program that reads hostile files, in a process of its own: what it takes too much of, it loses alone.
//!
//! INVARIANT: the child gets the file and nothing else: no environment, no argument but its own word, no output but its answer. Before it
//! looks at the file it takes itself the right to more memory and time. It is gone when [`Reader::read`] returns. The code in it is ours:
//! this is for readers that were not made for hostile files, not for code that is hostile itself.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::domain::{Bytes, Millis};

const PAUSE: Duration = Duration::from_millis(2);

/// What a child may use up.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of its memory. Held where the system knows such limits: not on Windows.
    pub memory: Bytes,
    /// Of its answer.
    pub answer: Bytes,
    /// From its start to its end.
    pub wall: Millis,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It could not be started.
    NotStarted,
    /// It gave up, or broke on the file.
    Broken,
    /// It took too long.
    TooSlow,
    /// Its answer was too long.
    TooLong,
    /// Nobody wanted it any more.
    Cancelled,
}

/// Starts readers.
#[derive(Debug, Clone)]
pub struct Reader {
    /// This very program.
    pub program: PathBuf,
}

impl Reader {
    /// Has the reader of this word read `file`. Blocks until it is gone.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn read(&self, word: &str, file: &[u8], bounds: &Bounds, cancel: &CancellationToken) -> Result<Vec<u8>, Lost> {
        #[expect(clippy::disallowed_methods, reason = "starts this very program, to read one file")]
        let mut command = std::process::Command::new(&self.program);
        command.arg(word).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|_| Lost::NotStarted)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(mut input), Some(output)) = (input, output) else {
            end(&mut child);
            return Err(Lost::NotStarted);
        };
        let until = Instant::now() + bounds.wall.duration();
        let most = bounds.answer.0;
        std::thread::scope(|scope| {
            // A child that is gone does not read to the end, and says so itself by its end.
            scope.spawn(move || drop(input.write_all(file)));
            let answer = scope.spawn(move || {
                let mut answer = Vec::new();
                output.take(most.saturating_add(1)).read_to_end(&mut answer).map(|_| answer)
            });
            let ended = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break if status.success() { Ok(()) } else { Err(Lost::Broken) },
                    Ok(None) if cancel.is_cancelled() => break Err(Lost::Cancelled),
                    Ok(None) if Instant::now() > until => break Err(Lost::TooSlow),
                    Ok(None) if answer.is_finished() => {
                        // It closed its output, or said too much; either way it is about to end.
                        end(&mut child);
                        break Ok(());
                    }
                    Ok(None) => std::thread::sleep(PAUSE),
                    Err(_) => break Err(Lost::Broken),
                }
            };
            end(&mut child);
            let answer = answer.join().map_err(|_| Lost::Broken)?.map_err(|_| Lost::Broken)?;
            match ended {
                _ if u64::try_from(answer.len()).unwrap_or(u64::MAX) > most => Err(Lost::TooLong),
                Ok(()) => Ok(answer),
                Err(lost) => Err(lost),
            }
        })
    }
}

fn end(child: &mut Child) {
    // It fails where the child is gone already.
    drop(child.kill());
    drop(child.wait());
}

/// The child's side: takes itself the right to more, reads the file from standard input, and writes what `work` makes of it. The exit code.
#[must_use]
pub fn serve(bounds: &Bounds, file: Bytes, work: impl FnOnce(&[u8]) -> Option<String>) -> u8 {
    if !confine(bounds) {
        return 1;
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(file.0).read_to_end(&mut bytes);
    let answer = read.ok().and_then(|_| work(&bytes));
    let told = answer.map(|text| std::io::stdout().write_all(text.as_bytes()));
    u8::from(!matches!(told, Some(Ok(()))))
}

#[cfg(unix)]
fn confine(bounds: &Bounds) -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let both = |most| Rlimit { current: Some(most), maximum: Some(most) };
    // A core of it would hold the file, and it writes none. Where nobody is left to end it, it ends by the processor's time.
    let seconds = bounds.wall.0.div_ceil(1_000);
    let limits = [(Resource::As, bounds.memory.0), (Resource::Cpu, seconds), (Resource::Core, 0), (Resource::Fsize, 0)];
    // Some systems know no limit of the address space, and say so.
    limits.into_iter().all(|(resource, most)| setrlimit(resource, both(most)).is_ok() || !cfg!(target_os = "linux"))
}

#[cfg(not(unix))]
fn confine(_bounds: &Bounds) -> bool {
    true
}
