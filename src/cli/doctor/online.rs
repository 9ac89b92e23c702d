//! The outside world, tried for good: a search with each configured service, and one page, by the calls that `tools call` makes.
//!
//! INVARIANT: nothing here has a way of its own to the network; policy decides on these calls and the log holds them, as any other.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::NoProgress;
use crate::config::Config;
use crate::domain::Fault;

use super::super::ports::{CallAsk, Check, Door, House};

/// What is looked for.
const WORDS: &str = "rust async runtime";
/// A page that is there for tries.
const PAGE: &str = "https://example.com/";

pub(super) async fn checks(config: &Config, door: &dyn Door) -> Vec<Check> {
    let house = match door.open(config).await {
        Ok(house) => house,
        // What keeps the home shut is told by its own check.
        Err(fault) => return vec![bad("web.search", &fault)],
    };
    let mut checks = Vec::new();
    for provider in &config.web.providers.value {
        let name = format!("web.search ({provider})");
        let asked = json!({ "query": WORDS, "provider": provider });
        checks.push(match call(&house, "web.search", asked).await {
            Ok(found) => {
                let count = found.get("results").and_then(Value::as_array).map_or(0, Vec::len);
                Check {
                    ok: count > 0,
                    mend: (count == 0).then(|| "see whether another service finds more".to_owned()),
                    ..good(&name, format!("{count} results"))
                }
            }
            Err(fault) => bad(&name, &fault),
        });
    }
    checks.push(match call(&house, "web.fetch", json!({ "url": PAGE })).await {
        Ok(page) => {
            let of = |name: &str| page.get(name).cloned().unwrap_or_default();
            good("web.fetch", format!("{} answered {}", of("url").as_str().unwrap_or(PAGE), of("status")))
        }
        Err(fault) => bad("web.fetch", &fault),
    });
    house.close().await;
    checks
}

async fn call(house: &Arc<dyn House>, tool: &str, arguments: Value) -> Result<Value, Fault> {
    let ask = CallAsk { tool: tool.to_owned(), arguments, progress: Arc::new(NoProgress), cancel: CancellationToken::new() };
    house.call(ask).await?.outcome.map(|output| output.value)
}

fn good(name: &str, detail: String) -> Check {
    Check { name: name.to_owned(), ok: true, detail, mend: None }
}

fn bad(name: &str, fault: &Fault) -> Check {
    let mend =
        fault.hint.clone().unwrap_or_else(|| "see whether this machine has a network, and a proxy is set where one is needed".to_owned());
    Check { name: name.to_owned(), ok: false, detail: format!("{}: {}", fault.code, fault.message), mend: Some(mend) }
}
