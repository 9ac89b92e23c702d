//! The one integration binary. `every_test_file_is_named_in_main` keeps it whole.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should fall over, and say where"
)]

mod approvals;
mod approvals_bound;
mod approvals_in_clients;
mod approvals_life;
mod approvals_points;
mod approvals_walk;
mod approvals_webhook;
mod audit;
mod audit_attacks;
mod audit_keys;
mod bad_input;
mod both_runtimes;
mod budgets;
mod clients;
mod code_mode;
mod config_flip;
mod cpython;
mod crash;
mod escape;
mod evidence;
#[cfg(target_os = "linux")]
mod full_disk;
mod install;
mod keeping;
mod keeping_crash;
mod labels;
mod labels_reading;
mod layering;
mod main_job;
mod mcp_stdio;
mod native_eval;
mod native_network;
mod native_service;
mod omissions;
mod path;
mod policy_docs;
mod policy_matrix;
#[cfg(target_os = "linux")]
mod policy_verbs;
mod process_layers;
#[cfg(target_os = "linux")]
mod process_probes;
mod python_http;
mod python_packages;
mod quotas;
mod redaction;
mod schemas;
mod support;
mod threat_model;
mod vault;
mod vault_life;
mod web;
