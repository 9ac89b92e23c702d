//! Heads of requests and answers: read up to their end, split into a first line and fields, strictly.
//!
//! INVARIANT: what passes holds no control character but a tab in a value, no folded line, no line that ends with a line feed alone, so
//! no two readers can see two heads in it.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Most fields of one head.
const MAX_FIELDS: usize = 100;

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// The other side ended or broke the connection; `begun` where a part had come.
    Gone { begun: bool },
    /// It has no end within the cap.
    TooLarge,
    /// It cannot be one.
    Malformed(&'static str),
}

/// Reads a head of at most `cap` bytes; gives it without the empty line, and what was read beyond.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin), mut bytes: Vec<u8>, cap: usize) -> Result<(Vec<u8>, Vec<u8>), NoHead> {
    let mut looked_at = 0;
    let mut buffer = vec![0; 4096];
    loop {
        if let Some(end) = end(&bytes, looked_at)? {
            if end > cap {
                return Err(NoHead::TooLarge);
            }
            let rest = bytes.split_off(end);
            bytes.truncate(end.saturating_sub(4));
            return Ok((bytes, rest));
        }
        if bytes.len() >= cap {
            return Err(NoHead::TooLarge);
        }
        // The end may lie across two reads.
        looked_at = bytes.len().saturating_sub(3);
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return Err(NoHead::Gone { begun: !bytes.is_empty() });
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// Where the head ends, its empty line included.
fn end(bytes: &[u8], from: usize) -> Result<Option<usize>, NoHead> {
    for at in from..bytes.len() {
        if bytes.get(at) == Some(&b'\n') && (at == 0 || bytes.get(at - 1) != Some(&b'\r')) {
            return Err(NoHead::Malformed("a line ends with a line feed alone"));
        }
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n\r\n")) {
            return Ok(Some(at + 4));
        }
    }
    Ok(None)
}

/// The fields of a head, names in lower case, in their order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    items: Vec<(String, Vec<u8>)>,
}

/// The first line, as text without control characters, and the fields of a head that [`read`] gave.
pub(super) fn parse(head: &[u8]) -> Result<(String, Fields), &'static str> {
    let mut lines = lines(head);
    let first = lines.next().unwrap_or_default();
    if !first.iter().all(|b| matches!(b, b' '..=b'~')) {
        return Err("its first line holds a control character or one outside ASCII");
    }
    let first = String::from_utf8_lossy(first).into_owned();
    let mut fields = Fields::default();
    for line in lines {
        if fields.items.len() == MAX_FIELDS {
            return Err("it has too many header fields");
        }
        fields.items.push(field(line)?);
    }
    Ok((first, fields))
}

/// Parts between CR LF; a lone CR stays in its part and is refused there.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = head.iter().filter(|b| **b == b'\n').count();
    head.split(|b| *b == b'\n').enumerate().map(move |(at, line)| if at < count { line.strip_suffix(b"\r").unwrap_or(line) } else { line })
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let colon = line.iter().position(|b| *b == b':').ok_or("a header line has no colon")?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
        return Err("a header name holds a blank or another character that names do not have");
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)) {
        return Err("a header value holds a control character");
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()))
}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Fields {
    /// The only value of a field, as text; several are an error.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, &'static str> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| "a header that steers the proxy is not text"),
            (Some(_), Some(_)) => Err("a header that steers the proxy is there twice"),
        }
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.items.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// The fields that go on: not those that `ours` names, and not those that `Connection` binds to this hop, unless they are framing.
    pub(super) fn going_on(&self, ours: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &[u8])> {
        let bound: Vec<String> = self
            .all("connection")
            .flat_map(|value| value.split(|b| *b == b','))
            .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
            .filter(|name| !matches!(name.as_str(), "content-length" | "transfer-encoding"))
            .collect();
        self.items
            .iter()
            .filter(move |(name, _)| !ours(name) && !bound.iter().any(|other| other == name))
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

#[cfg(test)]
mod tests;
