//! Whoever can write the database tries to make the vault give a value that it should not, or an old one.

use std::sync::Arc;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::support::*;
use crate::domain::{ErrorCode, SecretId, SecretRow, Timestamp, VaultWrite};
use crate::secrets::vault::key::{MasterKey, Ring};
use crate::secrets::vault::seal::{self, Bound};
use crate::secrets::vault::*;

const VALUE: &[u8] = b"a value nobody sees";

fn ring() -> Ring {
    Ring::of(MasterKey::of(Zeroizing::new([7; 32])).unwrap())
}

fn id(millis: u64) -> SecretId {
    SecretId::mint(Timestamp::from_unix_millis(millis))
}

fn bound(id: SecretId) -> Bound<'static> {
    Bound { id, name: "TOKEN", version: 3, terms: r#"{"hosts":["a.example"]}"# }
}

fn sealed(bound: &Bound<'_>) -> Vec<u8> {
    seal::seal(ring().current().unwrap(), bound, VALUE).unwrap()
}

#[test]
fn a_seal_opens_where_it_was_made_and_each_write_is_another() {
    let bound = bound(id(1));
    let (one, other) = (sealed(&bound), sealed(&bound));
    assert_eq!(seal::open(&ring(), &bound, &one).unwrap().as_slice(), VALUE);
    assert_eq!(seal::open(&ring(), &bound, &other).unwrap().as_slice(), VALUE);
    // Salt, nonce and so the whole text are new.
    assert_ne!(one[13..45], other[13..45]);
    assert_ne!(one[45..57], other[45..57]);
    assert_ne!(one[57..], other[57..]);
    assert!(!one.windows(8).any(|window| VALUE.windows(8).any(|part| part == window)));
}

#[test]
fn a_seal_opens_in_no_other_record_name_version_or_terms_and_under_no_other_key() {
    let (here, there) = (id(1), id(2));
    let whole = bound(here);
    let blob = sealed(&whole);
    let mut faults = Vec::new();
    for other in [
        Bound { id: there, ..whole },
        Bound { name: "OTHER", ..whole },
        Bound { version: 2, ..whole },
        Bound { version: 4, ..whole },
        // What an attacker wants most: the same secret for another host.
        Bound { terms: r#"{"hosts":["evil.example"]}"#, ..whole },
    ] {
        faults.push(seal::open(&ring(), &other, &blob).unwrap_err());
    }
    let wrong = Ring::of(MasterKey::of(Zeroizing::new([8; 32])).unwrap());
    faults.push(seal::open(&wrong, &whole, &blob).unwrap_err());
    // Parts that move across a border give the same text without their lengths; with them they do not.
    let moved = Bound { name: "TOKE", ..whole };
    faults.push(seal::open(&ring(), &moved, &blob).unwrap_err());
    assert!(faults.iter().all(|fault| fault.code == ErrorCode::VaultBroken));
    let words: std::collections::BTreeSet<_> =
        faults.iter().map(|fault| fault.message.replace("TOKEN", "").replace("OTHER", "").replace("TOKE", "")).collect();
    assert_eq!(words.len(), 1, "one error for all of them: {words:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_seal_that_was_cut_lengthened_or_changed_anywhere_does_not_open(at in 0_usize..92, bit in 0_u8..8, cut in 0_usize..92) {
        let bound = bound(id(1));
        let blob = sealed(&bound);
        let mut changed = blob.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        prop_assert!(seal::open(&ring(), &bound, &changed).is_err(), "byte {at}");
        prop_assert!(seal::open(&ring(), &bound, &blob[..cut % blob.len()]).is_err());
        prop_assert!(seal::open(&ring(), &bound, &[blob.as_slice(), &[0]].concat()).is_err());
    }
}

/// A row that somebody puts into the database without telling the log.
async fn put(world: &World, row: SecretRow) {
    world
        .store
        .append(crate::store::Append { changes: vec![crate::store::Change::Vault(VaultWrite::Put(row))], ..Default::default() })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_secret_that_was_put_back_to_an_older_version_is_found_and_named() {
    let (world, by) = (World::new().await, proof());
    world.set("TOKEN", "the first value", &by).await.unwrap();
    let old = world.shelf().load().await.unwrap().secrets.remove(0);
    world.set("TOKEN", "the second value", &by).await.unwrap();
    // By itself the old record is in order: it opens.
    let (ring, _) = KeyPlace::new(world.home.path(), Wanted::Auto, None, Box::new(TestKeyring::default())).load().unwrap().unwrap();
    assert_eq!(seal::open(&ring, &super::super::bound(&old), &old.blob).unwrap().as_slice(), b"the first value");
    put(&world, old).await;
    let fault = value(&world.vault, "TOKEN").await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::VaultBroken);
    assert!(fault.message.contains("TOKEN") && fault.message.contains("version 1") && fault.message.contains("log says 2"), "{fault}");
    assert!(world.vault.list().await.is_err() && world.vault.refresh().await.is_err());
}

#[tokio::test]
async fn a_secret_that_is_slipped_in_taken_away_or_swapped_is_found() {
    let by = proof();
    for attack in 0..4 {
        let world = World::new().await;
        world.set("ONE", "the value of one", &by).await.unwrap();
        world.set("TWO", "the value of two", &by).await.unwrap();
        let rows = world.shelf().load().await.unwrap().secrets;
        let of = |wanted: &str| rows.iter().find(|row| row.name == wanted).unwrap().clone();
        match attack {
            // The other's value under this name.
            0 => put(&world, SecretRow { blob: of("TWO").blob, ..of("ONE") }).await,
            1 => put(&world, SecretRow { id: id(9), name: "THREE".into(), ..of("ONE") }).await,
            // Another host for the same value.
            2 => put(&world, SecretRow { terms: r#"{"hosts":["evil.example"],"tools":[],"description":""}"#.into(), ..of("ONE") }).await,
            _ => {
                let removal = crate::store::Change::Vault(VaultWrite::Remove(of("ONE").id));
                world.store.append(crate::store::Append { changes: vec![removal], ..Default::default() }).await.unwrap();
            }
        }
        let fault = value(&world.vault, "ONE").await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::VaultBroken, "attack {attack}: {fault}");
    }
}

#[tokio::test]
async fn a_removed_secret_that_is_put_back_is_found() {
    let (world, by) = (World::new().await, proof());
    world.set("TOKEN", "a value to remove", &by).await.unwrap();
    let row = world.shelf().load().await.unwrap().secrets.remove(0);
    world.vault.remove(&name("TOKEN"), &by).await.unwrap();
    assert_eq!(value(&world.vault, "TOKEN").await.unwrap_err().code, ErrorCode::UnknownSecret);
    put(&world, row).await;
    assert_eq!(value(&world.vault, "TOKEN").await.unwrap_err().code, ErrorCode::VaultBroken);
}

#[tokio::test]
async fn two_processes_that_change_the_vault_at_once_lose_nothing() {
    let (world, by) = (World::new().await, Arc::new(proof()));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (vault, by) = (world.another(), by.clone());
        tasks.spawn(async move {
            vault.set(&name(&format!("NAME_{n}")), &format!("value number {n}").into(), &Terms::default(), &by).await.map(drop)
        });
    }
    let (rotating, by2) = (world.another(), by.clone());
    tasks.spawn(async move {
        rotating.rotate(&by2).await.map(drop).or_else(|fault| if fault.code == ErrorCode::VaultLocked { Ok(()) } else { Err(fault) })
    });
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    for n in 0..6 {
        assert_eq!(value(&world.another(), &format!("NAME_{n}")).await.unwrap(), format!("value number {n}"));
    }
}
