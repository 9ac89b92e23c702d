//! Searches and reads for `worker.research`: asks other tools, and turns what they answer into finds and citations.
//!
//! INVARIANT: what cannot be searched or read is told in `notes` and stops nothing else; only a cancelled call ends the work. The web comes
//! before the drive, so that no word of the drive can be in what is asked of the web.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::domain::{ArtifactId, ErrorCode, Fault};
use crate::tools::CallContext;

use super::passages::{best, weight};
use super::ports::ToolCalls;
use super::research::{Citation, Place};
use super::{finds::Find, finds::gather, line};

/// Passages of one page or document.
const MOST_PASSAGES: usize = 3;
/// Bytes of a document that are read from its artifact.
const MOST_BYTES: u64 = 4 << 20;
/// Characters of a reason.
const REASON: usize = 300;

/// A place to look at and what it is to answer.
pub(super) struct Reading<'a> {
    pub(super) calls: &'a dyn ToolCalls,
    pub(super) context: &'a CallContext,
    pub(super) query: &'a str,
    pub(super) terms: &'a [String],
    /// What could not be done, and why.
    pub(super) notes: Vec<String>,
    /// Calls made so far.
    pub(super) made: u32,
}

/// What came of one page or document.
struct Read {
    find: Find,
    answer: Result<Value, Fault>,
}

impl Reading<'_> {
    fn number(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Searches one place, and reads the best `pages` of what it finds; then what was read, and finds that were not.
    pub(super) async fn of(&mut self, place: Place, limit: u32, pages: usize) -> Result<(Vec<Citation>, Vec<Find>), Fault> {
        let (search, read) = place.tools();
        let number = self.number();
        let found = self.calls.call(self.context, number, search, json!({ "query": self.query, "limit": limit })).await;
        let Some(found) = self.unless_failed(search, found)? else { return Ok((Vec::new(), Vec::new())) };
        let mut finds = gather(&found);
        finds.sort_by_key(|find| std::cmp::Reverse(weight(&find.title, self.terms) * 2 + weight(&find.extract, self.terms)));
        let rest = finds.split_off(pages.min(finds.len()));
        let numbered: Vec<(u32, Find)> = finds.into_iter().map(|find| (self.number(), find)).collect();
        let (calls, context) = (self.calls, self.context);
        let reads = numbered.into_iter().map(|(number, find)| async move {
            let arguments = place.arguments(&find.source);
            let answer = calls.call(context, number, read, arguments).await;
            Read { find, answer }
        });
        let reads = join_all(reads).await;
        self.context.progress.note(&format!("read {} of what {search} found", reads.len()), None, None);
        let mut cited = Vec::new();
        let mut unread = Vec::new();
        for Read { find, answer } in reads {
            let what = format!("{read} of {}", line(&find.source, 200));
            let passages = match self.unless_failed(&what, answer.and_then(there))? {
                Some(answer) => self.cite(&find, &answer).await?,
                None => Vec::new(),
            };
            if passages.is_empty() {
                unread.push(find);
            }
            cited.extend(passages);
        }
        unread.extend(rest);
        Ok((cited, unread))
    }

    /// The answer, or a note why there is none.
    fn unless_failed(&mut self, what: &str, answer: Result<Value, Fault>) -> Result<Option<Value>, Fault> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(fault) if fault.code == ErrorCode::Cancelled || self.context.cancel.is_cancelled() => Err(fault),
            Err(fault) => {
                self.notes.push(line(&format!("{what}: {} {fault}", fault.code), REASON));
                Ok(None)
            }
        }
    }

    /// The passages of what was read that say most, each with its place in an artifact that holds the text.
    async fn cite(&self, find: &Find, answer: &Value) -> Result<Vec<Citation>, Fault> {
        let Some(text) = self.text_of(answer).await? else { return Ok(Vec::new()) };
        let passages = best(&text, self.terms, MOST_PASSAGES);
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let title = answer.get("title").and_then(Value::as_str).map_or_else(|| find.title.clone(), |title| line(title, 200));
        let kept = self.context.artifacts.put(text.into_bytes(), "text/markdown").await?;
        let cited = passages.into_iter().map(|passage| Citation {
            title: title.clone(),
            source: find.source.clone(),
            extract: passage.text,
            artifact: Some(kept.artifact),
            start: Some(passage.start as u64),
            end: Some(passage.end as u64),
        });
        Ok(cited.collect())
    }

    /// The text of an answer, plain: inline, or of the artifact that it names.
    async fn text_of(&self, answer: &Value) -> Result<Option<String>, Fault> {
        if let Some(text) = answer.get("text").and_then(Value::as_str) {
            return Ok(Some(crate::tools::plain(text)));
        }
        let named = answer.get("artifact").filter(|_| is_text(answer));
        let id: Option<ArtifactId> = named.and_then(|named| named.get("artifact")).and_then(Value::as_str).and_then(|id| id.parse().ok());
        let Some(id) = id else { return Ok(None) };
        let (bytes, _) = self.context.artifacts.read(&id, 0, MOST_BYTES).await?;
        Ok(Some(crate::tools::plain(&String::from_utf8_lossy(&bytes))))
    }
}

/// A page that says of itself that it is none, or that it is elsewhere, is not cited.
fn there(answer: Value) -> Result<Value, Fault> {
    let status = answer.get("status").and_then(Value::as_u64).filter(|status| *status >= 300);
    match (status, answer.get("moved_to").and_then(Value::as_str)) {
        (_, Some(place)) => Err(Fault::new(ErrorCode::EgressFailed, format!("the page moved to {place}"))),
        (Some(status), None) => Err(Fault::new(ErrorCode::EgressFailed, format!("it answered {status}"))),
        (None, None) => Ok(answer),
    }
}

fn is_text(answer: &Value) -> bool {
    answer.get("media_type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("text/") || kind == "application/json")
}
