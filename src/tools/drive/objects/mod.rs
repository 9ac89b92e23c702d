//! The providers `s3`, `webdav`, `onedrive` and `dropbox`, by `opendal`.
//!
//! INVARIANT: a path that a service names is data: one that cannot be a path of ours is left out and counted as not looked at. A document that is
//! replaced is kept under [`VERSIONS`] first, as in the local drive.

mod build;
mod settings;
mod transport;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use opendal::{EntryMode, ErrorKind, Metadata, Operator};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::confine::RelPath;
use crate::domain::{Digest, ErrorCode, Fault};
use crate::egress::HostRules;
use crate::tools::CallContext;

use super::local::VERSIONS;
use super::search::words;
use super::{Document, DrivePorts, Find, Finds, Kept, MOST_BYTES, Provider, Query, Sending, Sent, Wanted};

use transport::{Granted, Noted, Renewal, Transport};

pub use settings::{Service, StoreSettings};

/// Entries that a search looks at.
const MOST_ENTRIES: usize = 20_000;

/// A service that keeps objects under paths.
pub struct Objects {
    settings: StoreSettings,
    ports: DrivePorts,
    granted: Mutex<Option<Granted>>,
}

/// The service during one call.
struct Open {
    operator: Operator,
    noted: Arc<Mutex<Noted>>,
}

impl Objects {
    /// By these settings. Nothing is asked yet.
    #[must_use]
    pub fn new(settings: StoreSettings, ports: DrivePorts) -> Self {
        Self { settings, ports, granted: Mutex::default() }
    }

    async fn open(&self, tool: &str, context: &CallContext) -> Result<Open, Fault> {
        let noted = Arc::<Mutex<Noted>>::default();
        let renewal = build::login(&self.settings)?;
        let granted =
            self.granted.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|granted| granted.until > self.ports.clock.now());
        let transport = Transport {
            egress: self.ports.egress.clone(),
            rules: HostRules::parse(self.settings.hosts()?)?,
            places: self.settings.places()?,
            signs_query: self.settings.service == Service::S3,
            renewal: renewal.map(|(place, login)| Renewal { place, login, keys: self.ports.keys.clone(), clock: self.ports.clock.clone() }),
            cancel: context.cancel.clone(),
            log: self.ports.http_events.of(context),
            noted: noted.clone(),
        };
        let operator = build::operator(&self.settings, &self.ports, tool, granted.as_ref(), transport).await?;
        Ok(Open { operator, noted })
    }

    /// Keeps what the service granted, and says what a failure means.
    fn ended<T>(&self, open: &Open, done: opendal::Result<T>) -> Result<T, Fault> {
        let mut noted = open.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(granted) = noted.granted.take() {
            *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = Some(granted);
        }
        done.map_err(|error| {
            if noted.status == Some(401) {
                *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.meaning(&error, &mut noted)
        })
    }

    fn meaning(&self, error: &opendal::Error, noted: &mut Noted) -> Fault {
        if let Some(fault) = noted.fault.take() {
            return fault;
        }
        let name = self.settings.service.as_str();
        let fault = |code, what: &str, hint: &str| Fault::new(code, format!("`{name}` {what}")).hint(hint.to_owned());
        match (noted.status, error.kind()) {
            (Some(401), _) => {
                fault(ErrorCode::DriveLoginRequired, "does not take the keys", "the operator sets them anew with `toolgate vault set`")
            }
            (Some(429), _) | (_, ErrorKind::RateLimited) => {
                let limited = fault(ErrorCode::DriveLimited, "was asked too often", "wait, then make the call again");
                limited.details(json!({ "status": noted.status, "retry_after_sec": noted.retry_after }))
            }
            (Some(507 | 413), _) => fault(
                ErrorCode::DriveLimited,
                "takes no more: it is full, or the document is too large for it",
                "make room there, or use another drive",
            ),
            (_, ErrorKind::NotFound) => fault(ErrorCode::NotFound, "has no such document", "take an id that drive.search gave"),
            (Some(403), _) | (_, ErrorKind::PermissionDenied) => {
                fault(ErrorCode::DriveRefused, "refuses it: the keys may not do this", "look at what the keys are allowed there")
            }
            (_, ErrorKind::IsADirectory | ErrorKind::NotADirectory) => {
                fault(ErrorCode::PathRefused, "has a folder where a document is named", "name a document")
            }
            (_, ErrorKind::ConfigInvalid) => settings::wrong(self.settings.service, "the service cannot be used like this"),
            (Some(status), _) => fault(ErrorCode::DriveUnavailable, &format!("answered {status}"), "try again later"),
            (None, kind) => fault(
                ErrorCode::DriveUnavailable,
                &format!("gave no answer that can be used ({kind})"),
                "look at its settings, and try again later",
            ),
        }
    }

    /// The bytes that stand there.
    async fn current(&self, open: &Open, path: &RelPath) -> Result<Option<Vec<u8>>, Fault> {
        let there = match open.operator.stat(path.as_str()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // That nothing is there is no trouble.
                let mut noted = open.noted.lock().unwrap_or_else(PoisonError::into_inner);
                (noted.fault, noted.status, noted.retry_after) = (None, None, None);
                return Ok(None);
            }
            told => self.ended(open, told)?,
        };
        if there.mode() == EntryMode::DIR {
            return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` is a folder")));
        }
        if there.content_length() > MOST_BYTES.0 {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("the document has {} bytes, {} can be read at once", there.content_length(), MOST_BYTES.0),
            ));
        }
        let bytes = self.ended(open, open.operator.read(path.as_str()).await)?;
        if there.content_length() != bytes.len() as u64 {
            return Err(Fault::new(ErrorCode::EgressFailed, "what came is not the document: its length is not what the drive states")
                .hint("make the call again"));
        }
        Ok(Some(bytes.to_vec()))
    }
}

/// The find, where its path holds all the words.
fn fits(path: RelPath, about: &Metadata, words: &[String]) -> Option<Find> {
    let (lower, name) = (path.as_str().to_lowercase(), path.name().to_lowercase());
    if !words.iter().all(|word| lower.contains(word.as_str())) {
        return None;
    }
    let score = words.iter().map(|word| if name.contains(word.as_str()) { 10.0 } else { 3.0 }).sum();
    Some(Find {
        id: path.as_str().to_owned(),
        title: path.name().to_owned(),
        path: Some(path),
        size: Some(about.content_length()),
        media_type: None,
        modified: about.last_modified().map(|time| time.to_string()),
        score: Some(score),
        snippet: String::new(),
    })
}

/// A path that calls may name.
fn place(text: &str) -> Result<RelPath, Fault> {
    RelPath::parse(text)
}

#[async_trait]
impl Provider for Objects {
    fn name(&self) -> &'static str {
        self.settings.service.as_str()
    }

    fn hosts(&self) -> Vec<String> {
        self.settings.hosts().unwrap_or_default()
    }

    async fn search(&self, query: &Query, context: &CallContext) -> Result<Finds, Fault> {
        let words: Vec<String> = words(&query.words)?.iter().map(|word| word.to_lowercase()).collect();
        let under = query.folder.as_deref().map(place).transpose()?;
        let open = self.open("drive.search", context).await?;
        let deadline = Instant::now() + context.limits.wall.duration() / 2;
        // Dropbox's entries are told by their names alone, so its folders are walked one by one.
        let by_folder = self.settings.service == Service::Dropbox;
        let mut folders = vec![under.as_ref().map_or_else(String::new, |folder| format!("{folder}/"))];
        let mut found = Finds { finds: Vec::new(), complete: true };
        let mut left = MOST_ENTRIES;
        'all: while let Some(folder) = folders.pop() {
            let mut listed = self.ended(&open, open.operator.lister_with(&folder).recursive(!by_folder).await)?;
            while let Some(entry) = self.ended(&open, listed.try_next().await)? {
                if left == 0 || Instant::now() > deadline {
                    found.complete = false;
                    break 'all;
                }
                left -= 1;
                let (name, about) = entry.into_parts();
                let name = if by_folder { format!("{folder}{name}") } else { name };
                let is_folder = about.mode() == EntryMode::DIR || name.ends_with('/');
                if is_folder && (name == folder || name.is_empty() || name == "/") {
                    continue;
                }
                match RelPath::parse(name.trim_end_matches('/')) {
                    Err(_) => found.complete = false,
                    Ok(path) if path.parts().next() == Some(VERSIONS) => {}
                    Ok(path) if is_folder && by_folder => folders.push(format!("{path}/")),
                    Ok(_) if is_folder => {}
                    Ok(path) => found.finds.extend(fits(path, &about, &words)),
                }
            }
        }
        found.finds.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.id.cmp(&b.id)));
        found.finds.truncate(query.limit);
        Ok(found)
    }

    async fn fetch(&self, id: &str, wanted: Option<Wanted>, context: &CallContext) -> Result<Document, Fault> {
        let path = place(id)?;
        if wanted.is_some() {
            return Err(Fault::new(ErrorCode::InvalidInput, "a document of this drive has one form").hint("leave `format` out"));
        }
        let open = self.open("drive.get", context).await?;
        let bytes = self.current(&open, &path).await?;
        let bytes = bytes.ok_or_else(|| {
            Fault::new(ErrorCode::NotFound, format!("`{}` has no document `{path}`", self.name())).hint("take an id that drive.search gave")
        })?;
        Ok(Document { title: path.name().to_owned(), path: Some(path), bytes, media_type: None, exported_from: None })
    }

    async fn target(&self, name: &str, folder: Option<&str>) -> Result<Value, Fault> {
        if folder.is_some() {
            return Err(Fault::new(ErrorCode::InvalidInput, "this drive has paths, not ids of folders").hint("put the folder into `name`"));
        }
        let path = place(name)?;
        if path.parts().next() == Some(VERSIONS) {
            return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies among the earlier versions, which are only read")));
        }
        Ok(json!({ "path": path }))
    }

    async fn send(&self, sending: Sending, context: &CallContext) -> Result<Sent, Fault> {
        let path = place(&sending.name)?;
        let open = self.open("drive.upload", context).await?;
        let mut sent = Sent {
            id: path.as_str().to_owned(),
            title: path.name().to_owned(),
            path: Some(path.clone()),
            previous: None,
            unchanged: false,
            resumed_from: 0,
        };
        match self.current(&open, &path).await? {
            Some(old) if Digest::of(&old) == sending.sha256 => return Ok(Sent { unchanged: true, ..sent }),
            Some(old) => {
                let (sha256, size) = (Digest::of(&old), old.len() as u64);
                let stamp = self.ports.clock.now().to_string().replace([':', '-'], "");
                let kept = place(&format!("{VERSIONS}/{path}/{stamp}-{}", sha256.short()))?;
                self.ended(&open, open.operator.write(kept.as_str(), old).await)?;
                sent.previous = Some(Kept { id: kept.as_str().to_owned(), size, sha256 });
            }
            None => {}
        }
        self.ended(&open, open.operator.write(path.as_str(), sending.bytes).await)?;
        Ok(sent)
    }
}
