//! The keys of a sign-in service: found by its own description, kept for a while, looked up anew when a token names one that is not known.
//!
//! INVARIANT: whoever sends tokens cannot make us ask the service more often than [`Pace`] allows, nor about anything but its own
//! description and the keys that names. A key that the service no longer shows is not used for longer than [`LONGEST`].

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::{Clock, ErrorCode, Fault, Millis, Timestamp};

/// For how long keys are used without asking.
const FRESH: Millis = Millis(10 * 60 * 1000);
/// For how long they are used while the service cannot be asked.
const LONGEST: Millis = Millis(60 * 60 * 1000);
/// Questions in a row, and how long until one more is free.
pub(super) const AT_ONCE: u64 = 5;
const EVERY: Millis = Millis(30_000);
/// Keys that are looked at.
const MOST: usize = 64;
/// Bytes of an RSA modulus: 2048 bits.
const SHORTEST_RSA: usize = 256;

/// Asks the sign-in service.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// What is at this URL; `None` where nothing is.
    ///
    /// # Errors
    /// Where it cannot be had.
    async fn get(&self, url: &str) -> Result<Option<Vec<u8>>, Fault>;
}

/// A key that can be used for one algorithm.
#[derive(Clone)]
struct Known {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys as they were shown last.
#[derive(Default)]
struct Shown {
    at: Option<Timestamp>,
    keys: Vec<Known>,
}

impl Shown {
    /// The key of this name; where a token names none, the only one there is for its algorithm.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fitting = self.keys.iter().filter(|known| known.algorithm == algorithm && (id.is_none() || known.id.as_deref() == id));
        let found = fitting.next()?;
        fitting.next().is_none().then(|| found.key.clone())
    }

    fn is_within(&self, span: Millis, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now.since(at) < span)
    }
}

/// So many questions at once, and one more every while.
struct Pace {
    free: u64,
    since: Timestamp,
}

impl Pace {
    fn take(&mut self, now: Timestamp) -> bool {
        let more = now.since(self.since).0 / EVERY.0;
        if more > 0 {
            self.free = self.free.saturating_add(more).min(AT_ONCE);
            self.since = self.since.plus(Millis(more.saturating_mul(EVERY.0)));
        }
        let may = self.free > 0;
        self.free = self.free.saturating_sub(1);
        may
    }
}

/// The keys of one service.
pub(super) struct KeyRing {
    issuer: String,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    shown: Mutex<Arc<Shown>>,
    /// Whoever holds it asks; the others wait for what comes of that.
    pace: tokio::sync::Mutex<Pace>,
}

impl KeyRing {
    pub(super) fn new(issuer: String, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        let pace = Pace { free: AT_ONCE, since: clock.now() };
        Self { issuer, fetch, clock, shown: Mutex::default(), pace: tokio::sync::Mutex::new(pace) }
    }

    fn shown(&self) -> Arc<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The service's key of this name for this algorithm; `None` where it shows none.
    ///
    /// # Errors
    /// Where that cannot be known now.
    pub(super) async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Option<DecodingKey>, Fault> {
        let (shown, now) = (self.shown(), self.clock.now());
        let found = shown.find(id, algorithm);
        if found.is_some() && shown.is_within(FRESH, now) {
            return Ok(found);
        }
        if found.is_some() && shown.is_within(LONGEST, now) {
            // One asks; nobody waits for that who has a key.
            if let Ok(pace) = self.pace.try_lock() {
                self.renew(pace, now)
                    .await
                    .unwrap_or_else(|fault| tracing::warn!(code = %fault.code, "the sign-in service's keys: {fault}"));
            }
            return Ok(self.shown().find(id, algorithm));
        }
        let pace = self.pace.lock().await;
        let newer = self.shown();
        // Somebody asked while this one waited.
        if newer.at != shown.at && newer.is_within(FRESH, now) {
            return Ok(newer.find(id, algorithm));
        }
        self.renew(pace, now).await?;
        let shown = self.shown();
        if shown.is_within(LONGEST, now) { Ok(shown.find(id, algorithm)) } else { Err(unknown("its keys were asked for too often")) }
    }

    /// Asks, unless that was done too often; then all stays as it is.
    async fn renew(&self, mut pace: tokio::sync::MutexGuard<'_, Pace>, now: Timestamp) -> Result<(), Fault> {
        if !pace.take(now) {
            return Ok(());
        }
        let keys = self.ask().await?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Shown { at: Some(now), keys });
        Ok(())
    }

    async fn ask(&self) -> Result<Vec<Known>, Fault> {
        let described = self.description().await?;
        if described.issuer != self.issuer {
            return Err(unknown("its description is of another service than `oidc.issuer` says"));
        }
        // Keys that come over an open line could be anybody's.
        if !described.jwks_uri.starts_with("https://") && self.issuer.starts_with("https://") {
            return Err(unknown("its keys are not at an https address"));
        }
        let keys = self.fetch.get(&described.jwks_uri).await?.ok_or_else(|| unknown("its keys are not where it says"))?;
        let keys: Keys = serde_json::from_slice(&keys).map_err(|_| unknown("its keys are no JWK set"))?;
        Ok(keys.keys.into_iter().take(MOST).filter_map(usable).collect())
    }

    async fn description(&self) -> Result<Description, Fault> {
        for place in places(&self.issuer) {
            if let Some(found) = self.fetch.get(&place).await? {
                return serde_json::from_slice(&found).map_err(|_| unknown("its description cannot be read"));
            }
        }
        Err(unknown("it has no description under `/.well-known/`"))
    }
}

fn unknown(why: &str) -> Fault {
    Fault::new(ErrorCode::EgressFailed, format!("the sign-in service cannot be used: {why}"))
        .hint("see `oidc.issuer`, and `egress.private` where it is inside your network")
}

/// Where a service describes itself: by OpenID Connect, then by OAuth.
fn places(issuer: &str) -> Vec<String> {
    let bare = issuer.trim_end_matches('/');
    let mut places = vec![format!("{bare}/.well-known/openid-configuration")];
    if let Ok(url) = url::Url::parse(bare) {
        let path = url.path().trim_end_matches('/').to_owned();
        places.extend(url.join(&format!("/.well-known/oauth-authorization-server{path}")).map(String::from));
    }
    places
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

/// A key that signs by one of the three algorithms; what else there is belongs to others.
fn usable(value: Value) -> Option<Known> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = if let AlgorithmParameters::RSA(key) = &jwk.algorithm {
        let modulus = URL_SAFE_NO_PAD.decode(&key.n).ok()?;
        let length = modulus.iter().skip_while(|byte| **byte == 0).count();
        (length >= SHORTEST_RSA).then_some((Algorithm::RS256, KeyAlgorithm::RS256))?
    } else if let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm {
        (key.curve == EllipticCurve::P256).then_some((Algorithm::ES256, KeyAlgorithm::ES256))?
    } else if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm {
        (key.curve == EllipticCurve::Ed25519).then_some((Algorithm::EdDSA, KeyAlgorithm::EdDSA))?
    } else {
        // A secret that is shared is none, and the rest is not asked for.
        return None;
    };
    if jwk.common.key_algorithm.is_some_and(|said| said != named) {
        return None;
    }
    Some(Known { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
}
