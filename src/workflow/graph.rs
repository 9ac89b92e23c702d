//! The order of steps: topological, or the cycle that prevents it.
//!
//! INVARIANT: linear in steps and edges; the same definition always gives the same order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Edges by position: `before[i]` are the steps that step `i` waits for.
pub(super) struct Graph {
    before: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn new(before: Vec<Vec<usize>>) -> Self {
        Self { before }
    }

    fn before(&self, step: usize) -> &[usize] {
        self.before.get(step).map_or(&[], Vec::as_slice)
    }

    /// Positions so that every step comes after those it waits for, the file's order where that leaves a choice; or the members of
    /// one cycle, in the order they wait for each other.
    pub(super) fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut waits: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.before.len()];
        for (step, before) in self.before.iter().enumerate() {
            for earlier in before {
                if let Some(list) = after.get_mut(*earlier) {
                    list.push(step);
                }
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            waits.iter().enumerate().filter(|(_, count)| **count == 0).map(|(step, _)| Reverse(step)).collect();
        let mut order = Vec::with_capacity(self.before.len());
        while let Some(Reverse(step)) = ready.pop() {
            order.push(step);
            for later in after.get(step).into_iter().flatten() {
                if let Some(count) = waits.get_mut(*later) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        ready.push(Reverse(*later));
                    }
                }
            }
        }
        if order.len() == self.before.len() { Ok(order) } else { Err(self.cycle(&order)) }
    }

    /// Of the steps that cannot be ordered each waits for another such one, so walking back must come round.
    fn cycle(&self, ordered: &[usize]) -> Vec<usize> {
        let ordered: HashSet<usize> = ordered.iter().copied().collect();
        let mut path = Vec::new();
        let mut at = (0..self.before.len()).find(|step| !ordered.contains(step));
        while let Some(step) = at {
            if let Some(start) = path.iter().position(|seen| *seen == step) {
                let mut cycle = path.split_off(start);
                cycle.reverse();
                // Begin with the earliest in the file, so that the message does not depend on where the walk entered.
                let first = cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(at, _)| at);
                cycle.rotate_left(first);
                return cycle;
            }
            path.push(step);
            at = self.before(step).iter().copied().find(|earlier| !ordered.contains(earlier));
        }
        path
    }

    /// Which steps wait for `earlier`, directly or through others; by position. `order` is that of [`Graph::order`].
    pub(super) fn after(&self, earlier: usize, order: &[usize]) -> Vec<bool> {
        let mut is_after = vec![false; self.before.len()];
        for step in order {
            let waits = self.before(*step).iter().any(|before| *before == earlier || is_after.get(*before).is_some_and(|known| *known));
            if let Some(known) = is_after.get_mut(*step) {
                *known = waits;
            }
        }
        is_after
    }

    /// Which steps `later` waits for, directly or through others; by position.
    pub(super) fn ahead_of(&self, later: usize) -> Vec<bool> {
        let mut is_ahead = vec![false; self.before.len()];
        let mut open = self.before(later).to_vec();
        while let Some(at) = open.pop() {
            if let Some(known) = is_ahead.get_mut(at).filter(|known| !**known) {
                *known = true;
                open.extend_from_slice(self.before(at));
            }
        }
        is_ahead
    }

    /// Whether `step` waits for `earlier`, directly or through others.
    pub(super) fn waits_for(&self, step: usize, earlier: usize) -> bool {
        let mut seen = HashSet::new();
        let mut open = self.before(step).to_vec();
        while let Some(at) = open.pop() {
            if at == earlier {
                return true;
            }
            if seen.insert(at) {
                open.extend_from_slice(self.before(at));
            }
        }
        false
    }
}
