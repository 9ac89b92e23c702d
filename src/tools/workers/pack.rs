//! The template packs, embedded, and how one becomes files.
//!
//! INVARIANT: templates come from this binary alone; what callers give is only ever a value in them. Writes no file.

use include_dir::{Dir, File, include_dir};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::confine::RelPath;
use crate::domain::Fault;

use super::names::Names;
use super::purposes;

static STDLIB_SERVICE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/tools/workers/templates/stdlib_service");
static FASTAPI_SERVICE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/tools/workers/templates/fastapi_service");

/// The packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Template {
    /// A service on Python's standard library.
    #[default]
    StdlibService,
    /// A service on FastAPI and SQLAlchemy.
    FastapiService,
}

impl Template {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 2] = [Self::StdlibService, Self::FastapiService];

    /// What each file is for, in a sensible order; `{package}` stands for the package's folder.
    pub(super) fn purposes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::StdlibService => purposes::STDLIB,
            Self::FastapiService => purposes::FASTAPI,
        }
    }

    /// What it is built on, in words.
    pub(super) fn ground(self) -> &'static str {
        match self {
            Self::StdlibService => "the standard library of Python",
            Self::FastapiService => "FastAPI and SQLAlchemy",
        }
    }

    fn folder(self) -> &'static Dir<'static> {
        match self {
            Self::StdlibService => &STDLIB_SERVICE,
            Self::FastapiService => &FASTAPI_SERVICE,
        }
    }

    /// A template is stored under its path, but for names that would act on this repository itself.
    fn source(self, pattern: &str) -> Option<&'static str> {
        let stored = if pattern == ".gitignore" { "gitignore".to_owned() } else { pattern.replace("{package}", "service") };
        self.folder().get_file(stored).and_then(File::contents_utf8)
    }

    /// The packages that the checks of a rendered service need, as exact pins; none where it needs none.
    pub(super) fn requirements(self) -> Vec<String> {
        let pins = self.source("requirements.pins").unwrap_or_default();
        pins.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    }
}

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

/// Renders a pack, in the order of its purposes.
pub(super) fn render(pack: Template, values: &Values) -> Result<Vec<Rendered>, Fault> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| Fault::internal(format!("the templates' syntax is wrong: {error}")))?);
    let known = values.known();
    pack.purposes()
        .iter()
        .map(|(pattern, _)| {
            let template = pack.source(pattern).ok_or_else(|| Fault::internal(format!("the template of `{pattern}` is missing")))?;
            let content = environment
                .render_str(template, known.clone())
                .map_err(|error| Fault::internal(format!("the template of `{pattern}` cannot be rendered: {error}")))?;
            Ok(Rendered { path: RelPath::parse(&path(pattern, &values.names))?, content })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dir: &Dir<'_>) -> usize {
        dir.files().count() + dir.dirs().map(count).sum::<usize>()
    }

    #[test]
    fn every_stored_template_is_used() {
        for pack in Template::ALL {
            assert_eq!(count(pack.folder()), pack.purposes().len(), "{pack:?}");
            assert!(pack.purposes().iter().all(|(pattern, _)| pack.source(pattern).is_some()), "{pack:?}");
        }
    }

    #[test]
    fn only_what_needs_packages_asks_for_some() {
        assert_eq!(Template::StdlibService.requirements(), Vec::<String>::new());
        let pins = Template::FastapiService.requirements();
        assert!(crate::packages::Requirement::parse_all(&pins).is_ok_and(|read| read.len() == pins.len()), "{pins:?}");
        for checker in ["ruff", "mypy", "pytest", "pytest-cov"] {
            assert!(pins.iter().any(|pin| pin.starts_with(&format!("{checker}=="))), "{checker} is not in {pins:?}");
        }
    }
}
