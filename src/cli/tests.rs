//! Transcripts of every verb against a house made of fakes.

mod fake;
mod follow_tests;
mod help_tests;
mod verb_tests;
