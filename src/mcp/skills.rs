//! Workflows and the guide to programs that call tools, as skills (`io.modelcontextprotocol/skills`): folders of files that tell an agent
//! how something is done.
//!
//! INVARIANT: a skill's digests are of the very bytes that reading its files gives, as both are made here from the same text. Workflows
//! are read by calling the tool that reads them. A skill tells how and does nothing.

use std::collections::BTreeMap;

use rmcp::model::{DIRECTORY_MIME_TYPE, Resource, ResourceContents, Skill, SkillFrontmatter, SkillResource, SkillResources};
use serde_json::json;

use crate::domain::{ErrorCode, Fault};

use super::resources::{Reader, Refused};
use super::workflows::{self, Workflow};
use super::{Catalog, prompts};

/// The entry of each skill.
const ENTRY: &str = "SKILL.md";
/// The folder of what an agent reads only where it must.
const BESIDE: &str = "references";
/// The scheme of all addresses here.
pub(super) const SCHEME: &str = "skill://";

/// A skill with its files, by their paths.
struct Folder {
    name: String,
    description: String,
    files: BTreeMap<String, String>,
}

impl Folder {
    fn new(name: &str, description: &str, body: &str) -> Self {
        // A text in double quotes with JSON's escapes is YAML as well.
        let entry = format!("---\nname: {name}\ndescription: {}\n---\n\n{body}", json!(description));
        Self { name: name.to_owned(), description: description.to_owned(), files: BTreeMap::from([(ENTRY.to_owned(), entry)]) }
    }

    fn with(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.insert(format!("{BESIDE}/{name}"), text.into());
        self
    }

    fn uri(&self, path: &str) -> String {
        format!("{SCHEME}{}/{path}", self.name)
    }

    fn skill(&self) -> Skill {
        let files = self.files.iter().map(|(path, text)| SkillResource::from_bytes(self.uri(path), text.as_bytes())).collect();
        let frontmatter = SkillFrontmatter::new(self.name.clone(), self.description.clone());
        Skill::new(self.uri(ENTRY), frontmatter, SkillResources::Files(files))
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("md") => "text/markdown",
        Some("json") => "application/json",
        Some("yaml") => "application/yaml",
        _ => "text/plain",
    }
}

/// The name of a workflow's skill: skills have hyphens where workflows have underscores.
fn skill_name(workflow: &str) -> String {
    let name = workflow.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").chars().take(64).collect()
}

fn of_workflow(workflow: &Workflow, named: impl Fn(&str) -> String) -> Folder {
    let mut inputs = String::new();
    for (name, schema) in &workflow.inputs {
        let kind =
            schema.get("type").map_or_else(|| "any".to_owned(), |kind| kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
        let needed = if workflow.needed.contains(name) { "needed" } else { "optional" };
        inputs.push_str(&format!("- `{name}` ({kind}, {needed}): {}\n", workflow.about(name).unwrap_or("see references/inputs.json")));
    }
    if inputs.is_empty() {
        inputs.push_str("None.\n");
    }
    let start = json!({ "workflow": workflow.name, "inputs": "…" }).to_string();
    let body = format!(
        "# {}\n\n{}\n\n## Inputs\n\n{inputs}\n## How it is run\n\n{}\n\nThe definition is in references/workflow.yaml.\n",
        prompts::title(&workflow.name),
        workflow.description,
        prompts::steps(&start, named),
    );
    let description = format!("{} Use it to run the toolgate workflow {}.", workflow.description, workflow.name);
    let schema = json!({ "type": "object", "properties": workflow.inputs, "required": workflow.needed });
    Folder::new(&skill_name(&workflow.name), &description, &body)
        .with("workflow.yaml", workflow.definition.clone())
        .with("inputs.json", format!("{schema:#}\n"))
}

fn code_mode() -> Folder {
    let description = "How to write a Python program that calls toolgate's tools, many at once, in one python.run call. Use it where a \
                       task needs several tool calls or works on large results.";
    Folder::new("code-mode", description, include_str!("../../docs/code-mode.md"))
        .with("python.md", include_str!("../../docs/python.md"))
        .with("network.md", include_str!("../../docs/python-network.md"))
}

/// All skills, in the order of their names.
async fn folders(reader: &impl Reader, catalog: &Catalog) -> Result<BTreeMap<String, Folder>, Refused> {
    let named = |tool: &str| catalog.find(tool).map_or_else(|| tool.to_owned(), |entry| entry.tool.name.to_string());
    let mut folders = BTreeMap::from([("code-mode".to_owned(), code_mode())]);
    if catalog.find("workflow.list").is_some() {
        for workflow in workflows::all(reader).await? {
            let folder = of_workflow(&workflow, named);
            if folder.name.is_empty() {
                continue;
            }
            // Of two workflows whose names differ in their hyphens alone the first is a skill.
            folders.entry(folder.name.clone()).or_insert(folder);
        }
    }
    Ok(folders)
}

/// The skills there are.
pub(super) async fn list(reader: &impl Reader, catalog: &Catalog) -> Result<Vec<Skill>, Refused> {
    Ok(folders(reader, catalog).await?.values().map(Folder::skill).collect())
}

/// One skill, by the address of its entry.
pub(super) async fn get(reader: &impl Reader, catalog: &Catalog, uri: &str) -> Result<Skill, Refused> {
    let folders = folders(reader, catalog).await?;
    let found = place(uri).filter(|(_, path)| *path == ENTRY).and_then(|(name, _)| folders.get(name));
    Ok(found.map(Folder::skill).ok_or_else(|| absent(uri))?)
}

/// One file of a skill.
pub(super) async fn read(reader: &impl Reader, catalog: &Catalog, uri: &str) -> Result<ResourceContents, Refused> {
    let folders = folders(reader, catalog).await?;
    let found = place(uri).and_then(|(name, path)| folders.get(name)?.files.get_key_value(path));
    let (path, text) = found.ok_or_else(|| absent(uri))?;
    Ok(ResourceContents::text(text.clone(), uri).with_mime_type(media_type(path)))
}

/// What lies in a folder of a skill.
pub(super) async fn directory(reader: &impl Reader, catalog: &Catalog, uri: &str) -> Result<Vec<Resource>, Refused> {
    let folders = folders(reader, catalog).await?;
    let inside = uri.strip_prefix(SCHEME).map(|rest| rest.strip_suffix('/').unwrap_or(rest)).unwrap_or_default();
    let (name, below) = inside.split_once('/').unwrap_or((inside, ""));
    let folder = folders.get(name).filter(|_| matches!(below, "" | BESIDE)).ok_or_else(|| absent(uri))?;
    let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
    let mut found = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (path, text) in folder.files.iter().filter_map(|(path, text)| Some((path.strip_prefix(&prefix)?, text))) {
        match path.split_once('/') {
            Some((sub, _)) => {
                if seen.insert(sub.to_owned()) {
                    found.push(Resource::new(folder.uri(&format!("{prefix}{sub}")), sub).with_mime_type(DIRECTORY_MIME_TYPE));
                }
            }
            None => {
                let resource = Resource::new(folder.uri(&format!("{prefix}{path}")), path);
                found.push(resource.with_mime_type(media_type(path)).with_size(text.len() as u64));
            }
        }
    }
    Ok(found)
}

/// Skill and path of an address.
fn place(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix(SCHEME)?.split_once('/')
}

fn absent(uri: &str) -> Fault {
    let shown: String = uri.chars().take(120).collect();
    Fault::new(ErrorCode::NotFound, format!("`{shown}` is no skill of this server, or no file of one")).hint("see `skills/list`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_s_name_keeps_to_the_rules_for_them() {
        for (workflow, skill) in
            [("build_service", "build-service"), ("a__b-", "a-b"), ("X1", "x1"), ("-", ""), (&"a".repeat(90), &"a".repeat(64))]
        {
            assert_eq!(skill_name(workflow), skill);
        }
    }

    #[test]
    fn what_is_listed_is_what_is_read() {
        let folder = code_mode();
        let skill = folder.skill();
        skill.validate().unwrap();
        let SkillResources::Files(files) = &skill.resources else { panic!("it has files") };
        assert_eq!(files.len(), folder.files.len());
        for (file, (path, text)) in files.iter().zip(&folder.files) {
            assert_eq!(file.uri, folder.uri(path));
            file.verify(text.as_bytes()).unwrap();
            assert!(file.verify(format!("{text}x").as_bytes()).is_err());
        }
        assert!(folder.files[ENTRY].starts_with("---\nname: code-mode\ndescription: \"How"));
    }
}
