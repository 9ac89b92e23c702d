//! What kind of document it is, told from its name and bytes.
//!
//! INVARIANT: a caller never says it of what it reads. Text is UTF-8 without NUL.

/// The media type, and whether it is text.
pub(super) fn media_type(name: &str, bytes: &[u8]) -> (&'static str, bool) {
    let is_text = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = match ending.as_deref() {
        Some("md" | "markdown") => "text/markdown",
        Some("html" | "htm") => "text/html",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/yaml",
        Some("py") => "text/x-python",
        Some("pdf") => return ("application/pdf", false),
        Some("png") => return ("image/png", false),
        Some("jpg" | "jpeg") => return ("image/jpeg", false),
        Some("gif") => return ("image/gif", false),
        Some("svg") => "image/svg+xml",
        Some("zip") => return ("application/zip", false),
        Some("docx") => return ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", false),
        Some("xlsx") => return ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", false),
        _ => "text/plain",
    };
    if is_text { (known, true) } else { ("application/octet-stream", false) }
}

/// Whether bytes of this type can be shown as text, should they be some.
pub(super) fn may_be_text(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || matches!(kind, "application/json" | "application/yaml" | "application/xml" | "image/svg+xml")
}

/// A media type as a service gave it, where it has the form of one.
pub(super) fn clean(media_type: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/;= ".contains(c);
    let text = media_type.trim();
    (text.len() <= 200 && text.contains('/') && text.chars().all(fits)).then(|| text.to_ascii_lowercase())
}
