//! Mail through the real binary, against a mail server: secured in both ways, logged in, put off, refused, and one that takes a mail and does not say so.

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::mail_server::{MailServer, Manner, Tls};
use crate::support::notified::{answer, home, send, told, words};
use crate::vault::{CANARY, assert_nowhere};

fn mailing(server: &MailServer, tls: Tls, more: &str) -> Toolgate {
    let scheme = if tls == Tls::Implicit { "smtps" } else { "smtp" };
    let port = server.port;
    let settings = format!(
        "[egress]\nprivate = [\"notify=localhost:{port}\"]\nextra_roots = \"root.pem\"\n[notify]\nwait_sec = 8\nattempts = 3\n\
         [notify.channels.mail]\nkind = \"email\"\nurl = \"{scheme}://localhost:{port}\"\nfrom = \"toolgate@example.com\"\n\
         recipients = [\"ann@example.com\", \"*@example.org\"]\n{more}"
    );
    let toolgate = home(&settings, &[("mail.secret", CANARY)]);
    std::fs::write(toolgate.data().join("root.pem"), &server.root_pem).unwrap();
    toolgate
}

const LOGIN: &str = "user = \"toolgate\"\nsecret_file = \"mail.secret\"\n";

#[test]
fn mail_goes_secured_and_logged_in_to_whom_the_list_allows() {
    for tls in [Tls::Start, Tls::Implicit] {
        let server = MailServer::start(tls, Manner::Takes);
        let toolgate = mailing(&server, tls, LOGIN);
        let message = json!({ "channel": "mail", "to": ["bob@example.org", "ann@example.com"], "title": "Übersicht: done", "message": "first\n.\n..\nlast ü" });
        let ran = send(&toolgate, &message).exits(0);
        assert_eq!(answer(&ran)["delivered"], json!(["mail"]), "{tls:?}: {}", ran.stderr);
        let mails = server.mails();
        let [mail] = mails.as_slice() else { panic!("{mails:?}") };
        assert!(mail.was_secured, "{tls:?}");
        assert_eq!(mail.login, Some(format!("|toolgate|{CANARY}")));
        assert!(mail.from.starts_with("FROM:<toolgate@example.com>"), "{mail:?}");
        assert_eq!(mail.to, ["TO:<bob@example.org>", "TO:<ann@example.com>"]);
        let told = told(&toolgate);
        assert_eq!(words(&told), ["notify_queued", "notify_sent"]);
        let id = format!("<{}@example.com>", told[0]["message_id"].as_str().unwrap());
        assert_eq!(mail.header("Message-ID"), [id]);
        assert_eq!((mail.header("Bcc").len(), mail.header("Auto-Submitted")), (0, vec!["auto-generated".to_owned()]));
        assert!(mail.header("Subject")[0].starts_with("=?utf-8?"), "{:?}", mail.header("Subject"));
        let request = &toolgate.http_requests()[0];
        assert_eq!((&request["method"], &request["host"], &request["port"]), (&json!("MAIL"), &json!("localhost"), &json!(server.port)));
        for (what, bytes) in [("stdout", ran.stdout.into_bytes()), ("stderr", ran.stderr.into_bytes())] {
            assert_nowhere(what, &bytes);
        }
        for file in crate::support::files(&toolgate.data()).iter().filter(|file| !file.ends_with("mail.secret")) {
            assert_nowhere(&file.display().to_string(), &std::fs::read(file).unwrap());
        }
    }
}

/// Each of these is refused as the call's own mistake, and reaches no server.
fn assert_refused(all: &[Value]) {
    let server = MailServer::start(Tls::Start, Manner::Takes);
    let toolgate = mailing(&server, Tls::Start, LOGIN);
    for arguments in all {
        let ran = send(&toolgate, arguments);
        assert_eq!((ran.code, &answer(&ran)["error"]["code"]), (2, &json!("INVALID_INPUT")), "{arguments}: {}", ran.stdout);
    }
    assert!(server.mails().is_empty());
}

#[test]
fn recipients_that_the_list_does_not_have_reach_no_server() {
    assert_refused(&[
        json!({ "channel": "mail", "to": ["thief@evil.example"], "message": "m" }),
        json!({ "channel": "mail", "to": ["ann@example.com\r\nRCPT TO:<thief@evil.example>"], "message": "m" }),
        json!({ "channel": "mail", "to": ["ann@example.com\u{0}"], "message": "m" }),
    ]);
}

#[test]
fn titles_that_would_slip_something_in_reach_no_server() {
    assert_refused(&[
        json!({ "channel": "mail", "title": "T\r\nBcc: thief@evil.example", "message": "m" }),
        json!({ "channel": "mail", "title": "T\u{0}", "message": "m" }),
    ]);
}

#[test]
fn a_server_without_the_wanted_security_gets_neither_mail_nor_login() {
    let server = MailServer::start(Tls::None, Manner::Takes);
    let toolgate = mailing(&server, Tls::Start, LOGIN);
    let ran = send(&toolgate, &json!({ "channel": "mail", "message": "m" }));
    assert!(ran.code == 1 && ran.stdout.contains("does not offer STARTTLS"), "{}", ran.stdout);
    // The operator says otherwise for this very host and port.
    let toolgate = mailing(&server, Tls::None, "tls = \"none\"\n");
    send(&toolgate, &json!({ "channel": "mail", "message": "m" })).exits(0);
    let mails = server.mails();
    assert!(mails.len() == 1 && !mails[0].was_secured && mails[0].login.is_none(), "{mails:?}");

    // A certificate of an authority that nobody trusts.
    let server = MailServer::start(Tls::Implicit, Manner::Takes);
    let toolgate = mailing(&server, Tls::Implicit, LOGIN);
    std::fs::write(toolgate.data().join("root.pem"), &MailServer::start(Tls::None, Manner::Takes).root_pem).unwrap();
    let ran = send(&toolgate, &json!({ "channel": "mail", "message": "m" }));
    assert!(server.mails().is_empty());
    let told = told(&toolgate);
    assert!(
        words(&told).contains(&"notify_deferred") && told[1]["error"]["message"].as_str().unwrap().contains("certificate"),
        "{} {told:?}",
        ran.stdout
    );
}

#[test]
fn what_is_put_off_comes_again_as_the_same_mail_and_what_is_refused_does_not() {
    for (manner, events, mails) in [
        (Manner::BusyOnce, vec!["notify_queued", "notify_deferred", "notify_sent"], 1),
        (Manner::ForgetsToSayOnce, vec!["notify_queued", "notify_deferred", "notify_sent"], 2),
        (Manner::Refuses, vec!["notify_queued", "notify_failed"], 0),
    ] {
        let server = MailServer::start(Tls::Start, manner);
        let toolgate = mailing(&server, Tls::Start, "");
        let ran = send(&toolgate, &json!({ "channel": "mail", "message": "m" }));
        let told: Vec<Value> = told(&toolgate);
        assert_eq!(words(&told), events, "{manner:?}: {}", ran.stderr);
        assert!(!ran.stdout.contains("their words") && !format!("{told:?}").contains("their words"), "{manner:?}: {}", ran.stdout);
        let taken = server.mails();
        assert_eq!(taken.len(), mails, "{manner:?}");
        assert!(taken.windows(2).all(|two| two[0].data == two[1].data), "{taken:?}");
    }
}

#[test]
fn an_inner_mail_server_is_reached_by_an_exception_alone() {
    let server = MailServer::start(Tls::Start, Manner::Takes);
    let toolgate = mailing(&server, Tls::Start, "");
    let settings = toolgate.data().join("toolgate.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("private = [\"notify=", "private = [\"python=")).unwrap();
    let ran = send(&toolgate, &json!({ "channel": "mail", "message": "m" }));
    assert!(ran.code == 1 && ran.stdout.contains("not public"), "{}", ran.stdout);
    assert!(server.mails().is_empty());
    std::fs::write(&settings, text).unwrap();
    send(&toolgate, &json!({ "channel": "mail", "message": "m" })).exits(0);
    assert_eq!(server.mails().len(), 1);
}
