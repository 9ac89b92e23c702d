//! The one integration binary. `every_test_file_is_named_here` keeps it whole.

mod clients;
mod layering;
mod mcp_stdio;
mod omissions;
mod path;
mod schemas;
mod support;
