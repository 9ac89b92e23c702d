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
mod clients_agents;
mod clients_fastmcp;
mod clients_inspector;
mod clients_scanner;
mod clients_typescript;
mod code_mode;
mod config_flip;
mod conformance;
mod cpython;
mod crash;
#[cfg(target_os = "linux")]
mod doctor_clients;
mod drive;
mod drive_google;
mod drive_login;
mod drive_objects;
mod drive_upload;
mod egress_bytes;
#[cfg(target_os = "linux")]
mod endings;
mod escape;
mod evidence;
#[cfg(target_os = "linux")]
mod full_disk;
mod http_oidc;
#[cfg(unix)]
mod http_public;
mod http_tokens;
mod install;
mod keeping;
mod keeping_crash;
mod labels;
mod labels_reading;
mod layering;
mod main_job;
mod mcp_stdio;
mod mcp_subscriptions;
mod mcp_tasks;
mod native_eval;
mod native_network;
mod native_service;
#[cfg(unix)]
mod notify_crash;
#[cfg(unix)]
mod notify_http;
#[cfg(unix)]
mod notify_mail;
#[cfg(unix)]
mod notify_others;
#[cfg(unix)]
mod notify_policy;
mod observe;
mod omissions;
mod otlp;
#[cfg(target_os = "linux")]
mod packaging;
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
mod questions_in_clients;
mod quotas;
mod redaction;
mod research;
mod schemas;
mod script_network;
mod support;
mod tenants_http;
mod tenants_walk;
mod threat_model;
mod tool_call;
mod vault;
mod vault_life;
mod web;
mod web_pdf;
mod web_services;
mod wire_bytes;
