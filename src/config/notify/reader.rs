//! Reads what stands under one `[notify.channels.NAME]`.
//!
//! INVARIANT: every problem of a channel is noted, with its line; a channel with a problem is none.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use crate::domain::{MailAddress, Problem, Recipients};

use super::super::Source;
use super::super::file::FileValue;
use super::super::resolve::Resolver;
use super::{ALWAYS, ChannelKind, ChannelSettings, MailTls, PURPOSE, SecretPlace, VARIABLES};

const MOST_RECIPIENTS: usize = 64;
const LONGEST_TEMPLATE: usize = 4096;

/// What stands under one name.
pub(super) struct Reader<'r, 'a> {
    pub(super) resolver: &'r mut Resolver<'a>,
    pub(super) name: &'r str,
    pub(super) keys: &'r BTreeMap<String, (FileValue, u64)>,
    pub(super) private: &'r [String],
    pub(super) said: Vec<(String, Value, Source)>,
    pub(super) is_wrong: bool,
}

impl Reader<'_, '_> {
    /// `None` where something is wrong, which is noted.
    pub(super) fn channel(&mut self) -> Option<ChannelSettings> {
        if !is_name(self.name) || ALWAYS.contains(&self.name) {
            self.wrong(
                "kind",
                "stands under a name that no channel can have: a lower case letter, then letters, digits, `-`, `_`; not `console` or `mcp`",
            );
            return None;
        }
        let word = self.text("kind").unwrap_or_default();
        let Some(kind) = ChannelKind::ALL.into_iter().find(|kind| kind.as_str() == word) else {
            let all = ChannelKind::ALL.map(ChannelKind::as_str).join(", ");
            self.wrong("kind", &format!("must be one of {all}"));
            return None;
        };
        self.check_keys(kind);
        let secret = self.secret();
        let url = self.url(kind);
        let tls = self.tls(kind, url.as_ref());
        let topic = self.checked("topic", is_topic, "must be 1 to 64 letters, digits, `-` and `_`");
        let user = self.checked("user", is_line, "must be one line");
        let from = self.checked("from", |text| text.parse::<MailAddress>().is_ok(), "must be an address such as `toolgate@example.com`");
        let recipients = self.recipients();
        let title = self.template("title");
        let body = self.template("body");
        if kind == ChannelKind::Email && user.is_some() != secret.is_some() {
            self.wrong("user", "and the secret (the password) belong together");
        }
        let said = std::mem::take(&mut self.said);
        (!self.is_wrong).then_some(ChannelSettings { kind, url, secret, topic, user, from, recipients, tls, title, body, said })
    }

    pub(super) fn wrong(&mut self, key: &str, message: &str) {
        self.is_wrong = true;
        let line = self.keys.get(key).or_else(|| self.keys.values().next()).map(|(_, line)| *line);
        let file = self.resolver.file().map(|file| file.path.display().to_string()).unwrap_or_default();
        let message = format!("`notify.channels.{}.{key}` {message}", self.name.escape_debug());
        self.resolver.problem(Problem::new(file, message).at(line));
    }

    fn note(&mut self, key: &str, value: Value) {
        if let (Some((_, line)), Some(file)) = (self.keys.get(key), self.resolver.file()) {
            self.said.push((key.to_owned(), value, Source::File { path: file.path.clone(), line: *line }));
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.get(key) {
            Some((FileValue::Text(text), _)) if !text.is_empty() => {
                self.note(key, json!(text));
                Some(text.clone())
            }
            Some(_) => {
                self.wrong(key, "must be a text that is not empty");
                None
            }
            None => None,
        }
    }

    fn checked(&mut self, key: &str, fits: impl Fn(&str) -> bool, must: &str) -> Option<String> {
        let text = self.text(key)?;
        if fits(&text) {
            return Some(text);
        }
        self.wrong(key, must);
        None
    }

    /// What a kind needs must be there, and what it does not know must not.
    fn check_keys(&mut self, kind: ChannelKind) {
        let (needed, known) = kind.keys();
        let has = |key: &str| self.keys.contains_key(key) || (key == "secret" && self.keys.contains_key("secret_file"));
        let lacks: Vec<&str> = needed.iter().copied().filter(|key| !has(key)).collect();
        let knows = |key: &str| {
            let key = if key == "secret_file" { "secret" } else { key };
            ["kind", "title", "body"].contains(&key) || needed.contains(&key) || known.contains(&key)
        };
        let strange: Vec<String> = self.keys.keys().filter(|key| !knows(key)).cloned().collect();
        for key in lacks {
            let or = if key == "secret" { " or `secret_file`" } else { "" };
            self.wrong(key, &format!("is missing{or}: a channel of kind {} needs it", kind.as_str()));
        }
        for key in strange {
            self.wrong(&key, &format!("means nothing to a channel of kind {}", kind.as_str()));
        }
    }

    fn secret(&mut self) -> Option<SecretPlace> {
        let file = self.text("secret_file").map(|path| SecretPlace::File(self.resolver.beside_file(&path)));
        // Not by `text`: what stands there may be the secret itself, and is not to be shown.
        match self.keys.get("secret") {
            None => file,
            Some((FileValue::Text(text), _)) if file.is_none() => match text.strip_prefix("secret:").filter(|name| is_line(name)) {
                Some(name) => {
                    let place = SecretPlace::Vault(name.to_owned());
                    self.note("secret", json!(text));
                    Some(place)
                }
                None => {
                    self.wrong("secret", "must be `secret:NAME`, a name of the vault; a secret itself does not belong here");
                    None
                }
            },
            Some(_) => {
                self.wrong("secret", "must be one text, and not stand beside `secret_file`");
                None
            }
        }
    }

    fn url(&mut self, kind: ChannelKind) -> Option<Url> {
        let text = self.text("url").or_else(|| kind.usual_url().map(str::to_owned))?;
        let url = match Url::parse(&text) {
            Ok(url) => url,
            Err(error) => {
                self.wrong("url", &format!("cannot be read: {error}"));
                return None;
            }
        };
        let schemes: &[&str] = if kind == ChannelKind::Email { &["smtp", "smtps"] } else { &["https", "http"] };
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let why = if !schemes.contains(&url.scheme()) {
            format!("must begin with {}", schemes.iter().map(|scheme| format!("`{scheme}://`")).collect::<Vec<_>>().join(" or "))
        } else if url.host_str().is_none_or(str::is_empty) {
            "names no host".to_owned()
        } else if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            "must hold no user, password or fragment".to_owned()
        } else if kind != ChannelKind::Webhook && !is_bare {
            "must be scheme, host and port alone".to_owned()
        } else if url.scheme() == "http" && !self.is_excepted(&url, 80) {
            format!("is not https; plain http needs the exception `{PURPOSE}=HOST:PORT` for this very host and port in egress.private")
        } else {
            return Some(url);
        };
        self.wrong("url", &why);
        None
    }

    fn tls(&mut self, kind: ChannelKind, url: Option<&Url>) -> MailTls {
        let word = self.text("tls");
        let (Some(url), ChannelKind::Email) = (url, kind) else { return MailTls::StartTls };
        match (url.scheme(), word.as_deref()) {
            ("smtps", None | Some("implicit")) => MailTls::Implicit,
            ("smtp", None | Some("starttls")) => MailTls::StartTls,
            ("smtp", Some("none")) if self.is_excepted(url, 587) => MailTls::Plain,
            ("smtp", Some("none")) => {
                self.wrong(
                    "tls",
                    &format!("can be `none` only with the exception `{PURPOSE}=HOST:PORT` for this very host and port in egress.private"),
                );
                MailTls::StartTls
            }
            _ => {
                self.wrong("tls", "must be `starttls` or `none` for smtp, `implicit` for smtps");
                MailTls::StartTls
            }
        }
    }

    fn is_excepted(&self, url: &Url, usual: u16) -> bool {
        let place = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(usual));
        self.private.iter().any(|entry| {
            entry
                .split_once('=')
                .is_some_and(|(purpose, excepted)| purpose.trim() == PURPOSE && excepted.trim().eq_ignore_ascii_case(&place))
        })
    }

    fn recipients(&mut self) -> Vec<String> {
        let Some((value, _)) = self.keys.get("recipients") else { return Vec::new() };
        let FileValue::List(all) = value else {
            self.wrong("recipients", "must be a list of addresses");
            return Vec::new();
        };
        let all = all.clone();
        self.note("recipients", json!(all));
        let bad = all.iter().find(|entry| entry.parse::<Recipients>().is_err());
        if let Some(bad) = bad {
            self.wrong("recipients", &format!("has `{}`, which is neither an address nor `*@domain`", bad.escape_debug()));
        } else if all.is_empty() || all.len() > MOST_RECIPIENTS {
            self.wrong("recipients", &format!("must have 1 to {MOST_RECIPIENTS} entries"));
        }
        all
    }

    fn template(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let environment = minijinja::Environment::new();
        let why = match environment.template_from_str(&text) {
            _ if text.len() > LONGEST_TEMPLATE => format!("is longer than {LONGEST_TEMPLATE} bytes"),
            Err(error) => format!("is no template: {error}"),
            Ok(template) => match template.undeclared_variables(false).into_iter().find(|name| !VARIABLES.contains(&name.as_str())) {
                Some(name) => format!("names `{}`; there are {}", name.escape_debug(), VARIABLES.join(", ")),
                None => return Some(text),
            },
        };
        self.wrong(key, &why);
        None
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 32
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
}

fn is_topic(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control)
}
