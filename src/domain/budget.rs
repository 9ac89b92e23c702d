//! What runs and principals may use up, and what they used: quantities, amounts, allowances. Numbers only: what is counted when is `run`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ErrorCode, Fault, Principal, Timestamp};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Steps of workflows that were begun; one that a repair begins again counts again, another try does not.
    Steps,
    /// Calls of tools that were begun.
    Calls,
    /// Tokens that agents report.
    Tokens,
    /// Milliseconds.
    WallMs,
    /// Bytes that left: by the network, or to change something outside.
    BytesOut,
}

impl Quantity {
    /// All, in the order they are told.
    pub const ALL: [Self; 5] = [Self::Steps, Self::Calls, Self::Tokens, Self::WallMs, Self::BytesOut];

    /// The word as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Calls => "calls",
            Self::Tokens => "tokens",
            Self::WallMs => "wall_ms",
            Self::BytesOut => "bytes_out",
        }
    }

    /// In words, for messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Calls => "tool calls",
            Self::Tokens => "tokens",
            Self::WallMs => "milliseconds",
            Self::BytesOut => "bytes out",
        }
    }
}

/// How much of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// See [`Quantity::Steps`].
    #[serde(skip_serializing_if = "is_zero")]
    pub steps: u64,
    /// See [`Quantity::Calls`].
    #[serde(skip_serializing_if = "is_zero")]
    pub calls: u64,
    /// See [`Quantity::Tokens`].
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// See [`Quantity::WallMs`].
    #[serde(skip_serializing_if = "is_zero")]
    pub wall_ms: u64,
    /// See [`Quantity::BytesOut`].
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl Amounts {
    /// So much of one.
    #[must_use]
    pub fn of(what: Quantity, amount: u64) -> Self {
        let mut amounts = Self::default();
        *amounts.place(what) = amount;
        amounts
    }

    /// How much of one.
    #[must_use]
    pub fn get(&self, what: Quantity) -> u64 {
        match what {
            Quantity::Steps => self.steps,
            Quantity::Calls => self.calls,
            Quantity::Tokens => self.tokens,
            Quantity::WallMs => self.wall_ms,
            Quantity::BytesOut => self.bytes_out,
        }
    }

    fn place(&mut self, what: Quantity) -> &mut u64 {
        match what {
            Quantity::Steps => &mut self.steps,
            Quantity::Calls => &mut self.calls,
            Quantity::Tokens => &mut self.tokens,
            Quantity::WallMs => &mut self.wall_ms,
            Quantity::BytesOut => &mut self.bytes_out,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for what in Quantity::ALL {
            let place = self.place(what);
            *place = place.saturating_add(other.get(what));
        }
        self
    }

    /// The same without time.
    #[must_use]
    pub fn without_wall(self) -> Self {
        Self { wall_ms: 0, ..self }
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of each there may be; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowance {
    /// See [`Quantity::Steps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// See [`Quantity::Calls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// See [`Quantity::Tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// See [`Quantity::WallMs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// See [`Quantity::BytesOut`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
}

impl Allowance {
    /// The limit of one.
    #[must_use]
    pub fn get(&self, what: Quantity) -> Option<u64> {
        match what {
            Quantity::Steps => self.steps,
            Quantity::Calls => self.calls,
            Quantity::Tokens => self.tokens,
            Quantity::WallMs => self.wall_ms,
            Quantity::BytesOut => self.bytes_out,
        }
    }

    /// With limits of `other` where there are none.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            steps: self.steps.or(other.steps),
            calls: self.calls.or(other.calls),
            tokens: self.tokens.or(other.tokens),
            wall_ms: self.wall_ms.or(other.wall_ms),
            bytes_out: self.bytes_out.or(other.bytes_out),
        }
    }

    /// With every limit raised by so much; what has no limit stays without.
    #[must_use]
    pub fn raised(self, by: &Amounts) -> Self {
        let up = |limit: Option<u64>, by: u64| limit.map(|limit| limit.saturating_add(by));
        Self {
            steps: up(self.steps, by.steps),
            calls: up(self.calls, by.calls),
            tokens: up(self.tokens, by.tokens),
            wall_ms: up(self.wall_ms, by.wall_ms),
            bytes_out: up(self.bytes_out, by.bytes_out),
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// What the operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// A run, where its workflow does not say.
    pub run: Allowance,
    /// Each principal on each day, UTC.
    pub principal: Allowance,
    /// These instead, where they say something.
    pub principals: BTreeMap<Principal, Allowance>,
}

impl Budgets {
    /// What a principal may use up in a day.
    #[must_use]
    pub fn daily(&self, principal: &Principal) -> Allowance {
        self.principals.get(principal).copied().unwrap_or_default().or(&self.principal)
    }
}

/// Whose limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// The run's.
    Run,
    /// The principal's, for a day.
    Principal,
}

/// A limit that does not allow what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrun {
    /// Whose limit.
    pub of: LimitOf,
    /// Of what.
    pub which: Quantity,
    /// How much there may be.
    pub limit: u64,
    /// How much there was already.
    pub used: u64,
    /// How much was asked for on top; for time nothing.
    pub asked: u64,
}

impl Overrun {
    /// The first quantity of which `used` and `asked` together are more than `allowed`. Time is over once it is used up.
    #[must_use]
    pub fn find(of: LimitOf, allowed: &Allowance, used: &Amounts, asked: &Amounts) -> Option<Self> {
        Quantity::ALL.into_iter().find_map(|which| {
            let limit = allowed.get(which)?;
            let (used, asked) = (used.get(which), asked.get(which));
            let is_over = match which {
                Quantity::WallMs => used >= limit,
                Quantity::Steps | Quantity::Calls | Quantity::Tokens | Quantity::BytesOut => {
                    asked > 0 && used.saturating_add(asked) > limit
                }
            };
            is_over.then_some(Self { of, which, limit, used, asked })
        })
    }

    /// As the one who asked is told.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let whose = match self.of {
            LimitOf::Run => "the run",
            LimitOf::Principal => "this principal today",
        };
        let asked = match self.asked {
            0 => String::new(),
            asked => format!(", and this asks for {asked}"),
        };
        let message = format!("{whose} may use {} {}: {} are used{asked}", self.limit, self.which.words(), self.used);
        let hint = match self.of {
            LimitOf::Run => "do not try again; the operator can raise the limit by `toolgate runs raise`",
            LimitOf::Principal => "the count begins anew at midnight UTC; the operator sets the limit in the settings",
        };
        let details = serde_json::to_value(self).unwrap_or_default();
        Fault::new(ErrorCode::BudgetExceeded, message).hint(hint).details(details)
    }

    /// Reads it back from what [`Overrun::fault`] gave.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Option<Self> {
        let details = fault.details.as_ref().filter(|_| fault.code == ErrorCode::BudgetExceeded)?;
        Self::deserialize(&**details).ok()
    }
}

/// The day, in UTC, as a number: days since 1970.
#[must_use]
pub fn day_of(at: Timestamp) -> u64 {
    at.unix_millis() / DAY_MS
}

/// When the day after that of `at` begins.
#[must_use]
pub fn next_day(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_millis(day_of(at).saturating_add(1).saturating_mul(DAY_MS))
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exactly_the_limit_fits_and_one_more_does_not() {
        let allowed = Allowance { calls: Some(3), wall_ms: Some(10), ..Allowance::default() };
        let find = |used, asked| Overrun::find(LimitOf::Run, &allowed, &used, &asked).map(|over| over.which);
        assert_eq!(find(Amounts::of(Quantity::Calls, 2), Amounts::of(Quantity::Calls, 1)), None);
        assert_eq!(find(Amounts::of(Quantity::Calls, 3), Amounts::of(Quantity::Calls, 1)), Some(Quantity::Calls));
        assert_eq!(find(Amounts::of(Quantity::Calls, 9), Amounts::of(Quantity::Steps, 1)), None, "nobody asks for a call");
        assert_eq!(find(Amounts::of(Quantity::WallMs, 10), Amounts::default()), Some(Quantity::WallMs));
        assert_eq!(find(Amounts::default(), Amounts::of(Quantity::BytesOut, u64::MAX)), None, "no limit");
    }

    #[test]
    fn a_fault_tells_the_overrun_and_is_read_back() {
        let over = Overrun { of: LimitOf::Run, which: Quantity::Calls, limit: 3, used: 3, asked: 1 };
        assert_eq!(Overrun::of_fault(&over.fault()), Some(over));
        assert_eq!(over.fault().message, "the run may use 3 tool calls: 3 are used, and this asks for 1");
        assert_eq!(Overrun::of_fault(&Fault::new(ErrorCode::LimitExceeded, "other")), None);
    }
}
