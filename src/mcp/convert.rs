//! From the words of this house to those of the protocol: replies and faults.
//!
//! INVARIANT: how much of a fault a client learns is settled in one match here, over every reader there is. A fault of a tool is an
//! answer with `isError`, never a protocol error, so that the model reads it and can mend its call.

use std::borrow::Cow;

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode as RpcCode, MetaObject, Resource};
use serde_json::{Map, Value, json};

use crate::call::{ArtifactRef, CheckedOutput, Reply};
use crate::domain::{ErrorCode, Fault, Reader};

use super::catalog::Entry;
use super::cut::{self, Shown};

/// So much of an address is told back.
const LONGEST_URI: usize = 2_000;

/// A reply as the answer to `tools/call`.
pub(super) fn call_result(reply: Reply, entry: &Entry) -> CallToolResult {
    let reference = reply.call.to_string();
    let mut meta = Map::new();
    meta.insert("toolgate/call".to_owned(), reference.clone().into());
    meta.insert("toolgate/run".to_owned(), reply.run.to_string().into());
    let mut result = match reply.outcome {
        Ok(output) => success(output, entry, &reference),
        Err(fault) => failure(&fault, &reference),
    };
    result.meta = Some(MetaObject::from(meta));
    result
}

fn success(output: CheckedOutput, entry: &Entry, reference: &str) -> CallToolResult {
    let CheckedOutput { mut value, artifact } = output;
    let blocks = match entry.blocks.as_ref().map(|member| take_blocks(&mut value, member)).transpose() {
        Ok(blocks) => blocks.unwrap_or_default(),
        Err(fault) => return failure(&fault, reference),
    };
    if !blocks.is_empty() && value.as_object().is_some_and(Map::is_empty) {
        return CallToolResult::success(blocks);
    }
    let value = match cut::fit(value, artifact.as_ref(), entry.may_mark) {
        Shown::Whole(value) | Shown::Cut(value) => value,
        Shown::TooLarge { bytes } => return too_large(bytes, artifact.as_ref(), reference),
    };
    // Older clients take nothing but an object as structured content.
    let mut result = if value.is_object() {
        CallToolResult::structured(value)
    } else {
        CallToolResult::success(vec![ContentBlock::text(value.to_string())])
    };
    result.content.extend(blocks);
    result.content.extend(artifact.as_ref().map(link));
    result
}

/// Takes the blocks out of an answer. They are not cut: a part of a picture is none, and their size is bounded by the tool's limit.
fn take_blocks(value: &mut Value, member: &str) -> Result<Vec<ContentBlock>, Fault> {
    let Some(blocks) = value.as_object_mut().and_then(|members| members.shift_remove(member)) else { return Ok(Vec::new()) };
    serde_json::from_value(blocks).map_err(|error| Fault::internal(format!("`{member}` of an answer holds no blocks: {error}")))
}

fn too_large(bytes: usize, artifact: Option<&ArtifactRef>, reference: &str) -> CallToolResult {
    let fault = Fault::new(ErrorCode::LimitExceeded, format!("the answer has {bytes} bytes, more than the {} that are shown", cut::SHOWN));
    let fault = match artifact {
        Some(artifact) => fault
            .hint("the call was done; read its answer in pages with `artifact.read`")
            .details(json!({ "artifact": artifact.artifact, "bytes": bytes })),
        None => fault.hint("the call was done; ask for less at a time"),
    };
    let mut result = failure(&fault, reference);
    result.content.extend(artifact.map(link));
    result
}

fn link(artifact: &ArtifactRef) -> ContentBlock {
    let uri = format!("artifact://{}", artifact.artifact);
    ContentBlock::resource_link(Resource::new(uri, "whole answer").with_mime_type(artifact.media_type.clone()).with_size(artifact.size))
}

/// A fault as the answer to `tools/call`: data for programs, a text for models. `reference` is where the operator finds it.
pub(super) fn failure(fault: &Fault, reference: &str) -> CallToolResult {
    let shown = for_client(fault, reference);
    let value = match cut::fit(json!({ "error": shown.to_json() }), None, false) {
        Shown::Whole(value) | Shown::Cut(value) => value,
        Shown::TooLarge { .. } => json!({ "error": Fault { details: None, ..shown.clone() }.to_json() }),
    };
    let part = |name: &str| value.get("error").and_then(|error| error.get(name)).and_then(Value::as_str);
    let mut text = format!("{}: {}", shown.code, part("message").unwrap_or_default());
    if let Some(hint) = part("hint") {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    let mut result = CallToolResult::structured_error(value);
    result.content = vec![ContentBlock::text(text)];
    result
}

/// A fault as a protocol error, where an answer has no place for it: reading a resource, calling what does not exist.
pub(super) fn protocol_error(fault: &Fault, reference: &str) -> ErrorData {
    let shown = for_client(fault, reference);
    let message: Cow<'static, str> = match &shown.hint {
        Some(hint) => format!("{}: {} (hint: {hint})", shown.code, shown.message).into(),
        None => format!("{}: {}", shown.code, shown.message).into(),
    };
    let data = Some(shown.to_json());
    if is_absence(shown.code) {
        return ErrorData::resource_not_found(message, data);
    }
    let code = match shown.code.reader() {
        Reader::Model => RpcCode::INVALID_PARAMS,
        Reader::Policy => RpcCode::INVALID_REQUEST,
        Reader::Internal => RpcCode::INTERNAL_ERROR,
    };
    ErrorData::new(code, message, data)
}

/// The error that names the resource it is about, as the protocol wants it in its data.
pub(super) fn about(error: ErrorData, uri: &str) -> ErrorData {
    let mut error = error;
    let data = error.data.get_or_insert_with(|| json!({}));
    if let Some(members) = data.as_object_mut() {
        members.insert("uri".to_owned(), uri.chars().take(LONGEST_URI).collect::<String>().into());
    }
    error
}

/// The protocol's own error for a call that had to ask its client what it cannot answer; clients of the older generation have none.
pub(super) fn lacking(passed: &Result<Reply, Fault>, is_modern: bool) -> Option<ErrorData> {
    let reply = passed.as_ref().ok().filter(|_| is_modern)?;
    let fault = reply.outcome.as_ref().err().filter(|fault| fault.code == ErrorCode::ClientCapability)?;
    let required = fault.details.as_ref()?.get("requiredCapabilities")?;
    let data = json!({ "requiredCapabilities": required, "code": fault.code.as_str() });
    Some(ErrorData::new(RpcCode::MISSING_REQUIRED_CLIENT_CAPABILITY, format!("{}: {}", fault.code, fault.message), Some(data)))
}

fn is_absence(code: ErrorCode) -> bool {
    [ErrorCode::UnknownRun, ErrorCode::UnknownArtifact, ErrorCode::NotFound].contains(&code)
}

/// What of a fault leaves the process.
fn for_client(fault: &Fault, reference: &str) -> Fault {
    match fault.code.reader() {
        Reader::Model | Reader::Policy => fault.for_agent(reference),
        Reader::Internal => {
            tracing::error!(reference, code = %fault.code, "a call failed by a fault of toolgate's own: {}", fault.message);
            fault.for_agent(reference)
        }
    }
}
