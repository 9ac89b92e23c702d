//! Tests of the room. Those in `installers` use the machine's own `uv` and `pip`; the others need neither them nor a network.

mod cache;
mod installers;
pub(super) mod making;
mod native;
mod requirement;
mod room;
mod text;
mod wheel;
