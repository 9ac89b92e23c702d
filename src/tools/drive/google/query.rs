//! Queries in Google Drive's language.
//!
//! INVARIANT: what somebody else wrote stands in a string literal with `\` and `'` escaped, and can neither end it nor change what is asked.

use crate::domain::{ErrorCode, Fault};

/// A string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Documents, not folders, that hold all of these words, perhaps in one folder.
pub(super) fn documents(words: &[String], folder: Option<&str>) -> String {
    let mut all = vec!["trashed = false".to_owned(), "mimeType != 'application/vnd.google-apps.folder'".to_owned()];
    // Quotes in a value ask for a phrase; a half one is an error to Google.
    let words = words.iter().map(|word| word.replace('"', " ").trim().to_owned()).filter(|word| !word.is_empty());
    all.extend(words.map(|word| format!("fullText contains {}", literal(&word))));
    all.extend(folder.map(|folder| format!("{} in parents", literal(folder))));
    all.join(" and ")
}

/// An id as Google makes them.
pub(super) fn id(text: &str) -> Result<&str, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 200 && text.chars().all(fits) {
        return Ok(text);
    }
    Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` is not an id of Google Drive", crate::confine::shown(text)))
        .hint("take an id that drive.search gave, without `google/`; a name or a path is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a query as the service does: literals with their escapes, all else as it stands.
    fn literals(query: &str) -> Result<(Vec<String>, String), &'static str> {
        let (mut found, mut rest, mut chars) = (Vec::new(), String::new(), query.chars());
        while let Some(c) = chars.next() {
            if c != '\'' {
                rest.push(c);
                continue;
            }
            let mut text = String::new();
            loop {
                match chars.next().ok_or("a literal does not end")? {
                    '\\' => match chars.next().ok_or("an escape does not end")? {
                        c @ ('\\' | '\'') => text.push(c),
                        _ => return Err("an unknown escape"),
                    },
                    '\'' => break,
                    c => text.push(c),
                }
            }
            rest.push('?');
            found.push(text);
        }
        Ok((found, rest))
    }

    #[test]
    fn no_word_leaves_its_literal() {
        let hostile = ["'", "\\", "\\'", "' or trashed = true or name contains '", "it's", "a\\\\' or '1' = '1", "'; --", "\\\\\\'"];
        for word in hostile {
            let query = documents(&[word.to_owned(), "plain".to_owned()], Some("root"));
            let (found, rest) = literals(&query).unwrap_or_else(|why| panic!("{word}: {why}: {query}"));
            assert_eq!(found, ["application/vnd.google-apps.folder", word, "plain", "root"]);
            assert_eq!(rest, "trashed = false and mimeType != ? and fullText contains ? and fullText contains ? and ? in parents");
        }
    }

    #[test]
    fn a_name_is_no_id() {
        for bad in ["", "../x", "a/b", "a'b", "a b", "a?b", "a%2fb", "\u{2024}", &"a".repeat(201)] {
            assert_eq!(id(bad).unwrap_err().code, ErrorCode::InvalidInput, "{bad}");
        }
        assert_eq!(id("1aB-_9").unwrap(), "1aB-_9");
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_word(word in "\\PC{1,40}") {
            let clean = word.replace('"', " ").trim().to_owned();
            let (found, rest) = literals(&documents(&[word], None)).unwrap();
            let expected: Vec<String> = std::iter::once("application/vnd.google-apps.folder".to_owned()).chain((!clean.is_empty()).then_some(clean)).collect();
            proptest::prop_assert_eq!(&found, &expected);
            proptest::prop_assert_eq!(rest.matches('?').count(), found.len() + rest.matches("name ?").count());
        }
    }
}
