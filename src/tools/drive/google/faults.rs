//! What Google's answers mean when they are no good.
//!
//! INVARIANT: of the service's words only its reason goes on, a word of letters. Every status has a meaning.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;
use serde_json::json;

use crate::domain::{ErrorCode, Fault};
use crate::egress::Answer;

/// A refusal.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    /// Whether the same may be taken later.
    pub(super) passes: bool,
    /// When the service wants to be asked again.
    pub(super) after: Option<Duration>,
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    error: Error,
}

#[derive(Deserialize, Default)]
struct Error {
    #[serde(default)]
    errors: Vec<Detail>,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize, Default)]
struct Detail {
    #[serde(default)]
    reason: String,
}

/// What an answer that is no success means.
pub(super) fn read(answer: &Answer) -> Trouble {
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = body.error.errors.into_iter().next().map_or(body.error.status, |detail| detail.reason);
    let reason = if reason.len() <= 60 && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') { reason } else { String::new() };
    let after = retry_after(answer);
    let fault = meaning(answer.status, &reason);
    let passes = matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) || is_rate(&reason);
    let mut details = json!({ "status": answer.status });
    if let Some(fields) = details.as_object_mut() {
        if !reason.is_empty() {
            fields.insert("reason".to_owned(), json!(reason));
        }
        if let Some(after) = after {
            fields.insert("retry_after_sec".to_owned(), json!(after.as_secs()));
        }
    }
    Trouble { fault: fault.details(details), passes, after }
}

/// Reasons for which the same is taken a moment later.
fn is_rate(reason: &str) -> bool {
    matches!(reason, "userRateLimitExceeded" | "rateLimitExceeded" | "sharingRateLimitExceeded" | "backendError" | "RESOURCE_EXHAUSTED")
}

fn meaning(status: u16, reason: &str) -> Fault {
    let limited =
        |what: &str, hint: &str| Fault::new(ErrorCode::DriveLimited, format!("Google Drive takes no more: {what}")).hint(hint.to_owned());
    let refused =
        |what: &str, hint: &str| Fault::new(ErrorCode::DriveRefused, format!("Google Drive refuses it: {what}")).hint(hint.to_owned());
    match (status, reason) {
        (401, _) => Fault::new(ErrorCode::DriveLoginRequired, "Google Drive does not take the login")
            .hint("the operator runs `toolgate drive login`"),
        (
            403,
            "storageQuotaExceeded" | "teamDriveFileLimitExceeded" | "numChildrenInNonRootLimitExceeded" | "activeItemCreationLimitExceeded",
        ) => limited("it is full", "make room there, or use another drive"),
        (403, "exportSizeLimitExceeded") => Fault::new(ErrorCode::LimitExceeded, "the document is larger than Google Drive exports")
            .hint("Google exports at most 10 MB; take another `format`, or split the document"),
        (403, "dailyLimitExceeded" | "dailyLimitExceededUnreg" | "quotaExceeded") => {
            limited("the program's quota for today is used up", "wait until tomorrow, or the operator raises the quota at Google")
        }
        (403, reason) if is_rate(reason) => limited("it was asked too often", "wait, then make the call again"),
        (429, _) => limited("it was asked too often", "wait, then make the call again"),
        (403, "appNotAuthorizedToFile") => refused(
            "the login does not reach this document",
            "open it with this program, or the operator asks for more by `drive.google_scope`",
        ),
        (403, "insufficientPermissions" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
            refused("the login has no right to do this", "the operator asks for more by `drive.google_scope`, and logs in again")
        }
        (403, "fileNotDownloadable") => refused("this document has no bytes of its own", "take a `format` that it can be exported to"),
        (403, "cannotDownloadAbusiveFile") => refused("it counts as harmful", "look at it in the browser"),
        (403, _) => refused("the account may not do this", "look at who may read or change the document"),
        (404, _) => Fault::new(ErrorCode::NotFound, "Google Drive has no such document, or the login does not reach it")
            .hint("take an id that drive.search gave"),
        (400 | 405 | 409 | 411 | 412 | 416, _) => {
            Fault::new(ErrorCode::DriveUnavailable, format!("Google Drive does not understand the request ({status})"))
                .hint("look at id, folder and query")
        }
        (408 | 500..=599, _) => {
            Fault::new(ErrorCode::DriveUnavailable, format!("Google Drive is out of order ({status})")).hint("try again later")
        }
        (300..=399, _) => Fault::new(ErrorCode::EgressDenied, format!("Google Drive leads elsewhere ({status}), which is not followed"))
            .hint("look at `drive.google_endpoints`"),
        (status, _) => Fault::new(ErrorCode::DriveUnavailable, format!("Google Drive answered {status}")).hint("try again later"),
    }
}

/// Seconds, or a date that is held against the service's own.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let header = |wanted: &str| answer.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.trim());
    let asked = header("retry-after")?;
    if let Ok(seconds) = asked.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<Timestamp> { DateTimeParser::new().parse_timestamp(text).ok() };
    Some(Duration::try_from(date(asked)?.duration_since(date(header("date")?)?)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, reason: &str) -> Answer {
        let body = json!({ "error": { "code": status, "message": "secret words", "errors": [{ "domain": "global", "reason": reason, "message": "secret words" }] } });
        Answer { status, reason: String::new(), headers: Vec::new(), body: body.to_string().into(), url: String::new(), hops: 0 }
    }

    #[test]
    fn every_reason_has_its_code() {
        let table = [
            (401, "authError", ErrorCode::DriveLoginRequired, false),
            (403, "userRateLimitExceeded", ErrorCode::DriveLimited, true),
            (403, "rateLimitExceeded", ErrorCode::DriveLimited, true),
            (403, "dailyLimitExceeded", ErrorCode::DriveLimited, false),
            (403, "storageQuotaExceeded", ErrorCode::DriveLimited, false),
            (403, "exportSizeLimitExceeded", ErrorCode::LimitExceeded, false),
            (403, "appNotAuthorizedToFile", ErrorCode::DriveRefused, false),
            (403, "insufficientFilePermissions", ErrorCode::DriveRefused, false),
            (403, "domainPolicy", ErrorCode::DriveRefused, false),
            (404, "notFound", ErrorCode::NotFound, false),
            (429, "rateLimitExceeded", ErrorCode::DriveLimited, true),
            (500, "backendError", ErrorCode::DriveUnavailable, true),
            (503, "", ErrorCode::DriveUnavailable, true),
            (302, "", ErrorCode::EgressDenied, false),
            (418, "", ErrorCode::DriveUnavailable, false),
        ];
        for (status, reason, code, passes) in table {
            let trouble = read(&answer(status, reason));
            assert_eq!((trouble.fault.code, trouble.passes), (code, passes), "{status} {reason}");
            assert!(!format!("{:?}", trouble.fault).contains("secret words"), "{:?}", trouble.fault);
        }
        let odd = read(&answer(403, "a b\n<script>"));
        assert!(!format!("{:?}", odd.fault).contains("script"));
    }

    #[test]
    fn the_time_it_asks_for_is_heard() {
        let mut limited = answer(429, "rateLimitExceeded");
        limited.headers = vec![("retry-after".into(), "7".into())];
        let trouble = read(&limited);
        assert_eq!((trouble.after, trouble.fault.details.unwrap()["retry_after_sec"].as_u64()), (Some(Duration::from_secs(7)), Some(7)));
        limited.headers =
            vec![("retry-after".into(), "Mon, 30 Nov 2026 10:00:30 GMT".into()), ("date".into(), "Mon, 30 Nov 2026 10:00:00 GMT".into())];
        assert_eq!(read(&limited).after, Some(Duration::from_secs(30)));
    }
}
