//! The tokens that the operator makes for clients: the log is their register, and nothing but their digests is in it.
//!
//! INVARIANT: a value is shown once, by who made it, and cannot be had again. A token is good only while the newest record of its name
//! says so; whether there are newer records is asked at each use, so that what is taken back counts at once, in every process.
//!
//! Not here: what a token's scopes let its bearer do (the face), and the home's own token (see [`super::access`]).

mod register;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::Serialize;
use zeroize::Zeroize as _;

use crate::domain::{Clock, Digest, ErrorCode, Fault, Millis, Principal, Scopes, Timestamp, nearest};

use super::operator::OperatorProof;

pub use register::{Entry, Register, Told};

/// How every value begins, so that it is known for what it is wherever it turns up.
pub const PREFIX: &str = "tgt_";
/// How long a token is good where nothing is said.
pub const USUAL_SPAN: Millis = Millis(90 * 24 * 60 * 60 * 1000);
/// Bytes of chance in a value.
const CHANCE: usize = 32;
/// Tokens that are good at once.
const MOST: usize = 1000;
const LONGEST_NAME: usize = 64;
const LONGEST_PRINCIPAL: usize = 128;
/// How often a change is decided anew because another process was quicker.
const TRIES: usize = 5;

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// By what the operator knows it.
    pub name: String,
    /// Whose calls its bearer's are; the name where nothing is said.
    pub principal: Option<String>,
    /// How far it reaches.
    pub scopes: Scopes,
    /// Which tools its bearer sees listed; those of the server where nothing is said.
    pub toolsets: Option<Vec<String>>,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
}

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It lets its bearer in.
    Good,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

/// A token as its register knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// The number of the event that tells of it.
    pub number: u64,
    /// Whose calls its bearer's are.
    pub principal: Principal,
    /// How far it reaches.
    pub scopes: Scopes,
    /// Which tools its bearer sees listed.
    pub toolsets: Option<Vec<String>>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
    /// Where it stood when it was looked at.
    pub state: TokenState,
    #[serde(skip)]
    digest: Digest,
}

impl TokenView {
    fn stands(&self, now: Timestamp) -> TokenState {
        match self.state {
            TokenState::Revoked => TokenState::Revoked,
            TokenState::Good | TokenState::Expired if self.expires.is_some_and(|expires| expires <= now) => TokenState::Expired,
            TokenState::Good | TokenState::Expired => TokenState::Good,
        }
    }
}

/// The log as far as it was read.
#[derive(Debug, Clone, Default)]
struct Known {
    last: u64,
    tokens: Vec<TokenView>,
}

impl Known {
    fn take(&mut self, entry: Entry) {
        self.last = self.last.max(entry.number);
        match entry.told {
            Some(Told::Created { name, sha256, principal, scopes, toolsets, expires }) => self.tokens.push(TokenView {
                name,
                number: entry.number,
                principal,
                scopes,
                toolsets,
                created: entry.at,
                expires,
                state: TokenState::Good,
                digest: sha256,
            }),
            Some(Told::Revoked { number, .. }) => {
                for token in self.tokens.iter_mut().filter(|token| token.number == number) {
                    token.state = TokenState::Revoked;
                }
            }
            None => {}
        }
    }
}

/// The tokens of one home. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    register: Arc<dyn Register>,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
}

impl Tokens {
    /// Those that this register tells of.
    #[must_use]
    pub fn new(register: Arc<dyn Register>, clock: Arc<dyn Clock>) -> Self {
        Self { register, clock, known: Arc::default() }
    }

    /// The register as it is now.
    async fn known(&self) -> Result<Known, Fault> {
        let last = self.lock().last;
        let newer = self.register.since(last).await?;
        let mut known = self.lock();
        // Another task may have read the same meanwhile.
        for entry in newer {
            if entry.number > known.last {
                known.take(entry);
            }
        }
        Ok(known.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The good token of this value, if there is one.
    ///
    /// # Errors
    /// Where the register cannot be read; then nobody knows.
    pub async fn find(&self, value: &str) -> Result<Option<TokenView>, Fault> {
        if !value.starts_with(PREFIX) {
            return Ok(None);
        }
        let (shown, now) = (Digest::of(value.as_bytes()), self.clock.now());
        let mut found = None;
        // Each is compared, and each whole, so the time tells nothing of any.
        for token in self.known().await?.tokens {
            let is_it = same(token.digest.as_bytes(), shown.as_bytes());
            if is_it && token.stands(now) == TokenState::Good {
                found = Some(token);
            }
        }
        Ok(found)
    }

    /// Whether the token of this name and number is still good; `false` also where nobody knows.
    pub async fn is_good(&self, name: &str, number: u64) -> bool {
        let now = self.clock.now();
        let Ok(known) = self.known().await else { return false };
        known.tokens.iter().any(|token| token.name == name && token.number == number && token.stands(now) == TokenState::Good)
    }

    /// All there ever were, by name, the newest of a name first.
    ///
    /// # Errors
    /// Where the register cannot be read.
    pub async fn list(&self) -> Result<Vec<TokenView>, Fault> {
        let now = self.clock.now();
        let mut all: Vec<TokenView> = self.known().await?.tokens;
        for token in &mut all {
            token.state = token.stands(now);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name).then(b.number.cmp(&a.number)));
        Ok(all)
    }

    /// Makes a token. Its value is returned here and nowhere else.
    ///
    /// # Errors
    /// `INVALID_INPUT` for a name or principal that cannot be used, a name that a good token has, or a time that is over;
    /// `LIMIT_EXCEEDED`; where it cannot be recorded.
    pub async fn create(&self, wanted: Wanted, _proof: &OperatorProof) -> Result<(SecretString, TokenView), Fault> {
        let name = name(&wanted.name)?;
        let principal = match &wanted.principal {
            Some(text) => principal(text, true)?,
            None => principal(&name, false)?,
        };
        let now = self.clock.now();
        if wanted.expires.is_some_and(|expires| expires <= now) {
            return Err(Fault::new(ErrorCode::InvalidInput, "the token would be over before it is made")
                .hint("give a later time, or a span like 30d"));
        }
        let mut chance = [0_u8; CHANCE];
        rand::fill(&mut chance);
        let mut text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(chance));
        chance.zeroize();
        let (value, sha256) = (SecretString::from(text.as_str()), Digest::of(text.as_bytes()));
        let (scopes, toolsets, expires) = (wanted.scopes, wanted.toolsets, wanted.expires);
        let told = Told::Created { name: name.clone(), sha256, principal, scopes, toolsets, expires };
        let made = self
            .change(|known| {
                let good: Vec<&TokenView> = known.tokens.iter().filter(|token| token.stands(now) == TokenState::Good).collect();
                if good.iter().any(|token| token.name == name) {
                    let message = format!("there is a good token of the name `{name}`");
                    return Err(Fault::new(ErrorCode::InvalidInput, message).hint("revoke it first, or choose another name"));
                }
                if good.len() >= MOST {
                    return Err(Fault::new(ErrorCode::LimitExceeded, format!("{MOST} tokens are good")).hint("revoke some"));
                }
                Ok(told.clone())
            })
            .await;
        let found = match made {
            Ok(()) => self.find(&text).await,
            Err(fault) => Err(fault),
        };
        text.zeroize();
        // What was recorded must be what was meant, whatever looked at it on the way.
        let view = found?.ok_or_else(|| Fault::internal("the token's record does not hold what was told to it"))?;
        Ok((value, view))
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// `NOT_FOUND` where no token of this name is left to be taken back; where it cannot be recorded.
    pub async fn revoke(&self, name: &str, _proof: &OperatorProof) -> Result<TokenView, Fault> {
        let mut taken = None;
        self.change(|known| {
            let newest = known.tokens.iter().rev().find(|token| token.name == name && token.state != TokenState::Revoked);
            let token = newest.ok_or_else(|| unknown(name, known))?;
            taken = Some(TokenView { state: TokenState::Revoked, ..token.clone() });
            Ok(Told::Revoked { name: token.name.clone(), number: token.number })
        })
        .await?;
        taken.ok_or_else(|| Fault::internal("nothing was decided"))
    }

    /// Records what is decided on the newest state.
    async fn change(&self, mut decide: impl FnMut(&Known) -> Result<Told, Fault>) -> Result<(), Fault> {
        for _ in 0..TRIES {
            let known = self.known().await?;
            let told = decide(&known)?;
            if self.register.tell(known.last, &told).await? {
                return Ok(());
            }
        }
        Err(Fault::internal("the register of tokens does not come to rest").hint("try again"))
    }
}

fn unknown(name: &str, known: &Known) -> Fault {
    let names = known.tokens.iter().filter(|token| token.state != TokenState::Revoked).map(|token| token.name.as_str());
    let fault = Fault::new(ErrorCode::NotFound, format!("no token of the name `{}` can be revoked", name.escape_debug()));
    match nearest(name, names) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint("`toolgate tokens list` shows those there are"),
    }
}

/// Compares in the same time wherever the two differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differs = a.iter().zip(b).fold(0_u8, |differs, (a, b)| differs | (a ^ b));
    std::hint::black_box(differs) == 0
}

fn name(text: &str) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain);
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        Fault::new(ErrorCode::InvalidInput, format!("`{}` is no name for a token", text.escape_debug()))
            .hint(format!("at most {LONGEST_NAME} lower case letters, digits, `-`, `_` and `.`"))
    })
}

/// A principal that a token may stand for. `local` is the user of this machine, and must be meant.
fn principal(text: &str, is_said: bool) -> Result<Principal, Fault> {
    let wrong = |why: &str| {
        Err(Fault::new(ErrorCode::InvalidInput, format!("`{}` cannot be a token's principal: {why}", text.escape_debug()))
            .hint("give another by `--principal`"))
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+/:".contains(&byte);
    if !(1..=LONGEST_PRINCIPAL).contains(&text.len()) || !text.bytes().all(plain) {
        return wrong("it must be letters, digits and `-_.@+/:`");
    }
    match text {
        "operator" | "toolgate" => wrong("it is the human in charge, or toolgate itself"),
        "local" if !is_said => wrong("it is the user of this machine"),
        _ if text.starts_with("oidc:") => wrong("such names belong to those who sign in"),
        _ => Ok(Principal::new(text)),
    }
}
