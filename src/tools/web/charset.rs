//! Text out of bytes: by the byte order mark, the header's charset, or the page's own word (WHATWG Encoding).
//!
//! INVARIANT: always gives text; what cannot be read becomes U+FFFD.

use encoding_rs::{Encoding, UTF_8};

/// How far into a page its charset may be told, in bytes (as browsers look).
const HEAD: usize = 1024;

/// `body` as text. `content_type` is the header's value; `is_html` lets the page speak for itself.
pub(super) fn text(body: &[u8], content_type: &str, is_html: bool) -> String {
    let told = parameter(content_type).or_else(|| if is_html { in_page(body) } else { in_declaration(body) });
    let encoding = told.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
    encoding.decode(body).0.into_owned()
}

fn parameter(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let charset = parameters.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.1.trim().trim_matches('"').to_owned())
}

/// The charset that a `<meta>` tells.
fn in_page(body: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(body.get(..HEAD.min(body.len()))?).to_ascii_lowercase();
    let after =
        head.split("<meta").skip(1).find_map(|tag| tag.split('>').next()?.split_once("charset=").map(|(_, after)| after.to_owned()))?;
    let label: String =
        after.trim_start_matches(['"', '\'']).chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).collect();
    Some(label)
}

/// The encoding that an XML declaration tells.
fn in_declaration(body: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(body.get(..HEAD.min(body.len()))?);
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?;
    let (_, after) = declaration.split_once("encoding")?;
    let label = after.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    Some(label.split(['"', '\'']).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_charset_is_found_wherever_it_is_told() {
        let latin = b"caf\xe9";
        assert_eq!(text("café".as_bytes(), "text/plain", false), "café");
        assert_eq!(text(latin, "text/plain; charset=iso-8859-1", false), "café");
        assert_eq!(text(latin, "text/plain; boundary=x; Charset=\"Windows-1252\"", false), "café");
        assert_eq!(text(b"<html><meta charset='latin1'>caf\xe9", "text/html", true), "<html><meta charset='latin1'>café");
        let long = b"<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1252\">\x80";
        assert!(text(long, "text/html", true).ends_with('€'));
        assert_eq!(
            text(b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9</a>", "application/rss+xml", false),
            "<?xml version='1.0' encoding='iso-8859-1'?><a>é</a>"
        );
        assert_eq!(text(b"\xff\xfea\0b\0", "text/html; charset=utf-8", true), "ab");
        assert_eq!(text(latin, "text/html; charset=nonsense", true), "caf\u{fffd}");
        assert_eq!(text(b"", "", true), "");
    }
}
