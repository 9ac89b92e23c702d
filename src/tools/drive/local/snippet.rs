//! The text around what was found.
//!
//! INVARIANT: one line without control characters, of a bounded length.

/// Characters to either side of what was found.
const AROUND: usize = 80;

/// The text around the first word that is in it, else its beginning. The words are in lower case.
pub(super) fn around(text: &str, words: &[String]) -> String {
    let lower = text.to_lowercase();
    // Lower case can be longer than the original, so the place is counted in characters, which is near enough.
    let at = words.iter().filter_map(|word| lower.find(word.as_str())).min().unwrap_or(0);
    let before = lower.get(..at).map_or(0, |before| before.chars().count());
    let from = before.saturating_sub(AROUND);
    let cut: String = text.chars().skip(from).take(2 * AROUND).collect();
    let line = crate::tools::plain(&cut).split_whitespace().collect::<Vec<_>>().join(" ");
    if from > 0 { format!("… {line}") } else { line }
}
