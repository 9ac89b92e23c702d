//! Hot reload: looks at the home's policy folder and puts changed rules in force.
//!
//! INVARIANT: only a whole set that loads replaces another, and only once the files have been still for a look and were so while they
//! were read. A folder that went away or cannot be read is a failure to load. Files that do not load change nothing and are told loudly.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::domain::{Actor, Digest, Fault, Problem, Problems};
use crate::gateway::Gateway;
use crate::manifest::ToolDef;
use crate::policy::{Current, PolicySet};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Store};
use crate::tools::notify::{Level, Notice, Notifier, NotifyHub};

use super::policies::Policies;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Problems that an event holds.
const MOST_TOLD: usize = 100;

/// What of a file tells that it changed without reading it.
type Stamp = (u64, Option<SystemTime>, (i64, i64, u64));

/// A folder's policy files as one look finds them.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Files(BTreeMap<OsString, Stamp>),
    Missing,
    Unreadable(String),
}

/// What a look brought.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// Other rules are in force.
    Loaded { old: Digest, new: Digest, rules: usize },
    /// The files do not load; the rules that were in force still are.
    Rejected(Problems),
    /// The files say again what is in force.
    Restored,
}

/// What is known of the folder.
pub(super) struct Watch {
    policies: Policies,
    tools: Vec<ToolDef>,
    current: Arc<Current>,
    /// As it was when it was last read.
    settled: Seen,
    /// As it was at the last look, where that was another.
    moving: Option<Seen>,
    had_folder: bool,
}

impl Watch {
    /// Begins with what was read at the start.
    pub(super) fn new(policies: Policies, tools: Vec<ToolDef>, current: Arc<Current>) -> Self {
        let had_folder = policies.folder().exists();
        // Nothing is known of when these were read, so the first look reads again; the same rules are no news.
        Self { policies, tools, current, settled: Seen::Unreadable("not read yet".to_owned()), moving: None, had_folder }
    }

    /// One look. Reads files, so it may take a moment.
    pub(super) fn look(&mut self) -> Option<News> {
        let seen = look_at(self.policies.folder());
        self.had_folder |= matches!(seen, Seen::Files(_));
        if seen == self.settled {
            self.moving = None;
            return None;
        }
        if self.moving.as_ref() != Some(&seen) {
            self.moving = Some(seen);
            return None;
        }
        let loaded = self.load(&seen);
        // What changed while it was read is looked at again.
        if look_at(self.policies.folder()) != seen {
            return None;
        }
        self.moving = None;
        self.settled = seen;
        let (policies, set) = match loaded {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                let was_rejected = self.current.rejected().is_some();
                self.current.reject(None);
                return was_rejected.then_some(News::Restored);
            }
            Err(problems) => {
                self.current.reject(Some(problems.clone()));
                return Some(News::Rejected(problems));
            }
        };
        let (new, rules) = (*set.digest(), set.len());
        self.policies = policies;
        let old = self.current.replace(set);
        Some(News::Loaded { old, new, rules })
    }

    /// What the folder holds; `None` where that is in force already.
    fn load(&self, seen: &Seen) -> Result<Option<(Policies, PolicySet)>, Problems> {
        let shown = self.policies.folder().display().to_string();
        let there = match seen {
            Seen::Files(_) => self.policies.again(),
            Seen::Missing if !self.had_folder => Ok(self.policies.without_own()),
            Seen::Missing => {
                Err(Problem::new(shown, "the policy folder is gone").hint("put it back, or restart to go on without it").into())
            }
            Seen::Unreadable(why) => Err(Problem::new(shown, format!("the policy folder cannot be read: {why}")).into()),
        }?;
        if there.same_as(&self.policies) {
            return Ok(None);
        }
        let set = there.load(&self.tools)?;
        Ok(Some((there, set)))
    }
}

fn look_at(folder: &Path) -> Seen {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A link that leads nowhere is there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.symlink_metadata().is_err() => return Seen::Missing,
        Err(error) => return Seen::Unreadable(error.to_string()),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let about = entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?)));
        match about {
            Ok((name, about)) if Policies::is_policy(&name) => _ = files.insert(name, (about.len(), about.modified().ok(), inode(&about))),
            Ok(_) => {}
            Err(error) => return Seen::Unreadable(error.to_string()),
        }
    }
    Seen::Files(files)
}

/// When the file's entry changed, which no program can set back, and which file it is.
#[cfg(unix)]
fn inode(about: &std::fs::Metadata) -> (i64, i64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (about.ctime(), about.ctime_nsec(), about.ino())
}

#[cfg(not(unix))]
fn inode(_about: &std::fs::Metadata) -> (i64, i64, u64) {
    (0, 0, 0)
}

/// Where news of the rules goes.
pub(super) struct Tellers {
    pub(super) gateway: Gateway,
    pub(super) store: Store,
    pub(super) hub: Arc<NotifyHub>,
}

/// Looks each second, and where it `hangs_up` at once on a hang-up signal, until `stop` fires.
pub(super) async fn watch(mut watch: Watch, tellers: Tellers, hangs_up: bool, stop: CancellationToken) {
    let mut told = HangUp::listen(hangs_up);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            () = told.heard() => tracing::info!("looking at the policy files, as asked"),
        }
        let looked = tokio::task::spawn_blocking(move || {
            let news = watch.look();
            (watch, news)
        });
        let Ok((again, news)) = looked.await else {
            tracing::error!("policy files are no longer looked at: restart to load changed rules");
            return;
        };
        watch = again;
        if let Some(news) = news
            && let Err(fault) = tellers.tell(&news).await
        {
            tracing::error!("news of the policy could not be recorded: {fault}");
        }
    }
}

impl Tellers {
    async fn tell(&self, news: &News) -> Result<(), Fault> {
        let event = |word: &str| EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", word);
        let in_force = *self.gateway.policy().digest();
        let (draft, level, message) = match news {
            News::Loaded { old, new, rules } => {
                tracing::warn!(old = %old.short(), new = %new.short(), rules, "other rules are in force");
                let draft = event("policy_loaded").field("old", old.to_string()).field("new", new.to_string()).field("rules", *rules);
                (
                    draft,
                    Level::Warning,
                    format!("{rules} rules are in force, digest {}; approvals given under the old ones no longer fit", new.short()),
                )
            }
            News::Rejected(problems) => {
                let lines: Vec<String> = problems.list().iter().take(MOST_TOLD).map(ToString::to_string).collect();
                tracing::error!(in_force = %in_force.short(), "changed policy files do not load, so the old rules stay in force: {}", lines.join("; "));
                let listed: Vec<&Problem> = problems.list().iter().take(MOST_TOLD).collect();
                let draft = event("policy_rejected")
                    .field("in_force", in_force.to_string())
                    .field("count", problems.list().len())
                    .sealed("problems", serde_json::json!(listed));
                let told = format!(
                    "changed policy files do not load, so the old rules stay in force (`toolgate.status` tells it for as long as it is so):\n{}",
                    lines.join("\n")
                );
                (draft, Level::Error, told)
            }
            News::Restored => {
                tracing::warn!(in_force = %in_force.short(), "the policy files say again what is in force");
                (
                    event("policy_restored").field("in_force", in_force.to_string()),
                    Level::Info,
                    "the policy files say again what is in force".to_owned(),
                )
            }
        };
        let run = self.gateway.adhoc_run(&Actor::system()).await?;
        let append = Append { run: Some(run), events: vec![draft], ..Append::default() };
        let recorded = self.store.append(append).await;
        let notice = Notice { level, title: Some("policy".to_owned()), message, run, whose: None };
        self.hub.notify(&notice, None).await?;
        recorded.map(drop)
    }
}

/// The hang-up signal, where the system has it.
struct HangUp {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUp {
    #[cfg_attr(not(unix), expect(unused_variables, reason = "there is no such signal"))]
    fn listen(wanted: bool) -> Self {
        Self {
            #[cfg(unix)]
            signal: wanted.then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok()).flatten(),
        }
    }

    async fn heard(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: &str = "@id(\"own\") permit (principal is toolgate::System, action, resource);";

    struct Home {
        folder: tempfile::TempDir,
        watch: Watch,
        current: Arc<Current>,
    }

    impl Home {
        fn new(with_folder: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            if with_folder {
                std::fs::create_dir(folder.path().join("policies")).unwrap();
            }
            let policies = Policies::at(folder.path()).unwrap();
            let tools = crate::manifest::shipped().unwrap();
            let current = Arc::new(Current::new(policies.load(&tools).unwrap()));
            let watch = Watch::new(policies, tools, current.clone());
            Self { folder, watch, current }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join("policies").join(name), text).unwrap();
        }

        /// Looks until nothing moves any more.
        fn news(&mut self) -> Option<News> {
            (0..3).find_map(|_| self.watch.look())
        }

        fn in_force(&self) -> Arc<PolicySet> {
            self.current.get()
        }
    }

    #[test]
    fn a_good_change_is_loaded_once_and_whoever_holds_the_old_set_keeps_it() {
        let mut home = Home::new(true);
        assert_eq!(home.news(), None);
        let held = home.in_force();
        home.write("a.cedar", ALLOW);
        assert_eq!(home.watch.look(), None, "a file that may still be written is not read");
        let Some(News::Loaded { old, new, rules }) = home.watch.look() else { panic!("not loaded") };
        assert_eq!((old, new, rules), (*held.digest(), *home.in_force().digest(), held.len() + 1));
        assert_ne!(held.digest(), home.in_force().digest());
        assert_eq!(home.news(), None);
        // The same text again, and files that are no policies, are no news.
        home.write("a.cedar", ALLOW);
        home.write("notes.md", "x");
        assert_eq!(home.news(), None);
    }

    #[test]
    fn a_change_of_the_same_length_with_its_time_set_back_is_seen() {
        let mut home = Home::new(true);
        home.write("a.cedar", ALLOW);
        assert!(matches!(home.news(), Some(News::Loaded { .. })));
        let path = home.folder.path().join("policies/a.cedar");
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        home.write("a.cedar", &ALLOW.replace("own", "two"));
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        assert!(matches!(home.news(), Some(News::Loaded { .. })));
    }

    #[test]
    fn files_that_do_not_load_leave_the_old_rules_in_force() {
        let mut home = Home::new(true);
        home.write("a.cedar", ALLOW);
        assert!(home.news().is_some());
        let good = *home.in_force().digest();
        home.write("b.cedar", "permit (principal, action, resource) when { context.nothing };\nnonsense");
        home.write("c.cedar", "forbid (principal, action == toolgate::Action::\"no.such\", resource);");
        let Some(News::Rejected(problems)) = home.news() else { panic!("not rejected") };
        let told = problems.to_string();
        assert!(told.contains("b.cedar:2") && told.contains("c.cedar:1"), "every problem is told: {told}");
        assert_eq!(*home.in_force().digest(), good);
        assert_eq!(home.current.rejected(), Some(problems));
        assert_eq!(home.news(), None, "it is told once");
        for name in ["b.cedar", "c.cedar"] {
            std::fs::remove_file(home.folder.path().join("policies").join(name)).unwrap();
        }
        assert_eq!(home.news(), Some(News::Restored));
        assert_eq!(home.current.rejected(), None);
    }

    #[test]
    fn a_folder_that_goes_away_is_not_an_empty_set() {
        let mut home = Home::new(true);
        home.write("a.cedar", "@id(\"wall\") forbid (principal, action, resource);");
        assert!(home.news().is_some());
        let strict = *home.in_force().digest();
        let (there, away) = (home.folder.path().join("policies"), home.folder.path().join("away"));
        std::fs::rename(&there, &away).unwrap();
        // What reading alone would make of it: no rules of the home's, and so less is forbidden.
        let naive = Policies::at(home.folder.path()).unwrap().load(&crate::manifest::shipped().unwrap()).unwrap();
        assert!(naive.len() < home.in_force().len());
        assert!(matches!(home.news(), Some(News::Rejected(_))));
        assert_eq!(*home.in_force().digest(), strict);
        std::fs::write(&there, "a file").unwrap();
        assert!(matches!(home.news(), Some(News::Rejected(_))), "a file in its place is no folder");
        std::fs::remove_file(&there).unwrap();
        std::fs::rename(&away, &there).unwrap();
        assert_eq!(home.news(), Some(News::Restored));
        // A file taken out is a change like any other.
        std::fs::remove_file(there.join("a.cedar")).unwrap();
        assert!(matches!(home.news(), Some(News::Loaded { .. })));
    }

    #[test]
    fn a_folder_that_never_was_may_come() {
        let mut home = Home::new(false);
        assert_eq!(home.news(), None);
        std::fs::create_dir(home.folder.path().join("policies")).unwrap();
        home.write("a.cedar", ALLOW);
        assert!(matches!(home.news(), Some(News::Loaded { .. })));
        std::fs::remove_dir_all(home.folder.path().join("policies")).unwrap();
        assert!(matches!(home.news(), Some(News::Rejected(_))));
    }
}
