//! Settings as people and programs write them, with our entry put in and taken out.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::clients::{Form, Place};
use super::edit::{Edit, Entry, add, remove, says_the_same, snippet};

fn place(form: Form) -> Place {
    Place { title: "a client", file: PathBuf::from("/x/settings"), form }
}

fn in_json() -> Place {
    place(Form::Json { servers: "mcpServers", typed: true })
}

fn entry() -> Entry {
    Entry { command: "/opt/tool gate/\"q\"/toolgate".into(), args: vec!["--home".into(), "/h\\ö".into(), "serve".into()] }
}

fn text(edit: Edit) -> String {
    match edit {
        Edit::Text(text) => text,
        Edit::Nothing => panic!("nothing was changed"),
    }
}

#[test]
fn in_json_all_else_stays_as_it_is() {
    let texts = [
        "",
        " \n",
        "{}",
        "{\"mcpServers\": {}}",
        "{\n\t\"z\": [1.50, {\"b\": null}],\n\t\"mcpServers\": {\"b\": {\"command\": \"x\"}, \"a\": {\"url\": \"y\"}},\n\t\"a\": \"ä\"\n}",
        "\u{feff}{\"x\": 18446744073709551615}",
    ];
    for before in texts {
        let after = text(add(&in_json(), before, "toolgate", &entry()).unwrap());
        let (read, whole): (Value, Value) = (
            serde_json::from_str(Some(before.trim_start_matches('\u{feff}')).filter(|text| !text.trim().is_empty()).unwrap_or("{}"))
                .unwrap(),
            serde_json::from_str(&after).unwrap(),
        );
        let wanted = json!({"type": "stdio", "command": entry().command, "args": entry().args});
        assert_eq!(whole["mcpServers"]["toolgate"], wanted, "{before}");
        // Order is kept too, so texts are compared.
        let mut expected = read.clone();
        expected.as_object_mut().unwrap().entry("mcpServers").or_insert_with(|| json!({}))["toolgate"] = wanted;
        assert_eq!(whole.to_string(), expected.to_string());
        assert_eq!(add(&in_json(), &after, "toolgate", &entry()).unwrap(), Edit::Nothing);
        let without = text(remove(&in_json(), &after, "toolgate").unwrap());
        assert!(says_the_same(&in_json(), before, &without), "{before}\n{without}");
        assert_eq!(remove(&in_json(), &without, "toolgate").unwrap(), Edit::Nothing);
    }
    let tabs = text(add(&in_json(), texts[4], "toolgate", &entry()).unwrap());
    assert!(tabs.contains("\n\t\"mcpServers\": {\n\t\t\"b\""), "{tabs}");
}

#[test]
fn in_toml_every_line_of_others_stays_as_it_is() {
    let texts = [
        "",
        "model = \"x\"",
        "# a comment\nmodel = \"x\" # another\n\n[mcp_servers.other]\ncommand = \"toolgate\"\n[mcp_servers.other.env]\nA = \"1\"\n\n[[list]]\na = 1\n",
        "[mcp_servers]\n[mcp_servers.toolgate-two]\ncommand = \"y\"\n",
    ];
    for before in texts {
        let after = text(add(&place(Form::Toml), before, "toolgate", &entry()).unwrap());
        assert!(after.starts_with(before), "{after}");
        let read: toml::Table = after.parse().unwrap();
        assert_eq!(read["mcp_servers"]["toolgate"]["command"].as_str(), Some(entry().command.as_str()));
        assert_eq!(read["mcp_servers"]["toolgate"]["args"].as_array().unwrap().len(), 3);
        assert_eq!(add(&place(Form::Toml), &after, "toolgate", &entry()).unwrap(), Edit::Nothing);
        // One that stands in the middle is changed in its place's stead, with what lies below it.
        let old = format!(
            "{before}\n[mcp_servers.toolgate]\ncommand = \"/old/toolgate\"\n[mcp_servers.toolgate.env]\nX = \"1\"\n[after]\nb = 2\n"
        );
        let new = text(add(&place(Form::Toml), &old, "toolgate", &entry()).unwrap());
        assert!(!new.contains("/old/") && !new.contains("X = ") && new.contains("[after]\nb = 2\n"), "{new}");
        let without = text(remove(&place(Form::Toml), &after, "toolgate").unwrap());
        assert_eq!(without.trim_end(), before.trim_end());
    }
}

#[test]
fn what_cannot_be_changed_safely_is_refused_and_told() {
    let refused = |place: &Place, text: &str| add(place, text, "toolgate", &entry()).unwrap_err().to_string();
    for (text, told) in [
        ("{ // why\n}", "not plain JSON"),
        ("[1]", "not a JSON object"),
        ("{\"mcpServers\": [1]}", "`mcpServers` is not an object"),
        ("{\"mcpServers\": {\"toolgate\": {\"command\": \"/usr/bin/other\"}}}", "another server of the name `toolgate`"),
        ("{\"mcpServers\": {\"toolgate\": 7}}", "another server of the name `toolgate`"),
    ] {
        assert!(refused(&in_json(), text).contains(told), "{}", refused(&in_json(), text));
    }
    for (text, told) in [
        ("a = ", "not TOML"),
        ("mcp_servers = { other = { command = \"x\" } }", "not written as sections"),
        ("[mcp_servers]\ntoolgate = { command = \"/x/toolgate\" }\n", "not written as sections"),
        ("[mcp_servers.toolgate]\ncommand = \"npx\"\n", "another server of the name `toolgate`"),
    ] {
        assert!(refused(&place(Form::Toml), text).contains(told), "{}", refused(&place(Form::Toml), text));
    }
    assert!(remove(&in_json(), "{\"mcpServers\": {\"toolgate\": {\"command\": \"x\"}}}", "toolgate").is_err());
}

#[test]
fn what_is_printed_is_what_is_written() {
    for place in [in_json(), place(Form::Toml)] {
        let printed = snippet(&place, "mine", &entry());
        let written = text(add(&place, "", "mine", &entry()).unwrap());
        assert!(says_the_same(&place, &printed, &written), "{printed}\n{written}");
    }
}

mod found {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::*;
    use crate::cli::install::found::{Led, entries};
    use crate::config::Ambient;

    fn read(place: &Place, text: &str, variables: &[(&str, &str)]) -> Vec<(String, Led)> {
        let vars: BTreeMap<String, OsString> = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        let found = entries(place, text, &Ambient { vars, ..Ambient::default() }).unwrap();
        found.into_iter().map(|(_, name, led)| (name, led)).collect()
    }

    fn of_json(entry: &Value, variables: &[(&str, &str)]) -> Option<Led> {
        let text = json!({ "mcpServers": { "toolgate": entry } }).to_string();
        read(&in_json(), &text, variables).pop().map(|(_, led)| led)
    }

    fn token(token: &str) -> Vec<(String, String)> {
        vec![("Authorization".to_owned(), format!("Bearer {token}"))]
    }

    #[test]
    fn what_is_written_is_found() {
        for place in [in_json(), place(Form::Json { servers: "servers", typed: true }), place(Form::Toml)] {
            let text = text(add(&place, "", "mine", &entry()).unwrap());
            let led = Led::Starts { command: entry().command, arguments: entry().args, variables: vec![] };
            assert_eq!(read(&place, &text, &[]), [("mine".to_owned(), led)]);
        }
    }

    #[test]
    fn the_example_shows_both_ways() {
        let text = include_str!("../../../mcp.json.example");
        let found = read(&in_json(), text, &[("TOOLGATE_TOKEN", "t")]);
        let starts = Led::Starts { command: "/absolute/path/to/toolgate".into(), arguments: vec!["serve".into()], variables: vec![] };
        let reaches = Led::Reaches { url: "http://127.0.0.1:8801/mcp".into(), headers: token("t") };
        assert_eq!(found, [("toolgate".to_owned(), starts), ("toolgate-http".to_owned(), reaches)]);
    }

    #[test]
    fn entries_are_read_as_their_clients_read_them() {
        let other = of_json(&json!({ "command": "/bin/sh", "args": ["-c", "toolgate serve"] }), &[]);
        assert_eq!(other, Some(Led::Other { command: "/bin/sh".into() }));
        let started = json!({ "command": "${BIN}/toolgate", "args": ["--home", "${env:H:-/h}", "serve"], "env": { "A": "1${B:-}" } });
        let due = Led::Starts {
            command: "/x/toolgate".into(),
            arguments: vec!["--home".into(), "/h".into(), "serve".into()],
            variables: vec![("A".into(), "1".into())],
        };
        assert_eq!(of_json(&started, &[("BIN", "/x")]), Some(due));
        assert!(matches!(of_json(&started, &[]), Some(Led::Unknown { why }) if why.contains("${BIN}")));
        let input = json!({ "url": "http://h/mcp", "headers": { "Authorization": "Bearer ${input:token}" } });
        assert!(matches!(of_json(&input, &[]), Some(Led::Unknown { .. })));
        let gemini = json!({ "httpUrl": "http://h/mcp", "headers": { "Authorization": "Bearer x" } });
        assert_eq!(of_json(&gemini, &[]), Some(Led::Reaches { url: "http://h/mcp".into(), headers: token("x") }));
        for nothing in [json!(7), json!({}), json!({ "command": 7 }), json!({ "url": null })] {
            assert_eq!(of_json(&nothing, &[]), None, "{nothing}");
        }
    }

    #[test]
    fn codex_takes_its_token_from_a_variable() {
        let text = "[mcp_servers.my-toolgate]\nurl = \"http://h/mcp\"\nbearer_token_env_var = \"T\"\n\n[mcp_servers.other]\nurl = \"http://o\"\n";
        let found = read(&place(Form::Toml), text, &[("T", "x")]);
        assert_eq!(found, [("my-toolgate".to_owned(), Led::Reaches { url: "http://h/mcp".into(), headers: token("x") })]);
        assert!(matches!(&read(&place(Form::Toml), text, &[])[..], [(_, Led::Unknown { why })] if why.contains("`T`")));
    }

    #[test]
    fn files_of_others_are_theirs_to_mend() {
        let at = Ambient::default();
        assert_eq!(entries(&in_json(), "{ // a comment\n}", &at).unwrap(), []);
        assert_eq!(entries(&place(Form::Toml), "a = ", &at).unwrap(), []);
        assert!(entries(&in_json(), "{ // toolgate\n}", &at).is_err());
        assert!(entries(&place(Form::Toml), "toolgate = ", &at).is_err());
        assert_eq!(entries(&in_json(), "", &at).unwrap(), []);
    }
}
