//! Texts out of answers: without markup, in one line, cut.
//!
//! INVARIANT: linear in the text; what comes out holds no control character and no tag.

/// Plain text of a piece of HTML or of text with entities: tags out, entities read, white space joined, at most `most` characters.
pub(super) fn line(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(4 * most));
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        rest = match tag(from) {
            Some(after) => after,
            None => match entity(from) {
                Some((c, after)) => {
                    plain.push(c);
                    after
                }
                None => {
                    let mut chars = from.chars();
                    plain.extend(chars.next());
                    chars.as_str()
                }
            },
        };
    }
    plain.push_str(rest);
    let mut out = String::new();
    let mut count = 0;
    for word in plain.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if count > 0 {
            out.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count >= most {
                out.push('…');
                return out;
            }
            out.push(c);
            count += 1;
        }
    }
    out
}

/// What follows the tag that `text` begins with; a `<` that begins none is text.
fn tag(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?;
    let first = inside.chars().next()?;
    if !(first.is_ascii_alphabetic() || first == '/' || first == '!') {
        return None;
    }
    // A tag in a snippet is short: one without end near by is text, and the search stays linear.
    let near = inside.char_indices().take(400).find(|(_, c)| *c == '>')?;
    inside.get(near.0 + 1..)
}

/// The character of the entity that `text` begins with, and what follows.
fn entity(text: &str) -> Option<(char, &str)> {
    let inside = text.strip_prefix('&')?;
    let end = inside.char_indices().take(12).find(|(_, c)| *c == ';')?.0;
    let (name, after) = (inside.get(..end)?, inside.get(end + 1..)?);
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((c, after))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn markup_goes_and_text_stays() {
        let table = [
            ("a <strong>b</strong>  c\n d", "a b c d"),
            ("x &amp; y &lt;z&gt; &#39;q&#x27; &nbsp;&quot;", "x & y <z> 'q' \""),
            ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
            ("&notanentity; &; & &#99999999;", "&notanentity; &; & &#99999999;"),
            ("cut <never ended", "cut <never ended"),
            ("bell\u{7} nul\0 end", "bell nul end"),
            ("", ""),
        ];
        for (html, plain) in table {
            assert_eq!(line(html, 100), plain, "{html:?}");
        }
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("äöüß", 4), "äöüß");
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_its_length() {
        // Quadratic searching would take hours here.
        let hostile = "<a &#".repeat(400_000);
        assert_eq!(line(&hostile, 10).chars().count(), 11);
    }
}
