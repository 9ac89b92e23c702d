//! What works on this machine: each failure with its mend.

use std::time::Duration;

use crate::cli::ports::Check;
use crate::config::Config;
use crate::domain::{Clock as _, Fault, Timestamp};
use crate::secrets::redact::Redactor;
use crate::secrets::vault::Lies;

use super::{App, SystemClock};

/// Compiling the Python runtime the first time takes seconds; longer than this and something is wrong.
const RUNTIME: Duration = Duration::from_secs(120);

/// Looks at home, files, database, log and Python runtime.
pub(super) async fn checks(config: &Config, redactor: &Redactor) -> Vec<Check> {
    let home = &config.home.value;
    let mut checks = vec![good("settings", format!("home {}, from {}", home.display(), config.home.source))];
    let app = match App::open(config, redactor).await {
        Ok(app) => app,
        Err(fault) => {
            checks.push(bad("home", &fault, "mend what is named, then look again"));
            return checks;
        }
    };
    let registry = app.gateway.registry();
    checks.push(good("tools", format!("{} tools", registry.len())));
    checks.push(good("policy", format!("{} rules, digest {}", app.gateway.policy().len(), app.gateway.policy().digest().short())));
    checks.push(good("workflows", format!("{} workflows", app.workflows.iter().count())));
    checks.push(match app.store.verify().await {
        Ok(report) => match report.bad {
            None => {
                let signed = report.proven.map(|proven| format!(", {} of them signed by the key {}", proven.size, proven.key));
                good("log", format!("{} records verify{}", report.events, signed.unwrap_or_default()))
            }
            Some(broken) => Check {
                name: "log".into(),
                ok: false,
                detail: format!("record {} does not verify: {}", broken.index, broken.why),
                mend: Some("keep a copy of the database; `toolgate audit verify` tells more".into()),
            },
        },
        Err(fault) => bad("log", &fault, "see whether the disk is full and the home is writable"),
    });
    checks.push(disk(&app, config).await);
    checks.push(vault(&app).await);
    checks.extend(channels(&app).await);
    checks.push(python(&app, config).await);
    checks.extend(native(&app).await);
    app.close().await;
    checks
}

/// How full the home's disk is, and how much the home takes of it.
async fn disk(app: &App, config: &Config) -> Check {
    let usage = match app.store.usage().await {
        Ok(usage) => usage,
        Err(fault) => return bad("disk", &fault, "see that the home is on a local disk"),
    };
    let (least, most) = (config.storage_min_free.value.0, config.storage_max.value.0);
    let mib = |bytes: u64| bytes >> 20;
    let detail = format!("{} MiB free, the home takes {} MiB", mib(usage.free), mib(usage.home));
    let is_full = usage.free < least || (most > 0 && usage.home >= most);
    let mend = is_full.then(|| "calls are refused: `toolgate runs archive --older-than 90d`, then `toolgate storage collect`".to_owned());
    Check { name: "disk".into(), ok: !is_full, detail, mend }
}

/// Where the vault's key lies and how old it is, and whether it opens every secret.
async fn vault(app: &App) -> Check {
    let health = match app.vault.health().await {
        Ok(health) => health,
        Err(fault) => return bad("vault", &fault, "no secret can be used until this is mended"),
    };
    let key = match &health.lies {
        None => return good("vault", "empty; the first `toolgate vault set` makes its key".to_owned()),
        Some(lies @ Lies::InKeyring) => format!("key in {lies}"),
        Some(lies @ Lies::InFile(_)) => format!("key in {lies}, which its owner alone can read"),
    };
    let days = |since: Timestamp| SystemClock.now().unix_millis().saturating_sub(since.unix_millis()) / 86_400_000;
    let age = health.keyed.map(|since| format!(", made {} days ago", days(since))).unwrap_or_default();
    let mend = health.unfinished.then(|| "`toolgate vault rotate` goes on with it".to_owned());
    let rest = if health.unfinished { "; its rotation was broken off" } else { "" };
    Check { name: "vault".into(), ok: !health.unfinished, detail: format!("{} secrets open; {key}{age}{rest}", health.secrets), mend }
}

/// Each channel by which messages leave, whether its secret can be had, and how many messages wait. Nothing is sent.
async fn channels(app: &App) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (channel, fit) in app.post.check().await {
        checks.push(match fit {
            Ok(()) => good("channel", channel),
            Err(fault) => Check {
                detail: format!("{channel}: {}: {}", fault.code, fault.message),
                ..bad("channel", &fault, "see `notify.channels` in the settings")
            },
        });
    }
    match app.store.outbox_depth().await {
        Ok(0) => {}
        Ok(waiting) => checks.push(good("outbox", format!("{waiting} messages wait to be sent; a server that runs sends them"))),
        Err(fault) => checks.push(bad("outbox", &fault, "see whether the disk is full and the home is writable")),
    }
    checks
}

async fn python(app: &App, config: &Config) -> Check {
    app.sandbox.warm();
    let ready = tokio::time::timeout(RUNTIME, async {
        loop {
            match app.sandbox.readiness() {
                Some(ready) => return ready,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let cache = config.python_cache_dir.value.display();
    match ready.await {
        Ok(Ok(())) => good("python (wasm)", format!("ready; compiled code in {cache}")),
        Ok(Err(fault)) => bad("python (wasm)", &fault, "see that the cache folder is yours alone and writable"),
        Err(_) => Check {
            name: "python (wasm)".into(),
            ok: false,
            detail: format!("not ready after {} s", RUNTIME.as_secs()),
            mend: Some("look at the load of the machine and try again".into()),
        },
    }
}

/// The process sandbox, layer by layer, and the Python in it. Without it everything else works, so its lack is told, with its mend.
async fn native(app: &App) -> Vec<Check> {
    let layers = match app.process.ready().await {
        Ok(layers) => good("native programs", layers.join(", ")),
        Err(fault) => bad("native programs", &fault, "the runtime `wasm` needs none of these layers"),
    };
    let python = match app.process.interpreter() {
        Ok(python) => good("python (process)", python.exe.display().to_string()),
        Err(fault) => bad("python (process)", &fault, "install Python 3.10 or newer"),
    };
    vec![layers, python]
}

fn good(name: &str, detail: String) -> Check {
    Check { name: name.into(), ok: true, detail, mend: None }
}

fn bad(name: &str, fault: &Fault, mend: &str) -> Check {
    Check {
        name: name.into(),
        ok: false,
        detail: format!("{}: {}", fault.code, fault.message),
        mend: Some(fault.hint.clone().unwrap_or_else(|| mend.to_owned())),
    }
}
