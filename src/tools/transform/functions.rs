//! The functions that filters may call.
//!
//! INVARIANT: nothing here reads or writes anything but values: what jaq has beyond that (environment, clock, time zone of the machine,
//! log, exit) is left out by name, and loops inside a function count their steps.

use jaq_core::load::parse::Def;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{DataT, Exn, Lut, RunPtr, ValR, ValXs};
use jaq_json::Val;

use super::budget::{charge, step};
use super::compare::{compare, kind, text};
use super::value::{Item, fail};

/// Names of jaq's that are left out.
const LEFT_OUT: &[&str] = &[
    "debug",
    "debug_empty",
    "env",
    "halt",
    "halt_error",
    "localtime",
    "now",
    "range",
    "stderr",
    "stderr_empty",
    "strflocaltime",
    "tobytes",
];

/// What filters work on.
pub(super) struct Data;

impl DataT for Data {
    type V<'a> = Item;
    type Data<'a> = Table<'a>;
}

/// The table of terms. It is asked for before every step.
#[derive(Clone)]
pub(super) struct Table<'a>(pub(super) &'a Lut<Data>);

impl<'a> jaq_core::data::HasLut<'a, Data> for Table<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        step();
        self.0
    }
}

/// The definitions written in jq.
pub(super) fn defs() -> impl Iterator<Item = Def<&'static str>> {
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    // `range` is left out as a native function only.
    all.filter(|def| def.name == "range" || !LEFT_OUT.contains(&def.name))
}

/// The functions written in Rust.
pub(super) fn funs() -> impl Iterator<Item = Fun<Data>> {
    let theirs = jaq_core::funs::<Data>().chain(jaq_std::funs::<Data>()).filter(|(name, _, _)| !LEFT_OUT.contains(name));
    theirs.chain(ours().into_vec().into_iter().map(run::<Data>))
}

fn ours() -> Box<[Filter<RunPtr<Data>>]> {
    Box::new([
        ("range", v(3), |mut cv| {
            let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
            range(from, to, by)
        }),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Item::flat(Val::from(text(&cv.1.val)))))),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("has", v(1), |cv| unary(cv, |of, key| has(&of, &key))),
        ("contains", v(1), |cv| unary(cv, |whole, part| Ok(contains(&whole.val, &part.val).into()))),
        ("indices", v(1), |cv| unary(cv, |of, wanted| find(&of, &wanted))),
        ("bsearch", v(1), |cv| unary(cv, |of, wanted| search(&of, &wanted))),
    ])
}

fn range<'a>(from: Item, to: Item, by: Item) -> ValXs<'a, Item> {
    let upwards = by.cmp(&Item::from(0_usize));
    let mut next = Some(Ok(from));
    Box::new(std::iter::from_fn(move || {
        step();
        match next.take()? {
            Err(error) => Some(Err(Exn::from(error))),
            Ok(here) => {
                let goes_on = match upwards {
                    std::cmp::Ordering::Greater => here < to,
                    std::cmp::Ordering::Less => here > to,
                    std::cmp::Ordering::Equal => here != to,
                };
                if !goes_on {
                    return None;
                }
                next = Some(here.clone() + by.clone());
                Some(Ok(here))
            }
        }
    }))
}

fn length(item: Item) -> ValR<Item> {
    match &item.val {
        Val::Null => Ok(Item::from(0_usize)),
        Val::Bool(_) => Err(fail("a boolean has no length")),
        Val::Num(_) if item < Item::from(0_usize) => -item,
        Val::Num(_) => Ok(item),
        Val::TStr(bytes) | Val::BStr(bytes) => Ok(String::from_utf8_lossy(bytes).chars().count().into()),
        Val::Arr(items) => Ok(items.len().into()),
        Val::Obj(fields) => Ok(fields.len().into()),
    }
}

fn from_json(item: &Item) -> ValR<Item> {
    let Val::TStr(bytes) = &item.val else { return Err(fail(format!("{} is not JSON text", kind(&item.val)))) };
    charge(bytes.len().saturating_mul(8));
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| fail(format!("that is not JSON: {error}")))?;
    Ok(Item::from_json(&value))
}

fn has(of: &Item, key: &Item) -> ValR<Item> {
    match (&of.val, &key.val) {
        (Val::Obj(fields), Val::TStr(_)) => Ok(fields.contains_key(&key.val).into()),
        (Val::Arr(items), Val::Num(at)) => Ok(at.as_isize().is_some_and(|at| usize::try_from(at).is_ok_and(|at| at < items.len())).into()),
        (of, key) => Err(fail(format!("{} cannot have {} as a key", kind(of), kind(key)))),
    }
}

fn contains(whole: &Val, part: &Val) -> bool {
    step();
    match (whole, part) {
        (Val::TStr(whole), Val::TStr(part)) => {
            let (whole, part) = (String::from_utf8_lossy(whole), String::from_utf8_lossy(part));
            whole.contains(part.as_ref())
        }
        (Val::Arr(whole), Val::Arr(part)) => part.iter().all(|part| whole.iter().any(|whole| contains(whole, part))),
        (Val::Obj(whole), Val::Obj(part)) => part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        _ => compare(whole, part).is_eq(),
    }
}

/// Where `wanted` begins in `items`.
pub(super) fn indices(items: &[Val], wanted: &[Val]) -> Vec<usize> {
    let places = items.windows(wanted.len().max(1)).enumerate();
    places.filter(|(_, window)| window.iter().zip(wanted).all(|(item, wanted)| compare(item, wanted).is_eq())).map(|(at, _)| at).collect()
}

fn find(of: &Item, wanted: &Item) -> ValR<Item> {
    match (&of.val, &wanted.val) {
        (Val::Null, _) => Ok(Item::flat(Val::Null)),
        (Val::TStr(of), Val::TStr(wanted)) => {
            let (of, wanted) = (String::from_utf8_lossy(of), String::from_utf8_lossy(wanted));
            if wanted.is_empty() {
                return Ok(std::iter::empty().collect());
            }
            let starts = of.char_indices().enumerate().filter(|(_, (at, _))| {
                step();
                of.get(*at..).is_some_and(|rest| rest.starts_with(wanted.as_ref()))
            });
            Ok(starts.map(|(n, _)| Item::from(n)).collect())
        }
        (Val::Arr(items), Val::Arr(wanted)) if wanted.is_empty() || items.is_empty() => Ok(std::iter::empty().collect()),
        (Val::Arr(items), Val::Arr(wanted)) => Ok(indices(items, wanted).into_iter().map(Item::from).collect()),
        (Val::Arr(items), wanted) => Ok(indices(items, std::slice::from_ref(wanted)).into_iter().map(Item::from).collect()),
        (of, wanted) => Err(fail(format!("cannot find {} in {}", kind(wanted), kind(of)))),
    }
}

fn search(of: &Item, wanted: &Item) -> ValR<Item> {
    let Val::Arr(items) = &of.val else { return Err(fail(format!("cannot search in {}", kind(&of.val)))) };
    let place = items.binary_search_by(|item| compare(item, &wanted.val));
    // Where it would have to be put in is told as a negative number, as jq does.
    Ok(place.map_or_else(|at| Item::from(-1 - at.cast_signed()), Item::from))
}
