//! Finds the values of live secrets, in every form, in one pass.
//!
//! INVARIANT: every occurrence counts, also overlapping ones; work is linear in the text. The automaton holds copies of the values that
//! cannot be wiped when it is dropped.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::super::live::{LONGEST, LiveSecrets};
use super::broken::{self, LINE, is_base64};
use super::forms::{self, Form};
use super::spans::Span;

/// The suffixes of a chunk that are compared with the beginnings of forms; above that length a suffix is kept without comparing.
const COMPARED: usize = 4 << 10;

/// Every form of every live secret of one generation.
#[derive(Default)]
pub(super) struct Exact {
    pub(super) generation: u64,
    automaton: Option<AhoCorasick>,
    /// By pattern: whether it is of base64, and the mark.
    found: Vec<(bool, Arc<str>)>,
    /// Every form, in order.
    sorted: Vec<Vec<u8>>,
    longest: usize,
}

impl Exact {
    /// Of what is live now.
    pub(super) fn of(live: &LiveSecrets) -> Self {
        let (generation, all) = live.look(|generation, values| {
            let mut all: Vec<(Form, Arc<str>)> = Vec::new();
            for (name, value) in values {
                let mark = mark_of(name, value);
                all.extend(forms::forms(beginning(value)).into_iter().map(|form| (form, mark.clone())));
            }
            (generation, all)
        });
        let mut known = BTreeSet::new();
        let all: Vec<_> = all.into_iter().filter(|(form, _)| known.insert(form.bytes.clone())).collect();
        if all.is_empty() {
            return Self { generation, ..Self::default() };
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(all.iter().map(|(form, _)| &form.bytes));
        let longest = all.iter().map(|(form, _)| form.bytes.len()).max().unwrap_or(0);
        let found = all.iter().map(|(form, mark)| (form.in_base64, mark.clone())).collect();
        Self { generation, automaton: automaton.ok(), found, sorted: known.into_iter().collect(), longest }
    }

    /// Whether there is anything to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Whether a value stands in `bytes`.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let is_in = |text: &[u8]| self.automaton.as_ref().is_some_and(|automaton| automaton.is_match(text));
        !self.is_empty() && (is_in(bytes) || broken::joined(bytes).any(|joined| is_in(&joined.text)))
    }

    /// Where values stand.
    pub(super) fn find(&self, bytes: &[u8], spans: &mut Vec<Span>) {
        if self.is_empty() {
            return;
        }
        self.hits(bytes, |range, mark| spans.push(Span { start: range.start, end: range.end, mark: mark.clone() }));
        for joined in broken::joined(bytes) {
            self.hits(&joined.text, |range, mark| {
                if joined.is_broken(&range) {
                    let Range { start, end } = joined.range(range);
                    spans.push(Span { start, end, mark: mark.clone() });
                }
            });
        }
    }

    pub(super) fn hits(&self, text: &[u8], mut tell: impl FnMut(Range<usize>, &Arc<str>)) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(text) {
            let Some((in_base64, mark)) = self.found.get(hit.pattern().as_usize()) else { continue };
            let (mut start, mut end) = (hit.start(), hit.end());
            if *in_base64 {
                // The neighbours hold some of the value's bits.
                start -= usize::from(start > 0 && text.get(start - 1).is_some_and(is_base64));
                end += usize::from(text.get(end).is_some_and(is_base64));
            }
            tell(start..end, mark);
        }
    }

    /// From where on `bytes` may be the beginning of a value that is not complete yet; its length where none can.
    pub(super) fn undecided(&self, bytes: &[u8]) -> usize {
        let plain = self.open(bytes).unwrap_or(bytes.len());
        let broken = broken::last(bytes).and_then(|joined| {
            let open = self.open(&joined.text)?;
            Some(joined.original(open.saturating_sub(LINE)))
        });
        let start = broken.unwrap_or(plain).min(plain);
        // What may turn out to be a line of base64 with a value at its end is known by what stands before the break.
        start - broken::run_before(bytes, start.saturating_sub(LINE), start)
    }

    /// Where the earliest form that is not complete may begin, one character before it as that goes with base64.
    fn open(&self, text: &[u8]) -> Option<usize> {
        let earliest = text.len().saturating_sub(self.longest);
        let compared = text.len().saturating_sub(COMPARED).max(earliest);
        if compared > earliest {
            return Some(earliest);
        }
        let start = (compared..text.len()).find(|start| text.get(*start..).is_some_and(|suffix| self.begins(suffix)));
        start.map(|start| start.saturating_sub(1))
    }

    /// Whether a longer form begins so, or base64 might go on after it.
    fn begins(&self, suffix: &[u8]) -> bool {
        let at = self.sorted.partition_point(|form| form.as_slice() < suffix);
        self.sorted.get(at).is_some_and(|form| form.starts_with(suffix))
    }
}

fn beginning(value: &str) -> &str {
    let mut most = value.len().min(LONGEST);
    while !value.is_char_boundary(most) {
        most -= 1;
    }
    value.get(..most).unwrap_or_default()
}

/// What stands in a value's place. A name that holds the value itself is not told.
fn mark_of(name: &str, value: &str) -> Arc<str> {
    let telling = name.contains(value) || name.is_empty();
    format!("[REDACTED:{}]", if telling { "secret" } else { name }).into()
}
