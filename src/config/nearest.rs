//! Guessing what a mistyped name was meant to be.

/// The name among `names` that takes the fewest edits to reach from `word`, if they are few for its length.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(100).flat_map(char::to_lowercase).collect();
    let allowed = (word.len() / 3).clamp(1, 4);
    names.into_iter().map(|name| (edits(&word, name), name)).filter(|(edits, _)| *edits <= allowed).min().map(|(_, name)| name)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn edits(from: &[char], to: &str) -> usize {
    let mut before: Option<(char, Vec<usize>)> = None;
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (above, letter) in to.chars().flat_map(char::to_lowercase).enumerate() {
        let mut next = vec![above + 1];
        for (at, other) in from.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut least = (cell(&row, at) + usize::from(*other != letter)).min(cell(&row, at + 1) + 1).min(cell(&next, at) + 1);
            if let (Some((last_letter, last_row)), Some(left)) = (&before, at.checked_sub(1))
                && from.get(left) == Some(&letter)
                && other == last_letter
            {
                least = least.min(cell(last_row, left) + 1);
            }
            next.push(least);
        }
        before = Some((letter, std::mem::replace(&mut row, next)));
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_far_fetched() {
        let names = ["python.run", "repo.git.commit", "eval.run"];
        assert_eq!(nearest("pyton.run", names), Some("python.run"));
        assert_eq!(nearest("Repo.git.comit", names), Some("repo.git.commit"));
        assert_eq!(nearest("lgo", ["log"]), Some("log"), "swapped letters are one slip");
        assert_eq!(nearest("nonsense", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
