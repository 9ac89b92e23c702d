//! Proofs of RFC 6962 §2.1: that a record stands in a tree, and that one tree is the beginning of another.
//!
//! INVARIANT: a proof that verifies cannot be made for another leaf, place or root without breaking SHA-256. Bounded: a proof is never
//! longer than 65 hashes. Proofs of many records at once are [`mod@super::many`]'s.

use super::{Hash, Subtree, cover, node, span, split};

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The place is outside the tree, or the older tree is the larger one.
    #[error("the proof is for a place outside the tree")]
    Outside,
    /// Hashes are missing or left over.
    #[error("the proof has {found} hashes, not the {wanted} that its place needs")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it needs.
        wanted: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// A node that a proof names: the leaves `from..to`.
type Span = (u64, u64);

/// The nodes of the path from a leaf to the root, the lowest first (`PATH` of the RFC).
fn path(index: u64, size: u64) -> Vec<Span> {
    let (mut from, mut to, mut spans) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            spans.push((middle, to));
            to = middle;
        } else {
            spans.push((from, middle));
            from = middle;
        }
    }
    spans.reverse();
    spans
}

/// The nodes that show a tree of `old` leaves in one of `new`, the lowest first (`PROOF` of the RFC).
fn subproof(old: u64, new: u64) -> Vec<Span> {
    let (mut from, mut to, mut whole, mut spans) = (0, new, true, Vec::new());
    while to > old {
        let middle = from + split(to - from);
        if old <= middle {
            spans.push((middle, to));
            to = middle;
        } else {
            spans.push((from, middle));
            from = middle;
            whole = false;
        }
    }
    if !whole {
        spans.push((from, to));
    }
    spans.reverse();
    spans
}

fn needs(spans: Vec<Span>) -> Vec<Subtree> {
    spans.into_iter().flat_map(|(from, to)| cover(from, to)).collect()
}

fn hashes(spans: Vec<Span>, hash_of: impl Fn(Subtree) -> Option<Hash>) -> Option<Vec<Hash>> {
    spans.into_iter().map(|(from, to)| span(from, to, &hash_of)).collect()
}

/// The subtrees that [`inclusion`] asks for.
#[must_use]
pub fn inclusion_needs(index: u64, size: u64) -> Vec<Subtree> {
    if index < size { needs(path(index, size)) } else { Vec::new() }
}

/// The proof that leaf `index` stands in the tree of `size` leaves; `None` where it does not, or a hash is not to be had.
#[must_use]
pub fn inclusion(index: u64, size: u64, hash_of: impl Fn(Subtree) -> Option<Hash>) -> Option<Vec<Hash>> {
    if index < size { hashes(path(index, size), hash_of) } else { None }
}

/// The root that a leaf and its proof lead to.
///
/// # Errors
/// Where the place is outside the tree or the proof has another length.
pub fn inclusion_root(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::Outside);
    }
    let spans = path(index, size);
    if spans.len() != proof.len() {
        return Err(ProofError::Length { found: proof.len(), wanted: spans.len() });
    }
    let up = |hash: Hash, ((from, _), beside): (Span, &Hash)| if from > index { node(&hash, beside) } else { node(beside, &hash) };
    Ok(spans.into_iter().zip(proof).fold(*leaf, up))
}

/// Checks that leaf `index` stands in the tree of `size` leaves with this root.
///
/// # Errors
/// Where the proof does not hold.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if inclusion_root(index, size, leaf, proof)? == *root { Ok(()) } else { Err(ProofError::OtherRoot) }
}

/// The subtrees that [`consistency`] asks for.
#[must_use]
pub fn consistency_needs(old: u64, new: u64) -> Vec<Subtree> {
    if old == 0 || old >= new { Vec::new() } else { needs(subproof(old, new)) }
}

/// The proof that the tree of `old` leaves is the beginning of the one of `new`: empty where `old` is 0 or `new`; `None` where `old`
/// is larger, or a hash is not to be had.
#[must_use]
pub fn consistency(old: u64, new: u64, hash_of: impl Fn(Subtree) -> Option<Hash>) -> Option<Vec<Hash>> {
    match old {
        _ if old > new => None,
        _ if old == 0 || old == new => Some(Vec::new()),
        _ => hashes(subproof(old, new), hash_of),
    }
}

/// Checks that the tree of `old` leaves with root `old_root` is the beginning of the one of `new` leaves with root `new_root`.
///
/// # Errors
/// Where the proof does not hold.
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Outside);
    }
    let spans = if old == 0 || old == new { Vec::new() } else { subproof(old, new) };
    if spans.len() != proof.len() {
        return Err(ProofError::Length { found: proof.len(), wanted: spans.len() });
    }
    let is_known = match old {
        0 => *old_root == super::empty(),
        _ if old == new => old_root == new_root,
        _ => {
            let mut steps = spans.into_iter().zip(proof.iter());
            // The lowest node: the old tree itself where that is complete, else the proof's first.
            let mut start = *old_root;
            if !old.is_power_of_two() {
                start = steps.next().map_or(start, |(_, hash)| *hash);
            }
            let (mut before, mut after) = (start, start);
            for ((from, _), hash) in steps {
                if from >= old {
                    after = node(&after, hash);
                } else {
                    before = node(hash, &before);
                    after = node(hash, &after);
                }
            }
            before == *old_root && after == *new_root
        }
    };
    if is_known { Ok(()) } else { Err(ProofError::OtherRoot) }
}
