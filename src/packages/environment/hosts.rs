//! Which hosts an index needs besides its own: an index's pages link to files that may lie elsewhere, and either may be redirected.
//!
//! INVARIANT: a host that is not set up on this machine is reached only if an answer of an allowed host named it, by `https` unless that
//! one was asked without, and not by a number or a local name unless the set-up has such a host itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::domain::Fault;
use crate::packages::requirement::Requirement;
use crate::packages::resolve::unreachable;

use super::address::Address;
use super::settings::{Settings, Tool};
use super::workshop::{Reach, Step, Workshop};

/// How many packages an index is asked about.
const MAX_ASKED: usize = 3;
/// Most hosts that are learned.
const MAX_LINKED: usize = 24;
/// How often it is asked: a page, a file, and two redirects.
const ROUNDS: usize = 4;
const MAX_QUESTIONS: usize = 48;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Question {
    url: String,
    page: bool,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Answers {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    reached: bool,
    redirect: Option<String>,
    links: Vec<String>,
    files: Vec<String>,
}

/// Finds out whom a resolution of `roots` may reach.
///
/// # Errors
/// `REQUIREMENTS_UNRESOLVED` where nobody answers; those of [`Workshop::run`].
pub(super) async fn reach(
    workshop: &Workshop,
    settings: &Settings,
    roots: &[Requirement],
    cancel: &CancellationToken,
) -> Result<Reach, Fault> {
    let mut known = Known::of(settings);
    if known.own.is_empty() {
        return Ok(Reach::default());
    }
    let pages = settings.pages.iter().map(|url| Question { url: url.clone(), page: true, version: None });
    let asked = roots.iter().take(MAX_ASKED);
    let of_indexes = settings.indexes.iter().flat_map(|index| asked.clone().map(|root| question(index, root.name(), None)));
    let mut next: Vec<Question> = pages.chain(of_indexes).take(MAX_QUESTIONS).collect();
    let mut seen: BTreeSet<String> = next.iter().map(|question| question.url.clone()).collect();
    let (mut reached, mut sampled) = (false, BTreeSet::new());
    for _ in 0..ROUNDS {
        let answers = ask(workshop, settings, &next, known.reach(), cancel).await?;
        let mut follow = Vec::new();
        for (question, answer) in next.iter().zip(answers) {
            reached |= answer.reached;
            if let Some(url) = answer.redirect
                && known.learn(&url, question).is_some()
            {
                follow.push(Question { url, page: question.page, version: None });
            }
            for url in answer.links {
                // One file of each host shows whether it hands them out itself.
                if let Some(place) = known.learn(&url, question)
                    && sampled.insert(place)
                {
                    follow.push(Question { url, page: false, version: None });
                }
            }
        }
        follow.retain(|question| seen.insert(question.url.clone()));
        follow.truncate(MAX_QUESTIONS);
        if follow.is_empty() {
            break;
        }
        next = follow;
    }
    if !reached && settings.folders.is_empty() {
        return Err(unreachable("none of its hosts answers"));
    }
    Ok(known.reach())
}

/// Which of these pins an index, or a folder of wheels, has any file of.
///
/// # Errors
/// Those of [`Workshop::run`].
pub(super) async fn published(
    workshop: &Workshop,
    settings: &Settings,
    pins: &[(String, String)],
    reach: &Reach,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Fault> {
    let mut found = BTreeSet::new();
    for (name, version) in pins {
        let lies = |folder: &std::path::PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).take(10_000);
            entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|file| is_of(&file, name, version))
        };
        if settings.folders.iter().any(lies) {
            found.insert(format!("{name} {version}"));
        }
    }
    let questions: Vec<(Question, &(String, String))> = settings
        .indexes
        .iter()
        .flat_map(|index| pins.iter().map(move |pin| (question(index, &pin.0, Some(&pin.1)), pin)))
        .take(MAX_QUESTIONS)
        .collect();
    if !questions.is_empty() {
        let plain: Vec<Question> = questions.iter().map(|(question, _)| question.clone()).collect();
        let answers = ask(workshop, settings, &plain, reach.clone(), cancel).await?;
        for ((_, (name, version)), answer) in questions.into_iter().zip(answers) {
            if answer.files.iter().any(|file| is_of(file, name, version)) {
                found.insert(format!("{name} {version}"));
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether a file is a wheel or a source archive of that version.
fn is_of(file: &str, name: &str, version: &str) -> bool {
    let lower = file.to_ascii_lowercase().replace(['_', '.'], "-");
    let head = format!("{name}-{}-", version.replace('.', "-"));
    let archive = [".whl", ".tar.gz", ".zip", ".tar.bz2"].iter().any(|end| file.ends_with(end));
    archive && lower.starts_with(&head)
}

fn question(index: &str, name: &str, version: Option<&str>) -> Question {
    Question { url: format!("{}/{name}/", index.trim_end_matches('/')), page: true, version: version.map(str::to_owned) }
}

async fn ask(
    workshop: &Workshop,
    settings: &Settings,
    questions: &[Question],
    reach: Reach,
    cancel: &CancellationToken,
) -> Result<Vec<Answer>, Fault> {
    // What `pip` calls trusted and `uv` insecure is one thing to the driver.
    let task = json!({
        "do": "ask", "questions": questions, "insecure": settings.insecure,
        "cert": settings.cert, "client_cert": settings.client_cert, "uv": matches!(settings.tool, Tool::Uv(_)),
    });
    let step = Step { task, reach, seconds: 120, ..Step::default() };
    let found: Answers = workshop.run(step, settings, cancel).await?;
    Ok(found.answers)
}

/// Hosts that may be asked, while more are learned.
struct Known {
    own: Vec<Address>,
    local: bool,
    linked: BTreeMap<String, Address>,
}

impl Known {
    fn of(settings: &Settings) -> Self {
        let own = settings.addresses();
        Self { local: own.iter().any(Address::is_local), own, linked: BTreeMap::new() }
    }

    /// Takes up the host of an address that the answer to `question` named; its `host:port` if it may be reached.
    fn learn(&mut self, url: &str, question: &Question) -> Option<String> {
        let (named, by) = (Address::parse(url)?, Address::parse(&question.url)?);
        let place = named.place();
        if self.own.iter().any(|own| own.place() == place) || self.linked.contains_key(&place) {
            return Some(place);
        }
        if (by.secure && !named.secure) || (named.is_local() && !self.local) || self.linked.len() >= MAX_LINKED {
            tracing::info!("an index names a host that is not reached, as it is local, not secure or one too many");
            return None;
        }
        self.linked.insert(place.clone(), named);
        Some(place)
    }

    fn reach(&self) -> Reach {
        Reach { hosts: self.own.iter().map(Address::place).collect(), linked: self.linked.keys().cloned().collect() }
    }
}

#[cfg(test)]
pub(super) fn learned(own: &[&str], by: &str, named: &[&str]) -> Vec<String> {
    let mut settings = Settings::of_nothing();
    settings.indexes = own.iter().map(|url| (*url).to_owned()).collect();
    let (mut known, question) = (Known::of(&settings), Question { url: by.to_owned(), page: true, version: None });
    named.iter().filter_map(|url| known.learn(url, &question)).collect()
}
