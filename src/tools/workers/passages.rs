//! The passages of a text that say most of what is looked for, with their places.
//!
//! INVARIANT: a passage is the text itself between two positions, counted in characters; nothing in it is shortened, joined or made up. Pure.

/// Characters of a passage.
const MOST: usize = 600;
/// Characters of a text that are looked at.
const LOOKED_AT: usize = 2 << 20;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    /// Its words, as they stand in the text.
    pub(super) text: String,
    /// Where it begins, in characters of the text.
    pub(super) start: usize,
    /// Where it ends, the first character behind it.
    pub(super) end: usize,
}

/// The words of a query that are worth finding; all of them, where none is longer than two letters.
pub(super) fn terms(query: &str) -> Vec<String> {
    let words: Vec<String> = query.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let long: Vec<String> = words.iter().filter(|word| word.chars().count() > 2).cloned().collect();
    if long.is_empty() { words } else { long }
}

/// How much a text says of what is looked for: each word counts, and a little how often.
pub(super) fn weight(text: &str, terms: &[String]) -> usize {
    let text = text.to_lowercase();
    terms.iter().map(|term| text.matches(term.as_str()).take(4).count()).map(|times| if times == 0 { 0 } else { 10 + times }).sum()
}

/// At most `most` passages with any of the words, those that say most first; among equals the earlier one.
pub(super) fn best(text: &str, terms: &[String], most: usize) -> Vec<Passage> {
    let mut found: Vec<(usize, Passage)> =
        pieces(text).into_iter().map(|piece| (weight(&piece.text, terms), piece)).filter(|(weight, _)| *weight > 0).collect();
    found.sort_by_key(|(weight, piece)| (std::cmp::Reverse(*weight), piece.start));
    found.into_iter().take(most).map(|(_, piece)| piece).collect()
}

/// The text in paragraphs, and long paragraphs at the ends of sentences.
fn pieces(text: &str) -> Vec<Passage> {
    let mut pieces = Vec::new();
    let mut open = Open::default();
    let mut before = ' ';
    for (at, character) in text.chars().take(LOOKED_AT).enumerate() {
        let is_blank_line = character == '\n' && open.ends_line();
        open.add(at, character);
        let is_sentence_end = character.is_whitespace() && matches!(before, '.' | '!' | '?' | '。' | '\n');
        if is_sentence_end {
            open.may_end_here();
        }
        if is_blank_line {
            pieces.extend(open.close());
        } else if open.length >= MOST {
            pieces.extend(open.split());
        }
        before = character;
    }
    pieces.extend(open.close());
    pieces
}

/// A piece that is being gathered.
#[derive(Default)]
struct Open {
    text: String,
    start: usize,
    length: usize,
    /// Bytes and characters up to the last end of a sentence.
    end: Option<(usize, usize)>,
}

impl Open {
    fn add(&mut self, at: usize, character: char) {
        if self.length == 0 {
            self.start = at;
        }
        self.text.push(character);
        self.length += 1;
    }

    /// Whether only blanks stand behind the last end of a line.
    fn ends_line(&self) -> bool {
        self.length > 0 && self.text.trim_end_matches([' ', '\t', '\r']).ends_with('\n')
    }

    fn may_end_here(&mut self) {
        self.end = Some((self.text.len(), self.length));
    }

    /// What was gathered, blanks around it left out.
    fn close(&mut self) -> Option<Passage> {
        passage(std::mem::take(self))
    }

    /// What was gathered up to the last end of a sentence, else all of it; the rest stays open.
    fn split(&mut self) -> Option<Passage> {
        let Some((bytes, characters)) = self.end.take() else { return self.close() };
        let rest = self.text.split_off(bytes);
        let open = Self { start: self.start + characters, length: self.length - characters, text: rest, end: None };
        passage(std::mem::replace(self, open))
    }
}

fn passage(open: Open) -> Option<Passage> {
    let blanks = open.text.chars().take_while(|character| character.is_whitespace()).count();
    let text = open.text.trim();
    let start = open.start + blanks;
    (!text.is_empty()).then(|| Passage { text: text.to_owned(), start, end: start + text.chars().count() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_passage_that_says_most_comes_first() {
        let text =
            "# Rust\n\nAn async runtime drives futures.\n\nSomething else.\n\nTokio is a runtime for async Rust. It is widely used.\n";
        let terms = terms("the async runtime of Rust");
        let found = best(text, &terms, 2);
        assert_eq!(found[0].text, "Tokio is a runtime for async Rust. It is widely used.");
        assert_eq!(found[1].text, "An async runtime drives futures.");
        assert!(best(text, &terms, 0).is_empty() && best("", &terms, 3).is_empty());
        assert!(best(text, &["kafka".to_owned()], 3).is_empty(), "nothing is cited for words that do not stand there");
    }

    #[test]
    fn long_paragraphs_end_with_a_sentence() {
        let sentence = "Every sentence here speaks of apples and of nothing besides. ";
        let found = best(&sentence.repeat(40), &["apples".to_owned()], 100);
        assert!(found.len() > 3 && found.iter().all(|piece| piece.text.ends_with("besides.") && piece.text.chars().count() <= MOST));
        assert_eq!(found.iter().map(|piece| piece.text.matches("apples").count()).sum::<usize>(), 40, "nothing is lost");
    }

    proptest! {
        #[test]
        fn a_passage_is_the_text_between_its_places(text in "[a-c .!?\\n\u{e4}\u{3002}\u{1f600}]{0,2000}", word in "[a-c]{1,2}") {
            let characters: Vec<char> = text.chars().collect();
            for piece in best(&text, &[word], 50) {
                let between: String = characters[piece.start..piece.end].iter().collect();
                prop_assert_eq!(&between, &piece.text);
                prop_assert!(piece.end - piece.start <= MOST + 1);
            }
        }
    }
}
