//! What `uv` is set up with: its variables, then the user's file, then the machine's. It has no command that tells this.

use std::path::PathBuf;

use serde::Deserialize;

use crate::packages::installer::InstallerOptions;

use super::address::with_login;
use super::settings::{MAX_ENTRIES, Settings};

/// Most bytes of a file that are read.
const MAX_FILE: u64 = 1 << 20;

/// Variables that mean inside what they mean outside.
const KEPT: [&str; 9] = [
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SSL_CLIENT_CERT",
    "UV_EXCLUDE_NEWER",
    "UV_HTTP_TIMEOUT",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct UvFile {
    index: Vec<UvIndex>,
    index_url: Option<String>,
    extra_index_url: Vec<String>,
    find_links: Vec<String>,
    no_index: Option<bool>,
    index_strategy: Option<String>,
    allow_insecure_host: Vec<String>,
    native_tls: Option<bool>,
    pip: Option<Box<UvFile>>,
}

#[derive(Debug, Clone, Deserialize)]
struct UvIndex {
    name: Option<String>,
    url: String,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    explicit: bool,
}

/// Fills `made`.
pub(super) fn read(mut made: Settings, installer: &InstallerOptions, built_in: Option<String>) -> Settings {
    let var = |name: &str| installer.variable(name).and_then(|value| value.to_str()).filter(|value| !value.is_empty());
    let files = files(installer);
    let no_index = var("UV_NO_INDEX").map(is_yes).or_else(|| files.iter().find_map(|file| file.no_index)).unwrap_or(false)
        || var("UV_OFFLINE").is_some_and(is_yes);

    let words = |name: &str| var(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let of_files: Vec<&UvIndex> = files.iter().flat_map(|file| &file.index).filter(|index| !index.explicit).collect();
    let mut extra: Vec<UvIndex> = words("UV_INDEX").iter().chain(&words("UV_EXTRA_INDEX_URL")).map(|word| named(word)).collect();
    extra.extend(of_files.iter().filter(|index| !index.default).map(|index| (*index).clone()));
    extra.extend(files.iter().flat_map(|file| &file.extra_index_url).map(|url| named(url)));
    extra.truncate(MAX_ENTRIES);
    let default = (var("UV_DEFAULT_INDEX").or_else(|| var("UV_INDEX_URL")).map(named))
        .or_else(|| of_files.iter().find(|index| index.default).map(|index| (*index).clone()))
        .or_else(|| files.iter().find_map(|file| file.index_url.as_deref()).map(named));

    if no_index {
        made.arguments.push("--no-index".into());
    } else {
        made.set("UV_DEFAULT_INDEX", &default.as_ref().map(UvIndex::written).unwrap_or_default());
        let written: Vec<String> = extra.iter().map(UvIndex::written).collect();
        made.set("UV_INDEX", &written.join(" "));
        let all: Vec<String> = extra.iter().chain(&default).map(|index| index.with_login(installer)).collect();
        made.add_indexes(&all);
        made.add_indexes(if default.is_none() { built_in.as_ref() } else { None });
        for (name, value) in installer.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?))) {
            if name.starts_with("UV_INDEX_") && (name.ends_with("_USERNAME") || name.ends_with("_PASSWORD")) {
                made.set(name, value);
            }
        }
    }
    let mut links: Vec<String> =
        var("UV_FIND_LINKS").unwrap_or_default().split(',').filter(|link| !link.is_empty()).map(str::to_owned).collect();
    links.extend(files.iter().flat_map(|file| file.find_links.clone()));
    made.add_links(&links);

    let insecure: Vec<String> = files.iter().flat_map(|file| file.allow_insecure_host.clone()).chain(words("UV_INSECURE_HOST")).collect();
    for name in KEPT {
        made.set(name, var(name).unwrap_or_default());
    }
    let unset = |name: &str| var(name).is_none();
    if unset("UV_INDEX_STRATEGY") {
        made.set("UV_INDEX_STRATEGY", files.iter().find_map(|file| file.index_strategy.as_deref()).unwrap_or_default());
    }
    if unset("UV_NATIVE_TLS") && files.iter().find_map(|file| file.native_tls) == Some(true) {
        made.set("UV_NATIVE_TLS", "1");
    }
    if unset("UV_INSECURE_HOST") {
        made.set("UV_INSECURE_HOST", &insecure.join(" "));
    }
    made.insecure = insecure;
    made.cert = var("SSL_CERT_FILE").or_else(|| var("SSL_CERT_DIR")).map(PathBuf::from);
    made.client_cert = var("SSL_CLIENT_CERT").map(PathBuf::from);
    made
}

/// The files that count, the first before the second; of each, its section on `pip` before the rest.
fn files(installer: &InstallerOptions) -> Vec<UvFile> {
    let var = |name: &str| installer.variable(name).filter(|value| !value.is_empty());
    if var("UV_NO_CONFIG").and_then(|value| value.to_str()).is_some_and(is_yes) {
        return Vec::new();
    }
    let mut paths = Vec::new();
    if let Some(only) = var("UV_CONFIG_FILE") {
        paths.push(PathBuf::from(only));
    } else {
        let home = var("HOME").map(|home| PathBuf::from(home).join(".config"));
        paths.extend(var("XDG_CONFIG_HOME").map(PathBuf::from).or(home).map(|folder| folder.join("uv/uv.toml")));
        let shared = installer.folders("XDG_CONFIG_DIRS").unwrap_or_else(|| vec!["/etc/xdg".into()]);
        let shared = shared.iter().map(|folder| folder.join("uv/uv.toml")).find(|path| path.exists());
        paths.push(shared.unwrap_or_else(|| PathBuf::from("/etc/uv/uv.toml")));
    }
    let mut files = Vec::new();
    for path in paths {
        let small = std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE);
        let Some(text) = small.then(|| std::fs::read_to_string(&path).ok()).flatten() else { continue };
        match toml::from_str::<UvFile>(&text) {
            Ok(mut file) => {
                files.extend(file.pip.take().map(|section| *section));
                files.push(file);
            }
            // Without the text of the error, which quotes lines that may hold logins.
            Err(_) => tracing::warn!(path = %path.display(), "uv's configuration cannot be read and is not used"),
        }
    }
    files
}

fn named(word: &str) -> UvIndex {
    let (name, url) = match word.split_once('=') {
        Some((name, url)) if !name.contains("://") => (Some(name.to_owned()), url),
        _ => (None, word),
    };
    UvIndex { name, url: url.to_owned(), default: false, explicit: false }
}

fn is_yes(value: &str) -> bool {
    ["1", "true", "yes", "on", "y", "t"].contains(&value.to_ascii_lowercase().as_str())
}

impl UvIndex {
    fn written(&self) -> String {
        self.name.as_ref().map_or_else(|| self.url.clone(), |name| format!("{name}={}", self.url))
    }

    /// Its address with the login that variables give for its name.
    fn with_login(&self, installer: &InstallerOptions) -> String {
        let Some(name) = &self.name else { return self.url.clone() };
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let var = |end: &str| installer.variable(&format!("UV_INDEX_{plain}_{end}")).and_then(|value| value.to_str());
        match (var("USERNAME"), var("PASSWORD")) {
            (None, None) => self.url.clone(),
            (user, word) => with_login(&self.url, user.unwrap_or_default(), word.unwrap_or_default()),
        }
    }
}
