//! The template packs, embedded, and how one becomes files.
//!
//! INVARIANT: templates come from this binary alone; what callers give is only ever a value in them. Writes no file.

use include_dir::{Dir, File, include_dir};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use crate::confine::RelPath;
use crate::domain::Fault;

use super::names::Names;

static STDLIB_SERVICE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/tools/workers/templates/stdlib_service");

/// What each file of a service is for; `{package}` stands for the package's folder.
pub(super) const PURPOSES: &[(&str, &str)] = &[
    ("README.md", "how to run, use and test the service"),
    (".gitignore", "what is not kept in the repository"),
    ("pyproject.toml", "the package's data and the settings of its checkers"),
    ("{package}/__init__.py", "the package"),
    ("{package}/__main__.py", "the command line: open the database and serve"),
    ("{package}/models.py", "the fields, their rules and their JSON form"),
    ("{package}/migrations/__init__.py", "apply numbered SQL files once and in order"),
    ("{package}/migrations/0001_create.sql", "the table"),
    ("{package}/migrations/0002_index_status.sql", "the index for filtered lists"),
    ("{package}/storage.py", "read and write the database"),
    ("{package}/api.py", "the HTTP interface: list, create, read, replace, change, delete"),
    ("tests/__init__.py", "the test package"),
    ("tests/support.py", "a service in memory and a client without a socket"),
    ("tests/test_models.py", "the rules of the fields"),
    ("tests/test_storage.py", "storage and migrations"),
    ("tests/test_api.py", "the HTTP interface, with all its errors"),
];

/// What the templates know.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) names: Names,
    pub(super) goal: String,
    pub(super) plan_summary: String,
    pub(super) citations: Vec<String>,
}

impl Values {
    fn known(&self) -> minijinja::Value {
        let names = &self.names;
        context! {
            name => names.name.clone(),
            plural => names.plural.clone(),
            package => names.package.clone(),
            human => names.human.clone(),
            human_plural => names.human_plural.clone(),
            a_human => names.a_human.clone(),
            a_human_upper => names.a_human_upper.clone(),
            goal => self.goal.clone(),
            plan_summary => self.plan_summary.clone(),
            citations => self.citations.clone(),
        }
    }
}

/// One rendered file.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct Rendered {
    #[schemars(with = "String")]
    pub(super) path: RelPath,
    pub(super) content: String,
}

/// The paths of a service's files.
pub(super) fn path(pattern: &str, names: &Names) -> String {
    pattern.replace("{package}", &names.package)
}

/// Renders the pack, in the order of [`PURPOSES`].
pub(super) fn render(values: &Values) -> Result<Vec<Rendered>, Fault> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| Fault::internal(format!("the templates' syntax is wrong: {error}")))?);
    let known = values.known();
    PURPOSES
        .iter()
        .map(|(pattern, _)| {
            let template = template(pattern).ok_or_else(|| Fault::internal(format!("the template of `{pattern}` is missing")))?;
            let content = environment
                .render_str(template, known.clone())
                .map_err(|error| Fault::internal(format!("the template of `{pattern}` cannot be rendered: {error}")))?;
            Ok(Rendered { path: RelPath::parse(&path(pattern, &values.names))?, content })
        })
        .collect()
}

/// A template is stored under its path, but for names that would act on this repository itself.
fn template(pattern: &str) -> Option<&'static str> {
    let stored = if pattern == ".gitignore" { "gitignore".to_owned() } else { pattern.replace("{package}", "service") };
    STDLIB_SERVICE.get_file(stored).and_then(File::contents_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dir: &Dir<'_>) -> usize {
        dir.files().count() + dir.dirs().map(count).sum::<usize>()
    }

    #[test]
    fn every_stored_template_is_used() {
        assert_eq!(count(&STDLIB_SERVICE), PURPOSES.len());
        assert!(PURPOSES.iter().all(|(pattern, _)| template(pattern).is_some()));
    }
}
