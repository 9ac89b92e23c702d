//! The rules of the scanner, as their file says.
//!
//! INVARIANT: an expression is compiled when its keyword is first met, and one that does not compile fits nothing; a test holds that all do.

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{Sureness, block};

/// Bits per character that a secret has at least where its rule says nothing.
const ENTROPY: f64 = 2.5;

/// Rules there may be.
const MOST: usize = 256;

/// One kind of credential.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its stable word, as it stands in marks and findings.
    pub id: String,
    /// What it is, for a person.
    pub about: String,
    keywords: Vec<String>,
    regex: String,
    entropy: Option<f64>,
    #[serde(default)]
    allow: Vec<String>,
    /// Whether its shape is no vendor's own.
    #[serde(default)]
    pub guess: bool,
    /// What it must find.
    pub hits: Vec<String>,
    /// What it must not.
    pub misses: Vec<String>,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

impl Rule {
    pub(super) fn regex(&self) -> Option<&Regex> {
        let compile = || RegexBuilder::new(&self.regex).unicode(false).size_limit(4 << 20).build().ok();
        self.compiled.get_or_init(compile).as_ref()
    }

    /// Tells each secret of this kind.
    pub(super) fn find(&self, text: &[u8], tell: &mut dyn FnMut(Range<usize>)) {
        let Some(regex) = self.regex() else { return };
        for captures in regex.captures_iter(text) {
            let Some(secret) = captures.get(1).or_else(|| captures.get(0)) else { continue };
            if entropy(secret.as_bytes()) >= self.entropy.unwrap_or(ENTROPY) && !self.allows(secret.as_bytes()) {
                tell(secret.range());
            }
        }
    }

    fn allows(&self, secret: &[u8]) -> bool {
        let secret = secret.to_ascii_lowercase();
        self.allow.iter().any(|word| secret.windows(word.len()).any(|part| part == word.as_bytes()))
    }
}

/// Shannon's entropy, in bits per byte.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let all = u32::try_from(text.len()).map_or_else(|_| f64::from(u32::MAX), f64::from);
    let bits = |count: &u32| f64::from(*count) / all * (all / f64::from(*count)).log2();
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// All of them, behind one search for their keywords.
pub(super) struct Rules {
    all: Vec<Rule>,
    keywords: AhoCorasick,
    /// By keyword: the rule it belongs to; one after the last for the keyword of blocks.
    rule_of: Vec<usize>,
}

/// Rules whose keyword was met.
#[derive(Default)]
pub(super) struct Chosen {
    bits: [u64; MOST / 64],
    block: bool,
}

impl Chosen {
    fn put(&mut self, rule: usize) {
        if let Some(word) = self.bits.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(super) fn and(&mut self, other: &Self) {
        self.bits.iter_mut().zip(other.bits).for_each(|(word, more)| *word |= more);
        self.block |= other.block;
    }

    pub(super) fn has(&self, rule: usize) -> bool {
        self.bits.get(rule / 64).is_some_and(|word| word & (1 << (rule % 64)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.block && self.bits == [0; MOST / 64]
    }

    pub(super) fn has_block(&self) -> bool {
        self.block
    }
}

impl Rules {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let File { rule: all } = toml::from_str(text).map_err(|error| error.to_string())?;
        if all.len() > MOST {
            return Err(format!("more than {MOST} rules"));
        }
        let mut words: Vec<&str> = Vec::new();
        let mut rule_of = Vec::new();
        for (at, rule) in all.iter().enumerate() {
            words.extend(rule.keywords.iter().map(String::as_str));
            rule_of.resize(words.len(), at);
        }
        words.push(block::KEYWORD);
        rule_of.push(all.len());
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&words)
            .map_err(|error| error.to_string())?;
        Ok(Self { all, keywords, rule_of })
    }

    pub(super) fn all(&self) -> &[Rule] {
        &self.all
    }

    pub(super) fn has_keyword(&self, text: &[u8], sureness: Sureness) -> bool {
        match sureness {
            // Most of what is looked at holds none; only then is it worth asking whose it is.
            Sureness::Guesses => self.keywords.is_match(text),
            Sureness::Shapes => !self.choose(text, sureness).is_empty(),
        }
    }

    /// The rules whose keywords stand in `text`.
    pub(super) fn choose(&self, text: &[u8], sureness: Sureness) -> Chosen {
        let mut chosen = Chosen::default();
        for hit in self.keywords.find_overlapping_iter(text) {
            let Some(at) = self.rule_of.get(hit.pattern().as_usize()) else { continue };
            match self.all.get(*at) {
                Some(rule) if rule.guess && sureness == Sureness::Shapes => {}
                Some(_) => chosen.put(*at),
                None => chosen.block = true,
            }
        }
        chosen
    }

    pub(super) fn chosen<'r, 'c>(&'r self, chosen: &'c Chosen) -> impl Iterator<Item = (usize, &'r Rule)> + use<'r, 'c> {
        self.all.iter().enumerate().filter(|(at, _)| chosen.has(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_shannons() {
        for (text, bits) in [("aaaa", 0.0), ("abab", 1.0), ("abcd", 2.0), ("abcdefgh", 3.0), ("", 0.0)] {
            assert!((entropy(text.as_bytes()) - bits).abs() < 1e-9, "{text}");
        }
    }
}
