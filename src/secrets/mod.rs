//! What must stay with the human in charge: the operator's passphrase, the vault, and keeping secrets out of everything that is recorded or shown.
//!
//! INVARIANT: nothing secret is read from arguments or the environment, and a tool reaches no value but what it is lent.
//! Does not decide what needs the operator: it only proves that the operator is there.

pub mod access;
mod files;
pub mod live;
pub mod operator;
pub mod own_file;
pub mod redact;
pub mod reference;
pub mod scan;
pub mod sealed;
pub mod source;
pub mod tokens;
pub mod vault;
