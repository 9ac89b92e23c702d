//! Guessing what a mistyped name was meant to be.

/// The name among `names` that takes the fewest edits to reach from `word`, if they are few for its length.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(100).flat_map(char::to_lowercase).collect();
    let allowed = (word.len() / 3).clamp(1, 4);
    names.into_iter().map(|name| (edits(&word, name), name)).filter(|(edits, _)| *edits <= allowed).min().map(|(_, name)| name)
}

/// How many letters must be put in, left out or changed.
fn edits(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (above, letter) in to.chars().flat_map(char::to_lowercase).enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = above + 1;
        next.push(left);
        for (other, pair) in from.iter().zip(row.windows(2)) {
            if let [diagonal, up] = pair {
                left = (diagonal + usize::from(*other != letter)).min(up + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
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
        assert_eq!(nearest("nonsense", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
