//! `config`: every setting with its place.

use serde_json::{Value, json};

use crate::config::{Config, KEYS, Source};

use super::args;
use super::exit::{Ending, Exit};
use super::output::Table;
use super::start::Desk;
use super::text::printable;

pub(super) fn run(args: &args::Config, desk: &Desk, config: &Config) -> Ending {
    match args {
        args::Config::Show { json } if json.json => {
            let values: serde_json::Map<String, Value> = settings(config)
                .into_iter()
                .map(|(key, value, source)| (key, json!({ "value": value, "source": source.to_string() })))
                .collect();
            desk.console.json(&json!({ "file": config.file, "settings": values }))?;
        }
        args::Config::Show { .. } => {
            let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
            for (key, value, source) in settings(config) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                table.row([key.as_str(), &text, &source.to_string()]);
            }
            desk.console.table(&table)?;
        }
        // Settings that are wrong have not come this far.
        args::Config::Check { json } if json.json => {
            desk.console.json(&json!({ "ok": true, "file": config.file, "notes": config.notes }))?
        }
        args::Config::Check { .. } => match &config.file {
            Some(file) => desk.console.line(&format!("{} is right", printable(&file.display().to_string())))?,
            None => {
                let home = config.home.value.display().to_string();
                desk.console.line(&format!("there is no settings file in {}; options and environment are right", printable(&home)))?;
            }
        },
    }
    Ok(Exit::Ok)
}

/// Every setting in the table's order, as it would be written.
fn settings(config: &Config) -> Vec<(String, Value, &Source)> {
    let row = |key: &'static str| {
        let (value, source) = match key {
            "home" => (json!(config.home.value.display().to_string()), &config.home.source),
            "log" => (json!(config.log.value.map_or("warn (serve: info)", |level| level.as_str())), &config.log.source),
            "drive.local_root" => (json!(config.drive_local_root.value.display().to_string()), &config.drive_local_root.source),
            "git.author_name" => (json!(config.git_author_name.value), &config.git_author_name.source),
            "git.author_email" => (json!(config.git_author_email.value), &config.git_author_email.source),
            "python.cache_dir" => (json!(config.python_cache_dir.value.display().to_string()), &config.python_cache_dir.source),
            "egress.proxy" => (json!(config.egress_proxy.value.as_deref().unwrap_or("")), &config.egress_proxy.source),
            "egress.private" => (json!(config.egress_private.value), &config.egress_private.source),
            "egress.extra_roots" => {
                let path = config.egress_extra_roots.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.egress_extra_roots.source)
            }
            "telemetry.otlp.endpoint" => (json!(config.otlp_endpoint.value.as_deref().unwrap_or_default()), &config.otlp_endpoint.source),
            "telemetry.otlp.authorization_file" => {
                let path = config.otlp_authorization_file.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.otlp_authorization_file.source)
            }
            "telemetry.otlp.sample_percent" => (json!(config.otlp_sample_percent.value), &config.otlp_sample_percent.source),
            "vault.key" => (json!(config.vault_key.value.as_str()), &config.vault_key.source),
            "vault.key_file" => {
                let path = config.vault_key_file.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.vault_key_file.source)
            }
            "sandbox.cgroup" => {
                let path = config.sandbox_cgroup.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.sandbox_cgroup.source)
            }
            "sandbox.require_cgroup" => {
                (json!(if config.sandbox_require_cgroup.value { "yes" } else { "no" }), &config.sandbox_require_cgroup.source)
            }
            "sandbox.jobs_at_once" => (json!(config.sandbox_jobs_at_once.value), &config.sandbox_jobs_at_once.source),
            "approvals.wait_sec" => (json!(config.approvals_wait.value.0 / 1000), &config.approvals_wait.source),
            "approvals.expire_sec" => (json!(config.approvals_expire.value.0 / 1000), &config.approvals_expire.source),
            "approvals.pending_per_run" => (json!(config.approvals_limits.0.value), &config.approvals_limits.0.source),
            "approvals.per_minute" => (json!(config.approvals_limits.1.value), &config.approvals_limits.1.source),
            "approvals.longest_grant_sec" => (json!(config.approvals_longest_grant.value.0 / 1000), &config.approvals_longest_grant.source),
            "approvals.elicitation" => {
                (json!(if config.approvals_elicitation.value { "trusted-clients" } else { "off" }), &config.approvals_elicitation.source)
            }
            "approvals.trusted_principals" => (json!(config.approvals_trusted.value), &config.approvals_trusted.source),
            "approvals.webhook" => (json!(config.approvals_webhook.value.as_deref().unwrap_or("")), &config.approvals_webhook.source),
            "approvals.webhook_secret" => {
                let path = config.approvals_webhook_secret.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.approvals_webhook_secret.source)
            }
            "policy.profile" => (json!(config.policy_profile.value.as_str()), &config.policy_profile.source),
            "labels.private_paths" => (json!(config.private_paths.value.patterns()), &config.private_paths.source),
            "audit.checkpoint_events" => (json!(config.audit_checkpoint_events.value), &config.audit_checkpoint_events.source),
            "audit.checkpoint_seconds" => (json!(config.audit_checkpoint_every.value.0 / 1000), &config.audit_checkpoint_every.source),
            "audit.key_file" => {
                let path = config.audit_key_file.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.audit_key_file.source)
            }
            "audit.witness" => {
                let path = config.audit_witness.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                (json!(path), &config.audit_witness.source)
            }
            "audit.witness_required" => {
                (json!(if config.audit_witness_required.value { "yes" } else { "no" }), &config.audit_witness_required.source)
            }
            "storage.max_bytes" => (json!(config.storage_max.value), &config.storage_max.source),
            "storage.run_max_bytes" => (json!(config.storage_run_max.value), &config.storage_run_max.source),
            "storage.min_free_bytes" => (json!(config.storage_min_free.value), &config.storage_min_free.source),
            "limits.inline_output_bytes" => (json!(config.inline_output.value), &config.inline_output.source),
            "redaction.patterns" => (json!(config.redaction_patterns.value), &config.redaction_patterns.source),
            "redaction.fields" => (json!(config.redaction_fields.value), &config.redaction_fields.source),
            "redaction.pii" => (json!(config.redaction_pii.value), &config.redaction_pii.source),
            "serve.tool_names" => (json!(config.tool_names.value), &config.tool_names.source),
            "serve.toolsets" => (json!(config.toolsets.value), &config.toolsets.source),
            _ => config
                .budgets
                .shown(key)
                .or_else(|| config.http.shown(key))
                .or_else(|| config.serving.shown(key))
                .or_else(|| config.web.shown(key))
                .or_else(|| config.notify.shown(key))
                .or_else(|| config.drive.shown(key))?,
        };
        Some((key.to_owned(), value, source))
    };
    KEYS.iter().filter_map(|key| row(key.path)).chain(config.notify.rows()).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Ambient, KEYS, Options, Platform, resolve};

    #[test]
    fn every_key_is_shown() {
        let platform = Platform { data_dir: Some("/d".into()), ..Platform::default() };
        let config = resolve(&Options::default(), &Ambient { platform, ..Ambient::default() }, None).unwrap();
        let shown: Vec<String> = super::settings(&config).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(shown, KEYS.iter().map(|key| key.path).collect::<Vec<_>>());
    }
}
