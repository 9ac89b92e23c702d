//! The one table of settings: every key with its variable, default and meaning, and the commented file made from it.
//!
//! INVARIANT: a key that is not in [`KEYS`] is an error wherever it stands. Does not parse values.

use std::fmt::Write as _;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path in the file, such as `drive.local_root`.
    pub path: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The option of the command line, where there is one.
    pub option: Option<&'static str>,
    /// The default as it would be written in the file.
    pub default: &'static str,
    /// What it means, one line.
    pub about: &'static str,
}

/// Every setting, grouped by table, keys without a table first.
pub const KEYS: &[Key] = &[
    Key {
        path: "home",
        env: "TOOLGATE_HOME",
        option: Some("--home"),
        default: "(the platform's data folder)/toolgate",
        about: "folder of everything toolgate keeps; only in a file named by --config or TOOLGATE_CONFIG",
    },
    Key {
        path: "log",
        env: "TOOLGATE_LOG",
        option: Some("--log"),
        default: "\"warn\"",
        about: "off, error, warn, info, debug or trace; without it `serve` logs at info, other verbs at warn",
    },
    Key {
        path: "drive.local_root",
        env: "TOOLGATE_DRIVE_LOCAL_ROOT",
        option: None,
        default: "\"drive\"",
        about: "folder behind the `local` drive provider; relative to this file",
    },
    Key {
        path: "drive.providers",
        env: "TOOLGATE_DRIVE_PROVIDERS",
        option: None,
        default: "[\"local\"]",
        about: "the drives there are, the usual one first: local, google, s3, webdav, onedrive, dropbox",
    },
    Key {
        path: "drive.google_client_id",
        env: "TOOLGATE_DRIVE_GOOGLE_CLIENT_ID",
        option: None,
        default: "\"\"",
        about: "client id of your program at Google, kind desktop app; for `drive login --device` kind TV and limited input",
    },
    Key {
        path: "drive.google_client_secret",
        env: "TOOLGATE_DRIVE_GOOGLE_CLIENT_SECRET",
        option: None,
        default: "\"\"",
        about: "the secret that goes with it, in the vault: `secret:NAME`",
    },
    Key {
        path: "drive.google_scope",
        env: "TOOLGATE_DRIVE_GOOGLE_SCOPE",
        option: None,
        default: "\"drive.file\"",
        about: "what `drive login` asks for: drive.file (files made or opened with it), drive.readonly (all, reading), drive (all)",
    },
    Key {
        path: "drive.google_shared",
        env: "TOOLGATE_DRIVE_GOOGLE_SHARED",
        option: None,
        default: "\"no\"",
        about: "shared drives that are searched: no, all, or the id of one",
    },
    Key {
        path: "drive.google_endpoints",
        env: "TOOLGATE_DRIVE_GOOGLE_ENDPOINTS",
        option: None,
        default: "[]",
        about: "places of Google's, if they are others, each `place=URL`: auth, token, device, revoke, api",
    },
    Key {
        path: "drive.google_chunk_bytes",
        env: "TOOLGATE_DRIVE_GOOGLE_CHUNK_BYTES",
        option: None,
        default: "8388608",
        about: "bytes of one part of an upload, a multiple of 262144; an upload that breaks off goes on after the last whole part",
    },
    Key {
        path: "drive.s3",
        env: "TOOLGATE_DRIVE_S3",
        option: None,
        default: "[]",
        about: "`option=value`: bucket, region, access_key_id=secret:NAME, secret_access_key=secret:NAME, session_token=secret:NAME, endpoint, root",
    },
    Key {
        path: "drive.webdav",
        env: "TOOLGATE_DRIVE_WEBDAV",
        option: None,
        default: "[]",
        about: "`option=value`: endpoint, username, password=secret:NAME or token=secret:NAME, root",
    },
    Key {
        path: "drive.onedrive",
        env: "TOOLGATE_DRIVE_ONEDRIVE",
        option: None,
        default: "[]",
        about: "`option=value`: access_token=secret:NAME, or refresh_token=secret:NAME with client_id and client_secret=secret:NAME; root, endpoint",
    },
    Key {
        path: "drive.dropbox",
        env: "TOOLGATE_DRIVE_DROPBOX",
        option: None,
        default: "[]",
        about: "`option=value`: access_token=secret:NAME, or refresh_token=secret:NAME with client_id and client_secret=secret:NAME; root, endpoint",
    },
    Key { path: "git.author_name", env: "TOOLGATE_GIT_AUTHOR_NAME", option: None, default: "\"toolgate\"", about: "name on commits" },
    Key {
        path: "git.author_email",
        env: "TOOLGATE_GIT_AUTHOR_EMAIL",
        option: None,
        default: "\"toolgate@localhost\"",
        about: "address on commits",
    },
    Key {
        path: "python.cache_dir",
        env: "TOOLGATE_PYTHON_CACHE_DIR",
        option: None,
        default: "(the platform's cache folder)/toolgate",
        about: "where the compiled Python runtime is kept; must belong to you alone, as it is code",
    },
    Key {
        path: "egress.proxy",
        env: "TOOLGATE_EGRESS_PROXY",
        option: None,
        default: "\"\"",
        about: "URL of the one proxy for outgoing requests; those of the environment are not looked at",
    },
    Key {
        path: "egress.private",
        env: "TOOLGATE_EGRESS_PRIVATE",
        option: None,
        default: "[]",
        about: "private hosts that may be reached, each `purpose=host:port`, such as \"python=127.0.0.1:8080\"",
    },
    Key {
        path: "egress.extra_roots",
        env: "TOOLGATE_EGRESS_EXTRA_ROOTS",
        option: None,
        default: "\"\"",
        about: "PEM file of root certificates that are trusted besides the platform's",
    },
    Key {
        path: "egress.per_host_per_second",
        env: "TOOLGATE_EGRESS_PER_HOST_PER_SECOND",
        option: None,
        default: "20",
        about: "requests to one host in a second, for all of this server; 0: no bound",
    },
    Key {
        path: "egress.per_host_burst",
        env: "TOOLGATE_EGRESS_PER_HOST_BURST",
        option: None,
        default: "60",
        about: "requests to one host at once, after a rest",
    },
    Key {
        path: "sandbox.cgroup",
        env: "TOOLGATE_SANDBOX_CGROUP",
        option: None,
        default: "\"\"",
        about: "control group folder (second hierarchy) delegated to toolgate, in which native programs get their memory limit",
    },
    Key {
        path: "sandbox.require_cgroup",
        env: "TOOLGATE_SANDBOX_REQUIRE_CGROUP",
        option: None,
        default: "\"no\"",
        about: "yes: no native program runs without a control group; no: the launcher's own watch bounds memory where there is none",
    },
    Key {
        path: "sandbox.jobs_at_once",
        env: "TOOLGATE_SANDBOX_JOBS_AT_ONCE",
        option: None,
        default: "8",
        about: "native programs at the same time; more wait",
    },
    Key {
        path: "approvals.wait_sec",
        env: "TOOLGATE_APPROVALS_WAIT_SEC",
        option: None,
        default: "45",
        about: "seconds a call waits for a human before it answers APPROVAL_REQUIRED; at most 45",
    },
    Key {
        path: "approvals.expire_sec",
        env: "TOOLGATE_APPROVALS_EXPIRE_SEC",
        option: None,
        default: "900",
        about: "seconds a question to a human, and its answer, stay good",
    },
    Key {
        path: "approvals.pending_per_run",
        env: "TOOLGATE_APPROVALS_PENDING_PER_RUN",
        option: None,
        default: "10",
        about: "questions of one run that wait at the same time; one more, and the run asks nothing until you release it",
    },
    Key {
        path: "approvals.per_minute",
        env: "TOOLGATE_APPROVALS_PER_MINUTE",
        option: None,
        default: "20",
        about: "questions of one principal within a minute; one more, and its run asks nothing until you release it",
    },
    Key {
        path: "approvals.longest_grant_sec",
        env: "TOOLGATE_APPROVALS_LONGEST_GRANT_SEC",
        option: None,
        default: "28800",
        about: "the longest that something may be allowed for at once, in seconds",
    },
    Key {
        path: "approvals.elicitation",
        env: "TOOLGATE_APPROVALS_ELICITATION",
        option: None,
        default: "\"off\"",
        about: "off, or trusted-clients: questions of `approvals.trusted_principals` may be answered in their clients; no proof of a human",
    },
    Key {
        path: "approvals.trusted_principals",
        env: "TOOLGATE_APPROVALS_TRUSTED_PRINCIPALS",
        option: None,
        default: "[]",
        about: "principals whose client shows the question to a human you trust, such as \"local\"",
    },
    Key {
        path: "approvals.webhook",
        env: "TOOLGATE_APPROVALS_WEBHOOK",
        option: None,
        default: "\"\"",
        about: "URL that hears of every question; nothing can be answered by it. A private address also needs `approvals=host:port` in egress.private",
    },
    Key {
        path: "approvals.webhook_secret",
        env: "TOOLGATE_APPROVALS_WEBHOOK_SECRET",
        option: None,
        default: "\"\"",
        about: "file that holds the secret with which the webhook's requests are signed",
    },
    Key {
        path: "policy.profile",
        env: "TOOLGATE_POLICY_PROFILE",
        option: None,
        default: "\"default\"",
        about: "the shipped rules: default, read-only, locked-down, team, or none; files in the home's policies folder add to them",
    },
    Key {
        path: "labels.private_paths",
        env: "TOOLGATE_LABELS_PRIVATE_PATHS",
        option: None,
        default: "[]",
        about: "files of workspaces and drive that mark a run as private when they are read, such as \"secrets/**\" or \"*.key\"",
    },
    Key {
        path: "audit.checkpoint_events",
        env: "TOOLGATE_AUDIT_CHECKPOINT_EVENTS",
        option: None,
        default: "1000",
        about: "a checkpoint of the log is signed at the latest after so many records; one is at the end of every run",
    },
    Key {
        path: "audit.checkpoint_seconds",
        env: "TOOLGATE_AUDIT_CHECKPOINT_SECONDS",
        option: None,
        default: "60",
        about: "and at the latest so many seconds after a record",
    },
    Key {
        path: "audit.key_file",
        env: "TOOLGATE_AUDIT_KEY_FILE",
        option: None,
        default: "\"\"",
        about: "the key that signs checkpoints, where it is not audit/key in the home; yours alone",
    },
    Key {
        path: "audit.witness",
        env: "TOOLGATE_AUDIT_WITNESS",
        option: None,
        default: "\"\"",
        about: "a folder outside the home, best on another machine, that gets every checkpoint; of this home alone",
    },
    Key {
        path: "audit.witness_required",
        env: "TOOLGATE_AUDIT_WITNESS_REQUIRED",
        option: None,
        default: "\"no\"",
        about: "yes: no call runs while the witness cannot be reached; no: that is only told",
    },
    Key {
        path: "budgets.run.calls",
        env: "TOOLGATE_BUDGETS_RUN_CALLS",
        option: None,
        default: "0",
        about: "tool calls of a run whose workflow does not say, and of the run of direct calls; 0: no limit, for workflows 1000",
    },
    Key {
        path: "budgets.run.tokens",
        env: "TOOLGATE_BUDGETS_RUN_TOKENS",
        option: None,
        default: "0",
        about: "tokens that agents may report for such a run; 0: no limit",
    },
    Key {
        path: "budgets.run.wall_sec",
        env: "TOOLGATE_BUDGETS_RUN_WALL_SEC",
        option: None,
        default: "0",
        about: "seconds that a run of a workflow which does not say may take, waiting for humans left out; 0: no limit",
    },
    Key {
        path: "budgets.run.bytes_out",
        env: "TOOLGATE_BUDGETS_RUN_BYTES_OUT",
        option: None,
        default: "0",
        about: "bytes that may leave for such a run; 0: no limit",
    },
    Key {
        path: "budgets.principal.steps",
        env: "TOOLGATE_BUDGETS_PRINCIPAL_STEPS",
        option: None,
        default: "0",
        about: "steps that the runs of one principal may begin in a day (UTC); 0: no limit",
    },
    Key {
        path: "budgets.principal.calls",
        env: "TOOLGATE_BUDGETS_PRINCIPAL_CALLS",
        option: None,
        default: "0",
        about: "tool calls of one principal in a day; 0: no limit",
    },
    Key {
        path: "budgets.principal.tokens",
        env: "TOOLGATE_BUDGETS_PRINCIPAL_TOKENS",
        option: None,
        default: "0",
        about: "tokens that one principal may report in a day; 0: no limit",
    },
    Key {
        path: "budgets.principal.wall_sec",
        env: "TOOLGATE_BUDGETS_PRINCIPAL_WALL_SEC",
        option: None,
        default: "0",
        about: "seconds that the calls of one principal may take together in a day; 0: no limit",
    },
    Key {
        path: "budgets.principal.bytes_out",
        env: "TOOLGATE_BUDGETS_PRINCIPAL_BYTES_OUT",
        option: None,
        default: "0",
        about: "bytes that may leave for one principal in a day; 0: no limit",
    },
    Key {
        path: "budgets.principals",
        env: "TOOLGATE_BUDGETS_PRINCIPALS",
        option: None,
        default: "[]",
        about: "limits of single principals for a day, each like \"NAME calls=100 tokens=50000\", above `budgets.principal`",
    },
    Key {
        path: "storage.max_bytes",
        env: "TOOLGATE_STORAGE_MAX_BYTES",
        option: None,
        default: "0",
        about: "bytes the whole home may take before new calls are refused; 0 is no limit",
    },
    Key {
        path: "storage.run_max_bytes",
        env: "TOOLGATE_STORAGE_RUN_MAX_BYTES",
        option: None,
        default: "0",
        about: "bytes a run's workspace may take before its calls are refused; 0 is no limit",
    },
    Key {
        path: "storage.min_free_bytes",
        env: "TOOLGATE_STORAGE_MIN_FREE_BYTES",
        option: None,
        default: "67108864",
        about: "bytes that must be free on the home's disk for new calls",
    },
    Key {
        path: "limits.inline_output_bytes",
        env: "TOOLGATE_LIMITS_INLINE_OUTPUT_BYTES",
        option: None,
        default: "16384",
        about: "bytes of an output that are shown; the whole is kept as an artifact",
    },
    Key {
        path: "redaction.patterns",
        env: "TOOLGATE_REDACTION_PATTERNS",
        option: None,
        default: "\"tokens\"",
        about: "what is taken out of records and answers besides values of known secrets: tokens (vendors' shapes), all (also guesses) or off",
    },
    Key {
        path: "redaction.pii",
        env: "TOOLGATE_REDACTION_PII",
        option: None,
        default: "[]",
        about: "personal data that is taken out as well, best effort: email, phone, card, iban",
    },
    Key {
        path: "redaction.fields",
        env: "TOOLGATE_REDACTION_FIELDS",
        option: None,
        default: "[\"default\"]",
        about: "names of fields whose texts are taken out as well; default stands for password, authorization, api_key and their like",
    },
    Key {
        path: "serve.tool_names",
        env: "TOOLGATE_SERVE_TOOL_NAMES",
        option: Some("--tool-names"),
        default: "\"underscore\"",
        about: "underscore (repo_git_commit) or dotted (repo.git.commit)",
    },
    Key {
        path: "serve.answer_sec",
        env: "TOOLGATE_SERVE_ANSWER_SEC",
        option: None,
        default: "45",
        about: "seconds after which a client's call of a tool that can take long is answered with a handle and goes on; 1 to 45",
    },
    Key {
        path: "serve.toolsets",
        env: "TOOLGATE_SERVE_TOOLSETS",
        option: Some("--toolsets"),
        default: "[\"default\"]",
        about: "which toolsets clients see listed; in the variable separated by commas",
    },
    Key {
        path: "http.public_url",
        env: "TOOLGATE_HTTP_PUBLIC_URL",
        option: None,
        default: "\"\"",
        about: "URL by which clients reach `serve --http`, such as \"https://tools.example.com\"; needed where other machines reach it",
    },
    Key {
        path: "http.behind_proxy",
        env: "TOOLGATE_HTTP_BEHIND_PROXY",
        option: None,
        default: "\"no\"",
        about: "yes: a proxy in front speaks TLS, and nobody else can reach the port",
    },
    Key {
        path: "http.tls_cert",
        env: "TOOLGATE_HTTP_TLS_CERT",
        option: None,
        default: "\"\"",
        about: "PEM file of the server's certificate and those above it; read again when it changes",
    },
    Key {
        path: "http.tls_key",
        env: "TOOLGATE_HTTP_TLS_KEY",
        option: None,
        default: "\"\"",
        about: "PEM file of that certificate's private key; not for everybody to read",
    },
    Key {
        path: "http.rate",
        env: "TOOLGATE_HTTP_RATE",
        option: None,
        default: "1000",
        about: "requests a second of one principal over HTTP, in the long run; 0: no limit",
    },
    Key {
        path: "http.burst",
        env: "TOOLGATE_HTTP_BURST",
        option: None,
        default: "2000",
        about: "requests of one principal at one go, before the rate counts",
    },
    Key {
        path: "http.concurrent",
        env: "TOOLGATE_HTTP_CONCURRENT",
        option: None,
        default: "256",
        about: "requests of one principal that are worked on at the same time; 0: no limit but its share of the server",
    },
    Key {
        path: "http.streams",
        env: "TOOLGATE_HTTP_STREAMS",
        option: None,
        default: "64",
        about: "streams of one principal that are open at the same time (notices, subscriptions); 0: no limit but its share",
    },
    Key {
        path: "oidc.issuer",
        env: "TOOLGATE_OIDC_ISSUER",
        option: None,
        default: "\"\"",
        about: "sign-in service whose access tokens are taken, such as \"https://login.example.com\"",
    },
    Key {
        path: "oidc.audience",
        env: "TOOLGATE_OIDC_AUDIENCE",
        option: None,
        default: "\"\"",
        about: "for whom its tokens must be made; without this the public URL and `/mcp`",
    },
    Key {
        path: "oidc.scopes",
        env: "TOOLGATE_OIDC_SCOPES",
        option: None,
        default: "[]",
        about: "words in its tokens that stand for scopes, each `theirs=ours`, such as \"mcp.read=tools:read\"",
    },
    Key {
        path: "telemetry.otlp.endpoint",
        env: "TOOLGATE_TELEMETRY_OTLP_ENDPOINT",
        option: None,
        default: "\"\"",
        about: "address of a collector for traces and figures (OTLP over HTTP); a private one also needs `telemetry=host:port` in egress.private",
    },
    Key {
        path: "telemetry.otlp.authorization_file",
        env: "TOOLGATE_TELEMETRY_OTLP_AUTHORIZATION_FILE",
        option: None,
        default: "\"\"",
        about: "file with the value of the header Authorization for the collector, such as `Bearer …`",
    },
    Key {
        path: "telemetry.otlp.sample_percent",
        env: "TOOLGATE_TELEMETRY_OTLP_SAMPLE_PERCENT",
        option: None,
        default: "100",
        about: "how many of the traces that begin here are recorded; whether a client's is, the client says",
    },
    Key {
        path: "vault.key",
        env: "TOOLGATE_VAULT_KEY_PLACE",
        option: None,
        default: "\"auto\"",
        about: "where the vault's master key lies: keyring, file, or auto (the file if there is one, else the keyring, else a new file)",
    },
    Key {
        path: "vault.key_file",
        env: "TOOLGATE_VAULT_KEY_FILE",
        option: None,
        default: "\"\"",
        about: "file of the vault's master key, if not vault/key in the home; for its owner alone",
    },
    Key {
        path: "notify.default",
        env: "TOOLGATE_NOTIFY_DEFAULT",
        option: None,
        default: "[]",
        about: "channels of messages that name none; without any, those of this machine. A channel stands under [notify.channels.NAME]",
    },
    Key {
        path: "notify.attempts",
        env: "TOOLGATE_NOTIFY_ATTEMPTS",
        option: None,
        default: "10",
        about: "how often a message is tried before it is given up",
    },
    Key {
        path: "notify.wait_sec",
        env: "TOOLGATE_NOTIFY_WAIT_SEC",
        option: None,
        default: "5",
        about: "seconds a call waits to hear that its message was taken; 0 to 8",
    },
    Key {
        path: "web.providers",
        env: "TOOLGATE_WEB_PROVIDERS",
        option: None,
        default: "[\"duckduckgo\", \"wikipedia\"]",
        about: "search services in the order in which they are asked: brave, tavily, searxng, google, duckduckgo, wikipedia",
    },
    Key {
        path: "web.keys",
        env: "TOOLGATE_WEB_KEYS",
        option: None,
        default: "[]",
        about: "their keys in the vault, each `service=secret:NAME`, such as \"brave=secret:BRAVE_KEY\"",
    },
    Key {
        path: "web.endpoints",
        env: "TOOLGATE_WEB_ENDPOINTS",
        option: None,
        default: "[]",
        about: "where a service is, if not where it usually is: `service=URL`; searxng has no usual place",
    },
    Key {
        path: "web.google_engine",
        env: "TOOLGATE_WEB_GOOGLE_ENGINE",
        option: None,
        default: "\"\"",
        about: "id of the search engine (cx) that google searches with",
    },
    Key {
        path: "web.daily",
        env: "TOOLGATE_WEB_DAILY",
        option: None,
        default: "[]",
        about: "requests to one service in a day (UTC) of this home, each `service=NUMBER`",
    },
    Key {
        path: "web.robots",
        env: "TOOLGATE_WEB_ROBOTS",
        option: None,
        default: "\"heed\"",
        about: "heed: web.fetch does not fetch what a site's robots file closes; ignore: it does not ask",
    },
    Key {
        path: "web.cache_bytes",
        env: "TOOLGATE_WEB_CACHE_BYTES",
        option: None,
        default: "67108864",
        about: "bytes of fetched pages that are kept, for as long as their servers allow; 0 keeps none",
    },
    Key {
        path: "web.timeout_sec",
        env: "TOOLGATE_WEB_TIMEOUT_SEC",
        option: None,
        default: "25",
        about: "seconds that one service, or a page with its robots file and redirects, may take; 1 to 60",
    },
];

/// The key of a dotted path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// A settings file that says nothing: every key with its default, commented out.
#[must_use]
pub fn template() -> String {
    let mut text = String::from(
        "# Settings of toolgate. An option of the command line stands above an environment variable,\n\
         # a variable above this file, and this file above the default.\n\
         # `toolgate config show` says where each value comes from; an unknown key is an error.\n",
    );
    let mut table = "";
    for key in KEYS.iter().filter(|key| key.path != "home") {
        let name = match key.path.rsplit_once('.') {
            Some((group, name)) => {
                if group != table {
                    table = group;
                    let _ = write!(text, "\n[{group}]\n");
                }
                name
            }
            None => {
                text.push('\n');
                key.path
            }
        };
        // A default in parentheses depends on the machine, so there is no text that could be uncommented as it is.
        let default = if key.default.starts_with('(') { "\"/some/folder\"" } else { key.default };
        let _ = writeln!(text, "# {}; {}\n# {name} = {default}", key.about, key.env);
    }
    text
}
