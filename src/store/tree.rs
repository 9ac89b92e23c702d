//! The Merkle tree as it is stored: beside each record its leaf's hash and those of the subtrees that it completes.
//!
//! INVARIANT: a subtree's hash is written with the record that completes it, in the same statement, and never again. What is read here
//! is as good as the database: whoever needs more computes it from the records (see `verify`).

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};
use toolgate_evidence::tree::{self, Frontier, Hash, Subtree};

use crate::domain::Fault;

use super::fault::{Doing as _, int, uint};
use super::state::broken;

/// Records that are given their hashes at once, in a home from before there was a tree.
const PIECE: i64 = 500;

/// The row that holds a subtree's hash, and where in its column.
fn place(subtree: Subtree) -> (u64, usize) {
    let row = ((subtree.index + 1) << subtree.level) - 1;
    (row, 32 * usize::from(subtree.level))
}

/// The stored hashes of these subtrees.
///
/// # Errors
/// `AUDIT_BROKEN` where one is missing; `STORE_FAILED`.
pub(super) async fn hashes(connection: &mut SqliteConnection, subtrees: &[Subtree]) -> Result<HashMap<Subtree, Hash>, Fault> {
    if subtrees.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<u64> = subtrees.iter().map(|subtree| place(*subtree).0).collect();
    let rows = serde_json::to_string(&rows).map_err(|error| Fault::internal(format!("places have no JSON form: {error}")))?;
    let found = sqlx::query("SELECT idx, tree FROM journal WHERE idx IN (SELECT value FROM json_each(?1))")
        .bind(rows)
        .fetch_all(connection)
        .await
        .doing("reading the tree")?;
    let mut columns: HashMap<u64, Vec<u8>> = HashMap::with_capacity(found.len());
    for row in &found {
        let index = uint(row.try_get(0).doing("reading the tree")?);
        columns.insert(index, row.try_get::<Option<Vec<u8>>, _>(1).ok().flatten().unwrap_or_default());
    }
    let hash_of = |subtree: Subtree| {
        let (row, at) = place(subtree);
        let hash = columns.get(&row).and_then(|column| column.get(at..)).and_then(|rest| rest.first_chunk::<32>());
        hash.map(|hash| (subtree, *hash))
            .ok_or_else(|| broken(&format!("record {row} of the journal is missing, or its place in the tree")))
    };
    subtrees.iter().map(|subtree| hash_of(*subtree)).collect()
}

/// The tree over the first `size` records.
pub(super) async fn frontier(connection: &mut SqliteConnection, size: u64) -> Result<Frontier, Fault> {
    let subtrees = Frontier::subtrees(size);
    let hashes = hashes(connection, &subtrees).await?;
    let nodes = subtrees.iter().filter_map(|subtree| hashes.get(subtree).copied()).collect();
    Frontier::new(size, nodes).ok_or_else(|| Fault::internal("the tree's subtrees do not fit its size"))
}

/// Gives records from before there was a tree their hashes. Inside the transaction of the migration.
pub(super) async fn fill(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let mut frontier = Frontier::default();
    loop {
        let rows = sqlx::query("SELECT idx, record FROM journal WHERE idx >= ?1 ORDER BY idx LIMIT ?2")
            .bind(int(frontier.size()))
            .bind(PIECE)
            .fetch_all(&mut *connection)
            .await
            .doing("making the tree")?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let index = uint(row.try_get(0).doing("making the tree")?);
            if index != frontier.size() {
                return Err(broken(&format!("record {} of the journal is missing", frontier.size())));
            }
            let column = append(&mut frontier, row.try_get(1).doing("making the tree")?);
            let update = sqlx::query("UPDATE journal SET tree = ?2 WHERE idx = ?1").bind(int(index)).bind(column);
            update.execute(&mut *connection).await.doing("making the tree")?;
        }
    }
}

/// Appends a record to the tree and gives back what its column `tree` holds.
pub(super) fn append(frontier: &mut Frontier, record: &[u8]) -> Vec<u8> {
    let leaf = tree::leaf(record);
    let mut column = leaf.to_vec();
    frontier.append_with(leaf, |_, hash| column.extend_from_slice(hash));
    column
}
