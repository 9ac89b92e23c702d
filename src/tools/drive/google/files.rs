//! Documents of Google Drive: lists, what one is, its bytes or what it is exported to.
//!
//! INVARIANT: a document's bytes are held against length and sum that the drive states; what differs is not given on. A name is data.

use md5::{Digest as _, Md5};
use serde::Deserialize;

use crate::domain::{Bytes, Digest, ErrorCode, Fault, Millis};
use crate::tools::drive::search::words;
use crate::tools::drive::{Document, Find, Finds, MOST_BYTES, Query, Wanted, media};
use crate::tools::plain;

use super::api::{Api, Ask, Caller};
use super::{Shared, query};

/// What Google says of a document that we look at.
pub(super) const FIELDS: &str =
    "id,name,mimeType,size,md5Checksum,sha256Checksum,modifiedTime,description,trashed,shortcutDetails(targetId,targetMimeType)";
/// Pages of one search: some come empty and say that there are more.
const MOST_PAGES: usize = 20;
/// The most that Google exports.
const MOST_EXPORT: Bytes = Bytes(10 << 20);
/// The longest that one download may take.
const LONG: Millis = Millis(280_000);
/// What Google calls its own kinds.
const OWN: &str = "application/vnd.google-apps.";

/// A document as Google describes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) mime_type: String,
    size: Option<String>,
    md5_checksum: Option<String>,
    sha256_checksum: Option<String>,
    modified_time: Option<String>,
    description: Option<String>,
    pub(super) trashed: bool,
    shortcut_details: Option<Shortcut>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shortcut {
    target_id: String,
    target_mime_type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    next_page_token: Option<String>,
    incomplete_search: bool,
    files: Vec<File>,
}

impl File {
    fn size(&self) -> Option<u64> {
        self.size.as_deref().and_then(|size| size.parse().ok())
    }

    /// Whether these bytes are what Google says it has; where it says neither sum, the length alone.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        let length = self.size().is_none_or(|size| size == bytes.len() as u64);
        let sha = self.sha256_checksum.as_ref().is_none_or(|sum| sum.eq_ignore_ascii_case(&Digest::of(bytes).to_string()));
        let md5 = self.md5_checksum.as_ref().is_none_or(|sum| sum.eq_ignore_ascii_case(&hex(&Md5::digest(bytes))));
        length && sha && md5
    }

    fn find(self) -> Option<Find> {
        query::id(&self.id).ok()?;
        let snippet =
            self.description.as_deref().map(|text| plain(text).split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default();
        Some(Find {
            size: self.size(),
            media_type: media::clean(&self.mime_type),
            modified: self.modified_time.filter(|time| time.parse::<jiff::Timestamp>().is_ok()),
            id: self.id,
            path: None,
            title: self.name,
            score: None,
            snippet: snippet.chars().take(400).collect(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The JSON of a good answer.
pub(super) fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| {
        Fault::new(ErrorCode::EgressFailed, format!("Google Drive answered with something that is not its JSON (line {})", error.line()))
    })
}

impl Api {
    /// The documents that hold the words, page after page.
    pub(super) async fn search(&self, wanted: &Query, caller: &Caller<'_>) -> Result<Finds, Fault> {
        let folder = wanted.folder.as_deref().map(query::id).transpose()?;
        let asked = query::documents(&words(&wanted.words)?, folder);
        let (fields, mut token) = (format!("nextPageToken,incompleteSearch,files({FIELDS})"), None::<String>);
        let mut found = Finds { finds: Vec::new(), complete: true };
        for _ in 0..MOST_PAGES {
            let size = wanted.limit.saturating_sub(found.finds.len()).clamp(1, 100).to_string();
            let mut pairs =
                vec![("q", asked.as_str()), ("pageSize", &size), ("fields", &fields), ("spaces", "drive"), ("supportsAllDrives", "true")];
            match &self.settings.shared {
                Shared::No => pairs.push(("corpora", "user")),
                Shared::All => pairs.extend([("corpora", "allDrives"), ("includeItemsFromAllDrives", "true")]),
                Shared::One(id) => pairs.extend([("corpora", "drive"), ("driveId", id.as_str()), ("includeItemsFromAllDrives", "true")]),
            }
            pairs.extend(token.as_deref().map(|token| ("pageToken", token)));
            let answer = self.ask(&Ask::get(self.url(&["drive", "v3", "files"], &pairs)?), caller).await?;
            let page: Page = json(&answer.body)?;
            found.complete &= !page.incomplete_search;
            let room = wanted.limit.saturating_sub(found.finds.len());
            found.finds.extend(page.files.into_iter().filter_map(File::find).take(room));
            match page.next_page_token.filter(|token| !token.is_empty()) {
                Some(next) if found.finds.len() < wanted.limit && token.as_ref() != Some(&next) => token = Some(next),
                _ => return Ok(found),
            }
        }
        Ok(Finds { complete: false, ..found })
    }

    /// What a document is.
    pub(super) async fn file(&self, id: &str, caller: &Caller<'_>) -> Result<File, Fault> {
        let url = self.url(&["drive", "v3", "files", query::id(id)?], &[("fields", FIELDS), ("supportsAllDrives", "true")])?;
        let file: File = json(&self.ask(&Ask::get(url), caller).await?.body)?;
        // What was asked for is what is gone on with, whatever it says of itself.
        Ok(File { id: id.to_owned(), ..file })
    }

    /// A document's bytes, or what it is exported to.
    pub(super) async fn fetch(&self, id: &str, wanted: Option<Wanted>, caller: &Caller<'_>) -> Result<Document, Fault> {
        let mut file = self.file(id, caller).await?;
        if let Some(shortcut) = file.shortcut_details.take().filter(|_| file.mime_type == format!("{OWN}shortcut")) {
            file = self.file(&shortcut.target_id, caller).await?;
        }
        if file.mime_type.starts_with(OWN) { self.export(file, wanted, caller).await } else { self.download(file, wanted, caller).await }
    }

    async fn download(&self, file: File, wanted: Option<Wanted>, caller: &Caller<'_>) -> Result<Document, Fault> {
        if wanted.is_some() {
            return Err(Fault::new(ErrorCode::InvalidInput, "this document has one form").hint("leave `format` out"));
        }
        if let Some(size) = file.size().filter(|size| *size > MOST_BYTES.0) {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("the document has {size} bytes, {} can be read at once", MOST_BYTES.0),
            ));
        }
        let url = self.url(&["drive", "v3", "files", query::id(&file.id)?], &[("alt", "media"), ("supportsAllDrives", "true")])?;
        let answer = self.ask(&Ask { cap: MOST_BYTES, wall: LONG, ..Ask::get(url) }, caller).await?;
        if !file.holds(&answer.body) {
            return Err(Fault::new(
                ErrorCode::EgressFailed,
                "what came is not the document: its length or sum is not what Google Drive states",
            )
            .hint("make the call again; it may have been changed meanwhile"));
        }
        let media_type = media::clean(&file.mime_type).filter(|kind| kind != "application/octet-stream");
        Ok(Document { path: None, title: file.name, bytes: answer.body.to_vec(), media_type, exported_from: None })
    }

    async fn export(&self, file: File, wanted: Option<Wanted>, caller: &Caller<'_>) -> Result<Document, Fault> {
        let form = form(&file.mime_type, wanted)?;
        let url = self.url(&["drive", "v3", "files", query::id(&file.id)?, "export"], &[("mimeType", form)])?;
        let ask = Ask { cap: MOST_EXPORT, wall: LONG, ..Ask::get(url) };
        let answer = self.ask(&ask, caller).await.map_err(|fault| {
            let is_large = fault.code == ErrorCode::LimitExceeded;
            if is_large { fault.hint("Google exports at most 10 MB; take another `format`, or split the document") } else { fault }
        })?;
        Ok(Document {
            path: None,
            title: file.name,
            bytes: answer.body.to_vec(),
            media_type: Some(form.to_owned()),
            exported_from: media::clean(&file.mime_type),
        })
    }
}

/// What one of Google's own kinds is exported to.
fn form(kind: &str, wanted: Option<Wanted>) -> Result<&'static str, Fault> {
    let own = kind.strip_prefix(OWN).unwrap_or_default();
    let cannot = |has: &str| {
        Err(Fault::new(ErrorCode::InvalidInput, format!("a Google {} has no such form", crate::confine::shown(own)))
            .hint(format!("take {has}, or leave `format` out")))
    };
    match (own, wanted) {
        ("document" | "spreadsheet" | "presentation" | "drawing", Some(Wanted::Pdf)) => Ok("application/pdf"),
        ("document", None | Some(Wanted::Markdown)) => Ok("text/markdown"),
        ("document" | "presentation", Some(Wanted::Text)) | ("presentation", None) => Ok("text/plain"),
        ("spreadsheet", None | Some(Wanted::Csv)) => Ok("text/csv"),
        ("drawing", None) => Ok("image/svg+xml"),
        ("script", None) => Ok("application/vnd.google-apps.script+json"),
        ("document", Some(Wanted::Csv)) => cannot("markdown, text or pdf"),
        ("spreadsheet", Some(Wanted::Markdown | Wanted::Text)) => cannot("csv or pdf"),
        ("presentation", Some(Wanted::Markdown | Wanted::Csv)) => cannot("text or pdf"),
        ("folder", _) => Err(Fault::new(ErrorCode::InvalidInput, "this is a folder").hint("give its id as `folder` to drive.search")),
        _ => Err(Fault::new(ErrorCode::DriveRefused, format!("a Google {} cannot be exported", crate::confine::shown(own)))
            .hint("open it in the browser")),
    }
}
