//! What must stay with the human in charge: the operator's passphrase, and keeping secrets out of everything that is recorded or shown.
//!
//! INVARIANT: nothing secret is read from arguments or the environment, and nothing here can be reached by a tool.
//! Does not decide what needs the operator: it only proves that the operator is there.

pub mod live;
pub mod operator;
pub mod redact;
pub mod scan;
