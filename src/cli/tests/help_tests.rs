//! The help of every verb, so that a change or an omission is seen.

use clap::CommandFactory as _;

use super::fake::Scene;
use crate::cli::{Exit, Invocation};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/tests/help.txt");

fn pages(command: &mut clap::Command, path: &str, text: &mut String) {
    text.push_str(&format!("==== {path} ====\n{}\n", command.render_help()));
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).filter(|name| name != "help").collect();
    for name in names {
        pages(command.find_subcommand_mut(&name).unwrap(), &format!("{path} {name}"), text);
    }
}

#[test]
fn the_help_of_every_verb_is_as_written_down() {
    let mut text = String::new();
    let mut command = Invocation::command();
    command.build();
    pages(&mut command, "toolgate", &mut text);
    // The version changes with every release.
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    if golden != text {
        std::fs::write(format!("{GOLDEN}.new"), &text).unwrap();
    }
    assert!(golden == text, "the help changed: see `src/cli/tests/help.txt.new`, and rename it if that is meant");
}

#[test]
fn every_verb_of_the_specification_is_there() {
    let command = Invocation::command();
    let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(
        verbs,
        [
            "init",
            "install",
            "serve",
            "run",
            "runs",
            "workflows",
            "tools",
            "approvals",
            "policy",
            "audit",
            "storage",
            "backup",
            "restore",
            "verify-bundle",
            "vault",
            "drive",
            "tokens",
            "config",
            "log-level",
            "doctor"
        ]
    );
    Invocation::command().debug_assert();
}

#[tokio::test]
async fn help_is_data_and_mistakes_are_not() {
    let scene = Scene::new();
    let help = scene.call(&["--help"]).await;
    assert!(help.exit == Exit::Ok && help.out.contains("Usage: toolgate") && help.err.is_empty());
    let version = scene.call(&["--version"]).await;
    assert!(version.exit == Exit::Ok && version.out.starts_with("toolgate "));
    for wrong in
        [&[][..], &["nonsense"], &["runs"], &["run"], &["runs", "show", "nonsense"], &["approvals", "deny", "x"], &["serve", "--what"]]
    {
        let mistake = scene.call(wrong).await;
        assert!(mistake.exit == Exit::Usage && mistake.out.is_empty() && !mistake.err.is_empty(), "{wrong:?}: {}", mistake.whole());
    }
}
