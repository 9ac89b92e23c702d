//! The redactor as the settings want it.

use std::sync::Arc;

use crate::config::{Config, Patterns};
use crate::domain::Fault;
use crate::secrets::redact::{FIELDS, Fields, Pii, Redactor, Settings};
use crate::secrets::scan::Sureness;

/// From now on the redactor does what these settings say.
pub(super) fn configure(config: &Config, redactor: &Redactor) {
    let shapes = match config.redaction_patterns.value {
        Patterns::Off => None,
        Patterns::Tokens => Some(Sureness::Shapes),
        Patterns::All => Some(Sureness::Guesses),
    };
    // Other words have not come through the settings.
    let pii = config.redaction_pii.value.iter().filter_map(|word| Pii::NONE.with(word)).fold(Pii::NONE, Pii::and);
    redactor.configure(Settings { shapes, pii, fields: Arc::new(fields(&config.redaction_fields.value)) });
}

/// The names that these words of the settings stand for.
fn fields(words: &[String]) -> Fields {
    let names = |word: &String| if word == "default" { FIELDS.map(str::to_owned).to_vec() } else { vec![word.clone()] };
    Fields::of(&words.iter().flat_map(names).collect::<Vec<_>>())
}

/// One that takes out the values of the same live secrets and nothing else: for answers that programs work with.
///
/// # Errors
/// Where the rules of the program cannot be read.
pub(super) fn values_only(redactor: &Redactor) -> Result<Redactor, Fault> {
    let exact = Redactor::new(redactor.live().clone())?;
    exact.configure(Settings::none());
    Ok(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_know_every_kind_of_personal_data() {
        let (mut known, mut named) = (Pii::words(), crate::config::PII.to_vec());
        known.sort_unstable();
        named.sort_unstable();
        assert_eq!(known, named);
    }
}
