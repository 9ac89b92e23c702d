//! Manifest files → [`ToolDef`]s, or everything that is wrong with them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Fields;
use super::marks::Marks;
use super::reach::{Reach, Said};
use super::yaml::Node;
use super::{Example, Executor, ManifestFile, ToolDef, limits};
use crate::domain::{Digest, Effect, Effects, Limits, Problem, Problems, TaskUse, ToolName, beside, nearest};
use crate::schema::Schema;

const KNOWN: &[&str] = &[
    "name",
    "version",
    "title",
    "description",
    "executor",
    "effects",
    "hosts",
    "secrets",
    "scopes",
    "marks",
    "limits",
    "idempotent",
    "input_schema",
    "output_schema",
    "examples",
    "search_hint",
    "task",
];
const LONGEST_TITLE: usize = 60;
const LONGEST_DESCRIPTION: usize = 1_000;
const LONGEST_HINT: usize = 120;

/// Reads all files, in the order given; a tool that a later file names again is a problem of that file.
///
/// # Errors
/// Every problem of every file.
pub fn load(files: &[ManifestFile]) -> Result<Vec<ToolDef>, Problems> {
    let mut problems = Vec::new();
    let mut tools: BTreeMap<ToolName, ToolDef> = BTreeMap::new();
    for (file, read) in files.iter().zip(read_all(files)) {
        let (tool, line) = match read {
            Ok(found) => found,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        match tools.get(&tool.name) {
            Some(earlier) => problems.push(
                Problem::new(&file.path, format!("tool `{}` is already described in {}", tool.name, earlier.file))
                    .at(line)
                    .hint("give it another name; a manifest adds a tool and never replaces one"),
            ),
            None => {
                tools.insert(tool.name.clone(), tool);
            }
        }
    }
    Problems::check(problems)?;
    Ok(tools.into_values().collect())
}

/// A tool and the line of its name, or what is wrong with its file.
type Read = Result<(ToolDef, Option<u64>), Vec<Problem>>;

/// Each file by itself, one half beside the other: a server's start waits for this.
fn read_all(files: &[ManifestFile]) -> Vec<Read> {
    let (first, second) = files.split_at(files.len() / 2);
    let read = |files: &[ManifestFile]| files.iter().map(read).collect::<Vec<_>>();
    let (mut all, rest) = beside("manifests", || read(first), || read(second));
    all.extend(rest);
    all
}

fn read(file: &ManifestFile) -> Read {
    let mut problems = Vec::new();
    let node = Node::read(&file.path, &file.text).map_err(|problem| vec![problem])?;
    match (Reader { file, problems: &mut problems }).tool(&node) {
        Some(found) if problems.is_empty() => Ok(found),
        Some(_) | None => Err(problems),
    }
}

struct Reader<'a> {
    file: &'a ManifestFile,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, line: Option<u64>, message: impl Into<String>) {
        self.problems.push(Problem::new(&self.file.path, message).at(line));
    }

    /// The tool, if all its parts could be read, and the line of its name.
    fn tool(mut self, node: &Node) -> Option<(ToolDef, Option<u64>)> {
        let fields = Fields::of(&self.file.path, "the manifest", node, KNOWN, self.problems)?;
        let name_line = fields.get("name").and_then(|node| node.line);
        let name = self.name(&fields);
        let version = self.version(&fields);
        let title = self.title(&fields);
        let description = self.description(&fields);
        let search_hint = self.search_hint(&fields);
        let task = self.task(&fields);
        let executor = self.executor(&fields);
        let effects = self.effects(&fields);
        let scopes = self.scopes(&fields);
        let said = Said { executor: executor.as_ref(), effects: effects.as_ref() };
        let reach = Reach::read(&self.file.path, &fields, &said, self.problems);
        let marks = Marks::read(&self.file.path, &fields, effects.as_ref(), self.problems).with(&reach);
        let limits = self.limits(&fields);
        let idempotent = fields.flag("idempotent", self.problems).unwrap_or(false);
        let input = self.schema(&fields, "input_schema");
        let output = self.schema(&fields, "output_schema");
        let examples = self.examples(&fields, input.as_ref());
        let name = name?;
        let mut tool = ToolDef {
            version: version?,
            title: title.unwrap_or_else(|| name.to_string()),
            description: description?,
            search_hint,
            task,
            executor: executor?,
            effects: effects?,
            reach,
            scopes,
            marks,
            limits: limits?,
            idempotent,
            input: input?,
            output: output?,
            examples,
            digest: Digest::ZERO,
            file: self.file.path.clone(),
            name,
        };
        match tool.digest_of() {
            Ok(digest) => tool.digest = digest,
            Err(fault) => self.problem(name_line, fault.message),
        }
        Some((tool, name_line))
    }

    fn name(&mut self, fields: &Fields<'_>) -> Option<ToolName> {
        let (text, line) = fields.need_text("name", self.problems)?;
        text.parse().map_err(|error: crate::domain::name::ToolNameError| self.problem(line, error.to_string())).ok()
    }

    fn version(&mut self, fields: &Fields<'_>) -> Option<semver::Version> {
        let node = fields.need("version", self.problems)?;
        let text = node.text().map_or_else(|| node.to_json().to_string(), str::to_owned);
        let version = node.text().and_then(|text| semver::Version::parse(text).ok());
        if version.is_none() {
            let shown: String = text.chars().take(40).collect();
            self.problem(node.line, format!("`{shown}` is not a semantic version like `1.0.0`"));
        }
        version
    }

    fn title(&mut self, fields: &Fields<'_>) -> Option<String> {
        let (text, line) = fields.text("title", self.problems)?;
        self.plain("title", text, line, LONGEST_TITLE)
    }

    fn description(&mut self, fields: &Fields<'_>) -> Option<String> {
        let (text, line) = fields.need_text("description", self.problems)?;
        self.plain("description", text, line, LONGEST_DESCRIPTION)
    }

    fn search_hint(&mut self, fields: &Fields<'_>) -> Option<String> {
        let (text, line) = fields.text("search_hint", self.problems)?;
        self.plain("search_hint", text, line, LONGEST_HINT)
    }

    fn task(&mut self, fields: &Fields<'_>) -> TaskUse {
        let Some((text, line)) = fields.text("task", self.problems) else { return TaskUse::default() };
        TaskUse::from_word(text).unwrap_or_else(|| {
            let known: Vec<&str> = TaskUse::ALL.iter().map(|known| known.as_str()).collect();
            let shown: String = text.chars().take(40).collect();
            self.problem(line, format!("`task` cannot be `{shown}`; known: {}", known.join(", ")));
            TaskUse::default()
        })
    }

    /// A text that clients show to models: not empty, printable ASCII, not long.
    fn plain(&mut self, what: &str, text: &str, line: Option<u64>, longest: usize) -> Option<String> {
        let text = text.trim();
        let strange = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ' || *c == '\n'));
        if text.is_empty() {
            self.problem(line, format!("`{what}` is empty"));
        } else if let Some(strange) = strange {
            self.problem(line, format!("`{what}` holds U+{:04X}; only printable ASCII is allowed", u32::from(strange)));
        } else if text.len() > longest {
            self.problem(line, format!("`{what}` has {} characters, at most {longest} are allowed", text.len()));
        } else {
            return Some(text.to_owned());
        }
        None
    }

    fn executor(&mut self, fields: &Fields<'_>) -> Option<Executor> {
        let node = fields.need("executor", self.problems)?;
        if node.text() == Some("builtin") {
            return Some(Executor::Builtin);
        }
        if let Some(other) = node.text() {
            let shown: String = other.chars().take(40).collect();
            self.problem(node.line, format!("unknown executor `{shown}`; known: `builtin`, `{{python: script.py}}`"));
            return None;
        }
        let inner = Fields::of(&self.file.path, "executor", node, &["python"], self.problems)?;
        let (script, line) = inner.need_text("python", self.problems)?;
        let bytes = self.sibling(script, "script", line)?;
        match String::from_utf8(bytes) {
            Ok(script) => Some(Executor::Python { script }),
            Err(_) => {
                self.problem(line, format!("script `{script}` is not UTF-8"));
                None
            }
        }
    }

    fn effects(&mut self, fields: &Fields<'_>) -> Option<Effects> {
        let node = fields.need("effects", self.problems)?;
        let texts = fields.texts("effects", self.problems)?;
        if texts.is_empty() {
            self.problem(node.line, "`effects` names none; a tool without any is `pure`");
        }
        let mut effects = Vec::new();
        for (text, line) in texts {
            match Effect::ALL.into_iter().find(|effect| effect.as_str() == text) {
                Some(effect) => effects.push(effect),
                None => {
                    let known = Effect::ALL.map(Effect::as_str);
                    let shown: String = text.chars().take(40).collect();
                    let hint = match nearest(text, known) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("known: {}", known.join(", ")),
                    };
                    self.problems.push(Problem::new(&self.file.path, format!("unknown effect `{shown}`")).at(line).hint(hint));
                }
            }
        }
        (!effects.is_empty()).then(|| Effects::of(effects))
    }

    fn scopes(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let legal = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.len() <= 64
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b))
        };
        let mut scopes = Vec::new();
        for (text, line) in fields.texts("scopes", self.problems).unwrap_or_default() {
            if legal(text) {
                scopes.push(text.to_owned());
            } else {
                let shown: String = text.chars().take(40).collect();
                self.problem(line, format!("`{shown}` is not a scope: a lower case letter, then letters, digits, `_`, `.`, `:` or `-`"));
            }
        }
        scopes
    }

    fn limits(&mut self, fields: &Fields<'_>) -> Option<Limits> {
        let node = fields.need("limits", self.problems)?;
        let inner = Fields::of(&self.file.path, "limits", node, &["wall", "output"], self.problems)?;
        let wall =
            inner.need_text("wall", self.problems).and_then(|(text, line)| limits::span(text).map_err(|m| self.problem(line, m)).ok());
        let output =
            inner.need_text("output", self.problems).and_then(|(text, line)| limits::size(text).map_err(|m| self.problem(line, m)).ok());
        Some(Limits { wall: wall?, output: output? })
    }

    fn sibling(&mut self, name: &str, what: &str, line: Option<u64>) -> Option<Vec<u8>> {
        let bytes = self.file.siblings.get(name).cloned();
        if bytes.is_none() {
            let shown: String = name.chars().take(80).collect();
            self.problem(line, format!("{what} `{shown}` is not there"));
        }
        bytes
    }

    fn schema(&mut self, fields: &Fields<'_>, field: &str) -> Option<Schema> {
        let (name, line) = fields.need_text(field, self.problems)?;
        let bytes = self.sibling(name, "schema", line)?;
        let json: Value =
            serde_json::from_slice(&bytes).map_err(|error| self.problem(line, format!("schema `{name}` is not JSON: {error}"))).ok()?;
        let schema = match self.file.is_shipped {
            true => Schema::tried(json),
            false => Schema::compile(&json).map_err(|fault| self.problem(line, format!("schema `{name}`: {}", fault.message))).ok()?,
        };
        if schema.json().get("type").and_then(Value::as_str) != Some("object") {
            self.problem(line, format!("schema `{name}` must have `type: object` at its top"));
            return None;
        }
        Some(schema)
    }

    fn examples(&mut self, fields: &Fields<'_>, input: Option<&Schema>) -> Vec<Example> {
        let Some(node) = fields.need("examples", self.problems) else { return Vec::new() };
        let Some(items) = fields.list("examples", self.problems) else { return Vec::new() };
        let examples: Vec<Example> = items.iter().filter_map(|item| self.example(item, input)).collect();
        let accepting = items.iter().any(|item| item.to_json().get("accept").is_some());
        let refusing = items.iter().any(|item| item.to_json().get("refuse").is_some());
        if !accepting {
            self.problem(node.line, "no example is accepted; at least one `accept` is needed");
        }
        if !refusing {
            self.problem(node.line, "no example is refused; at least one `refuse` is needed");
        }
        examples
    }

    /// Reads one example and tries it, unless it is the program's own.
    fn example(&mut self, item: &Node, input: Option<&Schema>) -> Option<Example> {
        let fields = Fields::of(&self.file.path, "an example", item, &["accept", "refuse", "because"], self.problems)?;
        let tried = input.filter(|_| !self.file.is_shipped);
        let because = fields.text("because", self.problems).map(|(text, _)| text.trim().to_owned()).filter(|text| !text.is_empty());
        match (fields.get("accept"), fields.get("refuse")) {
            (Some(arguments), None) => {
                if because.is_some() {
                    self.problem(fields.line(), "`because` belongs to a refused example");
                }
                let arguments = arguments.to_json();
                if let Some(Err(fault)) = tried.map(|input| input.check(&arguments)) {
                    self.problem(item.line, format!("the accepted example is refused: {}", fault.message));
                }
                Some(Example::Accept(arguments))
            }
            (None, Some(arguments)) => {
                let Some(because) = because else {
                    self.problem(item.line, "a refused example needs `because`: a word that the refusal mentions");
                    return None;
                };
                let arguments = arguments.to_json();
                match tried.map(|input| input.check(&arguments)) {
                    Some(Ok(())) => self.problem(item.line, "the refused example passes the input schema"),
                    Some(Err(fault)) if !fault.message.to_lowercase().contains(&because.to_lowercase()) => {
                        self.problem(item.line, format!("the example is refused, but not because of `{because}`: {}", fault.message));
                    }
                    Some(Err(_)) | None => {}
                }
                Some(Example::Refuse { arguments, because })
            }
            (Some(_), Some(_)) | (None, None) => {
                self.problem(item.line, "an example has either `accept` or `refuse`");
                None
            }
        }
    }
}
