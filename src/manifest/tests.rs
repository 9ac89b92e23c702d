use serde_json::json;

use super::*;
use crate::domain::{Bytes, Effect, Effects, Labels, Millis};

const GOOD: &str = "\
name: workspace.read
version: 1.0.0
title: Read workspace files
description: >-
  Reads files of the run's workspace.
  Many at once.
executor: builtin
effects: [read]
scopes: [workspace]
limits: {wall: 30s, output: 1MiB}
idempotent: true
input_schema: workspace.read.input.json
output_schema: workspace.read.output.json
examples:
  - accept: {paths: [README.md]}
  - refuse: {paths: ['../etc/passwd']}
    because: paths
";

pub(crate) fn file(path: &str, text: &str) -> ManifestFile {
    let input = json!({ "type": "object", "additionalProperties": false, "required": ["paths"], "properties": {
        "paths": { "type": "array", "items": { "type": "string", "pattern": "^[^./][^.]*(\\.[a-z]+)?$" } } } });
    let siblings = [
        ("workspace.read.input.json", input.to_string()),
        ("workspace.read.output.json", json!({ "type": "object" }).to_string()),
        ("broken.json", "{".to_owned()),
        ("wrong.json", json!({ "type": "strng" }).to_string()),
        ("list.json", json!({ "type": "array" }).to_string()),
        ("count.py", "print(1)".to_owned()),
    ];
    let siblings = siblings.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    ManifestFile { path: path.to_owned(), text: text.to_owned(), siblings: std::sync::Arc::new(siblings), is_shipped: false }
}

fn problems(text: &str) -> String {
    load(&[file("m.yaml", text)]).unwrap_err().to_string()
}

#[test]
fn a_manifest_becomes_a_tool() {
    let tools = load(&[file("m.yaml", GOOD)]).unwrap();
    let tool = &tools[0];
    assert_eq!(tool.name.as_str(), "workspace.read");
    assert_eq!(tool.description, "Reads files of the run's workspace. Many at once.");
    assert_eq!(tool.effects, Effects::only(Effect::Read));
    assert_eq!((tool.limits.wall, tool.limits.output), (Millis(30_000), Bytes(1 << 20)));
    assert!(tool.idempotent);
    assert_eq!(tool.examples.len(), 2);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let one = |from: &str, to: &str, line: &str, told: &str| {
        assert!(GOOD.contains(from), "{from}");
        let text = problems(&GOOD.replace(from, to));
        assert!(text.starts_with(&format!("m.yaml{line}: ")) && text.contains(told), "{told}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    one("idempotent: true", "idempotant: true", ":11", "unknown field `idempotant` in the manifest (did you mean `idempotent`?)");
    one("workspace.read\nv", "Workspace\nv", ":1", "`Workspace` is not a tool name");
    one("1.0.0", "1.0", ":2", "`1.0` is not a semantic version");
    one("1.0.0", "latest", ":2", "`latest` is not a semantic version");
    one("description: >-\n  Reads files of the run's workspace.\n  Many at once.", "description: ''", ":4", "`description` is empty");
    one("Many at once", "Many at \u{202e}once", ":5", "U+202E");
    one("Read workspace files", "Read — files", ":3", "U+2014");
    one("executor: builtin", "executor: shell", ":7", "unknown executor `shell`");
    one("executor: builtin", "executor: {python: none.py}", ":7", "script `none.py` is not there");
    one("executor: builtin", "executor: {python: ../count.py}", ":7", "is not there");
    one("[read]", "[reed]", ":8", "unknown effect `reed` (did you mean `read`?)");
    one("[workspace]", "['a b']", ":9", "`a b` is not a scope");
    one("30s", "30x", ":10", "`30x` is not a span of time");
    one("1MiB", "1MB", ":10", "`1MB` is not a size");
    one(", output: 1MiB", "", ":10", "field `output` is missing");
    one("idempotent: true", "idempotent: maybe", ":11", "must be true or false");
    one("workspace.read.output.json", "none.json", ":13", "schema `none.json` is not there");
    one("workspace.read.output.json", "broken.json", ":13", "is not JSON");
    one("workspace.read.output.json", "wrong.json", ":13", "schema `wrong.json`");
    one("workspace.read.output.json", "list.json", ":13", "`type: object`");
    one(
        "paths: [README.md]",
        "path: README.md",
        ":15",
        "the accepted example is refused: at `/path`: additional property `path`; did you mean `paths`?",
    );
    one("'../etc/passwd'", "README.md", ":16", "the refused example passes");
    one("because: paths", "because: size", ":16", "not because of `size`");
    one("\n    because: paths", "", ":16", "needs `because`");
    one("  - accept: {paths: [README.md]}\n", "", ":15", "no example is accepted");
    one("  - refuse: {paths: ['../etc/passwd']}\n    because: paths\n", "", ":15", "no example is refused");
    one("- accept: {paths: [README.md]}", "- {accept: {paths: [x]}, refuse: {}, because: x}\n  - accept: {paths: [x]}", ":15", "either");
    one("scopes: [workspace]", "scopes: workspace", ":9", "must be a list");
    one("scopes: [workspace]", "scopes: [workspace", ":10", "not readable as YAML");
}

#[test]
fn marks_are_words_of_ours_and_fit_the_effects() {
    let marked = |marks: &str| GOOD.replace("scopes: [workspace]", &format!("scopes: [workspace]\nmarks: {marks}"));
    let tool = load(&[file("m.yaml", &marked("[private, untrusted if read]"))]).unwrap().remove(0);
    assert_eq!(tool.marks.of(&Effects::only(Effect::Read)), Labels::BOTH);
    assert_eq!(tool.marks.of(&Effects::only(Effect::Pure)), Labels { private: true, ..Labels::default() });
    assert_eq!(tool.marks.words(), ["untrusted if read", "private"]);
    assert!(load(&[file("m.yaml", GOOD)]).unwrap().remove(0).marks.of(&Effects::only(Effect::Read)).is_empty());
    assert_ne!(tool.digest, load(&[file("m.yaml", GOOD)]).unwrap().remove(0).digest);
    for (marks, told) in [
        ("[secret]", "m.yaml:10: mark `secret` is no label"),
        ("[untrusted if reed]", "m.yaml:10: mark `untrusted if reed` names no effect"),
        ("[untrusted if egress]", "m.yaml:10: mark `untrusted if egress` names an effect that the tool does not have"),
        ("[private, private]", "m.yaml:10: `marks` says `private` twice"),
        ("private", "m.yaml:10: field `marks` must be a list"),
    ] {
        let text = problems(&marked(marks));
        assert!(text.starts_with(told) && text.lines().count() == 1, "{told}: {text}");
    }
}

#[test]
fn what_shipped_tools_bring_is_stated() {
    let tools = shipped().unwrap();
    let of = |name: &str, effects: &[Effect]| {
        let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap();
        tool.marks.of(&Effects::of(effects.iter().copied())).words().join(" ")
    };
    for name in ["drive.get", "drive.search"] {
        assert_eq!(of(name, &[Effect::Read]), "untrusted private");
    }
    for name in ["python.run", "eval.run"] {
        assert_eq!((of(name, &[Effect::Read]), of(name, &[Effect::Read, Effect::Egress])), (String::new(), "untrusted".to_owned()));
    }
    // Whatever can use the network brings what it finds there. A call of `tool.call` is one of the tool that it names, and of what a
    // channel answers `notify.send` repeats nothing.
    let brings_nothing = |name: &str| ["tool.call", "notify.send"].contains(&name);
    for tool in tools.iter().filter(|tool| tool.effects.contains(Effect::Egress) && !brings_nothing(tool.name.as_str())) {
        assert!(tool.marks.of(&tool.effects).untrusted, "`{}` uses the network and marks nothing", tool.name);
    }
}

#[test]
fn all_problems_of_all_files_come_at_once() {
    let bad = GOOD.replace("30s", "30x").replace("1.0.0", "one").replace("idempotent", "idem");
    let told = load(&[file("a.yaml", &bad), file("b.yaml", "- 1"), file("c.yaml", GOOD), file("d.yaml", GOOD)]).unwrap_err();
    let files: Vec<&str> = told.list().iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(files, ["a.yaml", "a.yaml", "a.yaml", "b.yaml", "d.yaml"], "{told}");
    assert!(told.to_string().contains("d.yaml:1: tool `workspace.read` is already described in c.yaml"), "{told}");
}

#[test]
fn the_digest_covers_what_is_said_and_not_how() {
    let digest = |text: &str| load(&[file("m.yaml", text)]).unwrap()[0].digest;
    let base = digest(GOOD);
    assert_eq!(base, digest(&format!("# a remark\n{}", GOOD.replace("[read]", "\n  - read"))));
    for (from, to) in
        [("1.0.0", "1.0.1"), ("30s", "31s"), ("[read]", "[write]"), ("Many", "Several"), ("true", "false"), ("[workspace]", "[home]")]
    {
        assert_ne!(base, digest(&GOOD.replace(from, to)), "{to}");
    }
    let python = GOOD.replace("executor: builtin", "executor: {python: count.py}");
    let mut other = file("m.yaml", &python);
    let first = load(std::slice::from_ref(&other)).unwrap()[0].digest;
    std::sync::Arc::make_mut(&mut other.siblings).insert("count.py".into(), b"print(2)".to_vec());
    assert_ne!(first, load(&[other]).unwrap()[0].digest);
}

#[test]
fn a_folder_gives_its_manifests_with_what_is_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read_folder(&folder.path().join("none")).unwrap().is_empty());
    std::fs::write(folder.path().join("a.yaml"), GOOD.replace("executor: builtin", "executor: {python: count.py}")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    std::fs::write(folder.path().join("count.py"), "print(1)").unwrap();
    for (name, bytes) in file("", "").siblings.iter().filter(|(name, _)| name.starts_with("workspace")) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let files = read_folder(folder.path()).unwrap();
    let tools = load(&files).unwrap();
    assert!(matches!(&tools[0].executor, Executor::Python { script } if script == "print(1)"));
    std::fs::write(folder.path().join("b.yaml"), [0xff, 0xfe]).unwrap();
    assert!(read_folder(folder.path()).unwrap_err().to_string().contains("b.yaml: the file is not UTF-8"));
}

#[cfg(unix)]
#[test]
fn a_link_in_the_folder_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("real.txt"), GOOD).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real.txt"), folder.path().join("a.yaml")).unwrap();
    assert!(read_folder(folder.path()).unwrap().is_empty());
}

#[test]
fn shipped_manifests_load() {
    let tools = shipped().unwrap_or_else(|problems| panic!("{problems}"));
    let files = shipped_files().unwrap();
    assert_eq!(tools.len(), files.len());
}

#[test]
fn shipped_manifests_are_sound_when_they_are_tried_as_anybodys() {
    let files: Vec<ManifestFile> = shipped_files().unwrap().into_iter().map(|file| ManifestFile { is_shipped: false, ..file }).collect();
    let tried = load(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let digests = |tools: &[ToolDef]| tools.iter().map(|tool| (tool.name.clone(), tool.digest)).collect::<Vec<_>>();
    assert_eq!(digests(&tried), digests(&shipped().unwrap()));
}

mod never_panics {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn on_any_text(text in "\\PC{0,200}") {
            let _ = load(&[file("m.yaml", &text)]);
        }

        #[test]
        fn on_a_damaged_manifest(at in 0..GOOD.len(), put in "[ \\n:\\[\\]{}&*!|>'\"a-z0-9-]{0,4}") {
            if GOOD.is_char_boundary(at) {
                let (before, after) = GOOD.split_at(at);
                let _ = load(&[file("m.yaml", &format!("{before}{put}{}", after.chars().skip(1).collect::<String>()))]);
            }
        }
    }
}
