//! `notify.send` through the real binary, against local servers that speak each service's documented form.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::secrets::sealed::signature;

use crate::support::notified::{answer, home, send, told, words};
use crate::support::web_server::{Asked, Reply, WebServer};
use crate::support::{Toolgate, files};
use crate::vault::{CANARY, as_operator, assert_nowhere};

/// What a hook's address is opened by.
const PATH: &str = "/services/T00000000/B00000000/kanarieXveiligX7788";

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// Nothing that is kept or said holds the secrets.
fn assert_kept_out(toolgate: &Toolgate, logs: &[&str]) {
    for (what, bytes) in logs.iter().map(|log| ("the log".to_owned(), log.as_bytes().to_vec())).chain(
        files(&toolgate.data())
            .into_iter()
            .filter(|file| file.extension().is_none_or(|end| end != "secret"))
            .map(|file| (file.display().to_string(), std::fs::read(&file).unwrap())),
    ) {
        assert_nowhere(&what, &bytes);
        let found = String::from_utf8_lossy(&bytes).contains("kanarieXveiligX7788");
        assert!(!found, "{what} holds the hook's address");
    }
}

#[test]
fn a_webhook_gets_a_signed_message_once_and_the_run_tells_of_it() {
    let server = WebServer::start(|_| Reply::new(204, "text/plain", ""));
    let settings = format!(
        "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify.channels.ops]\nkind = \"webhook\"\nurl = \"{base}/hook?team=a\"\n\
         secret_file = \"ops.secret\"\ntitle = \"[{{{{ level }}}}] {{{{ title }}}}\"\n",
        port = server.port,
        base = server.base()
    );
    let toolgate = home(&settings, &[("ops.secret", CANARY)]);
    let ran =
        send(&toolgate, &json!({ "channel": "ops", "title": "Build", "message": "done\nsecond <line>", "level": "success" })).exits(0);
    assert_eq!(answer(&ran), json!({ "delivered": ["ops"], "queued": [], "failed": [] }));

    let asked = server.asked();
    let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    let told = told(&toolgate);
    assert_eq!(words(&told), ["notify_queued", "notify_sent"]);
    let id = told[0]["message_id"].as_str().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/hook?team=a"));
    assert_eq!((asked.header("idempotency-key"), asked.header("toolgate-delivery")), (Some(id), Some(id)));
    let sent = body(asked);
    assert_eq!(
        (&sent["type"], &sent["id"], &sent["title"], &sent["message"], &sent["level"]),
        (&json!("notification"), &json!(id), &json!("[success] Build"), &json!("done\nsecond <line>"), &json!("success"))
    );
    let (time, signed) = asked.header("toolgate-signature").unwrap().strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(signed, signature(CANARY.as_bytes(), &[time.as_bytes(), b".", &asked.body]).unwrap());
    assert_ne!(signed, signature(b"another key", &[time.as_bytes(), b".", &asked.body]).unwrap());

    let requests = toolgate.http_requests();
    assert_eq!(
        (requests.len(), &requests[0]["purpose"], &requests[0]["path"], &requests[0]["status"]),
        (1, &json!("notify"), &json!("/hook"), &json!(204))
    );
    assert_kept_out(&toolgate, &[&ran.stdout, &ran.stderr]);
    let shown = toolgate.json(0, &["config", "show", "--json"]);
    assert_eq!(shown["settings"]["notify.channels.ops.title"]["value"], "[{{ level }}] {{ title }}");
    assert!(shown["settings"]["notify.channels.ops.kind"]["source"].as_str().unwrap().ends_with("toolgate.toml:4"), "{shown}");
}

/// Text that services would take for signs of their own.
const SIGNS: &str = "<!channel> <@U012AB3CD> @everyone @here <https://evil.example|click> & a < b";

#[test]
fn each_service_gets_its_documented_form_and_nobody_is_called_by_a_text() {
    let server = WebServer::start(|asked| match asked.path() {
        path if path == PATH && asked.header("content-type") == Some("application/json") => match asked.target.split_once('?') {
            // Discord answers with the message where it is waited for.
            Some((_, "wait=true")) => Reply::json(&json!({ "id": "1", "type": 0, "content": body(asked)["content"] })),
            Some(_) => Reply::new(400, "text/plain", "no"),
            None => Reply::new(200, "text/plain", "ok"),
        },
        "/" if asked.header("authorization") == Some(&format!("Bearer {CANARY}")) => {
            Reply::json(&json!({ "id": "xE73Iyuabi", "event": "message", "topic": body(asked)["topic"] }))
        }
        _ => Reply::new(404, "text/plain", "no_service"),
    });
    let base = server.base();
    let mut settings = format!("[egress]\nprivate = [\"notify=127.0.0.1:{}\"]\n", server.port);
    for kind in ["slack", "discord"] {
        settings += &format!("[notify.channels.{kind}]\nkind = \"{kind}\"\nurl = \"{base}\"\nsecret_file = \"hook.secret\"\n");
    }
    settings += &format!("[notify.channels.push]\nkind = \"ntfy\"\nurl = \"{base}\"\ntopic = \"builds\"\nsecret = \"secret:TOKEN\"\n");
    let toolgate = home(&settings, &[("hook.secret", &format!("{base}{PATH}"))]);
    as_operator(&toolgate, &["init"], "").exits(0);
    as_operator(&toolgate, &["vault", "set", "TOKEN", "--hosts", &base], &format!("{CANARY}\n")).exits(0);
    let mut logs = String::new();
    for channel in ["slack", "discord", "push"] {
        let ran = send(&toolgate, &json!({ "channel": channel, "title": "T", "message": SIGNS, "level": "error" })).exits(0);
        assert_eq!(answer(&ran)["delivered"], json!([channel]));
        logs += &(ran.stdout + &ran.stderr);
    }
    let asked = server.asked();
    let [slack, discord, push] = [0, 1, 2].map(|n| body(&asked[n]));
    let text = slack["text"].as_str().unwrap();
    assert_eq!(text, "T\n&lt;!channel&gt; &lt;@U012AB3CD&gt; @everyone @here &lt;https://evil.example|click&gt; &amp; a &lt; b");
    assert!(!text.contains('<') && slack["link_names"] == false && slack["unfurl_links"] == false, "{slack}");
    assert_eq!(discord["content"], format!("T\n{SIGNS}"));
    assert_eq!((&discord["allowed_mentions"], &discord["flags"]), (&json!({ "parse": [] }), &json!(4)));
    assert_eq!(
        (&push["topic"], &push["title"], &push["message"], &push["priority"]),
        (&json!("builds"), &json!("T"), &json!(SIGNS), &json!(5))
    );
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.iter().all(|key| key.starts_with("msg_")) && keys[0] != keys[1], "{keys:?}");
    assert_kept_out(&toolgate, &[&logs]);
}

/// A home whose channel `ops` is this server, and which gives up after so many attempts.
fn ops(server: &WebServer, attempts: u32) -> Toolgate {
    let settings = format!(
        "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify]\nattempts = {attempts}\nwait_sec = 8\n\
         [notify.channels.ops]\nkind = \"webhook\"\nurl = \"{base}/hook\"\nsecret_file = \"ops.secret\"\n",
        port = server.port,
        base = server.base()
    );
    home(&settings, &[("ops.secret", CANARY)])
}

const MESSAGE: &str = r#"{"channel": "ops", "message": "m"}"#;

fn message() -> Value {
    serde_json::from_str(MESSAGE).unwrap()
}

#[test]
fn a_busy_server_is_asked_again_with_the_same_key_and_not_before_it_says() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = times.clone();
    let server = WebServer::start(move |_| {
        let mut times = seen.lock().unwrap();
        times.push(Instant::now());
        if times.len() == 1 {
            Reply::new(429, "text/plain", "slow down").header("Retry-After", "3")
        } else {
            Reply::new(200, "text/plain", "ok")
        }
    });
    let toolgate = ops(&server, 10);
    let ran = send(&toolgate, &message()).exits(0);
    let told = told(&toolgate);
    // A machine under load may not see the end in time; then it is honest, and a server goes on.
    if answer(&ran)["delivered"] == json!(["ops"]) {
        assert_eq!(words(&told), ["notify_queued", "notify_deferred", "notify_sent"]);
        let times = times.lock().unwrap();
        assert!(times[1] - times[0] >= Duration::from_millis(2_900), "{times:?}");
        let keys: Vec<_> = server.asked().iter().map(|asked| asked.header("idempotency-key").unwrap().to_owned()).collect();
        assert_eq!(keys[0], keys[1]);
        assert_eq!((&told[1]["code"], &told[1]["attempt"]), (&json!("NOTIFY_FAILED"), &json!(1)));
    } else {
        assert_eq!(answer(&ran)["queued"], json!(["ops"]), "{}", ran.stdout);
    }
}

#[test]
fn what_cannot_be_taken_is_told_and_tried_no_more_than_allowed() {
    for (status, attempts, events) in [
        (404, 10, vec!["notify_queued", "notify_failed"]),
        (302, 10, vec!["notify_queued", "notify_failed"]),
        (500, 2, vec!["notify_queued", "notify_deferred", "notify_failed"]),
    ] {
        let inner = WebServer::start(|_| Reply::new(200, "text/plain", "inner"));
        let place = inner.base();
        let server =
            WebServer::start(move |_| Reply::new(status, "text/plain", "their words").header("Location", &format!("{place}/secret")));
        let toolgate = ops(&server, attempts);
        let ran = send(&toolgate, &message());
        let told = told(&toolgate);
        assert_eq!(words(&told), events, "{status}: {}", ran.stderr);
        assert_eq!((ran.code, &answer(&ran)["error"]["code"]), (1, &json!("NOTIFY_FAILED")), "{status}: {}", ran.stdout);
        assert!(ran.stdout.contains(&status.to_string()) && !ran.stdout.contains("their words"), "{}", ran.stdout);
        assert_eq!((server.asked().len(), inner.asked().len()), (events.len() - 1, 0), "{status}: no redirect is followed");
    }
}

/// Answers the first connection in this manner and every later one well.
fn odd_server(manner: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let n = seen.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let mut say = |text: &str| drop(stream.write_all(text.as_bytes()));
                match manner {
                    _ if n > 0 => say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                    "lying length" => say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc"),
                    "huge length" => say("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\nabc"),
                    "no answer" => {}
                    "slow body" => {
                        say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n");
                        for _ in 0..60 {
                            say("x");
                            std::thread::sleep(Duration::from_secs(1));
                        }
                    }
                    other => panic!("{other}"),
                }
            });
        }
    });
    (port, count)
}

#[test]
fn an_answer_that_is_none_is_no_delivery_and_the_next_server_goes_on() {
    let manners = ["lying length", "huge length", "no answer", "slow body"];
    let runs = manners.map(|manner| {
        std::thread::spawn(move || {
            let (port, count) = odd_server(manner);
            let settings = format!(
                "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify]\nwait_sec = 1\n[notify.channels.ops]\nkind = \"webhook\"\n\
                 url = \"http://127.0.0.1:{port}/hook\"\nsecret_file = \"ops.secret\"\n"
            );
            let toolgate = home(&settings, &[("ops.secret", CANARY)]);
            let ran = send(&toolgate, &message()).exits(0);
            let first = answer(&ran);
            assert!(
                first["failed"] == json!([]) && (first["queued"] == json!(["ops"]) || count.load(Ordering::SeqCst) > 1),
                "{manner}: {first}"
            );
            let mut server =
                toolgate.command(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(120);
            while !words(&told(&toolgate)).contains(&"notify_sent") {
                assert!(Instant::now() < deadline, "{manner}: {:?}", told(&toolgate));
                std::thread::sleep(Duration::from_millis(300));
            }
            drop(server.stdin.take());
            server.wait().unwrap();
            assert!(count.load(Ordering::SeqCst) >= 2, "{manner}");
        })
    });
    for run in runs {
        run.join().unwrap();
    }
}

#[test]
fn nothing_goes_where_the_settings_do_not_lead() {
    let server = WebServer::start(|_| Reply::new(200, "text/plain", "ok"));
    // A private address without its exception.
    let settings = format!(
        "[notify.channels.ops]\nkind = \"webhook\"\nurl = \"https://127.0.0.1:{}/hook\"\nsecret_file = \"ops.secret\"\n",
        server.port
    );
    let toolgate = home(&settings, &[("ops.secret", CANARY)]);
    let ran = send(&toolgate, &message());
    assert!(ran.code == 1 && ran.stdout.contains("not public"), "{}", ran.stdout);
    // A hook whose secret leads elsewhere than its channel says.
    let settings = format!(
        "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify.channels.ops]\nkind = \"slack\"\nsecret_file = \"hook.secret\"\n",
        port = server.port
    );
    let toolgate = home(&settings, &[("hook.secret", &format!("http://127.0.0.1:{}{PATH}", server.port))]);
    let ran = send(&toolgate, &message());
    assert!(ran.code == 1 && ran.stdout.contains("does not lead to `hooks.slack.com:443`"), "{}", ran.stdout);
    // A token of the vault whose terms name another host.
    let settings = format!(
        "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify.channels.ops]\nkind = \"ntfy\"\nurl = \"http://127.0.0.1:{port}\"\ntopic = \"t\"\nsecret = \"secret:TOKEN\"\n",
        port = server.port
    );
    let toolgate = home(&settings, &[]);
    as_operator(&toolgate, &["init"], "").exits(0);
    as_operator(&toolgate, &["vault", "set", "TOKEN", "--hosts", "api.example.com"], &format!("{CANARY}\n")).exits(0);
    let ran = send(&toolgate, &message());
    assert!(ran.code == 1 && ran.stdout.contains("may not go to"), "{}", ran.stdout);
    assert_kept_out(&toolgate, &[&ran.stdout, &ran.stderr]);
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}

#[test]
fn doctor_tells_of_each_channel_and_of_what_waits() {
    let server = WebServer::start(|_| Reply::new(503, "text/plain", "later"));
    let toolgate = ops(&server, 10);
    let settings = toolgate.data().join("toolgate.toml");
    let more = "[notify.channels.chat]\nkind = \"slack\"\nsecret_file = \"hook.secret\"\n";
    std::fs::write(&settings, std::fs::read_to_string(&settings).unwrap().replace("wait_sec = 8", "wait_sec = 0") + more).unwrap();
    let ran = send(&toolgate, &message()).exits(0);
    assert_eq!(answer(&ran)["queued"], json!(["ops"]), "{}", ran.stdout);
    let ran = toolgate.run(&["doctor", "--json"]);
    let told = answer(&ran);
    let checks: Vec<(String, bool)> = told["checks"]
        .as_array()
        .unwrap_or_else(|| panic!("{told}"))
        .iter()
        .filter(|check| ["channel", "outbox"].contains(&check["name"].as_str().unwrap()))
        .map(|check| (check["detail"].as_str().unwrap().to_owned(), check["ok"] == true))
        .collect();
    let [(chat, false), (ops, true), (outbox, true)] = checks.as_slice() else { panic!("{checks:?}") };
    assert!(chat.contains("hooks.slack.com:443") && chat.contains("it is not there"), "{chat}");
    assert!(ops.starts_with("ops (webhook, 127.0.0.1:") && outbox.contains("1 messages wait"), "{ops} {outbox}");
    // A file that others can read is refused.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(toolgate.data().join("ops.secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = toolgate.run(&["doctor", "--json"]).stdout;
    assert!(told.contains("chmod 600"), "{told}");
}

#[test]
fn what_leaves_counts_against_the_budget_before_it_leaves() {
    let server = WebServer::start(|_| Reply::new(200, "text/plain", "ok"));
    let toolgate = ops(&server, 10);
    let settings = toolgate.data().join("toolgate.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}[budgets.run]\nbytes_out = 100\n")).unwrap();
    let ran = send(&toolgate, &message());
    assert_eq!((ran.code, server.asked().len()), (1, 0), "{}", ran.stdout);
    assert_eq!(told(&toolgate)[1]["code"], "BUDGET_EXCEEDED");
    std::fs::write(&settings, text).unwrap();
    send(&toolgate, &message()).exits(0);
    assert_eq!(server.asked().len(), 1);
}
