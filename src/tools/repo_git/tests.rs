//! Hostile repositories. Where libgit2 by itself would fall for the attack, that is shown first.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::domain::{Effect, Effects, ErrorCode};
use crate::tools::testing::{Bench, StillClock, bench, call, code, prepare};
use crate::tools::{Handler, handler};

struct Tools {
    init: Arc<dyn Handler>,
    add: Arc<dyn Handler>,
    commit: Arc<dyn Handler>,
    status: Arc<dyn Handler>,
    log: Arc<dyn Handler>,
}

fn tools() -> Tools {
    Tools {
        init: handler(GitInit),
        add: handler(GitAddAll),
        commit: handler(GitCommit::new(Author::default(), Arc::new(StillClock))),
        status: handler(GitStatus),
        log: handler(GitLog),
    }
}

fn put(bench: &Bench, path: &str, text: &str) {
    let whole = bench.root.join(path);
    std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
    std::fs::write(whole, text).unwrap();
}

async fn repository() -> (Bench, Tools) {
    let (bench, tools) = (bench(), tools());
    let made = call(&tools.init, &bench, json!({})).await.unwrap();
    assert_eq!(made, json!({ "branch": "main", "created": true }));
    (bench, tools)
}

async fn commit(bench: &Bench, tools: &Tools, message: &str) -> Value {
    call(&tools.add, bench, json!({})).await.unwrap();
    call(&tools.commit, bench, json!({ "message": message })).await.unwrap()
}

#[tokio::test]
async fn a_history_grows() {
    let (bench, tools) = repository().await;
    assert_eq!(call(&tools.init, &bench, json!({})).await.unwrap()["created"], false);
    put(&bench, "README.md", "# hi\n");
    put(&bench, "src/app.py", "print(1)\n");
    put(&bench, ".gitignore", "*.pyc\n");
    put(&bench, "src/app.pyc", "x");
    let status = call(&tools.status, &bench, json!({})).await.unwrap();
    assert_eq!(status["untracked"], json!([".gitignore", "README.md", "src/app.py"]));
    assert_eq!((&status["head"], &status["clean"]), (&Value::Null, &json!(false)));

    let first = commit(&bench, &tools, "First\n\nbody").await;
    assert_eq!((&first["files"], &first["summary"], &first["branch"]), (&json!(3), &json!("First"), &json!("main")));
    let repository = git2::Repository::open(&bench.root).unwrap();
    repository.branch("feature/x", &repository.head().unwrap().peel_to_commit().unwrap(), false).unwrap();
    let status = call(&tools.status, &bench, json!({})).await.unwrap();
    assert_eq!((&status["clean"], &status["branches"]), (&json!(true), &json!(["feature/x", "main"])));

    put(&bench, "README.md", "# ho\n");
    std::fs::remove_file(bench.root.join("src/app.py")).unwrap();
    put(&bench, "new", "");
    let status = call(&tools.status, &bench, json!({})).await.unwrap();
    assert_eq!(
        [&status["modified"], &status["deleted"], &status["untracked"]],
        [&json!(["README.md"]), &json!(["src/app.py"]), &json!(["new"])]
    );
    let added = call(&tools.add, &bench, json!({})).await.unwrap();
    assert_eq!(
        added["staged"],
        json!([
            { "path": "README.md", "change": "modified" },
            { "path": "new", "change": "added" },
            { "path": "src/app.py", "change": "deleted" },
        ])
    );
    let second = call(&tools.commit, &bench, json!({ "message": "Second" })).await.unwrap();
    assert_eq!(code(&tools.commit, &bench, json!({ "message": "Third" })).await, ErrorCode::GitNothingToCommit);

    let log = call(&tools.log, &bench, json!({})).await.unwrap();
    assert_eq!(
        log["commits"][0],
        json!({
            "id": second["commit"], "summary": "Second", "author": "toolgate <toolgate@localhost>", "time": "2023-11-14T22:13:20.000Z"
        })
    );
    assert_eq!(log["commits"][1]["id"], first["commit"]);
    assert_eq!(call(&tools.log, &bench, json!({ "limit": 1 })).await.unwrap()["commits"].as_array().unwrap().len(), 1);

    // Another implementation, unguarded, reads the same history and finds the work tree clean.
    let plain = git2::Repository::open(&bench.root).unwrap();
    assert_eq!(plain.head().unwrap().peel_to_commit().unwrap().id().to_string(), second["commit"]);
    assert!(plain.statuses(Some(git2::StatusOptions::new().include_ignored(false))).unwrap().is_empty());
}

#[tokio::test]
async fn a_repository_may_lie_in_a_subfolder_and_keeps_modes() {
    use std::os::unix::fs::PermissionsExt;
    let (bench, tools) = (bench(), tools());
    call(&tools.init, &bench, json!({ "path": "deep/service" })).await.unwrap();
    put(&bench, "deep/service/run.sh", "x");
    std::fs::set_permissions(bench.root.join("deep/service/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    call(&tools.add, &bench, json!({ "path": "deep/service" })).await.unwrap();
    call(&tools.commit, &bench, json!({ "path": "deep/service", "message": "m" })).await.unwrap();
    let plain = git2::Repository::open(bench.root.join("deep/service")).unwrap();
    assert_eq!(plain.head().unwrap().peel_to_tree().unwrap().get_name("run.sh").unwrap().filemode(), 0o100_755);
    std::fs::set_permissions(bench.root.join("deep/service/run.sh"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let status = call(&tools.status, &bench, json!({ "path": "deep/service" })).await.unwrap();
    assert_eq!(status["modified"], json!(["run.sh"]));
    assert_eq!(code(&tools.status, &bench, json!({})).await, ErrorCode::GitRepository, "no search upwards or downwards");
    assert_eq!(code(&tools.status, &bench, json!({ "path": "deep/service/.git" })).await, ErrorCode::PathRefused);
    assert_eq!(code(&tools.init, &bench, json!({ "path": "x/.GIT/y" })).await, ErrorCode::PathRefused);
    assert_eq!(code(&tools.init, &bench, json!({ "path": "../x" })).await, ErrorCode::InvalidInput);
}

#[tokio::test]
async fn links_are_told_and_never_staged() {
    let (bench, tools) = repository().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), bench.root.join("lnk")).unwrap();
    symlink(outside.path().join("secret"), bench.root.join("leaf")).unwrap();
    std::fs::hard_link(outside.path().join("secret"), bench.root.join("hard")).unwrap();
    put(&bench, "honest", "x");

    let plain = git2::Repository::open(&bench.root).unwrap();
    plain.index().unwrap().add_path(Path::new("lnk/secret")).expect("libgit2 alone stages through a linked folder");

    let added = call(&tools.add, &bench, json!({})).await.unwrap();
    assert_eq!(added["staged"], json!([{ "path": "honest", "change": "added" }]));
    let skipped: Vec<_> = added["skipped"].as_array().unwrap().iter().map(|skipped| skipped["path"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["hard", "leaf", "lnk"]);
    let made = call(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap();
    assert_eq!(made["files"], 1);
    let id = git2::Oid::hash_object(git2::ObjectType::Blob, b"secret").unwrap();
    let tree = plain.head().unwrap().peel_to_tree().unwrap();
    assert!(tree.iter().all(|entry| entry.id() != id));
}

#[tokio::test]
async fn a_tracked_file_that_becomes_a_link_is_staged_as_deleted() {
    let (bench, tools) = repository().await;
    put(&bench, "d/f", "x");
    commit(&bench, &tools, "m").await;
    std::fs::remove_dir_all(bench.root.join("d")).unwrap();
    symlink("/etc", bench.root.join("d")).unwrap();
    assert_eq!(call(&tools.status, &bench, json!({})).await.unwrap()["deleted"], json!(["d/f"]));
    let added = call(&tools.add, &bench, json!({})).await.unwrap();
    assert_eq!(added["staged"], json!([{ "path": "d/f", "change": "deleted" }]));
}

#[tokio::test]
async fn a_hostile_configuration_is_refused_by_name() {
    let (bench, tools) = repository().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let good = std::fs::read_to_string(bench.root.join(".git/config")).unwrap();
    let worktree = format!("[core]\n\tworktree = {}\n", outside.path().display());
    std::fs::write(bench.root.join(".git/config"), &worktree).unwrap();
    let plain = git2::Repository::open(&bench.root).unwrap();
    assert_eq!(plain.workdir().unwrap().canonicalize().unwrap(), outside.path().canonicalize().unwrap(), "libgit2 alone obeys");

    for (config, named) in [
        (worktree.as_str(), "core.worktree"),
        ("[core]\n\tfsmonitor = ./evil.sh\n", "core.fsmonitor"),
        ("[Core]\n\thooksPath=/tmp/x\n", "core.hookspath"),
        ("[core]\n\tsshCommand = evil\n", "core.sshcommand"),
        ("[core]\n\tbare = true\n", "core.bare"),
        ("[core]\n\tbare\n", "core.bare"),
        ("[core]\n\trepositoryformatversion = 1\n", "core.repositoryformatversion"),
        ("[core]\n\texcludesfile = /etc/passwd\n", "core.excludesfile"),
        ("[include]\n\tpath = /etc/passwd\n", "include.path"),
        ("[includeIf \"gitdir:/\"]\n\tpath = x\n", "path"),
        ("[filter \"x\"]\n\tclean = evil\n", "clean"),
        ("[diff \"x\"]\n\ttextconv = evil\n", "textconv"),
        ("[credential]\n\thelper = !evil\n", "credential.helper"),
        ("[url \"file:///\"]\n\tinsteadOf = https://x/\n", "insteadof"),
        ("[remote \"origin\"]\n\tpushurl = evil\n", "pushurl"),
        ("[gpg]\n\tprogram = evil\n", "gpg.program"),
        ("[extensions]\n\tworktreeConfig = true\n", "extensions.worktreeconfig"),
        ("[user]\n\tname = a \\\n[core]\n\tworktree = /\n", "not understood"),
        ("[core] worktree = /\n", "not understood"),
        ("\tworktree = /\n", "not understood"),
        ("[core]\n\tfilemode = true \\\n\tx = y\n", "not understood"),
        ("[core\n\tworktree = /\n", "not understood"),
        ("\u{feff}[core]\n\tworktree = /\n", "not understood"),
        ("[core]\r\tworktree = /\n", "not understood"),
    ] {
        std::fs::write(bench.root.join(".git/config"), config).unwrap();
        for tool in [&tools.status, &tools.add, &tools.log, &tools.init] {
            let fault = call(tool, &bench, json!({})).await.unwrap_err();
            assert_eq!(fault.code, ErrorCode::GitConfigUntrusted, "{config:?}");
            assert!(fault.message.to_lowercase().contains(named), "{config:?}: {}", fault.message);
        }
        assert_eq!(code(&tools.commit, &bench, json!({ "message": "m" })).await, ErrorCode::GitConfigUntrusted);
    }
    std::fs::write(bench.root.join(".git/config"), format!("{good}[user]\n\tname = Mallory \"x\"\n\temail = m@x\n")).unwrap();
    put(&bench, "f", "x");
    commit(&bench, &tools, "m").await;
    let log = call(&tools.log, &bench, json!({})).await.unwrap();
    assert_eq!(log["commits"][0]["author"], "toolgate <toolgate@localhost>", "the repository does not say who commits");
}

#[tokio::test]
async fn a_git_folder_that_points_elsewhere_is_refused() {
    let other = tempfile::tempdir().unwrap();
    git2::Repository::init(other.path()).unwrap();
    type Attack = fn(&Path, &Path);
    let attacks: [(&str, Attack); 7] = [
        (".git", |git, other| {
            std::fs::remove_dir_all(git).unwrap();
            std::fs::write(git, format!("gitdir: {}/.git\n", other.display())).unwrap();
        }),
        (".git", |git, other| {
            std::fs::remove_dir_all(git).unwrap();
            symlink(other.join(".git"), git).unwrap();
        }),
        (".git/objects", |git, other| {
            std::fs::remove_dir_all(git.join("objects")).unwrap();
            symlink(other.join(".git/objects"), git.join("objects")).unwrap();
        }),
        (".git/objects/info/alternates", |git, other| {
            std::fs::write(git.join("objects/info/alternates"), other.join(".git/objects").to_str().unwrap()).unwrap();
        }),
        (".git/commondir", |git, other| std::fs::write(git.join("commondir"), other.join(".git").to_str().unwrap()).unwrap()),
        (".git/index", |git, other| symlink(other.join("x"), git.join("index")).unwrap()),
        (".git/HEAD", |git, other| {
            std::fs::remove_file(git.join("HEAD")).unwrap();
            std::fs::hard_link(other.join(".git/HEAD"), git.join("HEAD")).unwrap();
        }),
    ];
    for (named, attack) in attacks {
        let (bench, tools) = repository().await;
        attack(&bench.root.join(".git"), other.path());
        for tool in [&tools.init, &tools.add, &tools.status, &tools.log] {
            let fault = call(tool, &bench, json!({})).await.unwrap_err();
            assert_eq!(fault.code, ErrorCode::GitConfigUntrusted, "{named}");
            assert!(fault.message.contains(named), "{}", fault.message);
        }
    }
}

#[tokio::test]
async fn a_nested_repository_is_data_at_most() {
    let (bench, tools) = repository().await;
    let nested = git2::Repository::init(bench.root.join("nested")).unwrap();
    nested.config().unwrap().set_str("core.fsmonitor", "./evil.sh").unwrap();
    put(&bench, "nested/file", "x");
    let bare = bench.root.join("bare");
    git2::Repository::init_bare(&bare).unwrap();
    let added = call(&tools.add, &bench, json!({})).await.unwrap();
    assert!(added["staged"].as_array().unwrap().iter().all(|staged| !staged["path"].as_str().unwrap().contains(".git/")));
    assert!(added["staged"].to_string().contains("nested/file"));
    assert_eq!(added["skipped"], json!([{ "path": "nested/.git", "why": "a git folder inside the repository" }]));
    assert_eq!(code(&tools.status, &bench, json!({ "path": "bare" })).await, ErrorCode::GitRepository, "a bare one is not opened");
    assert_eq!(code(&tools.status, &bench, json!({ "path": "nested" })).await, ErrorCode::GitConfigUntrusted);
}

#[tokio::test]
async fn weird_names_are_skipped_or_kept_whole() {
    let (bench, tools) = repository().await;
    for name in ["--help", "-rf", "a b", "ünï", "$(evil)", "a\nb", ".git\u{200c}", "c:x", "a\u{202e}b", "git~1x"] {
        put(&bench, name, name);
    }
    put(&bench, "GIT~1", "x");
    let added = call(&tools.add, &bench, json!({})).await.unwrap();
    let staged: Vec<_> = added["staged"].as_array().unwrap().iter().map(|staged| staged["path"].as_str().unwrap()).collect();
    assert_eq!(staged, ["$(evil)", "--help", "-rf", "a b", "git~1x", "ünï"]);
    let skipped: Vec<_> = added["skipped"].as_array().unwrap().iter().map(|skipped| skipped["path"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["GIT~1", ".git\\u{200c}", "a\\u{202e}b", "a\\u{a}b", "c:x"]);
}

#[tokio::test]
async fn an_index_or_tree_with_a_forbidden_path_is_refused() {
    let (bench, tools) = repository().await;
    let plain = git2::Repository::open(&bench.root).unwrap();
    let blob = plain.blob(b"x").unwrap();
    let mut inner = plain.treebuilder(None).unwrap();
    inner.insert("config", blob, 0o100_644).unwrap();
    let inner = inner.write().unwrap();
    let mut outer = plain.treebuilder(None).unwrap();
    outer.insert(".git\u{200c}", inner, 0o040_000).expect("libgit2 alone accepts the disguise");
    let tree = plain.find_tree(outer.write().unwrap()).unwrap();
    let who = git2::Signature::now("x", "x@x").unwrap();
    plain.commit(Some("HEAD"), &who, &who, "m", &tree, &[]).unwrap();
    assert_eq!(code(&tools.status, &bench, json!({})).await, ErrorCode::GitRepository);
    assert_eq!(code(&tools.commit, &bench, json!({ "message": "m" })).await, ErrorCode::GitRepository);
    let mut index = plain.index().unwrap();
    index.read_tree(&tree).unwrap();
    index.write().unwrap();
    assert_eq!(code(&tools.add, &bench, json!({})).await, ErrorCode::GitRepository);
}

#[tokio::test]
async fn messages_forge_nothing() {
    let (bench, tools) = repository().await;
    put(&bench, "f", "x");
    let made = commit(&bench, &tools, "ok\u{1b}[2K\u{202e}\0\r gone\nbody").await;
    assert_eq!(made["summary"], "ok");
    assert_eq!(code(&tools.commit, &bench, json!({ "message": " \u{200b}\n" })).await, ErrorCode::InvalidInput);
    assert_eq!(code(&tools.commit, &bench, json!({ "message": "m", "author": "x" })).await, ErrorCode::InvalidInput);
}

#[tokio::test]
async fn the_target_of_a_commit_changes_with_what_it_would_commit() {
    let (bench, tools) = repository().await;
    put(&bench, "f", "1");
    call(&tools.add, &bench, json!({})).await.unwrap();
    let one = prepare(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap();
    assert_eq!(one, prepare(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap());
    assert_eq!((&one.effects, &one.target["head"], &one.target["branch"]), (&Effects::only(Effect::Write), &Value::Null, &json!("main")));
    put(&bench, "f", "2");
    call(&tools.add, &bench, json!({})).await.unwrap();
    let two = prepare(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap();
    assert_ne!(one.target["index"], two.target["index"]);
    let made = call(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap();
    let three = prepare(&tools.commit, &bench, json!({ "message": "m" })).await.unwrap();
    assert_eq!(three.target["head"], made["commit"]);
}
