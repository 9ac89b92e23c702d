//! The values that filters work on: jaq's, with every growth counted and every depth known.
//!
//! INVARIANT: `depth` is at least the value's depth, and never above the bound, so that freeing or printing it cannot overflow a stack;
//! objects have strings as keys. Errors name kinds, not whole values.

use std::cmp::Ordering;
use std::fmt;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::path::Opt;
use jaq_core::{Error, Exn, ValR, ValX};
use jaq_json::{Map, Rc, Val};

use super::budget::{charge, charge_string, check_depth, step, steps};
use super::compare::{compare, kind, preview, text};

/// Bytes of one item of an array.
const ITEM: usize = size_of::<Val>();
/// Bytes of one field of an object, about.
const FIELD: usize = 4 * ITEM;
/// Characters of a number that is written out.
const MOST_DIGITS: usize = 400;

/// A value and a bound on how deep it is nested; 0 is a value without parts.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) val: Val,
    pub(super) depth: u32,
}

impl Item {
    /// A value without parts.
    pub(super) fn flat(val: Val) -> Self {
        Self { val, depth: 0 }
    }

    /// A value whose parts are at most this deep.
    pub(super) fn around(val: Val, inner: u32) -> Self {
        check_depth(inner + 1);
        Self { val, depth: inner + 1 }
    }

    /// A part of a value of this depth.
    pub(super) fn part(val: Val, outer: u32) -> Self {
        let depth = if matches!(val, Val::Arr(_) | Val::Obj(_)) { outer.saturating_sub(1).max(1) } else { 0 };
        Self { val, depth }
    }

    /// The input of a filter.
    pub(super) fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        step();
        match value {
            Value::Null => Self::flat(Val::Null),
            Value::Bool(bool) => Self::flat(Val::Bool(*bool)),
            Value::Number(number) => match number.as_i64().and_then(|int| isize::try_from(int).ok()) {
                Some(int) => Self::flat(Val::from(int)),
                None => Self::flat(Val::from(number.as_f64().unwrap_or(f64::NAN))),
            },
            Value::String(string) => Self::from(string.clone()),
            Value::Array(items) => items.iter().map(Self::from_json).collect(),
            Value::Object(fields) => {
                charge(fields.len() * FIELD);
                let (mut map, mut inner) = (Map::default(), 0);
                for (key, field) in fields {
                    let field = Self::from_json(field);
                    inner = inner.max(field.depth);
                    map.insert(Val::from(key.clone()), field.val);
                }
                Self::around(Val::obj(map), inner)
            }
        }
    }

    /// A copy of an array or object is made where others hold it too; that costs.
    pub(super) fn charge_copy(&self) {
        match &self.val {
            Val::Arr(items) if Rc::strong_count(items) > 1 => charge(items.len() * ITEM),
            Val::Obj(fields) if Rc::strong_count(fields) > 1 => charge(fields.len() * FIELD),
            Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) | Val::Arr(_) | Val::Obj(_) => {}
        }
    }

    fn not_iterable(&self) -> Error<Self> {
        fail(format!("cannot iterate over {}", kind(&self.val)))
    }
}

/// An error of the filter, which it can catch.
pub(super) fn fail(message: impl ToString) -> Error<Item> {
    Error::str(message)
}

fn bad_index(of: &Item, index: &Item) -> Error<Item> {
    fail(format!("cannot index {} with {}", kind(&of.val), preview(&index.val)))
}

impl jaq_core::ValT for Item {
    fn from_num(digits: &str) -> ValR<Self> {
        if digits.len() > MOST_DIGITS {
            return Err(fail(format!("a number of {} characters is too long", digits.len())));
        }
        Val::from_num(digits).map(Self::flat).map_err(|_| fail("that is not a number"))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(iter: I) -> ValR<Self> {
        let (mut map, mut inner) = (Map::default(), 0);
        for (key, value) in iter {
            step();
            charge(FIELD);
            if !matches!(key.val, Val::TStr(_)) {
                return Err(fail(format!("{} cannot be a key of an object", kind(&key.val))));
            }
            inner = inner.max(value.depth);
            map.insert(key.val, value.val);
        }
        Ok(Self::around(Val::obj(map), inner))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Self, Self), Self>> {
        let depth = self.depth;
        match self.val {
            Val::Arr(items) => {
                charge(items.len() * ITEM);
                Box::new(items.iter().cloned().collect::<Vec<_>>().into_iter().enumerate().map(move |(n, item)| {
                    step();
                    Ok((Self::from(n), Self::part(item, depth)))
                }))
            }
            Val::Obj(fields) => {
                charge(fields.len() * FIELD);
                let fields: Vec<_> = fields.iter().map(|(key, field)| (key.clone(), field.clone())).collect();
                Box::new(fields.into_iter().map(move |(key, field)| {
                    step();
                    Ok((Self::flat(key), Self::part(field, depth)))
                }))
            }
            val @ (Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_)) => box_once(Err(Self::flat(val).not_iterable())),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        Box::new(self.key_values().map(|pair| pair.map(|(_, value)| value)))
    }

    fn index(self, index: &Self) -> ValR<Self> {
        step();
        let depth = self.depth;
        match (&self.val, &index.val) {
            (Val::Null, _) => Ok(Self::flat(Val::Null)),
            (Val::Arr(items), Val::Arr(wanted)) => {
                let found = if wanted.is_empty() { Vec::new() } else { super::functions::indices(items, wanted) };
                Ok(found.into_iter().map(Self::from).collect())
            }
            (Val::Arr(_), Val::Num(_)) | (Val::Obj(_), Val::TStr(_)) => match jaq_core::ValT::index(self.val.clone(), &index.val) {
                Ok(val) => Ok(Self::part(val, depth)),
                Err(_) => Err(bad_index(&self, index)),
            },
            (Val::Arr(_) | Val::TStr(_), Val::Obj(bounds)) => {
                let bound = |name: &str| bounds.get(&Val::from(name.to_owned())).cloned().map(Self::flat);
                let (start, end) = (bound("start"), bound("end"));
                self.range(start.as_ref()..end.as_ref())
            }
            _ => Err(bad_index(&self, index)),
        }
    }

    fn range(self, range: jaq_core::val::Range<&Self>) -> ValR<Self> {
        if let Val::Arr(items) = &self.val {
            charge(items.len() * ITEM);
        }
        let (depth, kind) = (self.depth, kind(&self.val));
        let inner = range.start.map(|start| &start.val)..range.end.map(|end| &end.val);
        jaq_core::ValT::range(self.val, inner).map(|val| Self { val, depth }).map_err(|_| fail(format!("cannot take that part of {kind}")))
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        let depth = self.depth;
        match self.val {
            Val::Arr(items) => items.iter().flat_map(|item| f(Self::part(item.clone(), depth))).collect(),
            Val::Obj(fields) => {
                let (mut map, mut inner) = (Map::default(), 0);
                for (key, field) in fields.iter() {
                    step();
                    if let Some(value) = f(Self::part(field.clone(), depth)).next().transpose()? {
                        charge(FIELD);
                        inner = inner.max(value.depth);
                        map.insert(key.clone(), value.val);
                    }
                }
                Ok(Self::around(Val::obj(map), inner))
            }
            val @ (Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_)) => {
                opt.fail(Self::flat(val), |item| Exn::from(item.not_iterable()))
            }
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(mut self, index: &Self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        if matches!((&self.val, &index.val), (Val::Null, Val::TStr(_))) {
            self = Self::around(Val::obj(Map::default()), 0);
        }
        self.charge_copy();
        let depth = self.depth;
        let mut inner = depth.saturating_sub(1);
        match (&mut self.val, &index.val) {
            (Val::Obj(fields), Val::TStr(_)) => {
                let fields = Rc::make_mut(fields);
                let before = fields.get_mut(&index.val).map(std::mem::take);
                let known = before.is_some();
                match f(Self::part(before.unwrap_or_default(), depth)).next().transpose()? {
                    Some(value) => {
                        charge(FIELD);
                        inner = inner.max(value.depth);
                        fields.insert(index.val.clone(), value.val);
                    }
                    None if known => {
                        fields.shift_remove(&index.val);
                    }
                    None => {}
                }
            }
            (Val::Arr(items), Val::Num(number)) => {
                let at = number
                    .as_isize()
                    .and_then(|at| if at < 0 { items.len().checked_sub(at.unsigned_abs()) } else { usize::try_from(at).ok() });
                let items = Rc::make_mut(items);
                let Some((at, place)) = at.and_then(|at| Some((at, items.get_mut(at)?))) else {
                    return opt.fail(self, |_| Exn::from(fail(format!("the index {} is out of bounds", preview(&index.val)))));
                };
                match f(Self::part(std::mem::take(place), depth)).next().transpose()? {
                    Some(value) => {
                        inner = inner.max(value.depth);
                        *place = value.val;
                    }
                    None => {
                        items.remove(at);
                    }
                }
            }
            (Val::Arr(_), Val::Obj(bounds)) => {
                let bound = |name: &str| bounds.get(&Val::from(name.to_owned())).cloned().map(Self::flat);
                let (start, end) = (bound("start"), bound("end"));
                return self.map_range(start.as_ref()..end.as_ref(), opt, f);
            }
            _ => return opt.fail(self, |item| Exn::from(bad_index(&item, index))),
        }
        check_depth(inner + 1);
        self.depth = inner + 1;
        Ok(self)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: jaq_core::val::Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let Val::Arr(items) = &self.val else {
            return opt.fail(self, |item| Exn::from(fail(format!("cannot change a part of {}", kind(&item.val)))));
        };
        let bound = |bound: Option<&Self>, default: usize| match bound.map(|bound| &bound.val) {
            None | Some(Val::Null) => Some(default),
            Some(Val::Num(number)) => {
                let at = number.as_isize()?;
                Some(if at < 0 { items.len().saturating_sub(at.unsigned_abs()) } else { items.len().min(at.unsigned_abs()) })
            }
            Some(_) => None,
        };
        let (Some(start), Some(end)) = (bound(range.start, 0), bound(range.end, items.len())) else {
            return opt.fail(self, |_| Exn::from(fail("the bounds of a part must be whole numbers")));
        };
        let end = end.max(start);
        charge(2 * items.len() * ITEM);
        let middle = items.get(start..end).unwrap_or_default().to_vec();
        let middle = match f(Self { val: middle.into_iter().collect(), depth: self.depth }).next().transpose()? {
            Some(Self { val: Val::Arr(middle), depth }) => (middle, depth),
            Some(other) => return Err(Exn::from(fail(format!("a part of an array cannot become {}", kind(&other.val))))),
            None => (Rc::default(), 1),
        };
        charge(middle.0.len() * ITEM);
        let before = items.iter().take(start).cloned();
        let whole = before.chain(middle.0.iter().cloned()).chain(items.iter().skip(end).cloned()).collect();
        Ok(Self { val: whole, depth: self.depth.max(middle.1) })
    }

    fn as_bool(&self) -> bool {
        !matches!(self.val, Val::Null | Val::Bool(false))
    }

    fn into_string(self) -> Self {
        if matches!(self.val, Val::TStr(_)) { self } else { Self::from(text(&self.val)) }
    }
}

impl jaq_std::ValT for Item {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        let depth = self.depth;
        match self.val {
            Val::Arr(items) => {
                charge(2 * items.len() * ITEM);
                Ok(items.iter().map(|item| Self::part(item.clone(), depth)).collect())
            }
            val @ (Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) | Val::Obj(_)) => Err(Self { val, depth }),
        }
    }
    fn is_int(&self) -> bool {
        jaq_std::ValT::is_int(&self.val)
    }
    fn as_isize(&self) -> Option<isize> {
        jaq_std::ValT::as_isize(&self.val)
    }
    fn as_f64(&self) -> Option<f64> {
        jaq_std::ValT::as_f64(&self.val)
    }
    fn is_utf8_str(&self) -> bool {
        matches!(self.val, Val::TStr(_))
    }
    fn as_bytes(&self) -> Option<&[u8]> {
        let bytes = jaq_std::ValT::as_bytes(&self.val)?;
        // Functions ask for the bytes to go through them, which is no step of the interpreter's.
        steps(bytes.len() as u64 / 32);
        Some(bytes)
    }
    fn as_sub_str(&self, sub: &[u8]) -> Self {
        Self::flat(jaq_std::ValT::as_sub_str(&self.val, sub))
    }
    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        charge_string(bytes.as_ref().len());
        Self::flat(<Val as jaq_std::ValT>::from_utf8_bytes(bytes))
    }
}

impl From<bool> for Item {
    fn from(bool: bool) -> Self {
        Self::flat(Val::from(bool))
    }
}

impl From<isize> for Item {
    fn from(int: isize) -> Self {
        Self::flat(Val::from(int))
    }
}

impl From<usize> for Item {
    fn from(int: usize) -> Self {
        Self::flat(Val::from(int))
    }
}

impl From<f64> for Item {
    fn from(float: f64) -> Self {
        Self::flat(Val::from(float))
    }
}

impl From<String> for Item {
    fn from(string: String) -> Self {
        charge_string(string.len());
        Self::flat(Val::from(string))
    }
}

impl From<jaq_core::val::Range<Self>> for Item {
    fn from(range: jaq_core::val::Range<Self>) -> Self {
        let ends = range.start.map(|start| start.val)..range.end.map(|end| end.val);
        Self::around(Val::from(ends), 0)
    }
}

impl FromIterator<Self> for Item {
    fn from_iter<T: IntoIterator<Item = Self>>(iter: T) -> Self {
        let mut inner = 0;
        let items = iter.into_iter().map(|item| {
            step();
            charge(ITEM);
            inner = inner.max(item.depth);
            item.val
        });
        let val: Val = items.collect();
        Self::around(val, inner)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Val::TStr(bytes) = &self.val
            && bytes.len() <= 2_000
        {
            return f.write_str(&String::from_utf8_lossy(bytes));
        }
        f.write_str(&preview(&self.val))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        compare(&self.val, &other.val).is_eq()
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.val, &other.val)
    }
}
