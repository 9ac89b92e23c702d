//! Which terminal session this process belongs to.

/// A terminal session: two processes share one only when they were started from the same login on the same terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub(super) id: i64,
    pub(super) terminal: String,
}

impl Session {
    /// A session that is told, for tests.
    #[must_use]
    pub fn told(id: i64, terminal: &str) -> Self {
        Self { id, terminal: terminal.to_owned() }
    }

    /// This process's, where its standard input is a terminal. A program whose input is a pipe, as an agent's shell commands
    /// have it, has none.
    #[cfg(unix)]
    #[must_use]
    pub fn current() -> Option<Self> {
        use std::io::IsTerminal as _;
        let input = std::io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let terminal = rustix::fs::fstat(&input).ok()?;
        let id = rustix::process::getsid(None).ok()?;
        Some(Self {
            id: id.as_raw_nonzero().get().into(),
            terminal: format!("{}:{}:{}", terminal.st_dev, terminal.st_ino, terminal.st_rdev),
        })
    }

    /// No sessions can be told apart here, so nothing stays unlocked.
    #[cfg(not(unix))]
    #[must_use]
    pub fn current() -> Option<Self> {
        None
    }
}
