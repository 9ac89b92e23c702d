//! The settings under `budgets`: what runs and principals may use up.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::{Allowance, Budgets, Principal};

use super::resolve::Resolver;
use super::{Source, Sourced};

/// Largest limit.
const MOST: u64 = 1 << 53;

/// `budgets.*` as they were said: 0 is no limit, times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSettings {
    /// The numbers by key, in the order of [`NUMBERS`].
    numbers: Vec<(&'static str, Sourced<u64>)>,
    principals: Sourced<Vec<String>>,
    parsed: BTreeMap<Principal, Allowance>,
}

/// The keys that are numbers.
const NUMBERS: [&str; 9] = [
    "budgets.run.calls",
    "budgets.run.tokens",
    "budgets.run.wall_sec",
    "budgets.run.bytes_out",
    "budgets.principal.steps",
    "budgets.principal.calls",
    "budgets.principal.tokens",
    "budgets.principal.wall_sec",
    "budgets.principal.bytes_out",
];

const PRINCIPALS: &str = "budgets.principals";

impl BudgetSettings {
    /// As the rest of the house takes them.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        Budgets { run: self.allowance("budgets.run."), principal: self.allowance("budgets.principal."), principals: self.parsed.clone() }
    }

    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        if key == PRINCIPALS {
            return Some((json!(self.principals.value), &self.principals.source));
        }
        self.numbers.iter().find(|(known, _)| *known == key).map(|(_, said)| (json!(said.value), &said.source))
    }

    fn allowance(&self, prefix: &str) -> Allowance {
        let mut allowance = Allowance::default();
        for (key, said) in self.numbers.iter().filter(|(_, said)| said.value > 0) {
            if let Some(name) = key.strip_prefix(prefix) {
                set(&mut allowance, name, said.value);
            }
        }
        allowance
    }
}

/// Sets a limit by its name; `false` where there is none of that name.
fn set(allowance: &mut Allowance, name: &str, limit: u64) -> bool {
    let limit = Some(limit);
    match name {
        "steps" => allowance.steps = limit,
        "calls" => allowance.calls = limit,
        "tokens" => allowance.tokens = limit,
        "wall_sec" => allowance.wall_ms = limit.map(|sec| sec.saturating_mul(1_000)),
        "bytes_out" => allowance.bytes_out = limit,
        _ => return false,
    }
    true
}

pub(super) fn read(resolver: &mut Resolver<'_>) -> BudgetSettings {
    let numbers = NUMBERS.map(|key| (key, resolver.number(key, 0, 0..=MOST))).to_vec();
    let principals = resolver.list(PRINCIPALS);
    let mut parsed = BTreeMap::new();
    for text in &principals.value {
        match of_one(text) {
            Ok((principal, allowance)) if !parsed.contains_key(&principal) => {
                parsed.insert(principal, allowance);
            }
            Ok((principal, _)) => resolver.refuse(PRINCIPALS, &principals.source, &format!("names `{principal}` twice")),
            Err(why) => resolver.refuse(PRINCIPALS, &principals.source, &format!("has `{}`: {why}", text.escape_debug())),
        }
    }
    BudgetSettings { numbers, principals, parsed }
}

/// `NAME calls=100 tokens=50000`.
fn of_one(text: &str) -> Result<(Principal, Allowance), String> {
    let mut words = text.split_whitespace();
    let name = words.next().filter(|name| !name.contains('=')).ok_or("a principal's name comes first")?;
    let mut allowance = Allowance::default();
    for word in words {
        let limit = word.split_once('=').and_then(|(name, limit)| Some((name, limit.parse().ok().filter(|limit| *limit <= MOST)?)));
        if !limit.is_some_and(|(name, limit)| set(&mut allowance, name, limit)) {
            return Err(format!("`{word}` is none of steps=N, calls=N, tokens=N, wall_sec=N, bytes_out=N"));
        }
    }
    if allowance.is_unlimited() {
        return Err("it limits nothing".to_owned());
    }
    Ok((Principal::new(name), allowance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_s_limits_are_read_whole_or_refused() {
        let (who, allowance) = of_one("alice calls=100 wall_sec=60").unwrap();
        assert_eq!(
            (who, allowance),
            (Principal::new("alice"), Allowance { calls: Some(100), wall_ms: Some(60_000), ..Allowance::default() })
        );
        assert_eq!(of_one("alice calls=0").unwrap().1.calls, Some(0), "nothing at all may be meant");
        for bad in ["", "alice", "calls=1", "alice calls", "alice calls=many", "alice knocks=3", "alice calls=-1"] {
            assert!(of_one(bad).is_err(), "{bad}");
        }
    }
}
