//! A home with channels, and what came of its messages.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::{Ran, Toolgate};

/// A home with these settings below `[notify.channels]` and around, and secrets in files of their own by name.
pub fn home(settings: &str, secrets: &[(&str, &str)]) -> Toolgate {
    let toolgate = Toolgate::new();
    std::fs::create_dir_all(toolgate.data()).unwrap();
    for (name, value) in secrets {
        let path = toolgate.data().join(name);
        std::fs::write(&path, format!("{value}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
    toolgate
}

/// The call as the operator makes it, with everything in the log.
pub fn send(toolgate: &Toolgate, arguments: &Value) -> Ran {
    let mut command = toolgate.command(&["tools", "call", "notify.send", &arguments.to_string(), "--json"]);
    command.env("TOOLGATE_LOG", "trace");
    Ran::of(command.output().unwrap())
}

/// The output of a call that went well, else all that was told.
pub fn answer(ran: &Ran) -> Value {
    let all: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr));
    all.get("output").cloned().unwrap_or(all)
}

/// What the newest run that is not toolgate's own tells of messages, in order.
pub fn told(toolgate: &Toolgate) -> Vec<Value> {
    let mut all = Vec::new();
    for run in toolgate.json(0, &["runs", "list", "--json"]).as_array().unwrap() {
        let events = toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.extend(events.filter(|event| event["payload"]["event"].as_str().is_some_and(|word| word.starts_with("notify_"))));
    }
    all.sort_by_key(|event| event["index"].as_u64());
    all.into_iter().map(|event| event["payload"].clone()).collect()
}

/// The words of these events.
pub fn words(told: &[Value]) -> Vec<&str> {
    told.iter().map(|payload| payload["event"].as_str().unwrap()).collect()
}
