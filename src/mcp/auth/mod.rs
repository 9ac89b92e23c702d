//! Who comes in over HTTP, and how far: what a doorkeeper answers, and tokens of a sign-in service.
//!
//! INVARIANT: a credential only ever narrows: its scopes are held before the one path, which decides as if there were none.
//!
//! Not here: the operator's own tokens, which `secrets` keeps, and what HTTP says of all this, which is `mcp::http`'s.

mod keys;
mod oidc;
#[cfg(test)]
mod tests;

use async_trait::async_trait;

use crate::domain::{Fault, Principal, PublicUrl, Scopes, Timestamp};

use super::Toolset;

pub use keys::Fetch;
pub use oidc::{Oidc, OidcTerms};

/// Which credential it was. What a client leaves open belongs to it, and ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// The home's own token.
    Home,
    /// One that the operator made, by its name and the number of the event that tells of it: a name that is given again is another token.
    Token {
        /// Its name.
        name: String,
        /// The event.
        number: u64,
    },
    /// Tokens of the sign-in service, which change by the hour: by whom they are for and the program they were given to.
    SignedIn {
        /// Whose they are.
        principal: Principal,
        /// The program.
        client: String,
    },
}

impl Access {
    /// Whether a wider one can be had by signing in anew.
    #[must_use]
    pub fn can_widen(&self) -> bool {
        matches!(self, Self::SignedIn { .. })
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub principal: Principal,
    /// By what.
    pub access: Access,
    /// How far.
    pub scopes: Scopes,
    /// Which tools are listed; `None` for those that the server lists.
    pub toolset: Option<Toolset>,
    /// Until when.
    pub until: Option<Timestamp>,
}

impl Admitted {
    /// The user of this machine, by the home's own token.
    #[must_use]
    pub fn home() -> Self {
        Self { principal: Principal::local(), access: Access::Home, scopes: Scopes::all(), toolset: None, until: None }
    }
}

/// Why somebody was not let in.
#[derive(Debug)]
pub enum Denied {
    /// The token is not good, whatever the reason.
    Token,
    /// It cannot be said now whether it is.
    Unsure(Fault),
}

/// Where clients can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// This server, as clients know it.
    pub public: PublicUrl,
    /// The service that gives tokens for it.
    pub issuer: String,
}

/// Who knows the tokens.
#[async_trait]
pub trait Doorkeeper: Send + Sync {
    /// Whom this token was given to, and how far it reaches now.
    ///
    /// # Errors
    /// Why its bearer stays outside.
    async fn admit(&self, token: &str) -> Result<Admitted, Denied>;

    /// Whether who was let in may stay: asked again and again while something of theirs is open.
    async fn stays(&self, admitted: &Admitted) -> bool;

    /// Where clients can sign in; `None` where every token is made by hand.
    fn sign_in(&self) -> Option<&SignIn> {
        None
    }
}
