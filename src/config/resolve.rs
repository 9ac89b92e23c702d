//! From what was said, wherever, to typed settings: option over environment over file over default.
//!
//! INVARIANT: pure, and it reports every problem there is, not the first. Does not read files or the environment.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::domain::{Bytes, Globs, Millis, Problem, Problems, Profile, nearest};

use super::file::FileValue;
use super::keys::{self, KEYS, Key};
use super::principals;
use super::{Ambient, Config, FILE_NAME, Installer, LogLevel, Options, PII, Patterns, Source, Sourced, ToolNames, VaultKeyPlace};

pub use super::file::SettingsFile;

/// Where the settings file is to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: PathBuf,
    /// Whether somebody named it, so that it must exist and may say where the home is.
    pub named: bool,
}

/// Finds the settings file: the named one, else the one in the home.
///
/// # Errors
/// Where there is neither a name nor a home.
pub fn locate(options: &Options, ambient: &Ambient) -> Result<Location, Problems> {
    let named = options.config.clone().map(PathBuf::into_os_string).or_else(|| ambient.var("TOOLGATE_CONFIG").map(OsStr::to_owned));
    if let Some(name) = named {
        return Ok(Location { file: absolute(&name, None, ambient), named: true });
    }
    let home = Resolver::new(options, ambient, None).home();
    home.map(|home| Location { file: home.value.join(FILE_NAME), named: false }).map_err(Problems::one)
}

/// Checks and joins everything that was said.
///
/// # Errors
/// Every value that cannot be understood, with the place it stands at.
pub fn resolve(options: &Options, ambient: &Ambient, file: Option<&SettingsFile>) -> Result<Config, Problems> {
    let mut resolver = Resolver::new(options, ambient, file);
    let home = match resolver.home() {
        Ok(home) => home,
        Err(problem) => {
            resolver.problems.push(problem);
            // Only so that the other keys can be looked at as well: the problem above fails the whole.
            Sourced::default(PathBuf::new())
        }
    };
    let cache = ambient.platform.cache_dir.as_ref().map_or_else(|| home.value.join("cache"), |cache| cache.join("toolgate"));
    let egress_private = resolver.list("egress.private");
    let config = Config {
        file: file.map(|file| file.path.clone()),
        log: resolver.word("log", None, |word| LogLevel::from_word(word).map(Some), &LogLevel::ALL.map(LogLevel::as_str)),
        drive_local_root: resolver.path("drive.local_root", home.value.join("drive")),
        drive: super::drive::read(&mut resolver),
        git_author_name: resolver.identity("git.author_name", "toolgate"),
        git_author_email: resolver.identity("git.author_email", "toolgate@localhost"),
        python_cache_dir: resolver.path("python.cache_dir", cache),
        egress_proxy: resolver.perhaps_text("egress.proxy"),
        egress_extra_roots: resolver.perhaps_path("egress.extra_roots"),
        sandbox_cgroup: resolver.perhaps_path("sandbox.cgroup"),
        sandbox_require_cgroup: resolver.word("sandbox.require_cgroup", false, yes_or_no, &["yes", "no"]),
        sandbox_jobs_at_once: resolver.number("sandbox.jobs_at_once", 8, 1..=256).map(|jobs| usize::try_from(jobs).unwrap_or(8)),
        installer: Installer::of(ambient),
        approvals_wait: resolver.number("approvals.wait_sec", 45, 0..=45).map(|sec| Millis(sec * 1000)),
        approvals_expire: resolver.number("approvals.expire_sec", 900, 10..=86_400).map(|sec| Millis(sec * 1000)),
        approvals_limits: (
            resolver.number("approvals.pending_per_run", 10, 1..=200).map(|n| u32::try_from(n).unwrap_or(10)),
            resolver.number("approvals.per_minute", 20, 1..=200).map(|n| u32::try_from(n).unwrap_or(20)),
        ),
        approvals_longest_grant: resolver.number("approvals.longest_grant_sec", 28_800, 60..=604_800).map(|sec| Millis(sec * 1000)),
        approvals_elicitation: resolver.word("approvals.elicitation", false, off_or_trusted, &["off", "trusted-clients"]),
        approvals_trusted: resolver.list("approvals.trusted_principals"),
        approvals_webhook: resolver.perhaps_text("approvals.webhook"),
        approvals_webhook_secret: resolver.perhaps_path("approvals.webhook_secret"),
        policy_profile: resolver.word("policy.profile", Profile::Default, Profile::from_word, &Profile::ALL.map(Profile::as_str)),
        principals: principals::read(file, &mut resolver.problems),
        private_paths: resolver.globs("labels.private_paths"),
        audit_checkpoint_events: resolver.number("audit.checkpoint_events", 1_000, 1..=1_000_000),
        audit_checkpoint_every: resolver.number("audit.checkpoint_seconds", 60, 1..=86_400).map(|sec| Millis(sec * 1000)),
        audit_key_file: resolver.perhaps_path("audit.key_file"),
        audit_witness: resolver.outside("audit.witness", &home.value),
        audit_witness_required: resolver.word("audit.witness_required", false, yes_or_no, &["yes", "no"]),
        budgets: super::budgets::read(&mut resolver),
        storage_max: resolver.number("storage.max_bytes", 0, 0..=1 << 60).map(Bytes),
        storage_run_max: resolver.number("storage.run_max_bytes", 0, 0..=1 << 60).map(Bytes),
        storage_min_free: resolver.number("storage.min_free_bytes", 64 << 20, 0..=1 << 50).map(Bytes),
        inline_output: resolver.number("limits.inline_output_bytes", 16_384, 1_024..=1_048_576).map(Bytes),
        redaction_patterns: resolver.word(
            "redaction.patterns",
            Patterns::Tokens,
            Patterns::from_word,
            &Patterns::ALL.map(Patterns::as_str),
        ),
        redaction_pii: resolver.words("redaction.pii", &PII),
        redaction_fields: resolver.fields(),
        tool_names: resolver.word("serve.tool_names", ToolNames::Underscore, ToolNames::from_word, &ToolNames::ALL.map(ToolNames::as_str)),
        toolsets: resolver.toolsets(),
        serving: super::serving::read(&mut resolver),
        otlp_endpoint: resolver.perhaps_text("telemetry.otlp.endpoint"),
        otlp_authorization_file: resolver.perhaps_path("telemetry.otlp.authorization_file"),
        otlp_sample_percent: resolver.number("telemetry.otlp.sample_percent", 100, 0..=100),
        vault_key: resolver.vault_key(),
        vault_key_file: resolver.perhaps_path("vault.key_file"),
        web: super::web::read(&mut resolver),
        notify: super::notify::read(&mut resolver, &egress_private.value),
        egress_private,
        http: super::http::read(&mut resolver),
        #[cfg(debug_assertions)]
        fixtures: options.fixtures,
        notes: stray_variables(ambient),
        home,
    };
    resolver.problems.sort_by_key(|problem| problem.line);
    Problems::check(resolver.problems)?;
    Ok(config)
}

pub(super) fn yes_or_no(word: &str) -> Option<bool> {
    match word {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn off_or_trusted(word: &str) -> Option<bool> {
    match word {
        "trusted-clients" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

impl<T> Sourced<T> {
    /// The same place with another value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), source: self.source }
    }
}

/// A value before its type is known.
enum Said {
    /// By an option or a variable.
    Word(OsString),
    /// By the file.
    File(FileValue),
}

pub(super) struct Resolver<'a> {
    options: &'a Options,
    ambient: &'a Ambient,
    file: Option<&'a SettingsFile>,
    problems: Vec<Problem>,
}

impl<'a> Resolver<'a> {
    fn new(options: &'a Options, ambient: &'a Ambient, file: Option<&'a SettingsFile>) -> Self {
        Self { options, ambient, file, problems: Vec::new() }
    }

    /// The settings file, where there is one.
    pub(super) fn file(&self) -> Option<&'a SettingsFile> {
        self.file
    }

    /// Notes what is wrong.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A path as it is meant in the settings file.
    pub(super) fn beside_file(&self, path: &str) -> PathBuf {
        absolute(path.as_ref(), self.file.and_then(|file| file.path.parent()), self.ambient)
    }

    fn option(&self, key: &Key) -> Option<OsString> {
        match key.path {
            "home" => self.options.home.clone().map(PathBuf::into_os_string),
            "log" => self.options.log.clone().map(OsString::from),
            "serve.tool_names" => self.options.tool_names.clone().map(OsString::from),
            "serve.toolsets" => self.options.toolsets.as_ref().map(|sets| sets.join(",").into()),
            _ => None,
        }
    }

    fn said(&self, path: &str) -> Option<(Said, Source)> {
        let key = keys::find(path)?;
        if let (Some(word), Some(name)) = (self.option(key), key.option) {
            return Some((Said::Word(word), Source::Option(name)));
        }
        if let Some(word) = self.ambient.var(key.env) {
            return Some((Said::Word(word.to_owned()), Source::Env(key.env)));
        }
        let file = self.file?;
        let (value, line) = file.values.get(path)?;
        Some((Said::File(value.clone()), Source::File { path: file.path.clone(), line: *line }))
    }

    /// Notes that what `source` says of `path` cannot be understood.
    pub(super) fn refuse(&mut self, path: &str, source: &Source, message: &str) {
        let problem = match source {
            Source::File { path: file, line } => Problem::new(file.display().to_string(), format!("`{path}` {message}")).at(Some(*line)),
            Source::Option(_) | Source::Env(_) | Source::Default => Problem::new(source.to_string(), message),
        };
        self.problems.push(problem);
    }

    fn home(&self) -> Result<Sourced<PathBuf>, Problem> {
        match self.said("home") {
            Some((Said::Word(word), source)) => Ok(Sourced { value: absolute(&word, None, self.ambient), source }),
            Some((Said::File(value), Source::File { path, line })) => {
                let named = self.file.is_some_and(|file| file.named);
                let wrong = |message: &str| Problem::new(path.display().to_string(), message).at(Some(line));
                match value {
                    _ if !named => Err(wrong("`home` cannot stand in the home's own file")
                        .hint("give it by `--home` or `TOOLGATE_HOME`, or name the file by `--config` or `TOOLGATE_CONFIG`")),
                    FileValue::Text(text) if !text.is_empty() => {
                        let value = absolute(text.as_ref(), path.parent(), self.ambient);
                        Ok(Sourced { value, source: Source::File { path, line } })
                    }
                    FileValue::Text(_) | FileValue::Integer(_) | FileValue::List(_) | FileValue::Other(_) => {
                        Err(wrong("`home` must be a folder, as a string"))
                    }
                }
            }
            Some(_) | None => match &self.ambient.platform.data_dir {
                Some(data) => Ok(Sourced::default(data.join("toolgate"))),
                None => Err(Problem::new("home", "this user has no home folder, so there is no default for toolgate's")
                    .hint("name a folder by `--home` or `TOOLGATE_HOME`")),
            },
        }
    }

    /// A text setting; `None` where nothing was said, or something that is no text (which is noted).
    fn text(&mut self, path: &str) -> Option<Sourced<String>> {
        let (said, source) = self.said(path)?;
        let text = match said {
            Said::Word(word) => word.into_string().map_err(|_| "is not UTF-8 text".to_owned()),
            Said::File(FileValue::Text(text)) => Ok(text),
            Said::File(FileValue::Integer(_)) => Err("must be a string, not a number".to_owned()),
            Said::File(FileValue::List(_)) => Err("must be a string, not a list".to_owned()),
            Said::File(FileValue::Other(kind)) => Err(format!("must be a string, not {kind}")),
        };
        match text {
            Ok(value) => Some(Sourced { value, source }),
            Err(message) => {
                self.refuse(path, &source, &message);
                None
            }
        }
    }

    pub(super) fn word<T>(&mut self, path: &str, default: T, read: impl Fn(&str) -> Option<T>, words: &[&str]) -> Sourced<T> {
        let Some(said) = self.text(path) else { return Sourced::default(default) };
        match read(&said.value) {
            Some(value) => Sourced { value, source: said.source },
            None => {
                let message = format!("`{}` is none of {}", said.value.escape_debug(), words.join(", "));
                self.refuse(path, &said.source, &message);
                Sourced::default(default)
            }
        }
    }

    /// Like [`Self::word`], but what was written is not repeated: somebody may have taken it for the place of the key itself.
    fn vault_key(&mut self) -> Sourced<VaultKeyPlace> {
        let path = "vault.key";
        let Some(said) = self.text(path) else { return Sourced::default(VaultKeyPlace::Auto) };
        match VaultKeyPlace::from_word(&said.value) {
            Some(value) => Sourced { value, source: said.source },
            None => {
                self.refuse(path, &said.source, "must be auto, keyring or file; a key itself never stands in settings");
                Sourced::default(VaultKeyPlace::Auto)
            }
        }
    }

    fn path(&mut self, path: &str, default: PathBuf) -> Sourced<PathBuf> {
        // A variable's path need not be UTF-8.
        if let Some((Said::Word(word), source)) = self.said(path) {
            return Sourced { value: absolute(&word, None, self.ambient), source };
        }
        let base = self.file.and_then(|file| file.path.parent());
        match self.text(path) {
            Some(said) if said.value.is_empty() || said.value.contains('\0') => {
                self.refuse(path, &said.source, "must be a folder");
                Sourced::default(default)
            }
            Some(said) => said.map(|text| absolute(text.as_ref(), base, self.ambient)),
            None => Sourced::default(default),
        }
    }

    /// A text that may be left out; an empty one is none.
    pub(super) fn perhaps_text(&mut self, path: &str) -> Sourced<Option<String>> {
        match self.text(path) {
            Some(said) => said.map(|text| Some(text).filter(|text| !text.is_empty())),
            None => Sourced::default(None),
        }
    }

    /// A path that may be left out; an empty one is none.
    pub(super) fn perhaps_path(&mut self, path: &str) -> Sourced<Option<PathBuf>> {
        if matches!(self.said(path), None | Some((Said::File(FileValue::Text(_)), _))) && self.perhaps_text(path).value.is_none() {
            return Sourced::default(None);
        }
        self.path(path, PathBuf::new()).map(Some)
    }

    /// A folder that may be left out and must not lie in the home.
    fn outside(&mut self, path: &str, home: &Path) -> Sourced<Option<PathBuf>> {
        let said = self.perhaps_path(path);
        if said.value.as_ref().is_some_and(|folder| folder.starts_with(home)) {
            self.refuse(path, &said.source, "must not lie in toolgate's home: it is to outlive what happens there");
        }
        said
    }

    /// A list of texts; in a variable they are separated by commas.
    pub(super) fn list(&mut self, path: &str) -> Sourced<Vec<String>> {
        let Some((said, source)) = self.said(path) else { return Sourced::default(Vec::new()) };
        let items = match said {
            Said::Word(word) => word.to_str().map(|word| word.split(',').map(|item| item.trim().to_owned()).collect()),
            Said::File(FileValue::List(items)) => Some(items),
            Said::File(FileValue::Text(_) | FileValue::Integer(_) | FileValue::Other(_)) => None,
        };
        match items.filter(|items: &Vec<String>| items.iter().all(|item| !item.is_empty())) {
            Some(value) => Sourced { value, source },
            None => {
                self.refuse(path, &source, "must be a list of texts, none of them empty");
                Sourced::default(Vec::new())
            }
        }
    }

    /// Names of fields; not said is not the same as none.
    fn fields(&mut self) -> Sourced<Vec<String>> {
        const PATH: &str = "redaction.fields";
        let said = self.list(PATH);
        if said.source == Source::Default {
            return Sourced::default(vec!["default".to_owned()]);
        }
        match said.value.iter().find(|name| name.len() > 64 || !name.bytes().any(|byte| byte.is_ascii_alphanumeric())) {
            Some(wrong) => {
                self.refuse(PATH, &said.source, &format!("holds `{}`, which is no name of a field", wrong.escape_debug()));
                Sourced::default(Vec::new())
            }
            None => said,
        }
    }

    /// A list of patterns for paths.
    fn globs(&mut self, path: &str) -> Sourced<Globs> {
        let said = self.list(path);
        match Globs::parse(&said.value) {
            Ok(value) => Sourced { value, source: said.source },
            Err(why) => {
                self.refuse(path, &said.source, &format!("has a pattern that cannot be used: it {why}"));
                Sourced::default(Globs::default())
            }
        }
    }

    /// A list of words that there are.
    fn words(&mut self, path: &str, all: &[&str]) -> Sourced<Vec<String>> {
        let said = self.list(path);
        match said.value.iter().find(|word| !all.contains(&word.as_str())).cloned() {
            Some(wrong) => {
                self.refuse(path, &said.source, &format!("holds `{}`, which is none of {}", wrong.escape_debug(), all.join(", ")));
                Sourced::default(Vec::new())
            }
            None => said,
        }
    }

    pub(super) fn number(&mut self, path: &str, default: u64, range: RangeInclusive<u64>) -> Sourced<u64> {
        let Some((said, source)) = self.said(path) else { return Sourced::default(default) };
        let number = match said {
            Said::Word(word) => word.to_str().and_then(|word| word.parse().ok()),
            Said::File(FileValue::Integer(number)) => u64::try_from(number).ok(),
            Said::File(FileValue::Text(_) | FileValue::List(_) | FileValue::Other(_)) => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(value) => Sourced { value, source },
            None => {
                self.refuse(path, &source, &format!("must be a whole number from {} to {}", range.start(), range.end()));
                Sourced::default(default)
            }
        }
    }

    /// A name or address on commits: one line, not empty, without the characters that would end it inside a commit.
    fn identity(&mut self, path: &str, default: &str) -> Sourced<String> {
        let Some(said) = self.text(path) else { return Sourced::default(default.to_owned()) };
        let fine = !said.value.trim().is_empty() && !said.value.contains(|c: char| c.is_control() || c == '<' || c == '>');
        if fine {
            return said;
        }
        self.refuse(path, &said.source, "must not be empty nor hold `<`, `>` or control characters");
        Sourced::default(default.to_owned())
    }

    fn toolsets(&mut self) -> Sourced<Vec<String>> {
        let path = "serve.toolsets";
        let default = || Sourced::default(vec!["default".to_owned()]);
        let Some((said, source)) = self.said(path) else { return default() };
        let sets = match said {
            Said::Word(word) => word.to_str().map(|word| word.split(',').map(|set| set.trim().to_owned()).collect()),
            Said::File(FileValue::List(sets)) => Some(sets),
            Said::File(FileValue::Text(_) | FileValue::Integer(_) | FileValue::Other(_)) => None,
        };
        let plain =
            |set: &String| !set.is_empty() && set.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        match sets.filter(|sets: &Vec<String>| !sets.is_empty() && sets.iter().all(plain)) {
            Some(value) => Sourced { value, source },
            None => {
                self.refuse(path, &source, "must be a list of toolset names (lower case letters, digits, `_`, `-`)");
                default()
            }
        }
    }
}

/// A path as the user meant it: `~/` is the user's home, a relative one stands beneath `base` or else the current folder.
fn absolute(path: &OsStr, base: Option<&Path>, ambient: &Ambient) -> PathBuf {
    let path = Path::new(path);
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), &ambient.platform.user_home) {
        return home.join(rest);
    }
    match base.or(ambient.platform.current_dir.as_deref()) {
        Some(base) => base.join(path),
        None => path.to_owned(),
    }
}

/// Variables with our prefix that nothing reads. Not an error: the environment belongs to others as well.
fn stray_variables(ambient: &Ambient) -> Vec<String> {
    let known: BTreeSet<&str> = KEYS.iter().map(|key| key.env).chain(["TOOLGATE_CONFIG"]).collect();
    let stray = ambient.vars.keys().filter(|name| name.starts_with("TOOLGATE_") && !known.contains(name.as_str()));
    stray
        .map(|name| match nearest(name, known.iter().copied()) {
            Some(near) => format!("the variable `{}` means nothing to toolgate; did you mean `{near}`?", name.escape_debug()),
            None => format!("the variable `{}` means nothing to toolgate", name.escape_debug()),
        })
        .collect()
}
