//! The one integration binary. `every_test_file_is_named_in_main` keeps it whole.

mod audit;
mod bad_input;
mod clients;
mod crash;
mod layering;
mod main_job;
mod mcp_stdio;
mod omissions;
mod path;
mod schemas;
mod support;
