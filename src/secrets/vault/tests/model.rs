//! Any sequence of changes, with the power going off at any write, against a map that knows what must be there.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::support::*;
use crate::domain::ErrorCode;
use crate::secrets::operator::OperatorProof;
use crate::secrets::vault::*;

static BY: LazyLock<OperatorProof> = LazyLock::new(proof);

#[derive(Debug, Clone)]
enum Act {
    Set(usize, u32),
    /// The power goes off before (`false`) or after (`true`) the write.
    SetBroken(usize, u32, bool),
    Remove(usize),
    Rotate,
    /// The power goes off at this write.
    RotateBroken(i64, bool),
    /// The power goes off in a rotation between its last write and the key file.
    RotateUntidied,
    Reopen,
    /// Into a fresh vault, for a recipient, and back over this one.
    Carry,
}

const NAMES: [&str; 4] = ["ALPHA", "BETA", "GAMMA", "DELTA"];

fn value_of(seed: u32) -> String {
    format!("canary-{seed:08x}-{}", "é\"\\ ".repeat((seed % 5) as usize))
}

#[derive(Debug, Clone, Default)]
struct Model {
    values: BTreeMap<usize, String>,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Act> {
        let name = 0..NAMES.len();
        prop_oneof![
            6 => (name.clone(), any::<u32>()).prop_map(|(name, seed)| Act::Set(name, seed)),
            3 => (name.clone(), any::<u32>(), any::<bool>()).prop_map(|(name, seed, after)| Act::SetBroken(name, seed, after)),
            2 => name.prop_map(Act::Remove),
            2 => Just(Act::Rotate),
            4 => (0_i64..7, any::<bool>()).prop_map(|(at, after)| Act::RotateBroken(at, after)),
            1 => Just(Act::RotateUntidied),
            3 => Just(Act::Reopen),
            1 => Just(Act::Carry),
        ]
        .boxed()
    }

    fn apply(mut state: Self, act: &Act) -> Self {
        match act {
            Act::Set(name, seed) | Act::SetBroken(name, seed, true) => {
                state.values.insert(*name, value_of(*seed));
            }
            Act::Remove(name) => {
                state.values.remove(name);
            }
            Act::SetBroken(_, _, false) | Act::Rotate | Act::RotateBroken(..) | Act::RotateUntidied | Act::Reopen | Act::Carry => {}
        }
        state
    }
}

struct Tried {
    runtime: tokio::runtime::Runtime,
    world: World,
    versions: BTreeMap<String, u64>,
}

impl Tried {
    fn break_at(&self, at: i64, after: bool) {
        self.world.after.store(after, Ordering::SeqCst);
        self.world.left.store(at, Ordering::SeqCst);
    }
}

async fn carry(world: &World) {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let recipient = Carrier::recipient(&identity.to_public().to_string()).unwrap();
    let opener = Carrier::identity(&format!("# a comment\n{}\n", identity.to_string().expose_secret())).unwrap();
    let packed = world.vault.export(&recipient, &BY).await.unwrap();
    let fresh = World::new().await;
    let taken = fresh.vault.import(&packed, &opener, false, &BY).await.unwrap();
    for secret in &taken {
        assert_eq!(value(&fresh.vault, secret.name.as_str()).await.unwrap(), value(&world.vault, secret.name.as_str()).await.unwrap());
    }
    if !taken.is_empty() {
        assert!(world.vault.import(&packed, &opener, false, &BY).await.is_err(), "names that are there stop an import");
    }
    world.vault.import(&packed, &opener, true, &BY).await.unwrap();
}

async fn perform(tried: &mut Tried, act: Act, had: bool) {
    let world = &mut tried.world;
    let text = |name: usize| NAMES[name];
    match act {
        Act::Set(name, seed) => drop(world.set(text(name), &value_of(seed), &BY).await.unwrap()),
        Act::SetBroken(name, seed, _) => {
            assert!(world.set(text(name), &value_of(seed), &BY).await.is_err());
            world.reopen();
        }
        Act::Remove(name) => match world.vault.remove(&super::support::name(text(name)), &BY).await {
            Ok(()) => assert!(had),
            Err(fault) => assert!(!had && fault.code == ErrorCode::UnknownSecret, "{fault}"),
        },
        Act::Rotate => match world.vault.rotate(&BY).await {
            Ok(_) => assert_eq!(std::fs::read_to_string(world.key_file()).unwrap().lines().count(), 1),
            Err(fault) => assert!(fault.code == ErrorCode::VaultLocked && !world.key_file().exists(), "{fault}"),
        },
        Act::RotateBroken(..) => {
            let _broken = world.vault.rotate(&BY).await;
            world.reopen();
        }
        Act::RotateUntidied => {
            let before = std::fs::read_to_string(world.key_file()).unwrap_or_default();
            if world.vault.rotate(&BY).await.is_ok() {
                let after = std::fs::read_to_string(world.key_file()).unwrap();
                let old: String = before.lines().filter(|line| !after.contains(line)).map(|line| format!("{line}\n")).collect();
                std::fs::write(world.key_file(), after + &old).unwrap();
            }
            world.reopen();
        }
        Act::Reopen => world.reopen(),
        Act::Carry => {
            if world.vault.key_lies().await.unwrap().is_some() {
                carry(world).await;
            }
        }
    }
}

impl StateMachineTest for Tried {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = runtime.block_on(World::new());
        Self { runtime, world, versions: BTreeMap::new() }
    }

    fn apply(mut tried: Self, _after: &Model, act: Act) -> Self {
        match &act {
            Act::SetBroken(_, _, after) => tried.break_at(0, *after),
            Act::RotateBroken(at, after) => tried.break_at(*at, *after),
            Act::Set(..) | Act::Remove(_) | Act::Rotate | Act::RotateUntidied | Act::Reopen | Act::Carry => {}
        }
        let had = matches!(&act, Act::Remove(name) if tried.versions.contains_key(NAMES[*name]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = std::mem::replace(&mut tried.runtime, runtime);
        runtime.block_on(perform(&mut tried, act, had));
        tried.world.left.store(-1, Ordering::SeqCst);
        tried.runtime = runtime;
        let views = tried.runtime.block_on(tried.world.vault.list()).unwrap();
        let versions: BTreeMap<String, u64> = views.iter().map(|view| (view.name.to_string(), view.version)).collect();
        for (name, version) in &versions {
            assert!(tried.versions.get(name).is_none_or(|before| before <= version), "{name} went back");
        }
        tried.versions = versions;
        tried
    }

    fn check_invariants(tried: &Self, model: &Model) {
        tried.runtime.block_on(async {
            for (at, text) in NAMES.iter().enumerate() {
                match (model.values.get(&at), value(&tried.world.vault, text).await) {
                    (Some(expected), Ok(found)) => assert_eq!(*expected, found, "{text}"),
                    (None, Err(fault)) => assert_eq!(fault.code, ErrorCode::UnknownSecret, "{text}: {fault}"),
                    (expected, found) => panic!("{text}: {expected:?} is {found:?}"),
                }
            }
            let kept = tried.world.shelf().load().await.unwrap();
            assert!(kept.secrets.iter().all(|row| !row.blob.windows(7).any(|window| window == b"canary-")));
            assert!(tried.world.store.verify().await.unwrap().bad.is_none());
        });
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_comes_back_whatever_happens_in_between(sequential 1..16 => Tried);
}

#[tokio::test]
async fn an_export_opens_for_whom_it_was_sealed_and_nobody_else() {
    let world = World::new().await;
    world.set("TOKEN", "a value of mine", &BY).await.unwrap();
    let under = |text: &str| Carrier::Passphrase(text.to_owned().into());
    let short = world.vault.export(&under("seven77"), &BY).await.unwrap_err();
    assert_eq!(short.code, ErrorCode::InvalidInput);
    let packed = world.vault.export(&under("correct horse"), &BY).await.unwrap();
    assert!(packed.starts_with(b"age-encryption.org/v1\n") && !packed.windows(8).any(|window| window == b"of mine\""));
    let fresh = World::new().await;
    for (bytes, carrier) in [
        (packed.clone(), under("wrong horse")),
        (packed[..packed.len() - 1].to_vec(), under("correct horse")),
        ([packed.as_slice(), b"x"].concat(), under("correct horse")),
        (b"age-encryption.org/v1\n".to_vec(), under("correct horse")),
        (Vec::new(), under("correct horse")),
    ] {
        assert_eq!(fresh.vault.import(&bytes, &carrier, false, &BY).await.unwrap_err().code, ErrorCode::VaultBroken);
    }
    assert!(fresh.vault.list().await.unwrap().is_empty());
    fresh.vault.import(&packed, &under("correct horse"), false, &BY).await.unwrap();
    assert_eq!(value(&fresh.vault, "TOKEN").await.unwrap(), "a value of mine");
    assert!(Carrier::recipient("age1nonsense").is_err() && Carrier::identity("AGE-SECRET-KEY-1NONSENSE").is_err());
}
