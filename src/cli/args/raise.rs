//! `runs raise`

use clap::Args;

use crate::domain::{Amounts, RunId};

use super::{Json, PassphraseFrom};

/// `runs raise`
#[derive(Debug, Args)]
pub struct Raise {
    /// The run
    pub run: RunId,
    /// So many steps more
    #[arg(long, value_name = "+N", value_parser = more, default_value = "0", hide_default_value = true)]
    pub steps: u64,
    /// So many tool calls more
    #[arg(long, value_name = "+N", value_parser = more, default_value = "0", hide_default_value = true)]
    pub calls: u64,
    /// So many tokens more
    #[arg(long, value_name = "+N", value_parser = more, default_value = "0", hide_default_value = true)]
    pub tokens: u64,
    /// So much longer: +90s, +30m, +2h
    #[arg(long, value_name = "+SPAN", value_parser = longer, default_value = "0s", hide_default_value = true)]
    pub wall: u64,
    /// So many bytes out more
    #[arg(long, value_name = "+N", value_parser = more, default_value = "0", hide_default_value = true)]
    pub bytes: u64,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

impl Raise {
    /// By how much.
    pub fn by(&self) -> Amounts {
        Amounts { steps: self.steps, calls: self.calls, tokens: self.tokens, wall_ms: self.wall, bytes_out: self.bytes }
    }
}

fn more(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let number = digits.parse().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
    number.ok_or_else(|| "a whole number such as +50 is needed".to_owned())
}

/// Milliseconds of `+90s`, `+30m`, `+2h`.
fn longer(text: &str) -> Result<u64, String> {
    let wanted = || "a span such as +90s, +30m or +2h is needed".to_owned();
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wanted)?;
    let factor = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wanted()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_may_carry_a_plus() {
        assert_eq!((more("+50"), more("7")), (Ok(50), Ok(7)));
        assert_eq!((longer("+30m"), longer("90s")), (Ok(1_800_000), Ok(90_000)));
        for bad in ["", "+", "-1", "+1.5", "++1"] {
            assert!(more(bad).is_err(), "{bad}");
        }
        for bad in ["", "30", "m", "+1d", "1h30m", "99999999999999999999h"] {
            assert!(longer(bad).is_err(), "{bad}");
        }
    }
}
