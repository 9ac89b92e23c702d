//! Compiles a filter and runs it, on a thread of its own with room for deep recursion.
//!
//! INVARIANT: only so many run at once, and a thread ends when its filter does, is stopped, or nobody waits for it any more. Says where a
//! filter is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jaq_core::load::{Arena, Error as LoadError, File, Loader, span};
use jaq_core::{Compiler, Ctx, Vars};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use crate::confine::shown;
use crate::domain::{Bytes, ErrorCode, Fault};

use super::budget::{self, STACK, Stop};
use super::compare::json;
use super::functions::{Data, Table, defs, funs};
use super::value::Item;

/// Filters at once, as each may use up to its memory and its stack; more wait.
static PLACES: Semaphore = Semaphore::const_new(8);

/// Outputs of one filter.
const MOST_OUTPUTS: usize = 10_000;

/// Raised when the one who waits goes away.
struct Raise(Arc<AtomicBool>);

impl Drop for Raise {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All outputs of `filter` on `input`, at most `limit` bytes of JSON.
///
/// # Errors
/// `FILTER_FAILED`, `LIMIT_EXCEEDED`. Dropping the future stops the filter.
pub(super) async fn run(filter: String, input: Value, limit: Bytes) -> Result<Vec<Value>, Fault> {
    let raised = Arc::new(AtomicBool::new(false));
    let guard = Raise(Arc::clone(&raised));
    let place = PLACES.acquire().await.map_err(|_| Fault::internal("filters have no places"))?;
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // A filter that nobody waits for any more keeps its place until it is gone.
        let _place = place;
        let outcome = budget::within(&raised, || outputs(&filter, &input, limit)).unwrap_or_else(|stop| Err(stopped(stop)));
        // Nobody may be waiting any more.
        let _ = sender.send(outcome);
    };
    std::thread::Builder::new()
        .name("jq".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|error| Fault::internal(format!("no thread for a filter: {error}")))?;
    let outcome = receiver.await.map_err(|_| Fault::internal("the filter's thread ended without an answer"))?;
    drop(guard);
    outcome
}

fn outputs(filter: &str, input: &Value, limit: Bytes) -> Result<Vec<Value>, Fault> {
    let arena = Arena::default();
    let program = File { code: filter, path: () };
    let modules = Loader::new(defs()).load(&arena, program).map_err(|errors| {
        let first = errors.into_iter().next().map(|(_, error)| error);
        match first {
            Some(LoadError::Lex(list)) => {
                list.first().map_or_else(|| wrong(filter, None, ""), |(expect, at)| wrong(filter, Some(at), expect.as_str()))
            }
            Some(LoadError::Parse(list)) => {
                list.first().map_or_else(|| wrong(filter, None, ""), |(expect, at)| wrong(filter, Some(at), expect.as_str()))
            }
            Some(LoadError::Io(_)) => failed("modules cannot be loaded"),
            None => wrong(filter, None, ""),
        }
    })?;
    jaq_core::load::import(&modules, |_| Err(String::new())).map_err(|_: Vec<_>| failed("modules cannot be loaded"))?;
    let compiled = Compiler::<_, Data>::default().with_funs(funs()).compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, list)| list).next();
        first.map_or_else(
            || wrong(filter, None, ""),
            |(name, undefined)| {
                failed(&format!("the filter does not compile: the {} `{}` is not defined", undefined.as_str(), shown(name)))
            },
        )
    })?;
    let context = Ctx::<Data>::new(Table(&compiled.lut), Vars::new([]));
    let (mut values, mut left) = (Vec::new(), limit.0);
    for output in compiled.id.run((context, Item::from_json(input))) {
        let item = output.map_err(|exception| match exception.get_err() {
            Ok(error) => failed(&format!("the filter failed: {}", shown(&error.to_string()))),
            Err(_) => failed("the filter broke off"),
        })?;
        let value = json(&item.val, &mut left).filter(|_| values.len() < MOST_OUTPUTS);
        values.push(value.ok_or_else(|| {
            Fault::new(ErrorCode::LimitExceeded, format!("the filter puts out more than {} bytes or {MOST_OUTPUTS} values", limit.0))
                .hint("select less, or use `limit(n; …)`")
        })?);
    }
    Ok(values)
}

fn failed(message: &str) -> Fault {
    Fault::new(ErrorCode::FilterFailed, message)
}

/// A filter that cannot be read, with the place.
fn wrong(filter: &str, at: Option<&str>, expected: &str) -> Fault {
    let place = at.map_or(filter.len(), |at| span(filter, at).start);
    let character = filter.get(..place).map_or(0, |before| before.chars().count()) + 1;
    let found = match at {
        Some(at) if !at.is_empty() => format!("`{}`", shown(&at.chars().take(20).collect::<String>())),
        _ => "the end".to_owned(),
    };
    failed(&format!("the filter does not compile at character {character}: found {found}, expected {expected}"))
}

fn stopped(stop: Stop) -> Fault {
    match stop {
        Stop::Steps => limit("takes too many steps"),
        Stop::Memory => limit("needs too much memory"),
        Stop::Depth => limit("nests too deep"),
        Stop::Raised => Fault::new(ErrorCode::Cancelled, "the filter was stopped"),
        Stop::Panicked => failed("the filter met a fault in the interpreter"),
    }
}

fn limit(what: &str) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the filter {what}")).hint("a filter must end; bound its loops, as with `limit(n; …)`")
}
