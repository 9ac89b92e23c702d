//! The one integration binary. `every_test_file_is_named_here` keeps it whole.

mod layering;
mod omissions;
mod path;
mod schemas;
mod support;
