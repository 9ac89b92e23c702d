//! Pieces of an answer that are no structured data: text, pictures, sound, and files in the answer or beside it.
//!
//! INVARIANT: blocks are a member of the answer's own value, so its schema, its limit, the journal and the redactor know them like all
//! the rest of it; a face only shows them in its protocol's place for them. Which member that is stands in the answer's schema
//! under [`BLOCKS`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word in an answer's schema that names the member that holds its blocks.
pub const BLOCKS: &str = "x-toolgate-blocks";

/// One piece, in the form that MCP gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Block {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Its bytes as base64.
        data: String,
        /// Its media type.
        mime_type: String,
    },
    /// Sound.
    Audio {
        /// Its bytes as base64.
        data: String,
        /// Its media type.
        mime_type: String,
    },
    /// A file, whole.
    Resource {
        /// The file.
        resource: Embedded,
    },
    /// A file that can be read where the link says.
    ResourceLink {
        /// Where.
        uri: String,
        /// What it is called.
        name: String,
        /// Its media type, as far as known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// How many bytes, as far as known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
}

/// A file in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Embedded {
    /// Where it is from.
    pub uri: String,
    /// Its media type.
    pub mime_type: String,
    /// What it holds, where that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it holds as base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
}

impl Block {
    /// Text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// A picture.
    #[must_use]
    pub fn image(bytes: &[u8], mime_type: &str) -> Self {
        Self::Image { data: STANDARD.encode(bytes), mime_type: mime_type.to_owned() }
    }

    /// Sound.
    #[must_use]
    pub fn audio(bytes: &[u8], mime_type: &str) -> Self {
        Self::Audio { data: STANDARD.encode(bytes), mime_type: mime_type.to_owned() }
    }

    /// A text file, whole.
    #[must_use]
    pub fn text_file(uri: &str, mime_type: &str, text: impl Into<String>) -> Self {
        let resource = Embedded { uri: uri.to_owned(), mime_type: mime_type.to_owned(), text: Some(text.into()), blob: None };
        Self::Resource { resource }
    }
}
