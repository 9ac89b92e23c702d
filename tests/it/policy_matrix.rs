//! Who may do what under each shipped profile, as one page that a diff shows: every tool, its effects together and each alone, every
//! kind of principal, without and with both labels on the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;
use toolgate::domain::{Effects, Labels, Profile, Role};
use toolgate::manifest::ToolDef;
use toolgate::policy::{Facts, PolicySet, Principals, Question, shipped, shipped_tests, tests_of};

use crate::support::root;

const PROFILES: [Profile; 4] = [Profile::Default, Profile::ReadOnly, Profile::LockedDown, Profile::Team];

const LEGEND: &str = "\
# Written by the test `policy_matrix`; UPDATE_GOLDEN=1 writes it anew.
# A cell is the verdict for a run without labels; `a/b` where it is another one, b, once the run is both untrusted and private.
";

/// The columns: a name, a role as configuration gives it, a kind.
fn columns(profile: Profile) -> Vec<(&'static str, Role)> {
    let roles = profile.roles().iter().map(|role| (*role, Role::Agent));
    std::iter::once(("agent", Role::Agent)).chain(roles).chain([("operator", Role::Operator), ("system", Role::System)]).collect()
}

fn principals(profile: Profile) -> Principals {
    let named = profile.roles().iter().map(|role| ((*role).to_owned(), BTreeSet::from([(*role).to_owned()])));
    Principals::new(named, [""; 0])
}

/// Every tool but the one whose calls are others': no call is decided on under its name.
fn tools() -> Vec<ToolDef> {
    let mut tools = toolgate::manifest::shipped().unwrap_or_else(|problems| panic!("{problems}"));
    tools.retain(|tool| tool.name.as_str() != toolgate::call::TOOL_CALL);
    tools
}

fn load(profile: Profile) -> PolicySet {
    PolicySet::load_for(&shipped(profile), &tools(), &principals(profile)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn cell(set: &PolicySet, tool: &ToolDef, effects: &Effects, (principal, role): (&str, Role)) -> String {
    let verdict = |labels| {
        let (facts, hosts, arguments) = (Facts { labels, ..Facts::default() }, BTreeSet::new(), json!({}));
        let question = Question {
            tool: &tool.name,
            role,
            principal,
            origin: "client",
            run: "run_x",
            step: None,
            facts: &facts,
            effects,
            hosts: &hosts,
            arguments: &arguments,
        };
        set.would(&question).verdict
    };
    let (plain, labelled) = (verdict(Labels::default()), verdict(Labels::BOTH));
    assert!(labelled >= plain, "labels loosen `{}` for {principal}: {plain:?} became {labelled:?}", tool.name);
    if plain == labelled { plain.as_str().to_owned() } else { format!("{}/{}", plain.as_str(), labelled.as_str()) }
}

fn matrix() -> String {
    let mut page = LEGEND.to_owned();
    for profile in PROFILES {
        let (set, columns) = (load(profile), columns(profile));
        write!(page, "\nprofile {}\n{:<20}{:<40}", profile.as_str(), "tool", "effects").unwrap();
        page.extend(columns.iter().map(|(name, _)| format!("{name:<12}")));
        page.truncate(page.trim_end().len());
        page.push('\n');
        for tool in tools() {
            let each: Vec<Effects> = tool.effects.iter().map(Effects::only).collect();
            let several = (each.len() > 1).then(|| tool.effects.clone());
            for effects in each.iter().chain(&several) {
                let words: Vec<&str> = effects.iter().map(|effect| effect.as_str()).collect();
                write!(page, "{:<20}{:<40}", tool.name.as_str(), words.join(" ")).unwrap();
                page.extend(columns.iter().map(|column| format!("{:<12}", cell(&set, &tool, effects, *column))));
                page.truncate(page.trim_end().len());
                page.push('\n');
            }
        }
    }
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the golden file is written anew on request")]
fn the_policy_matrix_is_as_it_was_looked_at() {
    let (path, found) = (root().join("tests/golden/policy-matrix.txt"), matrix());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (n, (old, new)) in golden.lines().zip(found.lines()).enumerate() {
        assert_eq!(old, new, "line {} of tests/golden/policy-matrix.txt; UPDATE_GOLDEN=1 writes it anew, then look at the diff", n + 1);
    }
    assert_eq!(golden.lines().count(), found.lines().count(), "rows are missing or too many; UPDATE_GOLDEN=1 writes them");
    for tool in tools() {
        let rows = golden.lines().filter(|line| line.split_whitespace().next() == Some(tool.name.as_str())).count();
        assert!(rows >= PROFILES.len(), "`{}` has no row for each profile", tool.name);
    }
}

#[test]
fn each_profiles_own_tests_hold() {
    for profile in PROFILES {
        let set = load(profile);
        let outcomes = tests_of(&set, &tools(), &shipped_tests(profile)).unwrap_or_else(|problems| panic!("{problems}"));
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        assert!(failed.is_empty() && outcomes.len() >= 4, "{}: {failed:#?}", profile.as_str());
    }
    assert!(shipped(Profile::None).is_empty());
}

/// A file of the home's that permits everything takes nothing back that a profile asks or forbids.
#[test]
fn a_home_cannot_loosen_what_a_profile_asks_or_forbids() {
    let everything = "permit (principal, action, resource);";
    for profile in PROFILES {
        let mut sources = shipped(profile);
        sources.push(toolgate::policy::PolicySource { name: "home.cedar".into(), text: everything.into() });
        let (before, after) = (load(profile), PolicySet::load_for(&sources, &tools(), &principals(profile)).unwrap());
        let mut opened = BTreeMap::<&str, u32>::new();
        for tool in tools() {
            for effect in tool.effects.iter().map(Effects::only) {
                for column in columns(profile).into_iter().filter(|(_, role)| *role != Role::System) {
                    let (old, new) = (cell(&before, &tool, &effect, column), cell(&after, &tool, &effect, column));
                    assert!(!old.starts_with("ask") || old == new, "{} {} {column:?}: {old} became {new}", profile.as_str(), tool.name);
                    if old != new {
                        *opened.entry(profile.as_str()).or_default() += 1;
                    }
                }
            }
        }
        // Only under `team` is something refused for want of a role alone.
        assert_eq!(opened.keys().copied().collect::<Vec<_>>(), if profile == Profile::Team { vec!["team"] } else { Vec::new() });
    }
}
