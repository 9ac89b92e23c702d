//! `toolgate-verify FILE`: checks an evidence bundle without toolgate.

fn main() {}
