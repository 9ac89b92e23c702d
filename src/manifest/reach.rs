//! Where a script may go, and with which secrets: `hosts` and `secrets`.
//!
//! INVARIANT: a script has a network only to hosts that its manifest names, states the effect `egress` with it, and has secrets only
//! with such a network. What cannot be read is a problem of its file, never passed over.

use super::Executor;
use super::fields::Fields;
use crate::domain::host::{HostPattern, PATTERN_HINT};
use crate::domain::{Effect, Effects, Problem, SecretName};

/// The most hosts and the most secrets of one tool, as of one call of `python.run`.
const MOST_HOSTS: usize = 50;
const MOST_SECRETS: usize = 20;

/// How settings write a reference to a secret; here it may stand before the name.
const SCHEME: &str = "secret:";

/// What a script may reach. Without hosts it has no network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// The hosts.
    pub hosts: Vec<HostPattern>,
    /// The secrets that may stand in its requests.
    pub secrets: Vec<SecretName>,
}

/// What else the manifest says, as far as it could be read.
pub(super) struct Said<'a> {
    pub(super) executor: Option<&'a Executor>,
    pub(super) effects: Option<&'a Effects>,
}

impl Reach {
    /// The hosts as records have them.
    #[must_use]
    pub fn host_words(&self) -> Vec<String> {
        self.hosts.iter().map(ToString::to_string).collect()
    }

    /// The secrets' names.
    #[must_use]
    pub fn secret_words(&self) -> Vec<&str> {
        self.secrets.iter().map(SecretName::as_str).collect()
    }

    /// Reads both fields; nothing where they are not there.
    pub(super) fn read(file: &str, fields: &Fields<'_>, said: &Said<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut reach = Self::default();
        let hosts = fields.texts("hosts", problems).unwrap_or_default();
        let secrets = fields.texts("secrets", problems).unwrap_or_default();
        let line = |name: &str| fields.get(name).and_then(|node| node.line);
        let mut problem = |problem: Problem| problems.push(problem);
        if said.executor == Some(&Executor::Builtin) {
            for name in ["hosts", "secrets"].into_iter().filter(|name| fields.get(name).is_some()) {
                problem(Problem::new(file, format!("`{name}` belongs to a tool made of a script")).at(line(name)));
            }
            return reach;
        }
        if hosts.len() > MOST_HOSTS || secrets.len() > MOST_SECRETS {
            let name = if hosts.len() > MOST_HOSTS { "hosts" } else { "secrets" };
            problem(
                Problem::new(file, format!("`{name}` has too many entries: {MOST_HOSTS} hosts and {MOST_SECRETS} secrets are allowed"))
                    .at(line(name)),
            );
            return reach;
        }
        if !hosts.is_empty() && said.effects.is_some_and(|effects| !effects.contains(Effect::Egress)) {
            problem(
                Problem::new(file, "`hosts` are named, but `effects` lacks `egress`").at(line("hosts")).hint("add `egress` to `effects`"),
            );
        }
        if !secrets.is_empty() && hosts.is_empty() {
            let hint = "a secret goes into requests to the hosts that `hosts` names";
            problem(Problem::new(file, "`secrets` without `hosts`").at(line("secrets")).hint(hint));
        }
        for (text, line) in hosts {
            let shown: String = text.chars().take(80).collect();
            match text.parse::<HostPattern>() {
                Ok(host) if reach.hosts.contains(&host) => problem(Problem::new(file, format!("`hosts` names `{host}` twice")).at(line)),
                Ok(host) => reach.hosts.push(host),
                Err(why) => problem(
                    Problem::new(file, format!("host `{}` cannot be used: {why}", shown.escape_debug())).at(line).hint(PATTERN_HINT),
                ),
            }
        }
        for (text, line) in secrets {
            match text.strip_prefix(SCHEME).unwrap_or(text).parse::<SecretName>() {
                Ok(name) if reach.secrets.contains(&name) => {
                    problem(Problem::new(file, format!("`secrets` names `{name}` twice")).at(line))
                }
                Ok(name) => reach.secrets.push(name),
                Err(fault) => {
                    problem(Problem::new(file, format!("`secrets`: {}", fault.message)).at(line).hint(fault.hint.unwrap_or_default()))
                }
            }
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::tests::file;
    use crate::domain::{Labels, nearest};

    const SCRIPT: &str = "\
name: issues.list
version: 1.0.0
description: Lists issues.
executor: {python: count.py}
effects: [egress]
hosts: [api.example.com, '*.example.org:8443', 'BÜCHER.example']
secrets: [secret:TOKEN, OTHER_TOKEN]
scopes: [issues]
limits: {wall: 30s, output: 1MiB}
input_schema: workspace.read.input.json
output_schema: workspace.read.output.json
examples:
  - accept: {paths: [README.md]}
  - refuse: {paths: ['../etc/passwd']}
    because: paths
";

    #[test]
    fn hosts_and_secrets_are_read_into_one_form_and_bring_labels() {
        let tool = load(&[file("m.yaml", SCRIPT)]).unwrap().remove(0);
        assert_eq!(tool.reach.host_words(), ["api.example.com", "*.example.org:8443", "xn--bcher-kva.example"]);
        assert_eq!(tool.reach.secret_words(), ["TOKEN", "OTHER_TOKEN"]);
        // Whatever the author says of labels: what comes from there is from outside, and what a secret opens is not for everybody.
        assert_eq!(tool.marks.of(&tool.effects), Labels::BOTH);
        assert_eq!(tool.marks.words(), ["untrusted", "private"]);
        let open = load(&[file("m.yaml", &SCRIPT.replace("secrets: [secret:TOKEN, OTHER_TOKEN]\n", ""))]).unwrap().remove(0);
        assert_eq!(open.marks.words(), ["untrusted"]);
        let said = SCRIPT.replace("scopes:", "marks: [untrusted if egress]\nscopes:");
        assert_eq!(load(&[file("m.yaml", &said)]).unwrap().remove(0).marks.words(), ["untrusted", "private"]);
    }

    #[test]
    fn the_digest_covers_them_and_is_as_before_without_them() {
        let digest = |text: &str| load(&[file("m.yaml", text)]).unwrap().remove(0).digest;
        let base = digest(SCRIPT);
        for (from, to) in [("api.example.com", "api.example.net"), ("OTHER_TOKEN", "THIRD_TOKEN"), (":8443", ":8444")] {
            assert_ne!(base, digest(&SCRIPT.replace(from, to)), "{to}");
        }
        assert_eq!(base, digest(&SCRIPT.replace("secret:TOKEN", "TOKEN")), "two ways to write one name");
        // A manifest that names none has the digest it had before there were such fields.
        let plain: String = SCRIPT
            .lines()
            .filter(|line| !line.starts_with("hosts") && !line.starts_with("secrets"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(digest(&plain), digest(&plain.replace("scopes:", "hosts: []\nsecrets: []\nscopes:")));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let hosts = "[api.example.com, '*.example.org:8443', 'BÜCHER.example']";
        let one = |from: &str, to: &str, line: u32, told: &str| {
            assert!(SCRIPT.contains(from), "{from}");
            let text = load(&[file("m.yaml", &SCRIPT.replace(from, to))]).unwrap_err().to_string();
            assert!(text.starts_with(&format!("m.yaml:{line}: ")) && text.contains(told) && text.lines().count() == 1, "{told}: {text}");
        };
        one(hosts, "api.example.com", 6, "field `hosts` must be a list");
        one(hosts, "[7]", 6, "every item of `hosts` must be a text");
        one(hosts, "['https://api.example.com']", 6, "it holds a scheme");
        one(hosts, "\n  - api.example.com\n  - '*'", 8, "host `*` cannot be used");
        one(hosts, "['*.10.0.0.1']", 6, "a wildcard cannot stand before an address");
        one(hosts, "['api.example.com:0']", 6, "its port is not a number");
        one(hosts, "['me@api.example.com']", 6, "it holds a user name");
        one(hosts, "['api.example.com', 'API.example.com.']", 6, "`hosts` names `api.example.com` twice");
        one(hosts, "[]", 7, "`secrets` without `hosts`");
        one("effects: [egress]", "effects: [read]", 6, "`effects` lacks `egress` (add `egress` to `effects`)");
        one("OTHER_TOKEN", "'{{secret:X}}'", 7, "not a name for a secret");
        one("OTHER_TOKEN", "TOKEN", 7, "`secrets` names `TOKEN` twice");
        let many = format!("[{}]", (0..51).map(|n| format!("h{n}.example")).collect::<Vec<_>>().join(", "));
        one(hosts, &many, 6, "`hosts` has too many entries");
        assert_eq!(nearest("host", ["hosts", "secrets"]), Some("hosts"));
        one("hosts:", "host:", 6, "unknown field `host` in the manifest (did you mean `hosts`?)");
    }

    #[test]
    fn a_name_that_is_none_is_not_repeated() {
        let value = "a value, typed where its name belongs";
        let text = load(&[file("m.yaml", &SCRIPT.replace("OTHER_TOKEN", &format!("'{value}'")))]).unwrap_err().to_string();
        assert!(text.contains("m.yaml:7") && !text.contains("typed"), "{text}");
    }

    #[test]
    fn a_builtin_has_neither() {
        let text = load(&[file("m.yaml", &SCRIPT.replace("{python: count.py}", "builtin"))]).unwrap_err().to_string();
        assert_eq!(text, "m.yaml:6: `hosts` belongs to a tool made of a script\nm.yaml:7: `secrets` belongs to a tool made of a script");
    }
}
