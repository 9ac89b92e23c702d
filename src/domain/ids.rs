//! Identifiers as types, so that one cannot stand where another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digest, Timestamp};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}")]
pub struct IdError {
    text: String,
    kind: &'static str,
}

macro_rules! uuid_id {
    ($(#[doc = $doc:literal])+ $name:ident, $prefix:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// When it was minted, as it says itself.
            #[must_use]
            pub fn minted(&self) -> Timestamp {
                let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
                Timestamp::from_unix_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
            }

            /// A fresh id: a version 7 UUID, ordered by `now`, with 74 random bits.
            #[must_use]
            pub fn mint(now: Timestamp) -> Self {
                let mut random = [0_u8; 10];
                rand::fill(&mut random);
                Self(uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == 32 && !rest.bytes().any(|b| b.is_ascii_uppercase()))
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| IdError { text: text.chars().take(80).collect(), kind: concat!("an id of the form `", $prefix, "_…`") })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// One run: a workflow's, or the ad-hoc run of a principal's direct calls.
    RunId, "run"
}
uuid_id! {
    /// One tool invocation.
    CallId, "call"
}
uuid_id! {
    /// One question to a human.
    ApprovalId, "apr"
}
uuid_id! {
    /// One secret of the vault, through all its versions.
    SecretId, "sec"
}
uuid_id! {
    /// An operator's leave that stands for a while.
    GrantId, "grt"
}
uuid_id! {
    /// One call or run whose answer comes later.
    TaskId, "task"
}
uuid_id! {
    /// One message on its way out, through all attempts to send it: whoever gets it twice knows it by this.
    MessageId, "msg"
}
uuid_id! {
    /// One toolgate process: the owner of the calls it has in flight and of the runs it drives.
    OwnerId, "own"
}

/// A step's name inside its workflow: lower case letters, digits, `_` and `-`, at most 64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// The step's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StepId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let legal = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError {
                text: text.chars().take(80).collect(),
                kind: "a step id (a lower case letter, then letters, digits, `_` or `-`, at most 64)",
            })
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Stored bytes, named by their SHA-256: 64 lower case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArtifactId(Digest);

impl ArtifactId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// The id made of a digest that was computed while the bytes streamed by.
    #[must_use]
    pub fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest itself.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ArtifactId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError { text: text.chars().take(80).collect(), kind: "an artifact (64 hexadecimal digits)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_not_as_another_kind() {
        let run = RunId::mint(Timestamp::from_unix_millis(1_700_000_000_000));
        assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
        assert!(run.to_string().parse::<CallId>().is_err());
        assert!("run_XYZ".parse::<RunId>().is_err());
        assert!(run.to_string().to_uppercase().replace("RUN", "run").parse::<RunId>().is_err());
    }

    #[test]
    fn ids_minted_later_sort_later() {
        let early = RunId::mint(Timestamp::from_unix_millis(1_000));
        let late = RunId::mint(Timestamp::from_unix_millis(2_000));
        assert!(early.to_string() < late.to_string());
        assert_eq!((early.minted(), late.minted()), (Timestamp::from_unix_millis(1_000), Timestamp::from_unix_millis(2_000)));
    }

    #[test]
    fn step_ids_are_plain_words() {
        assert!("eval_2".parse::<StepId>().is_ok());
        for bad in ["", "2x", "a b", "a.b", "../x", "Eval"] {
            assert!(bad.parse::<StepId>().is_err(), "{bad}");
        }
    }
}
