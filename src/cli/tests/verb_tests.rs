//! Every verb but `run` and `runs watch`: what it prints and how it ends, with good input and bad.

use super::fake::*;
use crate::cli::Exit;
use crate::domain::*;

async fn whole(args: &[&str]) -> String {
    Scene::new().call(args).await.whole()
}

#[tokio::test]
async fn tools_list() {
    insta::assert_snapshot!(whole(&["tools", "list"]).await, @"
    NAME         VERSION  EFFECTS       ABOUT
    notify.send  1.0.0    write         Tells a person
    python.run   1.0.0    pure, egress  Runs Python in a fresh sandbox
    --- stderr
    --- exit 0
    ");
    let json = Scene::new().call(&["tools", "list", "--json"]).await.json();
    assert_eq!((json[1]["name"].as_str(), json[1]["effects"][1].as_str()), (Some("python.run"), Some("egress")));
}

#[tokio::test]
async fn tools_show() {
    insta::assert_snapshot!(whole(&["tools", "show", "python_run"]).await, @r#"
    python.run 1.0.0  (python_run)
      │ Runs Python in a fresh sandbox. No state is kept.
      executor    builtin
      effects     pure, egress
      scopes      workspace
      limits      30.0 s wall time, 1048576 bytes of output
      idempotent  yes
      digest      79b7f793dd2256dc11ac351ccd0c995bde147aba26e6764531944305bc43fb25
    input
    {
      "type": "object"
    }
    output
    {
      "type": "object"
    }
    --- stderr
    --- exit 0
    "#);
    insta::assert_snapshot!(whole(&["tools", "show", "pyhton.run"]).await, @"
    --- stderr
    error[UNKNOWN_TOOL]: there is no tool `pyhton.run`
      hint: did you mean `python.run`?
    --- exit 2
    ");
    insta::assert_snapshot!(whole(&["tools", "show", "zzz"]).await, @"
    --- stderr
    error[UNKNOWN_TOOL]: there is no tool `zzz`
      hint: `toolgate tools list` lists the tools there are
    --- exit 2
    ");
}

#[tokio::test]
async fn tools_call() {
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", r#"{"code": "print(1)"}"#]).await, @r#"
    {
      "got": {
        "code": "print(1)"
      },
      "text": "a\u202eb"
    }
    --- stderr
    call_018bcfe5680070008000000000000003 in run_018bcfe5680070008000000000000001
    --- exit 0
    "#);
    let json = Scene::new().call(&["tools", "call", "python_run", "--json"]).await;
    assert_eq!(json.json()["output"]["got"], serde_json::json!({}));
    assert!(!json.out.contains('\u{202e}'), "hidden characters are escaped in JSON as well");
}

#[tokio::test]
async fn tools_call_from_file_and_input() {
    let mut scene = Scene::new();
    let file = scene.home.path().join("args.json");
    std::fs::write(&file, r#"{"from": "file"}"#).unwrap();
    let called = scene.call(&["tools", "call", "python.run", &format!("@{}", file.display()), "--json"]).await.json();
    assert_eq!(called["output"]["got"]["from"], "file");
    scene.typed = vec![r#"{"from": "input"}"#.into()];
    assert_eq!(scene.call(&["tools", "call", "python.run", "-", "--json"]).await.json()["output"]["got"]["from"], "input");
}

#[tokio::test]
async fn tools_call_that_does_not_go_through() {
    insta::assert_snapshot!(whole(&["tools", "call", "pyton.run"]).await, @"
    --- stderr
    error[UNKNOWN_TOOL]: there is no tool `pyton.run`
      hint: did you mean `python.run`?
    call_018bcfe5680070008000000000000003 in run_018bcfe5680070008000000000000001
    --- exit 2
    ");
    insta::assert_snapshot!(whole(&["tools", "call", "repo.git.push"]).await, @"
    --- stderr
    error[POLICY_DENIED]: no rule allows it
      hint: ask the operator
    call_018bcfe5680070008000000000000003 in run_018bcfe5680070008000000000000001
    --- exit 3
    ");
    insta::assert_snapshot!(whole(&["tools", "call", "notify.send"]).await, @"
    --- stderr
    error[APPROVAL_REQUIRED]: a human must say yes to this call
      hint: `toolgate approvals approve apr_018bcfe5680070008000000000000002`, then make the same call again
    call_018bcfe5680070008000000000000003 in run_018bcfe5680070008000000000000001
    --- exit 4
    ");
    let json = Scene::new().call(&["tools", "call", "notify.send", "--json"]).await;
    assert_eq!((json.exit, json.json()["error"]["code"].as_str()), (Exit::Waiting, Some("APPROVAL_REQUIRED")));
}

#[tokio::test]
async fn tools_call_with_arguments_that_are_not_json() {
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", "{\"code\": print}"]).await, @r#"
    --- stderr
    error[INVALID_INPUT]: the argument is not JSON: expected value at line 1 column 10
      hint: write an object in single quotes, such as '{"key": "value"}', or give `@FILE` or `-`
    --- exit 2
    "#);
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", "{\"code\": "]).await, @r#"
    --- stderr
    error[INVALID_INPUT]: the argument is JSON that ends too early: EOF while parsing a value at line 1 column 9
      hint: write an object in single quotes, such as '{"key": "value"}', or give `@FILE` or `-`
    --- exit 2
    "#);
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", "[1]"]).await, @r#"
    --- stderr
    error[INVALID_INPUT]: the argument is JSON but not an object
      hint: arguments are an object, such as '{"key": "value"}'
    --- exit 2
    "#);
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", "@/no/such/file"]).await, @"
    --- stderr
    error[NOT_FOUND]: `/no/such/file` cannot be read: No such file or directory (os error 2)
      hint: name a file that is there
    --- exit 2
    ");
    insta::assert_snapshot!(whole(&["tools", "call", "python.run", "{", "--json"]).await, @r#"
    --- stderr
    {"error":{"code":"INVALID_INPUT","message":"the argument is JSON that ends too early: EOF while parsing an object at line 1 column 1","hint":"write an object in single quotes, such as '{\"key\": \"value\"}', or give `@FILE` or `-`"}}
    --- exit 2
    "#);
}

#[tokio::test]
async fn tools_check() {
    let scene = Scene::new();
    for name in ["fine.yaml", "broken.yaml"] {
        std::fs::write(scene.home.path().join(name), "").unwrap();
    }
    let check = async |name: &str| scene.call(&["tools", "check", &scene.home.path().join(name).display().to_string()]).await.whole();
    insta::assert_snapshot!(check("fine.yaml").await, @"
    $HOME/fine.yaml is right: notify.send 1.0.0, write
    --- stderr
    --- exit 0
    ");
    insta::assert_snapshot!(check("broken.yaml").await, @"
    --- stderr
    error[MANIFEST_INVALID]: 1 problem
      $HOME/broken.yaml:4: unknown field `efects`
        hint: did you mean `effects`?
    --- exit 2
    ");
    insta::assert_snapshot!(check("missing.yaml").await, @"
    --- stderr
    error[NOT_FOUND]: `$HOME/missing.yaml` is not a file
      hint: name a file that is there
    --- exit 2
    ");
    assert_eq!(*scene.house.closed.lock().unwrap(), 0, "a file is checked without opening the house");
}

#[tokio::test]
async fn workflows() {
    insta::assert_snapshot!(whole(&["workflows", "list"]).await, @"
    NAME           VERSION  STEPS  FROM     ABOUT
    build_service  1.0.0    5      shipped  Builds a service
    --- stderr
    --- exit 0
    ");
    insta::assert_snapshot!(whole(&["workflows", "show", "build_service"]).await, @"
    build_service 1.0.0  (shipped)
      │ Builds a service. And commits it.
    inputs
      INPUT     TYPE     DEFAULT     ABOUT
      resource  string   (required)  what it serves
      count     integer  1
    steps
      STEP  KIND      AFTER
      plan  plan
      docs  research  plan
      web   research  plan
      ask   approval  docs, web
      repo  repo      ask
    --- stderr
    --- exit 0
    ");
    let scene = Scene::new();
    let file = scene.home.path().join("w.yaml");
    std::fs::write(&file, "").unwrap();
    insta::assert_snapshot!(scene.call(&["workflows", "validate", &file.display().to_string()]).await.whole(), @"
    $HOME/w.yaml is right: build_service 1.0.0, 5 steps
    --- stderr
    --- exit 0
    ");
    assert_eq!(scene.call(&["workflows", "show", "nope"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn runs() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.call(&["runs", "list"]).await.whole(), @"
    --- stderr
    no runs
    --- exit 0
    ");
    let show = ["runs", "show", &run_id().to_string()];
    insta::assert_snapshot!(scene.call(&show).await.whole(), @"
    --- stderr
    error[UNKNOWN_RUN]: there is no run of that id
    --- exit 2
    ");
    *scene.house.view.lock().unwrap() = Some(fresh_run());
    insta::assert_snapshot!(scene.call(&["runs", "list"]).await.whole(), @"
    ID                                    STATUS   WORKFLOW       FOR       CREATED                          UPDATED  EVENTS
    run_018bcfe5680070008000000000000001  running  build_service  operator  12 s ago (2023-11-14 22:13:08Z)  1 s ago  3
    --- stderr
    --- exit 0
    ");
    insta::assert_snapshot!(scene.call(&show).await.whole(), @r"
    run_018bcfe5680070008000000000000001 (build_service) running
      goal      a service\u{200b} for Listing
      for       operator
      created   12 s ago (2023-11-14 22:13:08Z)
      updated   1 s ago (2023-11-14 22:13:19Z)
      events    3
      workspace /home/ann/runs/1
        · plan
      ┌ · docs
      └ · web
        · ask
        · repo
    --- stderr
    --- exit 0
    ");
    insta::assert_snapshot!(scene.call(&["runs", "cancel", &run_id().to_string()]).await.whole(), @"
    run_018bcfe5680070008000000000000001 cancelled
    --- stderr
    --- exit 0
    ");
    assert_eq!(scene.call(&["runs", "list", "--status", "nonsense"]).await.exit, Exit::Usage);
    assert_eq!(*scene.house.closed.lock().unwrap(), 5, "the house is closed after every verb");
}

#[tokio::test]
async fn runs_events() {
    let scene = Scene::new();
    *scene.house.view.lock().unwrap() = Some(fresh_run());
    insta::assert_snapshot!(scene.call(&["runs", "events", &run_id().to_string()]).await.whole(), @r#"
        1  2023-11-14T22:13:20.000Z  run_created                             {"workflow":"build_service"}
        2  2023-11-14T22:13:20.000Z  step_started            plan            {"attempt":1}
        3  2023-11-14T22:13:20.000Z  user_message                            {"text":"go\u001b[31m"}
    --- stderr
    --- exit 0
    "#);
    let lines = scene.call(&["runs", "events", &run_id().to_string(), "--after", "1", "--json"]).await.out;
    let seqs: Vec<u64> =
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [2, 3]);
    scene.house.view.lock().unwrap().as_mut().unwrap().row.status = crate::run::RunStatus::Succeeded;
    assert_eq!(scene.call(&["runs", "events", &run_id().to_string(), "--follow"]).await.exit, Exit::Ok, "ends with the run");
}

#[tokio::test]
async fn approvals() {
    let mut scene = Scene::new();
    insta::assert_snapshot!(scene.call(&["approvals", "list"]).await.whole(), @"
    --- stderr
    nothing waits for an answer
    --- exit 0
    ");
    *scene.house.approval.lock().unwrap() = Some(approval());
    insta::assert_snapshot!(scene.call(&["approvals", "list"]).await.whole(), @"
    ID                                    STATUS   TOOL               FOR    ASKED      EXPIRES    WHY
    apr_018bcfe5680070008000000000000002  pending  workflow.approval  local  1 min ago  in 14 min  the step asks
    --- stderr
    --- exit 0
    ");
    let id = approval_id().to_string();
    insta::assert_snapshot!(scene.call(&["approvals", "show", &id]).await.whole(), @r"
    approval apr_018bcfe5680070008000000000000002 (pending)
      tool     workflow.approval
      run      run_018bcfe5680070008000000000000001, step `ask`
      for      local
      why      the step asks
      asked    1 min ago (2023-11-14 22:12:20Z)
      expires  in 14 min (2023-11-14 22:27:20Z)
      digest   7edb360f06acaef2cc80dba16cf563f199d347db4443da04da0c8173e3f9e4ed
      what is to be done:
      │ files:
      │   - api.py
      │ message:
      │   | commit 12 files
      │   |   approved by the operator\u{202e}
    --- stderr
    --- exit 0
    ");

    scene = scene.on_terminal(&[], &[PHRASE, PHRASE]);
    let approved = scene.call(&["approvals", "approve", &id]).await;
    assert_eq!(approved.out, format!("approved {id}\n"), "{}", approved.err);
    assert!(approved.err.contains("  │ message:\n  │   | commit 12 files\n"), "shown in full before: {}", approved.err);
    assert_eq!(*scene.house.decided.lock().unwrap(), Some((true, None)));
}

#[tokio::test]
async fn an_answer_needs_the_operator() {
    let scene = Scene::new();
    *scene.house.approval.lock().unwrap() = Some(approval());
    let id = approval_id().to_string();
    let nobody = scene.call(&["approvals", "approve", &id]).await;
    assert_eq!(nobody.exit, Exit::Refused);
    assert!(nobody.err.contains("error[OPERATOR_LOCKED]"), "{}", nobody.err);

    let scene = scene.on_terminal(&[], &[PHRASE, PHRASE]);
    assert_eq!(scene.call(&["approvals", "deny", &id, "--reason", "not today"]).await.exit, Exit::Ok);
    assert_eq!(*scene.house.decided.lock().unwrap(), Some((false, Some("not today".into()))));
    *scene.house.decided.lock().unwrap() = None;

    let scene = scene.on_terminal(&[], &["wrong horse"]);
    let wrong = scene.call(&["approvals", "approve", &id]).await;
    assert_eq!((wrong.exit, wrong.err.contains("the passphrase is wrong")), (Exit::Refused, true));
    assert_eq!(scene.call(&["approvals", "deny", &id]).await.exit, Exit::Usage, "a reason is needed");
    assert_eq!(scene.call(&["approvals", "approve", "apr_018bcfe5680070008000000000000009"]).await.exit, Exit::Usage);
    assert_eq!(*scene.house.decided.lock().unwrap(), None, "nothing was decided");
}

#[cfg(unix)]
#[tokio::test]
async fn the_passphrase_comes_by_a_descriptor() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let scene = Scene::new();
    *scene.house.approval.lock().unwrap() = Some(approval());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(PHRASE.as_bytes()).unwrap();
    let descriptor = file.as_raw_fd().to_string();
    let id = approval_id().to_string();
    let approved = scene.call(&["approvals", "approve", &id, "--passphrase-fd", &descriptor, "--json"]).await;
    assert_eq!((approved.exit, approved.json()["status"].as_str()), (Exit::Ok, Some("approved")), "{}", approved.err);
    let closed = scene.call(&["approvals", "approve", &id, "--passphrase-fd", "9999"]).await;
    assert_eq!(closed.exit, Exit::Refused);
}

#[tokio::test]
async fn audit() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.call(&["audit", "verify"]).await.whole(), @"
    42 records are sound; the newest is 41 9f2e6d33a3717ee826353a404ba4618d1aeeb6879ad7936bce8ed5f46814924d
    40 of them are as they were signed by the key 0badc0de; 2 checkpoints hold
    --- stderr
    --- exit 0
    ");
    insta::assert_snapshot!(scene.call(&["audit", "head"]).await.whole(), @"
    41 9f2e6d33a3717ee826353a404ba4618d1aeeb6879ad7936bce8ed5f46814924d

    toolgate/00
    40
    root
    head 00

    — toolgate/00 signature
    --- stderr
    --- exit 0
    ");
    let head = scene.call(&["audit", "head", "--json"]).await.json();
    assert_eq!((head["index"].as_u64(), head["checkpoint"]["size"].as_u64()), (Some(41), Some(40)));
    let run = run_id().to_string();
    assert_eq!(scene.call(&["audit", "proof", "5", "--run", &run]).await.json()["index"], 15);
    let export = scene.call(&["audit", "export"]).await.out;
    assert_eq!(export.lines().count(), 42);
    let few = scene.call(&["audit", "export", "--from", "40", "--limit", "1", "--without-values"]).await.json();
    assert_eq!((few["index"].as_u64(), few["record"].as_str(), few["sealed"].is_null()), (Some(40), Some("{}"), true));
    assert_eq!(few["hash"].as_str().map(str::len), Some(64));
    *scene.house.audit_broken.lock().unwrap() = true;
    insta::assert_snapshot!(scene.call(&["audit", "verify"]).await.whole(), @"
    --- stderr
    error[AUDIT_BROKEN]: record 7 of run_018bcfe5680070008000000000000001 does not verify: its hash is another
      hint: 7 records before it are sound; keep the database as it is and compare it with a copy
    --- exit 1
    ");
    let json = scene.call(&["audit", "verify", "--json"]).await;
    assert_eq!((json.exit, json.json()["broken"]["index"].as_u64()), (Exit::Failed, Some(7)));
}

/// Columns are as wide as the temporary folder's name.
fn squeezed(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn config() {
    let mut scene = Scene::new();
    scene.vars = vec![("TOOLGATE_LOG".into(), "error".into()), ("TOOLGATE_STRAY".into(), "1".into())];
    std::fs::create_dir(scene.home.path().join("toolgate")).unwrap();
    let file = scene.home.path().join("toolgate/toolgate.toml");
    std::fs::write(&file, "[git]\nauthor_name = \"Ann\"\n").unwrap();
    insta::assert_snapshot!(squeezed(&scene.call(&["config", "show"]).await.whole()), @r#"
    KEY VALUE FROM
    home $HOME/toolgate default
    log error environment TOOLGATE_LOG
    drive.local_root $HOME/toolgate/drive default
    drive.providers ["local"] default
    drive.google_client_id default
    drive.google_client_secret default
    drive.google_scope drive.file default
    drive.google_shared no default
    drive.google_endpoints [] default
    drive.google_chunk_bytes 8388608 default
    drive.s3 [] default
    drive.webdav [] default
    drive.onedrive [] default
    drive.dropbox [] default
    git.author_name Ann $HOME/toolgate/toolgate.toml:2
    git.author_email toolgate@localhost default
    python.cache_dir $HOME/toolgate/cache default
    egress.proxy default
    egress.private [] default
    egress.extra_roots default
    egress.per_host_per_second 20 default
    egress.per_host_burst 60 default
    sandbox.cgroup default
    sandbox.require_cgroup no default
    sandbox.jobs_at_once 8 default
    approvals.wait_sec 45 default
    approvals.expire_sec 900 default
    approvals.pending_per_run 10 default
    approvals.per_minute 20 default
    approvals.longest_grant_sec 28800 default
    approvals.elicitation off default
    approvals.trusted_principals [] default
    approvals.webhook default
    approvals.webhook_secret default
    policy.profile default default
    labels.private_paths [] default
    audit.checkpoint_events 1000 default
    audit.checkpoint_seconds 60 default
    audit.key_file default
    audit.witness default
    audit.witness_required no default
    budgets.run.calls 0 default
    budgets.run.tokens 0 default
    budgets.run.wall_sec 0 default
    budgets.run.bytes_out 0 default
    budgets.principal.steps 0 default
    budgets.principal.calls 0 default
    budgets.principal.tokens 0 default
    budgets.principal.wall_sec 0 default
    budgets.principal.bytes_out 0 default
    budgets.principals [] default
    storage.max_bytes 0 default
    storage.run_max_bytes 0 default
    storage.min_free_bytes 67108864 default
    limits.inline_output_bytes 16384 default
    redaction.patterns tokens default
    redaction.pii [] default
    redaction.fields ["default"] default
    serve.tool_names underscore default
    serve.answer_sec 45 default
    serve.toolsets ["default"] default
    http.public_url default
    http.behind_proxy no default
    http.tls_cert default
    http.tls_key default
    http.rate 1000 default
    http.burst 2000 default
    http.concurrent 256 default
    http.streams 64 default
    oidc.issuer default
    oidc.audience default
    oidc.scopes [] default
    telemetry.otlp.endpoint default
    telemetry.otlp.authorization_file default
    telemetry.otlp.sample_percent 100 default
    vault.key auto default
    vault.key_file default
    notify.default [] default
    notify.attempts 10 default
    notify.wait_sec 5 default
    web.providers ["duckduckgo","wikipedia"] default
    web.keys [] default
    web.endpoints [] default
    web.google_engine default
    web.daily [] default
    web.robots heed default
    web.cache_bytes 67108864 default
    web.timeout_sec 25 default
    --- stderr
    note: the variable `TOOLGATE_STRAY` means nothing to toolgate
    --- exit 0
    "#);
    let json = scene.call(&["config", "show", "--json"]).await.json();
    assert_eq!(json["settings"]["log"], serde_json::json!({"value": "error", "source": "environment TOOLGATE_LOG"}));
    insta::assert_snapshot!(scene.call(&["config", "check", "--log", "warn"]).await.whole(), @"
    $HOME/toolgate/toolgate.toml is right
    --- stderr
    note: the variable `TOOLGATE_STRAY` means nothing to toolgate
    --- exit 0
    ");
    std::fs::write(&file, "[git]\nauthor = \"Ann\"\nx = \n").unwrap();
    insta::assert_snapshot!(scene.call(&["config", "check"]).await.whole(), @"
    --- stderr
    error[CONFIG_INVALID]: 1 problem
      $HOME/toolgate/toolgate.toml:3: not TOML: string values must be quoted, expected literal string
    --- exit 2
    ");
    std::fs::write(&file, "[git]\nauthor_nam = \"Ann\"\n[log]\n").unwrap();
    insta::assert_snapshot!(scene.call(&["tools", "list"]).await.whole(), @"
    --- stderr
    error[CONFIG_INVALID]: 1 problem
      $HOME/toolgate/toolgate.toml:2: unknown key `git.author_nam`
        hint: did you mean `git.author_name`?
    --- exit 2
    ");
}

#[tokio::test]
async fn doctor() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.call(&["doctor"]).await.whole(), @"
    ✓ database  3 runs, 40 records
    ✓ python    compiled runtime
    ✓ clients   none has toolgate in its settings; `toolgate install CLIENT` writes it there
    everything works
    --- stderr
    --- exit 0
    ");
    *scene.house.broken.lock().unwrap() = Some(Fault::internal("x"));
    insta::assert_snapshot!(scene.call(&["doctor"]).await.whole(), @"
    ✓ database  3 runs, 40 records
    ✗ python    compiled runtime
                → free 100 MB in the cache folder
    ✓ clients   none has toolgate in its settings; `toolgate install CLIENT` writes it there
    1 check failed
    --- stderr
    --- exit 1
    ");
    assert_eq!(scene.call(&["doctor", "--json"]).await.json()["ok"], false);
}

#[tokio::test]
async fn init_is_done_once() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.call(&["init"]).await.whole(), @"
    created $HOME/toolgate
    created $HOME/toolgate/tool-manifests
    created $HOME/toolgate/policies
    created $HOME/toolgate/workflows
    created $HOME/toolgate/drive
    created $HOME/toolgate/toolgate.toml
    --- stderr
    The operator's passphrase is not set. Whoever answers first sets it: run `toolgate init` on a terminal.
    --- exit 0
    ");
    let file = scene.home.path().join("toolgate/toolgate.toml");
    std::fs::write(&file, "log = \"info\"\n").unwrap();
    let again = scene.call(&["init"]).await;
    assert!(!again.out.contains("created"), "{}", again.out);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "log = \"info\"\n", "what a person wrote is kept");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(scene.home.path().join("toolgate/policies")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let scene = scene.on_terminal(&[], &["short"]);
    let refused = scene.call(&["init"]).await;
    assert!(refused.exit == Exit::Ok && refused.err.contains("OPERATOR_LOCKED"), "a passphrase may be left for later");
    let scene = scene.on_terminal(&[], &[PHRASE, PHRASE]);
    assert!(scene.call(&["init"]).await.out.contains("created operator's passphrase"));
    assert_eq!(scene.call(&["init", "--json"]).await.json()["operator_passphrase_set"], true);
}

#[tokio::test]
async fn serve_is_told_the_settings_right_or_wrong() {
    let scene = Scene::new();
    assert_eq!(scene.call(&["serve", "--tool-names", "dotted", "--toolsets", "default,audit"]).await.exit, Exit::Ok);
    assert_eq!(scene.house.served.lock().unwrap().take().unwrap(), "dotted default+audit");
    assert_eq!(scene.call(&["serve", "--tool-names", "camel"]).await.exit, Exit::Ok);
    let told = scene.house.served.lock().unwrap().take().unwrap();
    assert_eq!(told, "broken: option --tool-names: `camel` is none of underscore, dotted");
}

#[tokio::test]
async fn a_house_that_does_not_open_is_told_with_every_problem() {
    let scene = Scene::new();
    let problems = vec![Problem::new("a.yaml", "bad").at(Some(2)), Problem::new("b.cedar", "worse\u{1b}[2J")];
    *scene.house.broken.lock().unwrap() = Some(Problems::check(problems).unwrap_err().into_fault(ErrorCode::ManifestInvalid));
    insta::assert_snapshot!(scene.call(&["runs", "list"]).await.whole(), @r"
    --- stderr
    error[MANIFEST_INVALID]: 2 problems
      a.yaml:2: bad
      b.cedar: worse\u{1b}[2J
    --- exit 2
    ");
}

#[tokio::test]
async fn policy_check() {
    let scene = Scene::new();
    let file = scene.home.path().join("team.cedar");
    std::fs::write(&file, "").unwrap();
    let file = file.display().to_string();
    insta::assert_snapshot!(scene.call(&["policy", "check", &file]).await.whole(), @r#"
    policies/team.cedar:7: unreachable rule `gone`, error
        whatever it permits, `wall` (policies/team.cedar:3) forbids
        hint: mend it\u{1b}[2J
    policies/team.cedar:7: untested rule, note
        no test is decided by it
    5 rules, digest 6c621d1a0513: 1 error, 1 note
    --- stderr
    --- exit 1
    "#);
    insta::assert_snapshot!(whole(&["policy", "check"]).await, @r#"
    5 rules, digest 6c621d1a0513: nothing odd
    --- stderr
    --- exit 0
    "#);
    let json = scene.call(&["policy", "check", &file, "--json"]).await;
    assert_eq!((json.exit, json.json()["findings"][0]["kind"].as_str()), (Exit::Failed, Some("unreachable")));
    insta::assert_snapshot!(whole(&["policy", "check", "/nowhere.cedar"]).await, @r#"
    --- stderr
    error[NOT_FOUND]: there is no `/nowhere.cedar`
      hint: name a file or folder that is there
    --- exit 2
    "#);
}

#[tokio::test]
async fn policy_test() {
    let scene = Scene::new();
    let file = scene.home.path().join("team.test.yaml");
    std::fs::write(&file, "").unwrap();
    let file = file.display().to_string();
    insta::assert_snapshot!(scene.call(&["policy", "test", &file]).await.whole(), @r#"
    policies/team.test.yaml:3: an agent\u{202e}writes
        expected  allow by agent-inside
        found     deny by default
    2 tests, 1 failed
    --- stderr
    --- exit 1
    "#);
    insta::assert_snapshot!(whole(&["policy", "test"]).await, @r#"
    1 test passed
    --- stderr
    --- exit 0
    "#);
    let json = scene.call(&["policy", "test", &file, "--json"]).await;
    assert_eq!(
        (json.exit, json.json()["ok"].as_bool(), json.json()["tests"][1]["passed"].as_bool()),
        (Exit::Failed, Some(false), Some(false))
    );
}

#[tokio::test]
async fn policy_explain() {
    insta::assert_snapshot!(whole(&["policy", "explain", "web_fetch", "{}", "--as", "agent/ci", "--label", "untrusted"]).await, @r#"
    ask  web.fetch for agent ci
      effects  egress
      hosts    example.org
      labels   untrusted
    because
      ask    agent-network  policies/default.cedar:11  the call uses the network
    standing grants
      grt_018bcfe5680070008000000000000004  answers: nobody is asked; given 2023-11-14T22:13:20.000Z by cli, until 2023-11-14T23:13:20.000Z
      grt_018bcfe5680070008000000000000004  does not answer; given 2023-11-14T22:13:20.000Z by cli, until 2023-11-14T23:13:20.000Z
               its time is over
               it does not cover `example.org`
    to be allowed
      agent-network (ask)  policies/default.cedar:11 must not match; this must not hold
               context.effects.contains("egress")
                 context.effects is ["egress"]
    near misses
      allow  docs  policies/default.cedar:11
               context.input.url like "https://docs.example/*"
                 context.input.url is (not there)
    on trial
      deny   strict  would decide so, were it in force
    3 rules looked at, policy 6c621d1a0513
    --- stderr
    --- exit 0
    "#);
    let json = Scene::new().call(&["policy", "explain", "web.fetch", "--json"]).await.json();
    assert_eq!((json["verdict"].as_str(), json["differ"][0]["must"].as_str()), (Some("ask"), Some("not_match")));
    for (wrong, told) in [("boss", "none of agent, operator, system"), ("agent/", "a name must follow the `/`")] {
        let mistake = Scene::new().call(&["policy", "explain", "web.fetch", "--as", wrong]).await;
        assert!(mistake.exit == Exit::Usage && mistake.err.contains(told), "{}", mistake.whole());
    }
}

#[tokio::test]
async fn policy_trials() {
    insta::assert_snapshot!(Scene::new().call(&["policy", "trials"]).await.whole(), @r#"
    RULE    MATCHED  CHANGED
    strict  12       3
    --- stderr
    --- exit 0
    "#);
    let json = Scene::new().call(&["policy", "trials", "--json"]).await.json();
    assert_eq!((json[0]["rule"].as_str(), json[0]["changed"].as_u64()), (Some("strict"), Some(3)));
    let none = Scene::new().call(&["policy", "trials", "--since", "12h"]).await;
    assert!(none.exit == Exit::Ok && none.out.contains("no rule is on trial"), "{}", none.whole());
}

#[tokio::test]
async fn policy_replay() {
    let scene = Scene::new();
    let with = scene.home.path().display().to_string();
    insta::assert_snapshot!(scene.call(&["policy", "replay", "--with", &with]).await.whole(), @r#"
    VERDICT     TOOL       BY      PRINCIPAL  CALL                                   RUN
    ask → deny  web.fetch  no-web  local      call_018bcfe5680070008000000000000003  run_018bcfe5680070008000000000000001
    12 calls asked about, 1 decided otherwise
    not asked about: 1 call with redacted arguments
    policy cba06b5736fa → 11507a0e2f5e
    --- stderr
    --- exit 0
    "#);
    insta::assert_snapshot!(scene.call(&["policy", "replay", "--with", &with, "--since", "12h"]).await.whole(), @r#"
    12 calls asked about, all decided as before
    policy cba06b5736fa → 11507a0e2f5e
    --- stderr
    --- exit 0
    "#);
    let json = scene.call(&["policy", "replay", "--with", &with, "--json"]).await.json();
    assert_eq!((json["changed"][0]["new"].as_str(), json["unasked"]["redacted"].as_u64()), (Some("deny"), Some(1)));
    insta::assert_snapshot!(scene.call(&["policy", "replay", "--with", &with, "--since", "soon"]).await.whole(), @r#"
    --- stderr
    error[INVALID_INPUT]: `soon` is neither a time nor a span
      hint: write 2026-01-31T12:00:00Z, 30m, 12h or 7d
    --- exit 2
    "#);
}
