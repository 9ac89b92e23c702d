//! Arithmetic on values.
//!
//! INVARIANT: what an operation will allocate is charged before it does. Combines as jq does.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use jaq_core::{ValR, ops::Math};
use jaq_json::{Map, Num, Rc, Val};

use super::budget::{charge, charge_string, check_depth, step};
use super::compare::{compare, kind};
use super::value::{Item, fail};

/// Bits of a whole number.
const MOST_BITS: u64 = 8_192;

fn refused(left: &Val, op: Math, right: &Val) -> ValR<Item> {
    Err(fail(format!("cannot compute {} {} {}", kind(left), op.as_str(), kind(right))))
}

fn number(number: Num) -> ValR<Item> {
    if matches!(&number, Num::BigInt(int) if int.bits() > MOST_BITS) {
        return Err(fail("a number grows too large"));
    }
    Ok(Item::flat(Val::Num(number)))
}

impl Add for Item {
    type Output = ValR<Self>;
    fn add(self, right: Self) -> ValR<Self> {
        let depth = self.depth.max(right.depth);
        match (&self.val, &right.val) {
            (Val::Null, _) => return Ok(right),
            (_, Val::Null) => return Ok(self),
            (Val::Num(l), Val::Num(r)) => return number(l.clone() + r.clone()),
            (Val::TStr(l), Val::TStr(r)) => charge_string(l.len() + r.len()),
            (Val::Arr(_), Val::Arr(r)) => {
                self.charge_copy();
                charge(r.len() * 16);
            }
            (Val::Obj(_), Val::Obj(r)) => {
                self.charge_copy();
                charge(r.len() * 64);
            }
            (l, r) => return refused(l, Math::Add, r),
        }
        (self.val + right.val).map(|val| Self { val, depth }).map_err(|_| fail("cannot add these"))
    }
}

impl Sub for Item {
    type Output = ValR<Self>;
    fn sub(self, right: Self) -> ValR<Self> {
        match (&self.val, &right.val) {
            (Val::Num(l), Val::Num(r)) => number(l.clone() - r.clone()),
            (Val::Arr(l), Val::Arr(r)) => {
                charge((l.len() + r.len()) * 16);
                let mut without: Vec<&Val> = r.iter().collect();
                without.sort_by(|a, b| compare(a, b));
                let left = l.iter().filter(|item| without.binary_search_by(|other| compare(other, item)).is_err());
                Ok(Self { val: left.cloned().collect(), depth: self.depth })
            }
            (l, r) => refused(l, Math::Sub, r),
        }
    }
}

impl Mul for Item {
    type Output = ValR<Self>;
    fn mul(self, right: Self) -> ValR<Self> {
        match (&self.val, &right.val) {
            (Val::Num(l), Val::Num(r)) => number(l.clone() * r.clone()),
            (Val::TStr(text), Val::Num(times)) | (Val::Num(times), Val::TStr(text)) => {
                let Some(times) = times.as_isize() else { return refused(&self.val, Math::Mul, &right.val) };
                let Some(times) = usize::try_from(times).ok().filter(|times| *times > 0) else { return Ok(Self::flat(Val::Null)) };
                charge_string(text.len().saturating_mul(times));
                Ok(Self::flat(Val::utf8_str(text.repeat(times))))
            }
            (Val::Obj(l), Val::Obj(r)) => {
                let val = Val::obj(merge(l, r));
                let depth = self.depth.max(right.depth);
                check_depth(depth);
                Ok(Self { val, depth })
            }
            (l, r) => refused(l, Math::Mul, r),
        }
    }
}

/// The fields of both; where both have one and it is an object in both, those are merged in turn.
fn merge(left: &Rc<Map>, right: &Rc<Map>) -> Map {
    step();
    charge((left.len() + right.len()) * 64);
    let mut merged = Map::clone(left);
    for (key, new) in right.iter() {
        let value = match (merged.get(key), new) {
            (Some(Val::Obj(old)), Val::Obj(new)) => Val::obj(merge(old, new)),
            _ => new.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

impl Div for Item {
    type Output = ValR<Self>;
    fn div(self, right: Self) -> ValR<Self> {
        match (&self.val, &right.val) {
            (Val::Num(l), Val::Num(r)) => number(l.clone() / r.clone()),
            (Val::TStr(text), Val::TStr(_)) => {
                // Each piece is a handle on the same bytes.
                charge((text.len() + 1) * 64);
                (self.val / right.val).map(|val| Self::around(val, 0)).map_err(|_| fail("cannot split that"))
            }
            (l, r) => refused(l, Math::Div, r),
        }
    }
}

impl Rem for Item {
    type Output = ValR<Self>;
    fn rem(self, right: Self) -> ValR<Self> {
        match (&self.val, &right.val) {
            (Val::Num(_), Val::Num(_)) => (self.val % right.val).map(Self::flat).map_err(|_| fail("cannot divide by zero")),
            (l, r) => refused(l, Math::Rem, r),
        }
    }
}

impl Neg for Item {
    type Output = ValR<Self>;
    fn neg(self) -> ValR<Self> {
        let Val::Num(value) = &self.val else { return Err(fail(format!("cannot negate {}", kind(&self.val)))) };
        number(-value.clone())
    }
}
