//! Where a body ends.
//!
//! INVARIANT: bytes pass as they are, and none beyond the end that head and framing tell; what two readers could frame in two ways is
//! refused: both lengths, several lengths, chunk extensions, trailers, line feeds alone.

use super::head::Fields;

/// How a head frames its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none, or for an answer: up to the connection's end.
    Unframed,
    /// So many bytes.
    Exact(u64),
    /// In chunks.
    Chunked,
}

impl Body {
    pub(super) fn of(fields: &Fields) -> Result<Self, &'static str> {
        let length = fields.one("content-length")?;
        let Some(coding) = fields.one("transfer-encoding")? else {
            return length.map_or(Ok(Self::Unframed), |text| exact(text).map(Self::Exact));
        };
        if length.is_some() {
            return Err("it has both a length and a transfer encoding");
        }
        if coding.eq_ignore_ascii_case("chunked") { Ok(Self::Chunked) } else { Err("its transfer encoding is not `chunked` alone") }
    }
}

/// Digits and nothing else, in the one way to write the number.
fn exact(text: &str) -> Result<u64, &'static str> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or("its length is not a plain number")
}

/// Follows a body to its end.
#[derive(Debug)]
pub(crate) enum Framing {
    /// So many bytes to come.
    Rest(u64),
    /// A chunk's size so far, and how many digits it has.
    Size(u64, u8),
    /// The line feed after a size.
    SizeEnd(u64),
    /// So many bytes of the chunk.
    Data(u64),
    /// What closes a chunk: two bytes, of which this many came.
    DataEnd(u8),
    /// What closes the last chunk.
    LastEnd(u8),
}

impl Framing {
    pub(crate) fn new(body: Body) -> Self {
        match body {
            Body::Unframed => Self::Rest(0),
            Body::Exact(length) => Self::Rest(length),
            Body::Chunked => Self::Size(0, 0),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Rest(0))
    }

    /// How many of these bytes belong to the body. An error leaves nothing to hand on.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut taken: usize = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty() && !self.is_done()) {
            taken = taken.saturating_add(self.step(rest)?);
        }
        Ok(taken)
    }

    /// Takes some of the bytes, of which there is at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let first = bytes.first().copied().unwrap_or_default();
        let some = |left: u64| bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let less = |left: u64, count: usize| left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        let (next, count) = match *self {
            Self::Rest(left) => (Self::Rest(less(left, some(left))), some(left)),
            Self::Data(left) if some(left) as u64 == left => (Self::DataEnd(0), some(left)),
            Self::Data(left) => (Self::Data(less(left, some(left))), some(left)),
            Self::Size(size, digits) => match (char::from(first).to_digit(16), first) {
                (Some(digit), _) if digits < 15 => (Self::Size(size << 4 | u64::from(digit), digits + 1), 1),
                (None, b'\r') if digits > 0 => (Self::SizeEnd(size), 1),
                _ => return Err("a chunk's size is not a plain hexadecimal number on a line of its own"),
            },
            Self::SizeEnd(size) => match (first, size) {
                (b'\n', 0) => (Self::LastEnd(0), 1),
                (b'\n', size) => (Self::Data(size), 1),
                _ => return Err("a chunk's size has no line end"),
            },
            Self::DataEnd(0) if first == b'\r' => (Self::DataEnd(1), 1),
            Self::DataEnd(1) if first == b'\n' => (Self::Size(0, 0), 1),
            Self::DataEnd(_) => return Err("a chunk is longer than its size"),
            Self::LastEnd(0) if first == b'\r' => (Self::LastEnd(1), 1),
            Self::LastEnd(1) if first == b'\n' => (Self::Rest(0), 1),
            Self::LastEnd(_) => return Err("fields after the last chunk are not taken"),
        };
        *self = next;
        Ok(count)
    }
}
