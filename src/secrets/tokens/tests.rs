//! Tokens on a register in memory: what they are, whom they let in, and until when.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::Scope;
use crate::secrets::operator::{Ask, Operator, Passphrase};

struct Time(AtomicU64);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct InMemory {
    log: Mutex<Vec<(Timestamp, Told)>>,
    /// What looked at a record on its way and changed it.
    spoils: bool,
}

#[async_trait]
impl Register for InMemory {
    async fn since(&self, number: u64) -> Result<Vec<Entry>, Fault> {
        let log = self.log.lock().unwrap();
        let all = log.iter().enumerate().map(|(at, (time, told))| Entry { number: at as u64 + 1, at: *time, told: Some(told.clone()) });
        Ok(all.filter(|entry| entry.number > number).collect())
    }

    async fn tell(&self, after: u64, told: &Told) -> Result<bool, Fault> {
        let mut log = self.log.lock().unwrap();
        if log.len() as u64 != after {
            return Ok(false);
        }
        let mut told = told.clone();
        if let (true, Told::Created { sha256, .. }) = (self.spoils, &mut told) {
            *sha256 = Digest::ZERO;
        }
        log.push((Timestamp::from_unix_millis(1), told));
        Ok(true)
    }
}

struct Person;

impl Ask for Person {
    fn ask(&self, _prompt: &str) -> Result<Passphrase, Fault> {
        Ok(Passphrase::new("correct horse battery".into()))
    }
    fn is_a_person(&self) -> bool {
        false
    }
}

struct World {
    register: Arc<InMemory>,
    time: Arc<Time>,
    tokens: Tokens,
    proof: OperatorProof,
}

fn world(register: InMemory) -> World {
    let (register, time) = (Arc::new(register), Arc::new(Time(AtomicU64::new(1_700_000_000_000))));
    let home = tempfile::tempdir().unwrap();
    let proof = Operator::in_session(home.path(), time.clone(), None).prove(&Person).unwrap();
    World { tokens: Tokens::new(register.clone(), time.clone()), register, time, proof }
}

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.to_owned(), principal: None, scopes: Scopes::of([Scope::ToolsRead]), toolsets: None, expires: None }
}

#[tokio::test]
async fn a_value_is_chance_and_only_its_digest_is_kept() {
    let world = world(InMemory::default());
    let (value, made) = world.tokens.create(wanted("ci"), &world.proof).await.unwrap();
    let (other, _) = world.tokens.create(wanted("cd"), &world.proof).await.unwrap();
    let text = value.expose_secret();
    let chance = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    assert_eq!(chance.len() * 8, 256);
    assert_ne!(text, other.expose_secret());
    let log = serde_json::to_string(&world.register.log.lock().unwrap().iter().map(|(_, told)| told.clone()).collect::<Vec<_>>()).unwrap();
    assert!(!log.contains(text.strip_prefix(PREFIX).unwrap()) && log.contains(&Digest::of(text.as_bytes()).to_string()), "{log}");
    assert_eq!(world.tokens.find(text).await.unwrap(), Some(made));
    let flipped = text.replace(text.chars().last().unwrap(), "_").replace("tgt", "tgt");
    for wrong in ["", PREFIX, &text[1..], &text[..text.len() - 1], &format!("{text}A"), &text.to_uppercase(), &flipped] {
        assert_eq!(world.tokens.find(wrong).await.unwrap(), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_token_ends_when_it_is_taken_back_and_when_its_time_is_over() {
    let world = world(InMemory::default());
    let elsewhere = Tokens::new(world.register.clone(), world.time.clone());
    let soon = Some(world.time.now().plus(Millis(1000)));
    let (ci, _) = world.tokens.create(wanted("ci"), &world.proof).await.unwrap();
    let (short, made) = world.tokens.create(Wanted { expires: soon, ..wanted("short") }, &world.proof).await.unwrap();
    assert!(elsewhere.find(ci.expose_secret()).await.unwrap().is_some());
    assert!(elsewhere.is_good("short", made.number).await);
    // Another process takes it back.
    world.tokens.revoke("ci", &world.proof).await.unwrap();
    assert_eq!(elsewhere.find(ci.expose_secret()).await.unwrap(), None);
    assert_eq!(world.tokens.revoke("ci", &world.proof).await.unwrap_err().code, ErrorCode::NotFound);
    world.time.0.fetch_add(999, Ordering::SeqCst);
    assert!(elsewhere.find(short.expose_secret()).await.unwrap().is_some());
    world.time.0.fetch_add(1, Ordering::SeqCst);
    assert_eq!(elsewhere.find(short.expose_secret()).await.unwrap(), None);
    assert!(!elsewhere.is_good("short", made.number).await);
    // The name is free again, and is another token: the old value and what was opened by it stay outside.
    let (again, new) = world.tokens.create(wanted("ci"), &world.proof).await.unwrap();
    assert!(elsewhere.find(again.expose_secret()).await.unwrap().is_some() && elsewhere.find(ci.expose_secret()).await.unwrap().is_none());
    assert!(elsewhere.is_good("ci", new.number).await && !elsewhere.is_good("ci", 1).await);
    let states: Vec<_> = elsewhere.list().await.unwrap().into_iter().map(|token| (token.name, token.state)).collect();
    let (good, expired, revoked) = (TokenState::Good, TokenState::Expired, TokenState::Revoked);
    assert_eq!(states, [("ci".to_owned(), good), ("ci".to_owned(), revoked), ("short".to_owned(), expired)]);
}

#[tokio::test]
async fn no_token_stands_for_those_in_charge_or_for_who_signs_in() {
    let world = world(InMemory::default());
    let with = |name: &str, principal: Option<&str>| Wanted { principal: principal.map(str::to_owned), ..wanted(name) };
    let bad = [
        ("operator", None),
        ("toolgate", None),
        ("local", None),
        ("x", Some("operator")),
        ("x", Some("toolgate")),
        ("x", Some("oidc:a:b")),
        ("x", Some("")),
        ("x", Some("a b")),
        ("x", Some("a\nb")),
        ("", None),
        ("A", None),
        ("a b", None),
        ("../x", None),
        ("x", Some("\u{e9}")),
    ];
    for (name, principal) in bad {
        let refused = world.tokens.create(with(name, principal), &world.proof).await.map(drop);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidInput, "{name} {principal:?}");
    }
    assert!(world.register.log.lock().unwrap().is_empty());
    let (_, made) = world.tokens.create(with("mine", Some("local")), &world.proof).await.unwrap();
    assert_eq!(made.principal, Principal::local(), "where it is meant");
    let twice = world.tokens.create(wanted("mine"), &world.proof).await.unwrap_err();
    assert!(twice.code == ErrorCode::InvalidInput && twice.hint.unwrap().contains("revoke"));
    let past = Some(world.time.now());
    assert_eq!(
        world.tokens.create(Wanted { expires: past, ..wanted("old") }, &world.proof).await.unwrap_err().code,
        ErrorCode::InvalidInput
    );
}

#[tokio::test]
async fn a_record_that_was_changed_on_its_way_is_no_token() {
    let world = world(InMemory { spoils: true, ..InMemory::default() });
    assert_eq!(world.tokens.create(wanted("ci"), &world.proof).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn many_make_tokens_at_once_and_none_is_lost() {
    let world = Arc::new(world(InMemory::default()));
    let mut making = tokio::task::JoinSet::new();
    for number in 0..TRIES {
        let world = world.clone();
        making.spawn(async move {
            let other = Tokens::new(world.register.clone(), world.time.clone());
            other.create(wanted(&format!("t{number}")), &world.proof).await.map(drop)
        });
    }
    while let Some(made) = making.join_next().await {
        made.unwrap().unwrap();
    }
    assert_eq!(world.tokens.list().await.unwrap().len(), TRIES);
}

#[test]
fn two_digests_are_the_same_only_where_every_byte_is() {
    let one = Digest::of(b"x");
    assert!(same(one.as_bytes(), one.as_bytes()));
    for at in 0..32 {
        for bit in 0..8 {
            let mut other = *one.as_bytes();
            other[at] ^= 1 << bit;
            assert!(!same(one.as_bytes(), &other), "{at} {bit}");
        }
    }
}
