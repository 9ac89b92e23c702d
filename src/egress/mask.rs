//! Blots attached secrets out of an answer that repeats them, as pages that show a request's headers do.
//!
//! Not its job: secrets that a server repeats in another spelling (base64, compressed, split). Only the choice of hosts helps there.

/// A shorter value would blot out ordinary text.
const MIN: usize = 8;

/// The texts to blot out of one hop's answer.
pub(super) struct Mask {
    needles: Vec<Vec<u8>>,
}

impl Mask {
    /// For these header values, and for the token alone where a value is like `Bearer TOKEN`.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let token = secret.rsplit(|b| *b == b' ').next().unwrap_or_default();
            for needle in [secret, token] {
                if needle.len() >= MIN && !needles.iter().any(|known| known == needle) {
                    needles.push(needle.to_vec());
                }
            }
        }
        Self { needles }
    }

    /// Whether any secret stands in the bytes.
    pub(super) fn hits(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| find(bytes, needle).is_some())
    }

    /// Writes `*` over every secret; the length stays, so that lengths told in headers stay true.
    pub(super) fn blot(&self, bytes: &mut [u8]) {
        for needle in &self.needles {
            let mut rest = &mut *bytes;
            while let Some(at) = find(rest, needle) {
                let (_, tail) = rest.split_at_mut(at);
                let (secret, tail) = tail.split_at_mut(needle.len());
                secret.fill(b'*');
                rest = tail;
            }
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
