//! One proof for many records of a tree: every node that is needed stands in it once.
//!
//! INVARIANT: the proof's order is fixed by places and size: the tree is walked from the root, left before right; a node without any of
//! the places below it is one hash of the proof. Does not say what the root must be: the caller compares it with a signed one.

use super::{Hash, ProofError, Subtree, cover, empty, node, span, split};

/// A node on the walk.
enum Walk {
    /// Nothing of ours lies below: `from..to`.
    Other(u64, u64),
    /// One of our leaves.
    Ours,
    /// The two nodes before it in the list are joined.
    Join,
}

/// The walk in the order in which hashes are taken, joins after what they join.
fn walk(places: &[u64], size: u64) -> Vec<Walk> {
    enum Todo<'a> {
        Visit(u64, u64, &'a [u64]),
        Join,
    }
    let mut steps = Vec::new();
    let mut todo = if size == 0 { Vec::new() } else { vec![Todo::Visit(0, size, places)] };
    while let Some(next) = todo.pop() {
        match next {
            Todo::Join => steps.push(Walk::Join),
            Todo::Visit(from, to, []) => steps.push(Walk::Other(from, to)),
            Todo::Visit(from, to, _) if to - from == 1 => steps.push(Walk::Ours),
            Todo::Visit(from, to, places) => {
                let middle = from + split(to - from);
                let (left, right) = places.split_at(places.partition_point(|place| *place < middle));
                todo.extend([Todo::Join, Todo::Visit(middle, to, right), Todo::Visit(from, middle, left)]);
            }
        }
    }
    steps
}

/// Places that a proof can be made for: rising, each once, inside the tree.
fn are_places(places: &[u64], size: u64) -> bool {
    places.is_sorted_by(|left, right| left < right) && places.last().is_none_or(|last| *last < size)
}

/// The subtrees that [`many`] asks for.
#[must_use]
pub fn many_needs(places: &[u64], size: u64) -> Vec<Subtree> {
    if !are_places(places, size) {
        return Vec::new();
    }
    let others = walk(places, size).into_iter().filter_map(|step| if let Walk::Other(from, to) = step { Some((from, to)) } else { None });
    others.flat_map(|(from, to)| cover(from, to)).collect()
}

/// The proof that leaves at `places` (rising) stand in the tree of `size`; `None` where they cannot, or a hash is not to be had.
#[must_use]
pub fn many(places: &[u64], size: u64, hash_of: impl Fn(Subtree) -> Option<Hash>) -> Option<Vec<Hash>> {
    if !are_places(places, size) {
        return None;
    }
    let others = walk(places, size).into_iter().filter_map(|step| if let Walk::Other(from, to) = step { Some((from, to)) } else { None });
    others.map(|(from, to)| span(from, to, &hash_of)).collect()
}

/// Leaves at their places, rising.
#[derive(Debug, Clone, Copy)]
pub struct Many<'a> {
    /// The places.
    pub places: &'a [u64],
    /// Their leaf hashes, in the same order.
    pub leaves: &'a [Hash],
    /// The hashes of everything else.
    pub proof: &'a [Hash],
}

/// The root of the tree of `size` leaves that the leaves and their proof lead to.
///
/// # Errors
/// Where a place is outside the tree, out of order or named twice, or hashes are missing or left over.
pub fn many_root(size: u64, many: &Many<'_>) -> Result<Hash, ProofError> {
    let Many { places, leaves, proof } = *many;
    if !are_places(places, size) || places.len() != leaves.len() {
        return Err(ProofError::Outside);
    }
    let steps = walk(places, size);
    let wanted = steps.iter().filter(|step| matches!(step, Walk::Other(..))).count();
    let length = ProofError::Length { found: proof.len(), wanted };
    if wanted != proof.len() {
        return Err(length);
    }
    let (mut leaves, mut proof, mut stack) = (leaves.iter(), proof.iter(), Vec::new());
    for step in steps {
        let hash = match step {
            Walk::Other(..) => proof.next().copied(),
            Walk::Ours => leaves.next().copied(),
            Walk::Join => match (stack.pop(), stack.pop()) {
                (Some(right), Some(left)) => Some(node(&left, &right)),
                _ => None,
            },
        };
        stack.push(hash.ok_or(length)?);
    }
    Ok(stack.pop().unwrap_or_else(empty))
}
