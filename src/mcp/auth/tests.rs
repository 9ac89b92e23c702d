//! A sign-in service with keys of its own, and every token that it would not have made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::keys::AT_ONCE;
use super::*;
use crate::domain::{Clock, ErrorCode, Millis, Scope};

const ISSUER: &str = "https://login.example.com/realm";
const AUDIENCE: &str = "https://tools.example.com/mcp";
const RSA: &str = include_str!("../../../tests/oidc/rsa.pem");
const NOW: u64 = 1_700_000_000;

struct Time(AtomicU64);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A key of the service.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn rsa(id: &'static str) -> Self {
        Self { id, algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap() }
    }

    fn es(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { id, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap() }
    }

    fn ed(id: &'static str) -> Self {
        Self { id, algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_pem(include_bytes!("../../../tests/oidc/ed25519.pem")).unwrap() }
    }

    fn shown(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        serde_json::to_value(jwk).unwrap()
    }

    fn signs(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }
}

/// What stands at which address, and how often it was asked.
#[derive(Default)]
struct Web {
    pages: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: AtomicUsize,
    is_down: std::sync::atomic::AtomicBool,
}

impl Web {
    fn show(&self, url: &str, page: &Value) {
        self.pages.lock().unwrap().insert(url.to_owned(), page.to_string().into_bytes());
    }

    fn keys(&self, signers: &[&Signer]) {
        self.show("https://keys.example.com/jwks", &json!({ "keys": signers.iter().map(|signer| signer.shown()).collect::<Vec<_>>() }));
    }
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Fault::new(ErrorCode::EgressFailed, "nobody answers"));
        }
        Ok(self.pages.lock().unwrap().get(url).cloned())
    }
}

struct World {
    web: Arc<Web>,
    time: Arc<Time>,
    oidc: Arc<Oidc>,
}

fn world(signers: &[&Signer]) -> World {
    let (web, time) = (Arc::new(Web::default()), Arc::new(Time(AtomicU64::new(NOW * 1000))));
    web.show(
        &format!("{ISSUER}/.well-known/openid-configuration"),
        &json!({"issuer": ISSUER, "jwks_uri": "https://keys.example.com/jwks"}),
    );
    web.keys(signers);
    let terms = OidcTerms {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        scope_words: vec![("mcp.run".to_owned(), Scope::ToolsExec)],
        public: PublicUrl::parse("https://tools.example.com").unwrap(),
    };
    World { oidc: Arc::new(Oidc::new(terms, web.clone(), time.clone())), web, time }
}

impl World {
    async fn takes(&self, token: &str) -> bool {
        match self.oidc.admit(token).await {
            Ok(_) => true,
            Err(Denied::Token) => false,
            Err(Denied::Unsure(fault)) => panic!("{fault}"),
        }
    }

    fn later(&self, span: Millis) {
        self.time.0.fetch_add(span.0, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.web.asked.load(Ordering::SeqCst)
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600, "scope": "openid tools:read"})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_lets_its_subject_in() {
    let signers = [Signer::rsa("r"), Signer::es("e"), Signer::ed("d")];
    let world = world(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let admitted = world.oidc.admit(&signer.signs(&claims())).await.unwrap_or_else(|denied| panic!("{}: {denied:?}", signer.id));
        assert_eq!(admitted.principal.as_str(), "oidc:login.example.com/realm:alice");
        assert_eq!((admitted.scopes, admitted.toolset), (Scopes::of([Scope::ToolsRead]), None));
        assert_eq!(admitted.until, Some(Timestamp::from_unix_millis((NOW + 630) * 1000)));
    }
    assert_eq!(world.asked(), 2, "the description and the keys, once");
    let many = with("aud", json!(["https://other.example", AUDIENCE]));
    assert!(world.takes(&signers[1].signs(&many)).await);
    // Scopes in other forms, and the service's own words.
    for (name, value, scopes) in [
        ("scope", json!("mcp.run"), vec![Scope::ToolsExec]),
        ("scp", json!(["tools:exec", "x"]), vec![Scope::ToolsRead, Scope::ToolsExec]),
        ("scope", json!(""), vec![]),
        ("scope", json!("approve operator TOOLS:EXEC tools:exec2"), vec![]),
    ] {
        let admitted = world.oidc.admit(&signers[1].signs(&with(name, value.clone()))).await.unwrap();
        assert_eq!(admitted.scopes, Scopes::of(scopes), "{value}");
    }
}

#[tokio::test]
async fn every_token_that_the_service_would_not_have_made_for_us_is_refused() {
    let (rsa, es) = (Signer::rsa("r"), Signer::es("e"));
    let world = world(&[&rsa, &es]);
    let bad = [
        ("another audience", with("aud", "https://other.example/mcp")),
        ("our host without the path", with("aud", "https://tools.example.com")),
        ("no audience", without("aud")),
        ("an empty list of audiences", with("aud", json!([]))),
        ("another issuer", with("iss", "https://login.example.com")),
        ("two issuers", with("iss", json!([ISSUER, "https://evil.example"]))),
        ("no issuer", without("iss")),
        ("expired", with("exp", NOW - 31)),
        ("no expiry", without("exp")),
        ("expiry as text", with("exp", (NOW + 600).to_string())),
        ("expiry before time began", with("exp", -1)),
        ("not yet valid", with("nbf", NOW + 31)),
        ("a time that is none", with("nbf", "soon")),
        ("no subject", without("sub")),
        ("an empty subject", with("sub", "")),
        ("a long subject", with("sub", "x".repeat(256))),
        ("a subject that is no text", with("sub", 7)),
    ];
    for (what, claims) in &bad {
        for signer in [&rsa, &es] {
            assert!(!world.takes(&signer.signs(claims)).await, "{what}");
        }
    }
    // Clocks may differ a little.
    for claims in [with("exp", NOW - 29), with("nbf", NOW + 29)] {
        assert!(world.takes(&es.signs(&claims)).await, "{claims}");
    }
    let good = es.signs(&claims());
    assert!(world.takes(&good).await);
    world.later(Millis(631_000));
    assert!(!world.takes(&good).await, "its time is over by this house's clock");
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn a_signature_that_is_none_or_not_the_services_is_refused() {
    let (rsa, es, stranger) = (Signer::rsa("r"), Signer::es("e"), Signer::es("e"));
    let world = world(&[&rsa, &es]);
    let good = es.signs(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let body = part(&claims());
    let mut forged = vec![
        ("another's key under the same name", stranger.signs(&claims())),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("other claims", format!("{}.{}.{}", parts[0], part(&with("sub", "mallory")), parts[2])),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("no base64", "%.%.%".to_owned()),
    ];
    for none in ["none", "None", "NONE", "nOnE", ""] {
        forged.push(("unsigned", format!("{}.{body}.", part(&json!({"alg": none, "typ": "JWT"})))));
        forged.push(("unsigned, with a key's name", format!("{}.{body}.{}", part(&json!({"alg": none, "kid": "e"})), parts[2])));
    }
    // The public key as a shared secret, in each form in which an attacker has it.
    let public = serde_json::to_string(&rsa.shown()).unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(rsa.shown()["n"].as_str().unwrap()).unwrap();
    for secret in [public.as_bytes(), &modulus, RSA.as_bytes()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for id in ["r", "e"] {
                let header = Header { kid: Some(id.to_owned()), ..Header::new(algorithm) };
                forged.push(("a shared secret", encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()));
            }
        }
    }
    // A key for one algorithm used for another, and algorithms that are not on the list.
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(algorithm) };
        forged.push(("another algorithm", encode(&header, &claims(), &rsa.key).unwrap()));
    }
    let header = Header { kid: Some("e".to_owned()), ..Header::new(Algorithm::RS256) };
    forged.push(("another key's name", encode(&header, &claims(), &rsa.key).unwrap()));
    // A key that the token brings along, and words that must be understood.
    let mut own = Header { kid: None, ..Header::new(Algorithm::ES256) };
    own.jwk = serde_json::from_value(stranger.shown()).ok();
    own.jku = Some("https://evil.example/jwks".to_owned());
    forged.push(("a key of its own", encode(&own, &claims(), &stranger.key).unwrap()));
    let critical = Header { kid: Some("e".to_owned()), crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::ES256) };
    forged.push(("what must be understood", encode(&critical, &claims(), &es.key).unwrap()));
    let other_kind = Header { kid: Some("e".to_owned()), typ: Some("logout+jwt".to_owned()), ..Header::new(Algorithm::ES256) };
    forged.push(("another kind of token", encode(&other_kind, &claims(), &es.key).unwrap()));
    for (what, token) in &forged {
        assert!(!world.takes(token).await, "{what}: {token}");
    }
    // A member twice is read by nobody in two ways.
    let twice = format!("{{\"sub\":\"alice\",{}", &with("sub", "mallory").to_string()[1..]);
    let message = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "e"})), URL_SAFE_NO_PAD.encode(twice));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &es.key, Algorithm::ES256).unwrap();
    assert!(!world.takes(&format!("{message}.{signature}")).await);
    assert!(world.takes(&good).await);
    let pages = world.web.pages.lock().unwrap().len();
    assert_eq!(pages, 2, "nothing else was looked for");
}

#[tokio::test]
async fn keys_that_are_for_something_else_or_too_weak_sign_nothing() {
    let (short, es) = (EncodingKey::from_rsa_pem(include_bytes!("../../../tests/oidc/rsa-short.pem")).unwrap(), Signer::es("e"));
    let short = Signer { id: "short", algorithm: Algorithm::RS256, key: short };
    let world = world(&[&es]);
    let mut sealing = es.shown();
    sealing["use"] = "enc".into();
    sealing["kid"] = "sealing".into();
    let mut shared = json!({"kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode("a secret of the service's own")});
    shared["alg"] = "HS256".into();
    let strange = json!({"kty": "AKP", "kid": "new", "alg": "ML-DSA-65", "pub": "AAAA"});
    let keys = json!({"keys": [strange, short.shown(), sealing, shared, "no key", es.shown()]});
    world.web.show("https://keys.example.com/jwks", &keys);
    assert!(world.takes(&es.signs(&claims())).await, "what is strange does not spoil the rest");
    assert!(!world.takes(&short.signs(&claims())).await);
    let as_sealing = Signer { id: "sealing", algorithm: Algorithm::ES256, key: es.key.clone() };
    assert!(!world.takes(&as_sealing.signs(&claims())).await);
    let header = Header { kid: Some("shared".to_owned()), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &claims(), &EncodingKey::from_secret(b"a secret of the service's own")).unwrap();
    assert!(!world.takes(&token).await);
    // Without a name, the one key that fits is meant; where two do, none is.
    let nameless = Header::new(Algorithm::ES256);
    let token = encode(&nameless, &claims(), &es.key).unwrap();
    assert!(world.takes(&token).await);
    world.web.keys(&[&es, &Signer::es("f")]);
    world.later(Millis(11 * 60 * 1000));
    let later = encode(&nameless, &with("exp", NOW + 6000), &es.key).unwrap();
    assert!(!world.takes(&later).await);
}

#[tokio::test]
async fn keys_are_rotated_and_a_flood_of_unknown_ones_asks_no_more_than_it_may() {
    let (old, new, revived) = (Signer::es("old"), Signer::es("new"), Signer::es("later"));
    let world = world(&[&old]);
    let far = with("exp", NOW + 100_000);
    assert!(world.takes(&old.signs(&far)).await);
    world.web.keys(&[&new]);
    assert!(world.takes(&new.signs(&far)).await, "a new key is found at once");
    assert!(!world.takes(&old.signs(&far)).await, "and one that is no longer shown is no longer good");
    let before = world.asked();
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..500 {
        let (oidc, token) = (world.oidc.clone(), {
            let header = Header { kid: Some(format!("unknown-{number}")), ..Header::new(Algorithm::ES256) };
            encode(&header, &far, &old.key).unwrap()
        });
        flood.spawn(async move { oidc.admit(&token).await.is_ok() });
    }
    while let Some(came_in) = flood.join_next().await {
        assert!(!came_in.unwrap());
    }
    assert!(world.asked() - before <= 10, "{} requests for a flood", world.asked() - before);
    // Whoever has a good key is not kept out by it.
    assert!(world.takes(&new.signs(&far)).await);
    // After a while a rotation is seen again.
    world.web.keys(&[&new, &revived]);
    assert!(!world.takes(&revived.signs(&far)).await, "the flood used up what was free");
    world.later(Millis(30_000));
    assert!(world.takes(&revived.signs(&far)).await);
}

#[tokio::test]
async fn a_service_that_is_away_keeps_nobody_in_for_long_and_nobody_out_for_nothing() {
    let es = Signer::es("e");
    let world = world(&[&es]);
    let token = es.signs(&with("exp", NOW + 100_000));
    world.web.is_down.store(true, Ordering::SeqCst);
    assert!(matches!(world.oidc.admit(&token).await, Err(Denied::Unsure(_))), "nobody can say");
    world.web.is_down.store(false, Ordering::SeqCst);
    assert!(world.takes(&token).await);
    world.web.is_down.store(true, Ordering::SeqCst);
    world.later(Millis(20 * 60 * 1000));
    assert!(world.takes(&token).await, "its keys are known");
    world.later(Millis(41 * 60 * 1000));
    // Also once it was asked as often as it may be.
    for _ in 0..AT_ONCE + 3 {
        assert!(matches!(world.oidc.admit(&token).await, Err(Denied::Unsure(_))), "they may have been taken back long ago");
    }
}

#[tokio::test]
async fn a_description_of_another_service_or_of_open_lines_is_not_believed() {
    let es = Signer::es("e");
    let place = format!("{ISSUER}/.well-known/openid-configuration");
    for described in [
        json!({"issuer": "https://evil.example", "jwks_uri": "https://keys.example.com/jwks"}),
        json!({"issuer": format!("{ISSUER}/"), "jwks_uri": "https://keys.example.com/jwks"}),
        json!({"issuer": ISSUER, "jwks_uri": "http://keys.example.com/jwks"}),
        json!({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": ISSUER}),
        json!("x"),
    ] {
        let world = world(&[&es]);
        world.web.show(&place, &described);
        assert!(matches!(world.oidc.admit(&es.signs(&claims())).await, Err(Denied::Unsure(_))), "{described}");
    }
    // OAuth's own place for it is found as well.
    let world = world(&[&es]);
    let found = world.web.pages.lock().unwrap().remove(&place).unwrap();
    world.web.pages.lock().unwrap().insert("https://login.example.com/.well-known/oauth-authorization-server/realm".to_owned(), found);
    assert!(world.takes(&es.signs(&claims())).await);
}

#[tokio::test]
async fn no_subject_passes_for_another_or_for_anybody_of_ours() {
    let es = Signer::es("e");
    let world = world(&[&es]);
    let mut seen = std::collections::BTreeSet::new();
    for subject in
        ["alice", "Alice", "alice ", "a:b", "a%3Ab", "a/b", "local", "operator", "toolgate", "auth0|1", "\u{e9}", "x\ny", ":", "alice\u{0}"]
    {
        let name = world.oidc.admit(&es.signs(&with("sub", subject))).await.unwrap().principal.to_string();
        assert!(name.starts_with("oidc:login.example.com/realm:"), "{name}");
        let own = name.strip_prefix("oidc:login.example.com/realm:").unwrap();
        assert!(own.bytes().all(|byte| byte.is_ascii_graphic()) && !own.contains([':', '/', '"']), "{name}");
        assert!(seen.insert(name), "{subject:?} is another's");
    }
}
