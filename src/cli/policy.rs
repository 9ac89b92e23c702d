//! `policy`: what is odd about rules, their tests, why a call would be decided so, and what changed rules would decide.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::config::Config;
use crate::domain::{Actor, ErrorCode, Fault, Labels, Millis, Principal, Role, Timestamp};
use crate::gateway::GrantBeside;
use crate::policy::{CaseOutcome, Condition, Difference, Finding, Level, Must, Reason, TrialCount, Verdict};

use super::args::{Asker, LabelWord, Policy, Recorded};
use super::exit::{Ending, Exit};
use super::inputs;
use super::output::{Console, Table};
use super::ports::{Door, ExplainAsk, ExplainView, PolicyCheck, ReplayAsk, ReplayView};
use super::start::{Cx, Desk};
use super::text::printable;

pub(super) fn needs_no_house(args: &Policy) -> bool {
    matches!(args, Policy::Check { .. } | Policy::Test { .. })
}

/// The verbs that only look at files.
pub(super) async fn files(args: &Policy, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    match args {
        Policy::Check { files, json } => {
            exist(files)?;
            let found = door.check_policy(config, files).await?;
            let good = found.findings.iter().all(|finding| finding.level == Level::Note);
            if json.json {
                let (rules, digest, findings) = (found.rules, found.digest, &found.findings);
                desk.console.json(&serde_json::json!({ "ok": good, "rules": rules, "digest": digest, "findings": findings }))?;
            } else {
                desk.console.data(&checked(&found))?;
            }
            Ok(if good { Exit::Ok } else { Exit::Failed })
        }
        Policy::Test { files, json } => {
            exist(files)?;
            let outcomes = door.test_policy(config, files).await?;
            let good = outcomes.iter().all(CaseOutcome::passed);
            if json.json {
                let each = |outcome: &CaseOutcome| serde_json::json!({ "passed": outcome.passed(), "test": outcome });
                desk.console.json(&serde_json::json!({ "ok": good, "tests": outcomes.iter().map(each).collect::<Vec<_>>() }))?;
            } else {
                desk.console.data(&tested(&outcomes))?;
            }
            Ok(if good { Exit::Ok } else { Exit::Failed })
        }
        Policy::Explain { .. } | Policy::Replay { .. } | Policy::Trials { .. } => Ok(Exit::Ok),
    }
}

pub(super) async fn run(args: &Policy, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    match args {
        Policy::Explain { name, arguments, who, labels, run, json } => {
            let (tool, arguments) = (name.clone(), inputs::arguments(arguments, console)?);
            let ask = ExplainAsk { tool, arguments, actor: actor(who), labels: held(labels), run: *run };
            let told = cx.house.explain(ask).await?;
            if json.json { console.json(&told)? } else { console.data(&explained(&told))? }
        }
        Policy::Replay { with, calls, json } => {
            exist(std::slice::from_ref(with))?;
            let since = since(calls, cx)?;
            let found = cx.house.replay(ReplayAsk { with: with.clone(), run: calls.run, since }).await?;
            if json.json { console.json(&found)? } else { replayed(&found, console)? }
        }
        Policy::Trials { calls, json } => {
            let since = since(calls, cx)?;
            let counts = cx.house.trials(calls.run, since).await?;
            if json.json { console.json(&counts)? } else { tried(&counts, console)? }
        }
        Policy::Check { .. } | Policy::Test { .. } => {}
    }
    Ok(Exit::Ok)
}

fn exist(files: &[PathBuf]) -> Result<(), Fault> {
    match files.iter().find(|file| !file.exists()) {
        None => Ok(()),
        Some(file) => {
            Err(Fault::new(ErrorCode::NotFound, format!("there is no `{}`", file.display())).hint("name a file or folder that is there"))
        }
    }
}

fn actor(who: &Asker) -> Actor {
    let usual = match who.role {
        Role::Agent => Actor::agent(Principal::local()),
        Role::Operator => Actor::operator(),
        Role::System => Actor::system(),
    };
    match &who.principal {
        Some(name) => Actor { principal: Principal::new(name.clone()), ..usual },
        None => usual,
    }
}

fn held(words: &[LabelWord]) -> Labels {
    Labels { untrusted: words.contains(&LabelWord::Untrusted), private: words.contains(&LabelWord::Private) }
}

/// A time, or a span before now.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    let unit = |letter: char| match letter {
        's' => Some(1_000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(86_400_000),
        _ => None,
    };
    let span =
        text.chars().last().and_then(unit).zip(text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u64>().ok()));
    match span {
        Some((unit, count)) => Ok(Timestamp::from_unix_millis(now.unix_millis().saturating_sub(Millis(count.saturating_mul(unit)).0))),
        None => text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            Fault::new(ErrorCode::InvalidInput, format!("`{shown}` is neither a time nor a span"))
                .hint("write 2026-01-31T12:00:00Z, 30m, 12h or 7d")
        }),
    }
}

fn count(many: usize, one: &str) -> String {
    if many == 1 { format!("1 {one}") } else { format!("{many} {one}s") }
}

fn checked(found: &PolicyCheck) -> String {
    let mut shown = String::new();
    for Finding { level, kind, rule, file, line, what, mend } in &found.findings {
        let own = rule == &format!("{file}:{line}");
        let named = if own { String::new() } else { format!(" `{}`", printable(rule)) };
        let _ = writeln!(shown, "{}:{line}: {} rule{named}, {}", printable(file), kind.as_str(), level.as_str());
        let _ = writeln!(shown, "    {}", printable(what));
        if *level > Level::Note {
            let _ = writeln!(shown, "    hint: {}", printable(mend));
        }
    }
    let of = |level: Level| found.findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings, notes) = (of(Level::Error), of(Level::Warning), of(Level::Note));
    let told = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let told: Vec<String> = told.iter().filter(|(many, _)| *many > 0).map(|(many, word)| count(*many, word)).collect();
    let odd = if told.is_empty() { "nothing odd".to_owned() } else { told.join(", ") };
    let _ = writeln!(shown, "{}, digest {}: {odd}", count(found.rules, "rule"), found.digest.short());
    shown
}

fn tested(outcomes: &[CaseOutcome]) -> String {
    let mut shown = String::new();
    let failed: Vec<&CaseOutcome> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    for outcome in &failed {
        let line = outcome.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ = writeln!(shown, "{}{line}: {}", printable(&outcome.file), printable(&outcome.name));
        let by = outcome.expected_rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
        let _ = writeln!(shown, "    expected  {}{}", outcome.expected.as_str(), printable(&by));
        let _ = writeln!(shown, "    found     {} by {}", outcome.found.as_str(), printable(&outcome.rules.join(", ")));
    }
    let _ = match (outcomes.len(), failed.len()) {
        (0, _) => writeln!(shown, "there are no tests"),
        (all, 0) => writeln!(shown, "{} passed", count(all, "test")),
        (all, failed) => writeln!(shown, "{}, {failed} failed", count(all, "test")),
    };
    shown
}

fn explained(told: &ExplainView) -> String {
    let mut shown = String::new();
    let (who, why) = (format!("{} {}", told.actor.role.as_str(), told.actor.principal), &told.explanation);
    let _ = writeln!(shown, "{}  {} for {}", why.verdict.as_str(), told.tool, printable(&who));
    let effects: Vec<&str> = told.effects.iter().map(crate::domain::Effect::as_str).collect();
    let labels: Vec<&str> = [("untrusted", told.labels.untrusted), ("private", told.labels.private)]
        .iter()
        .filter(|(_, held)| *held)
        .map(|(word, _)| *word)
        .collect();
    for (label, words) in [("effects", effects.join(", ")), ("hosts", told.hosts.join(", ")), ("labels", labels.join(", "))] {
        if !words.is_empty() {
            let _ = writeln!(shown, "  {label:<8} {}", printable(&words));
        }
    }
    shown.push_str("because\n");
    for Reason { rule, text } in &why.reasons {
        let place = why.matching.iter().find(|matched| matched.rule == *rule).map(|matched| (matched.file.as_str(), matched.line));
        entry(&mut shown, why.verdict, rule, place, text);
    }
    let others: Vec<_> = why.matching.iter().filter(|matched| !why.reasons.iter().any(|reason| reason.rule == matched.rule)).collect();
    if !others.is_empty() {
        shown.push_str("also matching\n");
        for other in others {
            entry(&mut shown, other.verdict, &other.rule, Some((&other.file, other.line)), &other.text);
        }
    }
    for failed in why.matching.iter().filter_map(|matched| matched.failure.as_ref()) {
        let _ = writeln!(shown, "  a rule could not be evaluated: {}", printable(failed));
    }
    if !told.grants.is_empty() {
        shown.push_str("standing grants\n");
        told.grants.iter().for_each(|one| grant(&mut shown, one));
    }
    if !why.differ.is_empty() {
        shown.push_str("to be allowed\n");
        why.differ.iter().for_each(|one| difference(&mut shown, one));
    }
    if !why.near.is_empty() {
        shown.push_str("near misses\n");
        for miss in &why.near {
            entry(&mut shown, miss.verdict, &miss.rule, Some((&miss.file, miss.line)), &miss.text);
            condition(&mut shown, &miss.misses);
        }
    }
    if !why.trials.is_empty() {
        shown.push_str("on trial\n");
        why.trials.iter().for_each(|trial| entry(&mut shown, trial.would, &trial.rule, None, "would decide so, were it in force"));
    }
    let _ = writeln!(shown, "{} looked at, policy {}", count(why.considered, "rule"), told.policy.short());
    shown
}

/// A rule in one line: verdict, name, place, words.
fn entry(shown: &mut String, verdict: Verdict, rule: &str, place: Option<(&str, u64)>, text: &str) {
    let place = place.map(|(file, line)| format!("{file}:{line}")).filter(|place| place != rule);
    let words = [Some(rule), place.as_deref(), Some(text).filter(|text| !text.is_empty())];
    let words: Vec<String> = words.into_iter().flatten().map(printable).collect();
    let _ = writeln!(shown, "  {:<5}  {}", verdict.as_str(), words.join("  "));
}

/// What the operator allowed for a while: whether it answers, by whom and until when; and why it does not.
fn grant(shown: &mut String, one: &GrantBeside) {
    let by = one.channel.map_or("an unknown way", |channel| channel.as_str());
    let run = one.run.map(|run| format!(", for run {run}")).unwrap_or_default();
    let answers = if one.answers { "answers: nobody is asked" } else { "does not answer" };
    let _ = writeln!(shown, "  {}  {answers}; given {} by {by}, until {}{run}", one.grant_id, one.given, one.until);
    for miss in &one.misses {
        let _ = writeln!(shown, "           {}", printable(miss));
    }
}

fn difference(shown: &mut String, one: &Difference) {
    let place = format!("{}:{}", one.file, one.line);
    let place = if place == one.rule { String::new() } else { format!("  {place}") };
    let must = match (one.must, one.conditions.len()) {
        (Must::NotMatch, 0) => "must not match; it asks for nothing but tool and principal",
        (Must::NotMatch, 1) => "must not match; this must not hold",
        (Must::NotMatch, _) => "must not match; one of these must not hold",
        (Must::Match, 0) => "must match",
        (Must::Match, 1) => "or another permit must match; this must hold",
        (Must::Match, _) => "or another permit must match; these must hold",
    };
    let _ = writeln!(shown, "  {} ({}){} {must}", printable(&one.rule), one.verdict.as_str(), printable(&place));
    one.conditions.iter().for_each(|wanted| condition(shown, wanted));
}

fn condition(shown: &mut String, wanted: &Condition) {
    let _ = writeln!(shown, "           {}", printable(&wanted.wanted));
    for found in &wanted.found {
        let value = found.value.as_deref().unwrap_or("(not there)");
        let _ = writeln!(shown, "             {} is {}", printable(&found.path), printable(value));
    }
}

fn tried(counts: &[TrialCount], console: &Console) -> std::io::Result<()> {
    if counts.is_empty() {
        return console.data("no rule is on trial, and none spoke of these calls\n");
    }
    let mut table = Table::new(&["RULE", "MATCHED", "CHANGED"]);
    for one in counts {
        table.row([one.rule.as_str(), &one.matched.to_string(), &one.changed.to_string()]);
    }
    console.table(&table)
}

/// From when on recorded calls count.
fn since(calls: &Recorded, cx: &Cx<'_>) -> Result<Option<Timestamp>, Fault> {
    calls.since.as_deref().map(|text| moment(text, cx.desk.clock.now())).transpose()
}

fn replayed(found: &ReplayView, console: &Console) -> std::io::Result<()> {
    let replay = &found.replay;
    if !replay.changed.is_empty() {
        let mut table = Table::new(&["VERDICT", "TOOL", "BY", "PRINCIPAL", "CALL", "RUN"]);
        for one in &replay.changed {
            let verdict = format!("{} → {}", one.old.as_str(), one.new.as_str());
            let (by, call, run) = (one.new_rules.join(", "), one.call.to_string(), one.run.to_string());
            table.row([&verdict, one.tool.as_str(), &by, &one.principal, &call, &run]);
        }
        console.table(&table)?;
    }
    let mut shown = String::new();
    let calls = count(usize::try_from(replay.asked).unwrap_or(usize::MAX), "call");
    let _ = match replay.changed.len() {
        0 => writeln!(shown, "{calls} asked about, all decided as before"),
        many => writeln!(shown, "{calls} asked about, {many} decided otherwise"),
    };
    for (why, many) in &replay.unasked {
        let _ = writeln!(shown, "not asked about: {} {}", count(usize::try_from(*many).unwrap_or(usize::MAX), "call"), why.as_str());
    }
    let _ = writeln!(shown, "policy {} → {}", found.old.short(), found.new.short());
    console.data(&shown)
}
