//! Finds what looks like a credential: rules as data, tried only where one of their keywords stands.
//!
//! INVARIANT: work is linear in the input: lines are cut to `PIECE` bytes before an expression sees them, and the expressions are
//! of the kind that cannot backtrack. Knows no secret's value: see `redact` for those.

mod block;
mod rules;
mod utf16;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::LazyLock;

use crate::domain::Fault;

pub use rules::Rule;
use rules::{Chosen, Rules};

/// The longest stretch of a line that is looked at in one go, in bytes.
const PIECE: usize = 8 << 10;

/// By how much such stretches overlap: nothing shorter than this is missed at a border.
const OVERLAP: usize = 1 << 10;

/// So many stretches pass one rule before the next rule is tried: an expression's tables are large, and going from rule to rule at
/// each stretch would fetch them from memory every time.
const BATCH: usize = 128;

/// Which rules count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sureness {
    /// Those of vendors' documented shapes.
    Shapes,
    /// Also guesses: values of high entropy that are assigned to telling names.
    Guesses,
}

/// What was found. Holds no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// Where the secret begins, in bytes of the input.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The line it begins in, from 1.
    pub line: usize,
}

/// What finds by the shipped rules.
#[derive(Clone, Copy)]
pub struct Scanner(());

static SHIPPED: LazyLock<Result<Rules, String>> = LazyLock::new(|| Rules::read(include_str!("rules.toml")));

impl Scanner {
    /// With the rules that are part of the program.
    ///
    /// # Errors
    /// Where they cannot be read, which a test rules out.
    pub fn shipped() -> Result<Self, Fault> {
        match &*SHIPPED {
            Ok(_) => Ok(Self(())),
            Err(why) => Err(Fault::internal(format!("the rules of the secret scanner are broken: {why}"))),
        }
    }

    /// The same, while the rules are being read on a thread of their own; whoever needs them before waits.
    #[must_use]
    pub fn reading() -> Self {
        // Where there is no thread they are read when they are first needed.
        drop(std::thread::Builder::new().name("scan-rules".to_owned()).spawn(|| LazyLock::force(&SHIPPED)));
        Self(())
    }

    /// The rules; `None` where they are broken: then everything counts as found.
    fn rules_read(self) -> Option<&'static Rules> {
        SHIPPED.as_ref().ok()
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> &'static [Rule] {
        self.rules_read().map(Rules::all).unwrap_or_default()
    }

    /// Everything in `bytes` that looks like a credential, in order. Text in UTF-16 is read as such.
    #[must_use]
    pub fn scan(&self, bytes: &[u8], sureness: Sureness) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(text) = utf16::Text::read(bytes) {
            self.find(text.utf8(), sureness, &mut |rule, range| {
                let range = text.original(range);
                found.push(Finding { rule, start: range.start, end: range.end, line: 0 });
            });
        } else {
            self.find(bytes, sureness, &mut |rule, range| found.push(Finding { rule, start: range.start, end: range.end, line: 0 }));
        }
        found.sort_by(|one, other| (one.start, one.end, one.rule).cmp(&(other.start, other.end, other.rule)));
        found.dedup();
        let (mut at, mut line) = (0, 1);
        for finding in &mut found {
            let between = bytes.get(at..finding.start).unwrap_or_default();
            line += between.iter().filter(|byte| **byte == b'\n').count();
            at = at.max(finding.start);
            finding.line = line;
        }
        found
    }

    /// Whether a keyword of any rule stands in `bytes`.
    pub(super) fn may_find(&self, bytes: &[u8], sureness: Sureness) -> bool {
        self.rules_read().is_none_or(|rules| rules.has_keyword(bytes, sureness))
    }

    /// From where on `bytes` may be a credential whose kind more bytes will show.
    pub(super) fn undecided(&self, bytes: &[u8]) -> usize {
        block::undecided(bytes).unwrap_or(bytes.len())
    }

    /// Tells each place in UTF-8 or other bytes where a rule fits; in no order, and perhaps twice.
    pub(super) fn find(&self, bytes: &[u8], sureness: Sureness, tell: &mut dyn FnMut(&'static str, Range<usize>)) {
        let Some(rules) = self.rules_read() else { return tell("unreadable", 0..bytes.len()) };
        let mut pieces = pieces(bytes);
        let mut batch: Vec<(Range<usize>, Chosen)> = Vec::new();
        loop {
            let (mut any, mut taken) = (Chosen::default(), 0);
            batch.clear();
            for piece in pieces.by_ref().take(BATCH) {
                taken += 1;
                let chosen = rules.choose(bytes.get(piece.clone()).unwrap_or_default(), sureness);
                if !chosen.is_empty() {
                    any.and(&chosen);
                    batch.push((piece, chosen));
                }
            }
            if taken == 0 {
                return;
            }
            for (at, rule) in rules.chosen(&any) {
                for (piece, _) in batch.iter().filter(|(_, chosen)| chosen.has(at)) {
                    let text = bytes.get(piece.clone()).unwrap_or_default();
                    rule.find(text, &mut |range| tell(&rule.id, piece.start + range.start..piece.start + range.end));
                }
            }
            for (piece, _) in batch.iter().filter(|(_, chosen)| chosen.has_block()) {
                block::find(bytes, piece.clone()).into_iter().for_each(|range| tell(block::RULE, range));
            }
        }
    }
}

/// The lines of `bytes`, long ones in pieces that overlap.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= bytes.len() {
            return None;
        }
        let most = (start + PIECE).min(bytes.len());
        let window = bytes.get(start..most).unwrap_or_default();
        // As many whole lines as fit, as a call for each short line would cost more than the search.
        let end = match memrchr(window) {
            Some(at) => start + at + 1,
            None => most,
        };
        let piece = start..end;
        let is_broken = end == most && end < bytes.len() && window.last() != Some(&b'\n');
        start = if is_broken { end - OVERLAP } else { end };
        Some(piece)
    })
}

fn memrchr(window: &[u8]) -> Option<usize> {
    window.iter().rposition(|byte| *byte == b'\n')
}
