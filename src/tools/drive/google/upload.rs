//! Uploads to Google Drive in parts, that go on after whatever broke them off.
//!
//! INVARIANT: a document's id is fixed and written down before its first byte is sent, so that going on, or beginning anew, never makes two. Where an
//! upload stands is what the drive says, never what we think. It is done when the drive states the sums of these very bytes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::domain::{Digest, ErrorCode, Fault, Millis};
use crate::egress::Answer;
use crate::tools::CallContext;
use crate::tools::drive::{Sending, Sent};

use super::api::{Api, Ask, Caller, JSON};
use super::files::{FIELDS, File, json as read};
use super::query;

/// The longest that one part may take.
const PART: Millis = Millis(300_000);
/// How often in a row a part may come to nothing, and how often an upload is begun.
const MOST_TROUBLE: u32 = 5;
const MOST_BEGINNINGS: u32 = 2;

/// What is kept of an upload until its session ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UnderWay {
    /// The id that the document has, or will have.
    file: String,
    /// Where parts are sent; none once it is done.
    session: Option<Url>,
}

/// How far it is.
enum Stands {
    /// So many bytes are there.
    At(u64),
    Done(Box<File>),
    /// The session is over.
    Gone,
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

/// Uploads that this process sends.
pub(super) type Busy = Arc<Mutex<BTreeSet<String>>>;

/// Names an upload as sent by this process until it is dropped.
struct Turn {
    busy: Busy,
    key: String,
}

impl Turn {
    fn take(busy: &Busy, key: &str) -> Result<Self, Fault> {
        if busy.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
            return Ok(Self { busy: busy.clone(), key: key.to_owned() });
        }
        Err(Fault::new(ErrorCode::RunState, "this very upload is under way").hint("wait for it; `run.watch` shows when it ends"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Api {
    /// Sends a document, or what is left of it.
    pub(super) async fn upload(&self, sending: &Sending, busy: &Busy, context: &CallContext, caller: &Caller<'_>) -> Result<Sent, Fault> {
        let key = self.key(sending, context.actor.principal.as_str());
        let _turn = Turn::take(busy, &key)?;
        let kept: Option<UnderWay> = self.ports.index.upload(&key).await?.and_then(|text| serde_json::from_str(&text).ok());
        let mut resumed_from = 0;
        if let Some(kept) = &kept
            && kept.session.is_none()
            && self.is_there(&kept.file, sending, caller).await?.is_some()
        {
            return Ok(sent(&kept.file, sending, true, 0));
        }
        let mut under_way = kept.filter(|kept| kept.session.as_ref().is_some_and(|session| self.is_ours(session)));
        for beginning in 0..MOST_BEGINNINGS {
            let (session, at) = match under_way.take() {
                Some(UnderWay { session: Some(session), file }) => match self.stands(&session, sending, caller).await? {
                    Stands::At(at) => {
                        resumed_from = at;
                        (UnderWay { session: Some(session), file }, at)
                    }
                    Stands::Done(file) => return self.done(&key, *file, sending, true, 0).await,
                    Stands::Gone => match self.is_there(&file, sending, caller).await? {
                        Some(found) => return self.done(&key, found, sending, true, 0).await,
                        None => (self.begin(&key, sending, caller).await?, 0),
                    },
                },
                Some(_) | None => (self.begin(&key, sending, caller).await?, 0),
            };
            match self.parts(&session, at, sending, context, caller).await? {
                Some(file) => return self.done(&key, file, sending, false, resumed_from).await,
                None if beginning + 1 < MOST_BEGINNINGS => resumed_from = 0,
                None => break,
            }
        }
        Err(Fault::new(ErrorCode::DriveUnavailable, "Google Drive forgot the upload while it was sent").hint("make the call again"))
    }

    /// What names an upload: who, where to, and which bytes.
    fn key(&self, sending: &Sending, principal: &str) -> String {
        let folder = sending.folder.as_deref().unwrap_or_default();
        let parts = [principal, self.settings.client.as_str(), self.settings.places.api.as_str(), folder, &sending.name];
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).chain([sending.sha256.as_bytes().as_slice()]).collect();
        Digest::of_parts("toolgate/drive-upload/v1", &parts).to_string()
    }

    async fn keep(&self, key: &str, under_way: &UnderWay) -> Result<(), Fault> {
        let text = serde_json::to_string(under_way).map_err(|error| Fault::internal(format!("an upload has no JSON form: {error}")))?;
        self.ports.index.keep_upload(key, Some(&text)).await
    }

    /// Fixes the document's id and opens a session for it.
    async fn begin(&self, key: &str, sending: &Sending, caller: &Caller<'_>) -> Result<UnderWay, Fault> {
        let ids =
            self.ask(&Ask::get(self.url(&["drive", "v3", "files", "generateIds"], &[("count", "1"), ("space", "drive")])?), caller).await?;
        let file = read::<Ids>(&ids.body)?.ids.into_iter().next().unwrap_or_default();
        let file =
            query::id(&file).map_err(|_| Fault::new(ErrorCode::EgressFailed, "Google Drive gave no id for the document"))?.to_owned();
        let mut what = json!({ "id": file, "name": sending.name, "mimeType": sending.media_type });
        if let (Some(folder), Some(fields)) = (&sending.folder, what.as_object_mut()) {
            fields.insert("parents".to_owned(), json!([folder]));
        }
        let pairs = [("uploadType", "resumable"), ("supportsAllDrives", "true"), ("fields", FIELDS)];
        let headers = [
            ("content-type", "application/json; charset=UTF-8".to_owned()),
            ("x-upload-content-type", sending.media_type.clone()),
            ("x-upload-content-length", sending.bytes.len().to_string()),
        ];
        let ask = Ask {
            method: "POST",
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: what.to_string().into(),
            ..Ask::get(self.url(&["upload", "drive", "v3", "files"], &pairs)?)
        };
        let answer = self.ask(&ask, caller).await?;
        let place = answer.headers.iter().find(|(name, _)| name == "location").and_then(|(_, place)| Url::parse(place).ok());
        let session = place
            .filter(|place| self.is_ours(place))
            .ok_or_else(|| Fault::new(ErrorCode::EgressFailed, "Google Drive opened an upload and named no place of its own for it"))?;
        let under_way = UnderWay { file, session: Some(session) };
        self.keep(key, &under_way).await?;
        Ok(under_way)
    }

    /// Sends part after part; `None` where the session ended before all was there.
    async fn parts(
        &self,
        under_way: &UnderWay,
        from: u64,
        sending: &Sending,
        context: &CallContext,
        caller: &Caller<'_>,
    ) -> Result<Option<File>, Fault> {
        let Some(session) = &under_way.session else { return Ok(None) };
        let total = sending.bytes.len();
        let mut at = usize::try_from(from).unwrap_or(total).min(total);
        let mut trouble = 0;
        loop {
            context.progress.note("uploading", Some(at as f64), Some(total as f64));
            let end = at.saturating_add(self.settings.chunk).min(total);
            let stands = if at >= total {
                // Nothing is left to send, so it is only asked whether the drive is done.
                self.stands(session, sending, caller).await?
            } else {
                let range = format!("bytes {at}-{}/{total}", end.saturating_sub(1));
                let ask = Ask {
                    method: "PUT",
                    headers: vec![("content-range".to_owned(), range)],
                    body: sending.bytes.slice(at..end),
                    wall: PART,
                    again: false,
                    ..Ask::get(session.clone())
                };
                match self.ask(&ask, caller).await {
                    Ok(answer) => stands(&answer)?,
                    Err(fault) if is_gone(&fault) => Stands::Gone,
                    Err(fault) if may_pass(&fault) && trouble < MOST_TROUBLE => {
                        trouble += 1;
                        self.stands(session, sending, caller).await?
                    }
                    Err(fault) => return Err(fault),
                }
            };
            match stands {
                Stands::Done(file) => return Ok(Some(*file)),
                Stands::Gone => return Ok(None),
                Stands::At(there) => {
                    let there = usize::try_from(there).unwrap_or(usize::MAX);
                    if there > total {
                        return Err(Fault::new(
                            ErrorCode::EgressFailed,
                            "Google Drive says that it has more of the document than there is",
                        ));
                    }
                    trouble = if there > at { 0 } else { trouble + 1 };
                    if trouble > MOST_TROUBLE {
                        return Err(Fault::new(ErrorCode::DriveUnavailable, "Google Drive takes no more of the document")
                            .hint("make the call again; it goes on where it stopped"));
                    }
                    at = there;
                }
            }
        }
    }

    /// How far the drive says that it is.
    async fn stands(&self, session: &Url, sending: &Sending, caller: &Caller<'_>) -> Result<Stands, Fault> {
        let range = format!("bytes */{}", sending.bytes.len());
        let ask = Ask { method: "PUT", headers: vec![("content-range".to_owned(), range)], cap: JSON, ..Ask::get(session.clone()) };
        match self.ask(&ask, caller).await {
            Ok(answer) => stands(&answer),
            Err(fault) if is_gone(&fault) => Ok(Stands::Gone),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the document is there with these bytes.
    async fn is_there(&self, id: &str, sending: &Sending, caller: &Caller<'_>) -> Result<Option<File>, Fault> {
        match self.file(id, caller).await {
            Ok(file) => Ok(Some(file).filter(|file| !file.trashed && file.holds(&sending.bytes))),
            Err(fault) if fault.code == ErrorCode::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn done(&self, key: &str, file: File, sending: &Sending, unchanged: bool, resumed_from: u64) -> Result<Sent, Fault> {
        if !file.holds(&sending.bytes) {
            self.ports.index.keep_upload(key, None).await?;
            return Err(Fault::new(
                ErrorCode::EgressFailed,
                format!("what Google Drive has as `{}` is not what was sent: its length or sum differs", file.id),
            )
            .hint("look at it there, and make the call again"));
        }
        query::id(&file.id)?;
        self.keep(key, &UnderWay { file: file.id.clone(), session: None }).await?;
        Ok(sent(&file.id, sending, unchanged, resumed_from))
    }
}

fn sent(id: &str, sending: &Sending, unchanged: bool, resumed_from: u64) -> Sent {
    Sent { id: id.to_owned(), path: None, title: sending.name.clone(), previous: None, unchanged, resumed_from }
}

/// What an answer to a part says.
fn stands(answer: &Answer) -> Result<Stands, Fault> {
    if answer.status != 308 {
        return Ok(Stands::Done(Box::new(read(&answer.body)?)));
    }
    let Some((_, range)) = answer.headers.iter().find(|(name, _)| name == "range") else { return Ok(Stands::At(0)) };
    let last = range.trim().strip_prefix("bytes=").and_then(|range| range.strip_prefix("0-")).and_then(|last| last.parse::<u64>().ok());
    let last = last.ok_or_else(|| Fault::new(ErrorCode::EgressFailed, "Google Drive did not say how much of the document it has"))?;
    Ok(Stands::At(last.saturating_add(1)))
}

fn is_gone(fault: &Fault) -> bool {
    let status = fault.details.as_ref().and_then(|details| details.get("status")?.as_u64());
    matches!(status, Some(404 | 410))
}

/// Whether the part may have come all the same, or may come the next time.
fn may_pass(fault: &Fault) -> bool {
    matches!(fault.code, ErrorCode::EgressFailed | ErrorCode::DriveUnavailable | ErrorCode::Timeout)
}
