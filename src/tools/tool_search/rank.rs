//! Which tools fit a query, the best first.
//!
//! INVARIANT: pure and total: the same query over the same tools gives the same order, ties by name; its cost is bounded by the
//! query's length (the schema's) times the tools' words.

use std::cmp::Reverse;

use super::Indexed;

/// Words that say nothing of what is looked for.
const EMPTY: &[&str] = &["a", "an", "the", "to", "of", "in", "on", "for", "and", "or", "with", "by", "from", "i", "it", "my", "tool"];

/// What a word is worth by where it stands: whole, and as a beginning.
const NAME: (u32, u32) = (12, 7);
const HINT: (u32, u32) = (8, 4);
const TITLE: (u32, u32) = (6, 4);
const SCOPE: (u32, u32) = (6, 3);
const DESCRIPTION: (u32, u32) = (3, 1);
/// What it is worth that every word was found.
const ALL: u32 = 20;
/// What the very name is worth.
const ITSELF: u32 = 10_000;

/// The tools that some word of the query is found in.
pub(super) fn ranked<'a>(query: &str, tools: &'a [Indexed]) -> Vec<&'a Indexed> {
    let wanted = query.trim().to_lowercase();
    let mut words = words_of(&wanted);
    if words.iter().any(|word| !EMPTY.contains(&word.as_str())) {
        words.retain(|word| !EMPTY.contains(&word.as_str()));
    }
    let mut found: Vec<(u32, &Indexed)> =
        tools.iter().map(|tool| (score(&wanted, &words, tool), tool)).filter(|(score, _)| *score > 0).collect();
    found.sort_by_key(|(score, tool)| (Reverse(*score), tool.name.clone()));
    found.into_iter().map(|(_, tool)| tool).collect()
}

fn score(wanted: &str, words: &[String], tool: &Indexed) -> u32 {
    if wanted == tool.name.as_str() || wanted == tool.name.exposed() {
        return ITSELF;
    }
    let places = [
        (words_of(tool.name.as_str()), NAME),
        (words_of(&tool.hint.to_lowercase()), HINT),
        (words_of(&tool.title.to_lowercase()), TITLE),
        (words_of(&tool.scopes.join(" ")), SCOPE),
        (words_of(&tool.description.to_lowercase()), DESCRIPTION),
    ];
    let worth = |word: &String| -> u32 {
        let of = |(known, (whole, beginning)): &(Vec<String>, (u32, u32))| match known {
            known if known.contains(word) => *whole,
            known if word.len() > 2 && known.iter().any(|one| one.starts_with(word.as_str())) => *beginning,
            _ => 0,
        };
        places.iter().map(of).sum()
    };
    let each: Vec<u32> = words.iter().map(worth).collect();
    let every = if !each.is_empty() && each.iter().all(|worth| *worth > 0) { ALL } else { 0 };
    each.iter().sum::<u32>() + every
}

/// The words of a text in lower case, without the `s` of a plural.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let stem = |word: &str| match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    };
    let mut words: Vec<String> = words.map(stem).collect();
    words.sort_unstable();
    words.dedup();
    words
}
