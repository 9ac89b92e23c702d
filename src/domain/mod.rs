//! The words every room shares: ids, names, digests, limits, time, principals and error codes.
//!
//! INVARIANT: no I/O, no async, no knowledge of any other room.

pub mod beside;
pub mod budget;
pub mod code;
pub mod digest;
pub mod drive;
pub mod effect;
pub mod fault;
pub mod globs;
pub mod host;
pub mod ids;
pub mod labels;
pub mod limits;
pub mod mail_address;
pub mod meter;
pub mod name;
pub mod nearest;
pub mod principal;
pub mod problem;
pub mod profile;
pub mod public_url;
pub mod scope;
pub mod secret_name;
pub mod shown;
pub mod task_use;
pub mod time;
pub mod twin;
pub mod vault;

pub use beside::beside;
pub use budget::{Allowance, Amounts, Budgets, LimitOf, Overrun, Quantity, day_of, next_day};
pub use code::{ErrorCode, Reader};
pub use digest::Digest;
pub use drive::{DriveChange, DriveFile, DriveHit};
pub use effect::{Effect, Effects};
pub use fault::Fault;
pub use globs::Globs;
pub use ids::{ApprovalId, ArtifactId, CallId, GrantId, MessageId, OwnerId, RunId, SecretId, StepId, TaskId};
pub use labels::{Label, Labels};
pub use limits::{Bytes, Limits, Millis};
pub use mail_address::{MailAddress, Recipients};
pub use meter::{Measured, Meter, NoMeter, SPANS};
pub use name::ToolName;
pub use nearest::nearest;
pub use principal::{Actor, Principal, Role};
pub use problem::{Problem, Problems};
pub use profile::Profile;
pub use public_url::PublicUrl;
pub use scope::{Scope, Scopes};
pub use secret_name::SecretName;
pub use task_use::TaskUse;
pub use time::{Clock, Timestamp};
pub use twin::twin_key;
pub use vault::{KeyRow, SecretRow, VaultWrite};
