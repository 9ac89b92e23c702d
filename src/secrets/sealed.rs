//! Small things given to somebody who must not read or change them, and taken back; and signatures on what is sent out.
//!
//! INVARIANT: the key of a [`Sealer`] is random, lives in this process's memory alone and is wiped with it: what an earlier process
//! sealed does not open. Does not remember what was taken back: who wants single use keeps count.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hkdf::hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::Fault;

/// Nothing sealed is longer, as text.
const LONGEST: usize = 4096;
const NONCE: usize = 12;

/// Seals and opens with AES-256-GCM.
pub struct Sealer {
    cipher: Aes256Gcm,
}

impl Default for Sealer {
    fn default() -> Self {
        let mut key = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut key[..]);
        Self { cipher: Aes256Gcm::new(&(*key).into()) }
    }
}

impl Sealer {
    /// `content` as a text that opens only with the same `bound`.
    ///
    /// # Errors
    /// Where the cipher fails: a fault of ours.
    pub fn seal(&self, content: &[u8], bound: &[u8]) -> Result<String, Fault> {
        let mut nonce = [0_u8; NONCE];
        rand::fill(&mut nonce);
        let sealed = self.cipher.encrypt(&nonce.into(), Payload { msg: content, aad: bound });
        let sealed = sealed.map_err(|_| Fault::internal("nothing can be sealed"))?;
        Ok(BASE64.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What was sealed; `None` for what this process did not seal, was changed, or was bound to something else.
    #[must_use]
    pub fn open(&self, sealed: &str, bound: &[u8]) -> Option<Vec<u8>> {
        let bytes = BASE64.decode(sealed.get(..LONGEST.min(sealed.len())).filter(|text| text.len() == sealed.len())?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        self.cipher.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: bound }).ok()
    }
}

/// HMAC-SHA256 in lower case hexadecimal digits.
///
/// # Errors
/// Where the key cannot be used: a fault of ours.
pub fn signature(key: &[u8], parts: &[&[u8]]) -> Result<String, Fault> {
    let mac = <Hmac<Sha256> as hkdf::hmac::KeyInit>::new_from_slice(key);
    let mut mac = mac.map_err(|_| Fault::internal("the signature's key cannot be used"))?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The value of the header that signs a request: `t=SECOND,v1=SIGNATURE` over the second, a period and the body.
///
/// # Errors
/// As [`signature`].
pub fn signature_header(key: &[u8], second: u64, body: &[u8]) -> Result<String, Fault> {
    let second = second.to_string();
    Ok(format!("t={second},v1={}", signature(key, &[second.as_bytes(), b".", body])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_whole_unchanged_here_and_for_the_same() {
        let (sealer, other) = (Sealer::default(), Sealer::default());
        let sealed = sealer.seal(b"content", b"bound").unwrap();
        assert_eq!(sealer.open(&sealed, b"bound").as_deref(), Some(b"content".as_slice()));
        assert_eq!(sealer.open(&sealed, b"bounds"), None);
        assert_eq!(other.open(&sealed, b"bound"), None);
        assert!(!sealed.contains("content") && sealer.seal(b"content", b"bound").unwrap() != sealed);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(sealer.open(&changed, b"bound"), None, "{at}");
        }
        for bad in ["", "A", sealed.strip_suffix(|_: char| true).unwrap(), &"A".repeat(10_000), "ä", &format!("{sealed}\n")] {
            assert_eq!(sealer.open(bad, b"bound"), None);
        }
    }

    /// The published test vectors of HMAC-SHA256 (RFC 4231, cases 1 and 2).
    #[test]
    fn signs_as_published() {
        let first = signature(&[0x0b; 20], &[b"Hi ", b"There"]).unwrap();
        assert_eq!(first, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let second = signature(b"Jefe", &[b"what do ya want for nothing?"]).unwrap();
        assert_eq!(second, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
