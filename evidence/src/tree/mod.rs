//! The Merkle tree of RFC 6962 over the log's records: its root, kept up with O(log n) state, and proofs made and checked.
//!
//! INVARIANT: the same leaves give the same root, however it was computed: all at once, leaf by leaf, or from stored subtrees. Makes a
//! proof from hashes of complete subtrees, so whoever stores those reads O(log n) of them. Does not store.

mod many;
mod proof;

use sha2::{Digest as _, Sha256};

pub use many::{Many, many, many_needs, many_root};
pub use proof::{
    ProofError, consistency, consistency_needs, inclusion, inclusion_needs, inclusion_root, verify_consistency, verify_inclusion,
};

/// A SHA-256 hash of the tree.
pub type Hash = [u8; 32];

/// The hash of a leaf: of a record's canonical bytes.
#[must_use]
pub fn leaf(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// The hash of an inner node.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of no leaves.
#[must_use]
pub fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// The root of these leaf hashes.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}

/// A complete subtree: the leaves from `index << level` on, `1 << level` of them. Once it is there its hash never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    /// Its height; 0 is a leaf.
    pub level: u8,
    /// Its place among those of its height.
    pub index: u64,
}

impl Subtree {
    /// Its hash, computed from the leaves themselves; `None` where some are missing.
    #[must_use]
    pub fn of(self, leaves: &[Hash]) -> Option<Hash> {
        let width = 1_u64.checked_shl(u32::from(self.level))?;
        let from = usize::try_from(self.index.checked_mul(width)?).ok()?;
        let leaves = leaves.get(from..from.checked_add(usize::try_from(width).ok()?)?)?;
        Some(root(leaves))
    }
}

/// What is kept of a tree so that leaves can be appended: the hashes of the complete subtrees it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// One for each bit that is set in `size`, the largest subtree first.
    nodes: Vec<Hash>,
}

impl Frontier {
    /// A frontier that was stored; `None` where the number of hashes does not fit the size.
    #[must_use]
    pub fn new(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes to store, the largest subtree first.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The subtrees whose hashes [`Self::nodes`] are, in the same order.
    #[must_use]
    pub fn subtrees(size: u64) -> Vec<Subtree> {
        cover(0, size)
    }

    /// Appends a leaf's hash.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _| ());
    }

    /// Appends a leaf's hash and tells every complete subtree above it that this closes (not the leaf itself), the lowest first.
    pub fn append_with(&mut self, leaf: Hash, mut closed: impl FnMut(Subtree, &Hash)) {
        let mut hash = leaf;
        // Every trailing 1 of the size is a subtree that the new leaf completes a larger one with.
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.nodes.pop() else { break };
            hash = node(&left, &hash);
            closed(Subtree { level: u8::try_from(level).unwrap_or(u8::MAX), index: self.size >> level }, &hash);
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        joined(&self.nodes).unwrap_or_else(empty)
    }
}

/// The hash over neighbouring subtrees that shrink from left to right.
fn joined(nodes: &[Hash]) -> Option<Hash> {
    nodes.iter().rev().copied().reduce(|right, left| node(&left, &right))
}

/// Where RFC 6962 splits `size` leaves (at least two): the largest power of two below it.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The complete subtrees that leaves `from..to` consist of, for a range that is a node of some tree.
fn cover(mut from: u64, to: u64) -> Vec<Subtree> {
    let mut all = Vec::new();
    while from < to {
        let level = u64::BITS - 1 - (to - from).leading_zeros();
        all.push(Subtree { level: u8::try_from(level).unwrap_or(u8::MAX), index: from >> level });
        from += 1 << level;
    }
    all
}

/// The hash of the node over leaves `from..to`.
fn span(from: u64, to: u64, hash_of: &impl Fn(Subtree) -> Option<Hash>) -> Option<Hash> {
    let nodes: Vec<Hash> = cover(from, to).into_iter().map(hash_of).collect::<Option<_>>()?;
    joined(&nodes)
}

#[cfg(test)]
mod tests;
