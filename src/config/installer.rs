//! What the installers of Python packages (uv, pip) may see of the environment: how they are configured, and nothing else.

use std::ffi::OsString;

use super::Ambient;

/// Variables by their whole name.
const NAMES: &[&str] = &[
    "HOME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "NETRC",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Variables by how they begin.
const PREFIXES: &[&str] = &["PIP_", "UV_", "XDG_", "SSL_CERT_", "PYENV_"];

/// Variables by how they end, in any case.
const SUFFIXES: &[&str] = &["_PROXY"];

/// Where installers are looked for, and what they may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installer {
    /// `PATH`.
    pub path: OsString,
    /// The variables.
    pub environment: Vec<(OsString, OsString)>,
}

impl Installer {
    /// Of this environment.
    #[must_use]
    pub fn of(ambient: &Ambient) -> Self {
        let fits = |name: &str| {
            let upper = name.to_ascii_uppercase();
            NAMES.contains(&upper.as_str())
                || PREFIXES.iter().any(|prefix| upper.starts_with(prefix))
                || SUFFIXES.iter().any(|suffix| upper.ends_with(suffix))
        };
        Self {
            path: ambient.var("PATH").map(ToOwned::to_owned).unwrap_or_default(),
            environment: ambient
                .vars
                .iter()
                .filter(|(name, _)| fits(name))
                .map(|(name, value)| (OsString::from(name), value.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_installers_pass_and_secrets_do_not() {
        let names = [
            "PATH",
            "HOME",
            "PIP_INDEX_URL",
            "UV_DEFAULT_INDEX",
            "https_proxy",
            "SSL_CERT_FILE",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "PYTHONPATH",
            "LD_PRELOAD",
        ];
        let vars = names.iter().map(|name| ((*name).to_owned(), OsString::from("x"))).collect();
        let installer = Installer::of(&Ambient { vars, ..Ambient::default() });
        let seen: Vec<_> = installer.environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(seen, ["HOME", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "https_proxy"]);
        assert_eq!(installer.path, "x");
    }
}
