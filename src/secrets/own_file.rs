//! A secret in a file of the operator's.
//!
//! INVARIANT: the file belongs to its owner alone; neither its content nor a part of it is in an error.

use std::path::Path;

use secrecy::SecretString;

use crate::domain::{ErrorCode, Fault};

use super::files;

/// The text of a file that its owner alone reads, without the white space around it.
///
/// # Errors
/// `CONFIG_INVALID` where it is not there, others may use it, or it holds no text.
pub fn secret_in(path: &Path) -> Result<SecretString, Fault> {
    let wrong = |why: &str| {
        Fault::new(ErrorCode::ConfigInvalid, format!("the secret's file `{}` cannot be used: {why}", path.display()))
            .hint("one line in a file of your own that nobody else can read (`chmod 600`)")
    };
    let bytes = files::read(path).map_err(|error| wrong(&error.to_string()))?.ok_or_else(|| wrong("it is not there"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not text"))?.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(wrong("it is empty or has more than one line"));
    }
    Ok(text.to_owned().into())
}
