use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// The tree as the RFC writes it down, without any cleverness: the judge of everything else here.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty(),
        [leaf] => *leaf,
        _ => {
            let mut middle = 1;
            while middle * 2 < leaves.len() {
                middle *= 2;
            }
            node(&naive_root(&leaves[..middle]), &naive_root(&leaves[middle..]))
        }
    }
}

fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let mut middle = 1;
    while middle * 2 < leaves.len() {
        middle *= 2;
    }
    let (left, right) = leaves.split_at(middle);
    let (mut path, beside) =
        if index < middle { (naive_path(index, left), naive_root(right)) } else { (naive_path(index - middle, right), naive_root(left)) };
    path.push(beside);
    path
}

fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let mut middle = 1;
    while middle * 2 < leaves.len() {
        middle *= 2;
    }
    let (left, right) = leaves.split_at(middle);
    let (mut proof, beside) = if old <= middle {
        (naive_subproof(old, left, whole), naive_root(right))
    } else {
        (naive_subproof(old - middle, right, false), naive_root(left))
    };
    proof.push(beside);
    proof
}

fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf(format!("record {n}").as_bytes())).collect()
}

/// The eight inputs that tests of certificate transparency logs use everywhere, and the roots of their first 1 to 8.
#[test]
fn the_well_known_vectors_hold() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert_eq!(hex(&empty()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let leaves: Vec<Hash> = inputs.iter().map(|input| leaf(input)).collect();
    for (n, expected) in roots.iter().enumerate() {
        assert_eq!(hex(&root(&leaves[..=n])), *expected, "{} leaves", n + 1);
        assert_eq!(naive_root(&leaves[..=n]), root(&leaves[..=n]));
    }
}

#[test]
fn every_small_tree_and_proof_is_what_the_rfc_says() {
    let all = leaves(70);
    for size in 0..=all.len() {
        let leaves = &all[..size];
        let of = |subtree: Subtree| subtree.of(leaves);
        let root_now = naive_root(leaves);
        assert_eq!(root(leaves), root_now);
        for index in 0..size {
            let proof = inclusion(index as u64, size as u64, of).unwrap();
            assert_eq!(proof, naive_path(index, leaves));
            verify_inclusion(index as u64, size as u64, &leaves[index], &proof, &root_now).unwrap();
        }
        for old in 0..=size {
            let proof = consistency(old as u64, size as u64, of).unwrap();
            let expected = if old == 0 { Vec::new() } else { naive_subproof(old, leaves, true) };
            assert_eq!(proof, expected, "{old} of {size}");
            verify_consistency(old as u64, size as u64, &naive_root(&leaves[..old]), &root_now, &proof).unwrap();
        }
    }
}

#[test]
fn places_outside_the_tree_have_no_proof() {
    let leaves = leaves(5);
    let of = |subtree: Subtree| subtree.of(&leaves);
    assert_eq!(inclusion(5, 5, of), None);
    assert_eq!(inclusion(u64::MAX, 5, of), None);
    assert_eq!(consistency(6, 5, of), None);
    assert_eq!(many(&[1, 1], 5, of), None);
    assert_eq!(many(&[2, 1], 5, of), None);
    assert_eq!(many(&[5], 5, of), None);
    assert_eq!(verify_inclusion(5, 5, &leaves[0], &[], &root(&leaves)), Err(ProofError::Outside));
    assert_eq!(verify_consistency(6, 5, &empty(), &empty(), &[]), Err(ProofError::Outside));
    // A hash that is not stored is no proof, not a wrong one.
    assert_eq!(inclusion(0, 5, |_| None), None);
    assert_eq!(Frontier::new(5, vec![empty(); 3]), None);
    // The largest numbers there are.
    for size in [u64::MAX, 1 << 63, (1 << 63) + 1] {
        let wanted = inclusion_needs(size - 1, size).len();
        assert!(wanted <= 64, "{wanted}");
        assert!(matches!(inclusion_root(0, size, &empty(), &[]), Err(ProofError::Length { .. })));
    }
}

/// A leaf is never taken for a node: without the prefixes the two children's hashes side by side would be a leaf with the same root.
#[test]
fn a_node_cannot_be_passed_off_as_a_record() {
    let two = leaves(2);
    let forged: Vec<u8> = two.concat();
    let naive = |bytes: &[u8]| -> Hash { Sha256::digest(bytes).into() };
    let naive_pair = |left: &Hash, right: &Hash| naive(&[*left, *right].concat());
    assert_eq!(naive(&forged), naive_pair(&two[0], &two[1]), "the attack bites where leaves and nodes are hashed alike");
    assert_ne!(leaf(&forged), root(&two));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stored_subtrees_give_the_same_roots_and_proofs(size in 1_usize..400, places in prop::collection::btree_set(0_u64..400, 0..20)) {
        let leaves = leaves(size);
        let mut stored = std::collections::HashMap::new();
        let mut frontier = Frontier::default();
        for (n, leaf) in leaves.iter().enumerate() {
            stored.insert(Subtree { level: 0, index: n as u64 }, *leaf);
            frontier.append_with(*leaf, |subtree, hash| {
                stored.insert(subtree, *hash);
            });
        }
        let size = size as u64;
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
        for (subtree, hash) in &stored {
            prop_assert_eq!(Some(*hash), subtree.of(&leaves));
        }
        let again = Frontier::new(size, Frontier::subtrees(size).into_iter().map(|subtree| stored[&subtree]).collect());
        prop_assert_eq!(again, Some(frontier.clone()));

        let places: Vec<u64> = places.into_iter().filter(|place| *place < size).collect();
        let of = |subtree: Subtree| stored.get(&subtree).copied();
        let proof = many(&places, size, of).unwrap();
        prop_assert!(many_needs(&places, size).iter().all(|subtree| stored.contains_key(subtree)));
        let mine: Vec<Hash> = places.iter().map(|place| leaves[usize::try_from(*place).unwrap()]).collect();
        let whole = Many { places: &places, leaves: &mine, proof: &proof };
        prop_assert_eq!(many_root(size, &whole), Ok(frontier.root()));
        if let [one] = places.as_slice() {
            prop_assert_eq!(proof.len(), inclusion(*one, size, of).unwrap().len());
        }
    }

    #[test]
    fn a_proof_holds_for_nothing_else(size in 2_u64..200, a: prop::sample::Index, b: prop::sample::Index, bit in 0_usize..256, at: prop::sample::Index) {
        let leaves = leaves(usize::try_from(size).unwrap());
        let of = |subtree: Subtree| subtree.of(&leaves);
        let whole = root(&leaves);
        let (a, b) = (a.index(leaves.len()), b.index(leaves.len()));
        let proof = inclusion(a as u64, size, of).unwrap();
        if a != b {
            prop_assert!(verify_inclusion(b as u64, size, &leaves[a], &proof, &whole).is_err());
            prop_assert!(verify_inclusion(a as u64, size, &leaves[b], &proof, &whole).is_err());
        }
        let mut bent = proof.clone();
        let place = at.index(bent.len());
        bent[place][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(a as u64, size, &leaves[a], &bent, &whole).is_err());
        prop_assert!(verify_inclusion(a as u64, size, &leaves[a], &proof[1..], &whole).is_err());

        let old = a as u64 + 1;
        let old_root = root(&leaves[..=a]);
        let proof = consistency(old, size, of).unwrap();
        let mut forked = leaves[..=a].to_vec();
        forked[b.min(a)][0] ^= 1;
        prop_assert!(verify_consistency(old, size, &root(&forked), &whole, &proof).is_err());
        if !proof.is_empty() {
            let mut bent = proof;
            let place = at.index(bent.len());
            bent[place][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_consistency(old, size, &old_root, &whole, &bent).is_err());
        }

        let places = [0, size - 1];
        let places = if size == 1 { &places[..1] } else { &places[..] };
        let proof = many(places, size, of).unwrap();
        let mine = [leaves[0], *leaves.last().unwrap()];
        for bent in 0..proof.len() {
            let mut proof = proof.clone();
            proof[bent][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(many_root(size, &Many { places, leaves: &mine, proof: &proof }), Ok(whole));
        }
        let swapped = [mine[1], mine[0]];
        prop_assert_ne!(many_root(size, &Many { places, leaves: &swapped, proof: &proof }), Ok(whole));
    }

    #[test]
    fn hostile_proofs_are_refused_and_never_panic(index: u64, size: u64, old: u64, proof in prop::collection::vec(any::<Hash>(), 0..70)) {
        prop_assert!(verify_inclusion(index, size, &empty(), &proof, &[1; 32]).is_err());
        prop_assert!(verify_consistency(old, size, &[1; 32], &[2; 32], &proof).is_err());
        let places = [index.min(size.saturating_sub(1))];
        let found = many_root(size, &Many { places: &places, leaves: &[empty()], proof: &proof });
        prop_assert!(found != Ok([1; 32]));
    }
}
