use super::*;

fn told(text: &str, line: u64, words: &str) {
    let problems = wrong(text);
    assert!(
        problems.lines().any(|problem| problem.starts_with(&format!("p.cedar:{line}: ")) && problem.contains(words)),
        "{words}: {problems}"
    );
}

#[test]
fn what_is_not_known_does_not_load() {
    told(
        "permit (principal, action, resource);\n\npermit (principal, action == toolgate::Action::\"pyton.run\", resource);",
        3,
        "pyton.run",
    );
    told("permit (principal, action == toolgate::Action::\"python_run\", resource);", 1, "python_run");
    told("permit (principal is toolgate::Agnet, action, resource);", 1, "Agnet");
    told(
        "permit (principal, action == toolgate::Action::\"python.run\", resource)\nwhen { context.input.allow_netwrk };",
        2,
        "allow_netwrk",
    );
    told(
        "permit (principal, action == toolgate::Action::\"python.run\", resource)\nwhen { context.input.allow_network };",
        2,
        "allow_network",
    );
    told("permit (principal, action == toolgate::Action::\"python.run\", resource)\nwhen { context.input has nothing };", 1, "false");
    told("permit (principal, action, resource)\nwhen { context.input has timeout_sec && context.input.timeout_sec > \"3\" };", 2, "");
    told("permit (principal, action, resource) when { context.effects.contains(\"wirte\") };", 1, "`wirte` is never in `context.effects`");
    told("permit (principal, action, resource) when { context.effects.containsAny([\"read\", \"net\"]) };", 1, "`net` is never in");
    told("permit (principal, action, resource) when { [\"net\"].containsAll(context.effects) };", 1, "`net` is never in");
    told("permit (principal, action, resource) when { context.origin == \"chat\" };", 1, "`chat` is never in `context.origin`");
}

#[test]
fn annotations_are_words_of_ours() {
    told("@aks(\"look\")\npermit (principal, action, resource);", 1, "unknown annotation `@aks`");
    told("@ask(\"\")\npermit (principal, action, resource);", 1, "`@ask` is empty");
    told("@ask\npermit (principal, action, resource);", 1, "`@ask` is empty");
    told("@ask(\"x\")\nforbid (principal, action, resource);", 1, "`@ask` stands on a forbid");
    told("@reason(\"x\")\npermit (principal, action, resource);", 1, "`@reason` stands on a permit");
    told("@id(\"a b\")\npermit (principal, action, resource);", 1, "is not a name");
    told(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
        2,
        "rule `a` is already at p.cedar:1",
    );
}

#[test]
fn broken_text_tells_its_line() {
    told("permit (principal, action, resource);\npermit (principal action, resource);", 2, "not readable as Cedar");
    told("permit (principal, action, resource)", 1, "not readable as Cedar");
    told("permit (principal == ?principal, action, resource);", 1, "templates");
    told("\u{202e}permit (principal, action, resource);", 1, "");
}

#[test]
fn all_problems_of_all_files_come_at_once() {
    let sources = [
        source("b.cedar", "permit (principal, action, resource) when { context.nothing };"),
        source("a.cedar", "permit ("),
        source("c.cedar", "@id(\"x\") permit (principal, action, resource);"),
        source("d.cedar", "@id(\"x\") permit (principal, action, resource);"),
    ];
    let Err(problems) = PolicySet::load(&sources, &tools()) else { panic!("loads") };
    let files: Vec<&str> = problems.list().iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(files, ["a.cedar", "b.cedar", "d.cedar"], "{problems}");
}

#[test]
fn the_digest_covers_sources_and_schema() {
    let base = *policies("permit (principal, action, resource);").digest();
    assert_eq!(base, *policies("permit (principal, action, resource);").digest());
    assert_ne!(base, *policies("permit (principal, action, resource); ").digest());
    let fewer: Vec<ToolDef> = tools().into_iter().skip(1).collect();
    let other = PolicySet::load(&[source("p.cedar", "permit (principal, action, resource);")], &fewer).unwrap();
    assert_ne!(base, *other.digest());
    let order = [source("a", "permit (principal, action, resource);"), source("b", "forbid (principal, action, resource);")];
    let back: Vec<PolicySource> = order.iter().rev().cloned().collect();
    assert_eq!(PolicySet::load(&order, &tools()).unwrap().digest(), PolicySet::load(&back, &tools()).unwrap().digest());
}

#[test]
fn tests_beside_policies_are_read_and_run() {
    let set = policies("@id(\"all\") permit (principal, action, resource);");
    let file = |text: &str| [source("p.test.yaml", text)];
    let good = "tests:\n  - {call: {tool: web.fetch, arguments: {url: x}}, expect: allow, rule: all}\n  - {call: {tool: eval.run, role: operator}, expect: deny}\n";
    let outcomes = tests_of(&set, &tools(), &file(good)).unwrap();
    assert_eq!(outcomes.iter().map(CaseOutcome::passed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(outcomes[1].line, Some(3));
    for (bad, told) in [
        ("tests: []", "p.test.yaml:1: the file has no tests"),
        ("tests:\n - {call: {tool: web.fetsh}, expect: allow}", "p.test.yaml:2: unknown tool `web.fetsh`"),
        ("tests:\n - {call: {tool: web.fetch}, expect: yes}", "p.test.yaml:2: "),
        ("tests:\n - {call: {tool: web.fetch}, expect: maybe}", "`maybe` is not a verdict"),
        ("tests:\n - {call: {tool: web.fetch, arguments: {uri: x}}, expect: allow}", "do not fit `web.fetch`"),
        ("tests:\n - {call: {tool: web.fetch, effects: [write]}, expect: allow}", "no such effects"),
        ("tests:\n - {call: {tool: web.fetch, rol: agent}, expect: allow}", "unknown field `rol` in a call (did you mean `role`?)"),
        (
            "tests:\n - {call: {tool: web.fetch, labels: [secret]}, expect: allow}",
            "p.test.yaml:2: `secret` is not a label; known: untrusted, private",
        ),
        ("tests:\n - {call: {tool: web.fetch, hosts: [7]}, expect: allow}", "every item of `hosts` must be a text"),
        ("test:\n - 1", "unknown field `test`"),
    ] {
        let problems = tests_of(&set, &tools(), &file(bad)).unwrap_err().to_string();
        assert!(problems.contains(told), "{told}: {problems}");
    }
}

#[test]
fn tests_can_tell_a_call_s_surroundings() {
    let set = policies(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"leak\") forbid (principal, action, resource) when { context.run.untrusted && context.run.private };\n\
         @id(\"flow\") @ask(\"x\") permit (principal, action, resource) when { context.run has workflow && context.run.workflow == \"build\" };\n\
         @id(\"host\") forbid (principal, action, resource) when { context.hosts.contains(\"evil.example\") };\n",
    );
    let text = "tests:\n  - {call: {tool: web.fetch, labels: [untrusted]}, expect: allow}\n  \
                - {call: {tool: web.fetch, labels: [untrusted, private]}, expect: deny, rule: leak}\n  \
                - {call: {tool: web.fetch, workflow: build}, expect: ask, rule: flow}\n  \
                - {call: {tool: web.fetch, hosts: [evil.example]}, expect: deny, rule: host}\n";
    let outcomes = tests_of(&set, &tools(), &[source("p.test.yaml", text)]).unwrap();
    assert!(outcomes.len() == 4 && outcomes.iter().all(CaseOutcome::passed), "{outcomes:#?}");
}

#[test]
fn a_folder_gives_its_policies_and_no_links() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.cedar"), "permit (principal, action, resource);").unwrap();
    std::fs::write(folder.path().join("a.test.yaml"), "tests: []").unwrap();
    std::fs::write(folder.path().join("readme.md"), "x").unwrap();
    assert_eq!(read_folder(folder.path()).unwrap().len(), 1);
    assert_eq!(read_test_folder(folder.path()).unwrap().len(), 1);
    assert!(read_folder(&folder.path().join("none")).unwrap().is_empty());
    std::fs::write(folder.path().join("c.cedar"), [0xff]).unwrap();
    assert!(read_folder(folder.path()).unwrap_err().to_string().contains("c.cedar: the file is not UTF-8"));
}

#[cfg(unix)]
#[test]
fn a_policy_that_is_a_link_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("real"), "permit (principal, action, resource);").unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("a.cedar")).unwrap();
    assert!(read_folder(folder.path()).unwrap_err().to_string().contains("not a plain file"));
}
