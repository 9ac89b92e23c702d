//! `approvals`: what can be typed.

use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::domain::{ApprovalId, GrantId, Millis, RunId, Timestamp};

use super::{Json, PassphraseFrom};

/// `approvals`
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List what waits for an answer
    List {
        /// Also what was answered or expired
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Show what is asked
    Show {
        /// The approval
        id: ApprovalId,
        /// Show everything, however long
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Say yes to exactly this
    Approve {
        /// The approval
        id: ApprovalId,
        #[command(flatten)]
        allow: Allow,
        /// A word for the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Say no; it stands until you take it back
    Deny {
        /// The approval
        id: ApprovalId,
        /// Why; the agent reads it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Take a no back, so that the same may be asked again
    Forget {
        /// The approval
        id: ApprovalId,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// List what is allowed for a while
    Grants {
        /// Also what has ended
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        json: Json,
    },
    /// End what is allowed for a while
    Revoke {
        /// The grant
        id: GrantId,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Let a run that asked too much ask again
    Release {
        /// The run
        run: RunId,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
}

/// For how long a yes stands for what is alike. Without one of these it is a yes to this call alone.
#[derive(Debug, Clone, Copy, Args)]
pub struct Allow {
    /// Also allow what is alike in the same run
    #[arg(long, conflicts_with = "until")]
    pub for_run: bool,
    /// Also allow what is alike until then: a span (90s, 30m, 2h, 1d) or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "WHEN")]
    pub until: Option<When>,
}

/// An end: so long from now, or at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long from now.
    In(Millis),
    /// At this time.
    At(Timestamp),
}

impl When {
    /// The time it means.
    #[must_use]
    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(span) => now.plus(span),
            Self::At(time) => time,
        }
    }
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let span = || {
            let (unit, number) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
                .into_iter()
                .find_map(|(unit, seconds)| Some((seconds, text.strip_suffix(unit)?)))?;
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(unit * 1_000).map(Millis)
        };
        match (span(), text.parse()) {
            (Some(span), _) => Ok(Self::In(span)),
            (None, Ok(time)) => Ok(Self::At(time)),
            (None, Err(_)) => Err("give a span like `90s`, `30m`, `2h` or `1d`, or a time like `2026-01-31T12:00:00Z`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_read() {
        let now = Timestamp::from_unix_millis(1_000);
        assert_eq!("2h".parse::<When>().unwrap().after(now), now.plus(Millis(7_200_000)));
        assert_eq!("90s".parse::<When>(), Ok(When::In(Millis(90_000))));
        let at = "2026-01-31T12:00:00Z".parse::<When>().unwrap().after(now);
        assert_eq!(at.to_string(), "2026-01-31T12:00:00.000Z");
        for bad in ["", "h", "-1h", "+1h", "2 h", "forever", "99999999999999999999d", "18446744073709551615d"] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
    }
}
