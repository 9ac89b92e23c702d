//! How an installer is set up on this machine, brought to the one form in which a confined job is told.
//!
//! INVARIANT: a job gets the values, never the files they stood in or the machine's other variables; the hosts it may reach are those of
//! these values.

use std::path::PathBuf;

use serde::Deserialize;

use crate::packages::installer::InstallerOptions;

use super::address::{Address, folder, secrets};
use super::uv_settings;

/// Most entries of a kind that are looked at.
pub(super) const MAX_ENTRIES: usize = 16;

/// Which installer does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tool {
    /// `uv`, by the path of its program.
    Uv(PathBuf),
    /// `pip`.
    Pip,
}

/// One installer's set-up.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whose.
    pub(super) tool: Tool,
    /// Addresses of indexes, with their logins; none where it is told to use none.
    pub(super) indexes: Vec<String>,
    /// Addresses of single pages with links to files.
    pub(super) pages: Vec<String>,
    /// Folders of this machine with wheels.
    pub(super) folders: Vec<PathBuf>,
    /// Hosts whose certificates are not checked, as its set-up says.
    pub(super) insecure: Vec<String>,
    /// Certificates to trust: a file or a folder.
    pub(super) cert: Option<PathBuf>,
    /// The certificate to show.
    pub(super) client_cert: Option<PathBuf>,
    /// What it is told by variables.
    pub(super) variables: Vec<(String, String)>,
    /// What it is told by arguments.
    pub(super) arguments: Vec<String>,
}

/// What the survey found; see `driver.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Survey {
    /// How `pip` is set up, if there is a usable one.
    pub(super) pip: Option<PipSays>,
    /// The kind of error that `pip` ends with where it reads its set-up.
    #[serde(default)]
    pub(super) pip_trouble: Option<String>,
    /// Whether `uv` starts.
    pub(super) uv: bool,
    /// The index `uv` takes where none is set up.
    pub(super) uv_default: Option<String>,
    /// Whether this Python can make environments.
    pub(super) venv: bool,
}

/// `pip`'s set-up, as it reads it.
#[derive(Debug, Deserialize)]
pub(super) struct PipSays {
    index: Option<String>,
    extra: Vec<String>,
    links: Vec<String>,
    no_index: bool,
    cert: Option<String>,
    client_cert: Option<String>,
    trusted: Vec<String>,
    timeout: Option<f64>,
    retries: Option<u32>,
}

impl Settings {
    /// Those of `pip`.
    pub(super) fn of_pip(says: &PipSays) -> Self {
        let mut made = Self::empty(Tool::Pip);
        let indexes = says.index.iter().filter(|index| !index.is_empty()).chain(&says.extra);
        if says.no_index {
            made.arguments.push("--no-index".into());
        } else {
            made.add_indexes(indexes);
            made.set("PIP_INDEX_URL", says.index.as_deref().unwrap_or_default());
            made.set("PIP_EXTRA_INDEX_URL", &says.extra.join(" "));
        }
        made.add_links(&says.links);
        made.insecure.clone_from(&says.trusted);
        made.set("PIP_TRUSTED_HOST", &says.trusted.join(" "));
        made.cert = says.cert.as_ref().map(PathBuf::from);
        made.client_cert = says.client_cert.as_ref().map(PathBuf::from);
        made.set("PIP_CERT", says.cert.as_deref().unwrap_or_default());
        made.set("PIP_CLIENT_CERT", says.client_cert.as_deref().unwrap_or_default());
        made.set("PIP_DEFAULT_TIMEOUT", &says.timeout.map(|seconds| format!("{seconds:.0}")).unwrap_or_default());
        made.set("PIP_RETRIES", &says.retries.map(|count| count.min(5).to_string()).unwrap_or_default());
        made
    }

    /// Those of `uv`; its default index as it told it.
    pub(super) fn of_uv(program: PathBuf, installer: &InstallerOptions, default: Option<String>) -> Self {
        uv_settings::read(Self::empty(Tool::Uv(program)), installer, default)
    }

    /// Of a machine without installers, on which an environment without packages can be made.
    pub(super) fn of_nothing() -> Self {
        Self::empty(Tool::Pip)
    }

    fn empty(tool: Tool) -> Self {
        Self {
            tool,
            indexes: Vec::new(),
            pages: Vec::new(),
            folders: Vec::new(),
            insecure: Vec::new(),
            cert: None,
            client_cert: None,
            variables: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Adds indexes, which may lie in a folder.
    pub(super) fn add_indexes<'a>(&mut self, entries: impl IntoIterator<Item = &'a String>) {
        for entry in entries.into_iter().take(MAX_ENTRIES) {
            match folder(entry) {
                Some(path) => self.folders.push(path),
                None => self.indexes.push(entry.clone()),
            }
        }
    }

    /// Adds places with wheels. Those relative to some working folder are left out, as there is none.
    pub(super) fn add_links(&mut self, entries: &[String]) {
        for entry in entries.iter().take(MAX_ENTRIES) {
            match folder(entry) {
                Some(path) => self.folders.push(path),
                None if Address::parse(entry).is_some() => self.pages.push(entry.clone()),
                None => continue,
            }
            self.arguments.extend(["--find-links".into(), entry.clone()]);
        }
    }

    /// Sets a variable, unless the value says nothing.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.variables.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The hosts that its own values name.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let mut found: Vec<Address> = self.indexes.iter().chain(&self.pages).filter_map(|url| Address::parse(url)).collect();
        found.sort();
        found.dedup();
        found
    }

    /// `text` without the logins of its addresses.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.indexes.iter().chain(&self.pages).flat_map(|url| secrets(url)) {
            text = text.replace(&secret, "(secret)");
        }
        text
    }
}
