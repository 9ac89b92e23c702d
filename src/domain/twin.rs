//! Names that are one file on some file systems, though their bytes differ.

use unicode_normalization::UnicodeNormalization as _;

/// What is the same for all spellings of a path that some file system takes for one: upper and lower case, composed and decomposed letters,
/// compatibility forms such as full-width letters, and characters that are not seen.
#[must_use]
pub fn twin_key(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    // Lower case may decompose again, hence twice.
    path.nfkc().filter(|c| !is_unseen(*c)).collect::<String>().to_lowercase().nfkc().collect()
}

/// Zero-width, joining and direction marks, which some file systems skip when they compare names.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for twins in [
            ["a/B.txt", "A/b.TXT"],
            ["é", "e\u{301}"],
            ["ﬁle", "file"],
            ["Ａ", "a"],
            [".git\u{200c}", ".GIT"],
            ["ẛ̣", "ṩ"],
            ["İ", "i\u{307}"],
        ] {
            assert_eq!(twin_key(twins[0]), twin_key(twins[1]), "{twins:?}");
            assert!(
                twins[0].to_lowercase() != twins[1].to_lowercase() || twins[0].is_ascii() || twins[0] == "İ",
                "lower case alone misses {twins:?}"
            );
        }
        assert_ne!(twin_key("a"), twin_key("b"));
        assert_ne!(twin_key("a/b"), twin_key("ab"));
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(path in "\\PC{0,20}") {
            let key = twin_key(&path);
            prop_assert_eq!(twin_key(&key), key);
        }
    }
}
