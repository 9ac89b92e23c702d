//! `artifact.list|read`.
//!
//! INVARIANT: an artifact is read by its whole SHA-256 and by nothing shorter, and only by whoever's run stored it: see
//! [`CallContext::artifacts`].

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::call::Preparation;
use crate::domain::{ArtifactId, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool};

use super::port::RunControl;
use super::types::{ArtifactList, ReadInput, ReadOutput, RunInput};

/// Bytes read where the call does not say.
const DEFAULT_LIMIT: u32 = 8_192;

/// `artifact.list`.
pub struct ArtifactListing(pub Arc<dyn RunControl>);
/// `artifact.read`.
pub struct ArtifactRead;

#[async_trait]
impl Tool for ArtifactListing {
    type Input = RunInput;
    type Output = ArtifactList;

    async fn prepare(&self, _input: &RunInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &RunInput, context: &CallContext) -> Result<ArtifactList, Fault> {
        self.0.artifacts(&context.actor, &input.run_id).await
    }
}

#[async_trait]
impl Tool for ArtifactRead {
    type Input = ReadInput;
    type Output = ReadOutput;

    async fn prepare(&self, _input: &ReadInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &ReadInput, context: &CallContext) -> Result<ReadOutput, Fault> {
        let id: ArtifactId = input.artifact.parse().map_err(|error| Fault::new(ErrorCode::InvalidInput, format!("{error}")))?;
        let limit = u64::from(input.limit.unwrap_or(DEFAULT_LIMIT));
        let (mut bytes, size) = context.artifacts.read(&id, input.offset, limit).await?;
        trim_to_character(&mut bytes);
        let next = input.offset.saturating_add(bytes.len() as u64);
        let next_offset = (next < size && !bytes.is_empty()).then_some(next);
        Ok(match String::from_utf8(bytes) {
            Ok(text) => ReadOutput { text: Some(text), base64: None, size, next_offset },
            Err(error) => ReadOutput { text: None, base64: Some(STANDARD.encode(error.as_bytes())), size, next_offset },
        })
    }
}

/// Takes away a character that the limit cut in two, so that a text stays one; the next part begins with it.
fn trim_to_character(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes) {
        let whole = error.valid_up_to();
        if error.error_len().is_none() && whole > 0 {
            bytes.truncate(whole);
        }
    }
}
