//! Finds the values of live secrets, in every form, in one pass.
//!
//! INVARIANT: every occurrence counts, also overlapping ones; work is linear in the text. The automaton holds copies of the values that
//! cannot be wiped when it is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::super::live::{LONGEST, LiveSecrets};
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
        self.automaton.as_ref().is_some_and(|automaton| automaton.is_match(bytes))
    }

    /// Where values stand.
    pub(super) fn find(&self, bytes: &[u8], spans: &mut Vec<Span>) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(bytes) {
            let Some((in_base64, mark)) = self.found.get(hit.pattern().as_usize()) else { continue };
            let (mut start, mut end) = (hit.start(), hit.end());
            if *in_base64 {
                // The neighbours hold some of the value's bits.
                start -= usize::from(start > 0 && bytes.get(start - 1).is_some_and(is_base64));
                end += usize::from(bytes.get(end).is_some_and(is_base64));
            }
            spans.push(Span { start, end, mark: mark.clone() });
        }
    }

    /// From where on `bytes` may be the beginning of a value that is not complete yet; its length where none can.
    pub(super) fn undecided(&self, bytes: &[u8]) -> usize {
        // One more than a form, as the character before base64 goes with it.
        let earliest = bytes.len().saturating_sub(self.longest);
        let compared = bytes.len().saturating_sub(COMPARED).max(earliest);
        if compared > earliest {
            return earliest;
        }
        let start = (compared..bytes.len()).find(|start| bytes.get(*start..).is_some_and(|suffix| self.begins(suffix)));
        start.map_or(bytes.len(), |start| start.saturating_sub(1))
    }

    /// Whether a longer form begins so, or base64 might go on after it.
    fn begins(&self, suffix: &[u8]) -> bool {
        let at = self.sorted.partition_point(|form| form.as_slice() < suffix);
        self.sorted.get(at).is_some_and(|form| form.starts_with(suffix))
    }
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
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
