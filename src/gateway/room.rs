//! A call that may not begin for want of room on the disk.

use serde_json::Value;

use crate::domain::Fault;
use crate::store::NoRoom;

use super::Inner;
use super::journal::Identity;

impl Inner {
    /// Records the refusal where there is room for that, without the arguments, and gives the reason back. Where there is none the
    /// server's own log tells of it: what is left is for the outcomes of calls that have begun.
    pub(super) async fn refuse_for_room(&self, who: &Identity, none: NoRoom) -> Fault {
        let NoRoom { fault, may_record } = none;
        tracing::warn!(name: "refused_for_room", "refused for want of room: {}", fault.message);
        if may_record {
            // Whether that could be written or not: the call is refused for the same reason.
            let _answer = self.refuse(who, "storage", fault.clone(), Value::Null).await;
        }
        fault
    }
}
