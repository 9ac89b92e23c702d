//! Access tokens of a sign-in service: signed JWTs, made for this server.
//!
//! INVARIANT: a token counts only with a good signature by one of the service's own keys and one of three algorithms, from that service,
//! for this server, within its time. Nothing of it is believed before its signature holds but which key it names.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use crate::domain::{Clock, Fault, Principal, PublicUrl, Scope, Scopes, Timestamp};

use super::keys::{Fetch, KeyRing};
use super::{Access, Admitted, Denied, SignIn};

/// The algorithms. What needs a shared secret is not among them, nor is none at all.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// How far clocks may differ, in milliseconds.
const SKEW: u64 = 30_000;
/// Bytes of a subject, as OpenID Connect bounds it.
const LONGEST_SUBJECT: usize = 255;

/// What tokens are held against.
#[derive(Debug, Clone)]
pub struct OidcTerms {
    /// The service, letter by letter as its tokens say.
    pub issuer: String,
    /// For whom they must be made.
    pub audience: String,
    /// Words that stand for scopes besides our own.
    pub scope_words: Vec<(String, Scope)>,
    /// This server.
    pub public: PublicUrl,
}

/// One sign-in service.
pub struct Oidc {
    terms: OidcTerms,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
    sign_in: SignIn,
}

/// Of a token. A member that is there twice is refused by the reader.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    scope: Option<Words>,
    scp: Option<Words>,
    azp: Option<String>,
    client_id: Option<String>,
    #[serde(rename = "iss")]
    _issuer: String,
}

/// Scopes in one text, or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl Words {
    fn all(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => text.split(' ').collect(),
            Self::List(list) => list.iter().map(String::as_str).collect(),
        }
    }
}

impl Oidc {
    /// By these terms; its keys come by `fetch` when they are first needed.
    #[must_use]
    pub fn new(terms: OidcTerms, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        let keys = KeyRing::new(terms.issuer.clone(), fetch, clock.clone());
        let sign_in = SignIn { public: terms.public.clone(), issuer: terms.issuer.clone() };
        Self { terms, keys, clock, sign_in }
    }

    /// Where clients sign in.
    #[must_use]
    pub fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// Gets the keys before anybody needs them.
    ///
    /// # Errors
    /// Where they cannot be had.
    pub async fn warm(&self) -> Result<(), Fault> {
        self.keys.key(None, Algorithm::RS256).await.map(drop)
    }

    /// Whose token this is, and how far it reaches.
    ///
    /// # Errors
    /// Where it is not good, or cannot be judged now.
    pub async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Token)?;
        // An extension that must be understood is not; other kinds of tokens are for others.
        let is_access_token =
            header.typ.as_deref().is_none_or(|kind| ["jwt", "at+jwt", "application/at+jwt"].contains(&&*kind.to_ascii_lowercase()));
        if !ALGORITHMS.contains(&header.alg) || header.crit.is_some() || !is_access_token {
            return Err(Denied::Token);
        }
        let key = self.keys.key(header.kid.as_deref(), header.alg).await.map_err(Denied::Unsure)?.ok_or(Denied::Token)?;
        let mut rules = Validation::new(header.alg);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.terms.issuer]);
        rules.set_audience(&[&self.terms.audience]);
        // Time is this house's clock's.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        let claims = decode::<Claims>(token, &key, &rules).map_err(|_| Denied::Token)?.claims;
        let until = self.within_its_time(&claims).ok_or(Denied::Token)?;
        let principal = principal(&self.terms.issuer, &claims.sub).ok_or(Denied::Token)?;
        let client = claims.azp.as_deref().or(claims.client_id.as_deref()).unwrap_or_default().to_owned();
        Ok(Admitted {
            access: Access::SignedIn { principal: principal.clone(), client },
            principal,
            scopes: self.scopes(&claims),
            toolset: None,
            until: Some(until),
        })
    }

    /// Until when the token is good, if it is.
    fn within_its_time(&self, claims: &Claims) -> Option<Timestamp> {
        let now = self.clock.now().unix_millis();
        let until = millis(claims.exp)?.saturating_add(SKEW);
        let from = match claims.nbf {
            Some(nbf) => millis(nbf)?,
            None => 0,
        };
        (now < until && from <= now.saturating_add(SKEW)).then(|| Timestamp::from_unix_millis(until))
    }

    fn scopes(&self, claims: &Claims) -> Scopes {
        let words = [&claims.scope, &claims.scp].into_iter().flatten().flat_map(Words::all);
        let known = |word: &str| {
            let stands_for = self.terms.scope_words.iter().find(|(theirs, _)| theirs == word).map(|(_, ours)| *ours);
            stands_for.or_else(|| Scope::from_word(word))
        };
        Scopes::of(words.filter_map(known))
    }
}

/// Seconds since 1970, as JWTs count; `None` for what is no time.
fn millis(seconds: f64) -> Option<u64> {
    const MOST: f64 = 1e12;
    (0.0..=MOST).contains(&seconds).then(|| (seconds * 1000.0) as u64)
}

/// The name of a subject of this service: no two subjects of any two services have the same, and nobody else has one like it.
fn principal(issuer: &str, subject: &str) -> Option<Principal> {
    use std::fmt::Write as _;
    if subject.is_empty() || subject.len() > LONGEST_SUBJECT {
        return None;
    }
    let (_, service) = issuer.split_once("://")?;
    let mut name = format!("oidc:{service}:");
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~@|+".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    Some(Principal::new(name))
}
