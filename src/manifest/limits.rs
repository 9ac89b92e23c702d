//! Reads amounts such as `30s` and `1MiB`.

use crate::domain::{Bytes, Millis};

const LONGEST: u64 = 24 * 60 * 60 * 1_000;
const LARGEST: u64 = 1 << 30;

/// A span such as `500ms`, `30s`, `5m` or `1h`: more than nothing, at most a day.
pub(super) fn span(text: &str) -> Result<Millis, String> {
    amount(text, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)], LONGEST)
        .map(Millis)
        .ok_or_else(|| format!("`{}` is not a span of time like `500ms`, `30s`, `5m` or `1h`, at most 24h", shown(text)))
}

/// A size such as `512B`, `64KiB` or `1MiB`: more than nothing, at most 1 GiB.
pub(super) fn size(text: &str) -> Result<Bytes, String> {
    amount(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)], LARGEST)
        .map(Bytes)
        .ok_or_else(|| format!("`{}` is not a size like `512B`, `64KiB` or `1MiB`, at most 1GiB", shown(text)))
}

fn amount(text: &str, units: &[(&str, u64)], most: u64) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let value = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (1..=most).contains(&value).then_some(value)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_unit_and_a_bound() {
        assert_eq!(span("30s"), Ok(Millis(30_000)));
        assert_eq!(span("500ms"), Ok(Millis(500)));
        assert_eq!(size("1MiB"), Ok(Bytes(1 << 20)));
        for bad in ["30x", "30", "s", "", "-3s", "3.5s", " 30s", "30 s", "0s", "25h", "99999999999999999999h", "１s"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
        for bad in ["1MB", "1", "0B", "2GiB", "18446744073709551615GiB", "1mib"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }
}
