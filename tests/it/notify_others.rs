//! Mail to a server of others (aiosmtpd), and messages on a desktop over a real session bus. Where they are not installed the tests say so and pass,
//! unless clients are demanded.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::support::clients::{or_skip, python};
use crate::support::notified::{answer, home, send, told, words};
use crate::support::root;
use crate::vault::CANARY;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn a_mail_server_of_others_takes_mail() {
    let Some(python) = or_skip(python("from aiosmtpd.smtp import SMTP")) else { return };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [certificate_file, key_file] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let mut server = Command::new(python)
        .arg("-B")
        .arg(root().join("tests/clients/mail_server.py"))
        .args([&certificate_file, &key_file])
        .args(["toolgate", CANARY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port: u16 = lines.next().unwrap().unwrap().parse().unwrap();
    let settings = |secret: &str| {
        format!(
            "[egress]\nprivate = [\"notify=localhost:{port}\"]\nextra_roots = \"root.pem\"\n[notify]\nwait_sec = 8\n[notify.channels.mail]\n\
             kind = \"email\"\nurl = \"smtp://localhost:{port}\"\nfrom = \"toolgate@example.com\"\nrecipients = [\"ann@example.com\"]\n\
             user = \"toolgate\"\nsecret_file = \"{secret}\"\n"
        )
    };
    let toolgate = home(&settings("mail.secret"), &[("mail.secret", CANARY), ("wrong.secret", "another password")]);
    std::fs::write(toolgate.data().join("root.pem"), certificate.pem()).unwrap();
    let ran = send(&toolgate, &json!({ "channel": "mail", "title": "Übersicht", "message": ".\nünï\n" })).exits(0);
    assert_eq!(answer(&ran)["delivered"], json!(["mail"]), "{}", ran.stderr);
    let mail: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        (&mail["from"], &mail["to"], &mail["tls"], &mail["authenticated"]),
        (&json!("toolgate@example.com"), &json!(["ann@example.com"]), &json!(true), &json!(true))
    );
    assert!(mail["data"].as_str().unwrap().contains(told(&toolgate)[0]["message_id"].as_str().unwrap()));
    std::fs::write(toolgate.data().join("toolgate.toml"), settings("wrong.secret")).unwrap();
    let ran = send(&toolgate, &json!({ "channel": "mail", "message": "m" }));
    assert!(ran.code == 1 && ran.stdout.contains("it refused with 535"), "{}", ran.stdout);
    drop(server.stdin.take());
    server.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn a_desktop_shows_a_message_as_text() {
    let there = Path::new("/usr/bin/dbus-run-session").exists();
    let found = if there { python("from dbus_fast.aio import MessageBus") } else { Err("there is no dbus-run-session".to_owned()) };
    let Some(python) = or_skip(found) else { return };
    let toolgate = home("[notify.channels.screen]\nkind = \"desktop\"\nbody = \"{{ message }} ({{ level }})\"\n", &[]);
    let arguments =
        json!({ "channel": "screen", "title": "T", "message": "<b>bold</b> <a href=\"https://evil.example\">x</a> & y", "level": "error" });
    let call = toolgate.command(&["tools", "call", "notify.send", &arguments.to_string(), "--json"]);
    let runtime = toolgate.home().join("runtime");
    std::fs::create_dir_all(&runtime).unwrap();
    let output = Command::new("/usr/bin/dbus-run-session")
        .args(["--", &python, "-B"])
        .arg(root().join("tests/clients/desktop.py"))
        .arg(call.get_program())
        .args(call.get_args())
        .env_clear()
        .envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", runtime)
        .output()
        .unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(seen["code"], 0, "{seen}");
    let answer: Value = serde_json::from_str(seen["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(answer["output"]["delivered"], json!(["screen"]), "{seen}");
    let text = "&lt;b&gt;bold&lt;/b&gt; &lt;a href=\"https://evil.example\"&gt;x&lt;/a&gt; &amp; y (error)";
    assert_eq!(seen["shown"], json!([{ "app": "toolgate", "summary": "T", "body": text, "actions": [], "urgency": 2 }]));

    // Without a session it is not among the delivered, and nothing fails.
    let ran = send(&toolgate, &arguments).exits(0);
    assert_eq!(crate::support::notified::answer(&ran), json!({ "delivered": [], "queued": [], "failed": [] }), "{}", ran.stderr);
    assert!(words(&told(&toolgate)).is_empty(), "a desktop is here: nothing is queued for it");
}
