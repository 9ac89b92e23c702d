//! What must stay with the human in charge: the operator's passphrase.
//!
//! INVARIANT: nothing secret is read from arguments or the environment, and nothing here can be reached by a tool.
//! Does not decide what needs the operator: it only proves that the operator is there.

pub mod operator;
