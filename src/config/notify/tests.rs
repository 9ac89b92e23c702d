use super::super::{Ambient, Location, Options, Platform, SettingsFile, resolve};
use super::*;

fn read(text: &str) -> Result<NotifySettings, Vec<String>> {
    let platform = Platform { data_dir: Some("/data".into()), ..Platform::default() };
    let location = Location { file: "/d/t.toml".into(), named: false };
    let file = SettingsFile::new(&location, text.into());
    let read = file.and_then(|file| resolve(&Options::default(), &Ambient { platform, ..Ambient::default() }, Some(&file)));
    read.map(|config| config.notify).map_err(|problems| problems.list().iter().map(ToString::to_string).collect())
}

const ALL: &str = "\
[egress]
private = [\"notify=10.0.0.7:25\", \"notify=localhost:8080\"]
[notify]
default = [\"console\", \"ops\"]
attempts = 3
[notify.channels.ops]
kind = \"webhook\"
url = \"https://hooks.example.com/a?b=c\"
secret = \"secret:OPS\"
title = \"{{ level }}: {{ title }}\"
[notify.channels.chat]
kind = \"slack\"
secret_file = \"chat.secret\"
[notify.channels.push]
kind = \"ntfy\"
url = \"http://localhost:8080\"
topic = \"builds\"
[notify.channels.mail]
kind = \"email\"
url = \"smtp://mail.example.com\"
from = \"toolgate@example.com\"
user = \"toolgate\"
secret = \"secret:MAIL\"
recipients = [\"ann@example.com\", \"*@example.org\"]
[notify.channels.relay]
kind = \"email\"
url = \"smtp://10.0.0.7:25\"
tls = \"none\"
from = \"toolgate@example.com\"
recipients = [\"ann@example.com\"]
[notify.channels.sealed]
kind = \"email\"
url = \"smtps://mail.example.com\"
from = \"toolgate@example.com\"
recipients = [\"ann@example.com\"]
[notify.channels.screen]
kind = \"desktop\"
";

#[test]
fn every_kind_is_read() {
    let settings = read(ALL).unwrap();
    let place = |name: &str| settings.channels[name].place();
    assert_eq!(place("ops"), Some(("hooks.example.com".into(), 443)));
    assert_eq!(place("chat"), Some(("hooks.slack.com".into(), 443)));
    assert_eq!(place("push"), Some(("localhost".into(), 8080)));
    assert_eq!(place("mail"), Some(("mail.example.com".into(), 587)));
    assert_eq!(place("sealed"), Some(("mail.example.com".into(), 465)));
    assert_eq!(place("screen"), None);
    let tls = |name: &str| settings.channels[name].tls;
    assert_eq!((tls("mail"), tls("relay"), tls("sealed")), (MailTls::StartTls, MailTls::Plain, MailTls::Implicit));
    assert_eq!(settings.channels["ops"].secret, Some(SecretPlace::Vault("OPS".into())));
    assert_eq!(settings.channels["chat"].secret, Some(SecretPlace::File("/d/chat.secret".into())), "beside the file");
    assert_eq!((settings.default.value.len(), settings.attempts.value, settings.wait.value), (2, 3, Millis(5_000)));
    let rows: Vec<_> = settings.rows().map(|(key, value, source)| format!("{key}={value} {source}")).collect();
    assert!(rows.contains(&"notify.channels.ops.secret=\"secret:OPS\" /d/t.toml:9".to_owned()), "{rows:#?}");
    assert!(rows.contains(&"notify.channels.mail.recipients=[\"ann@example.com\",\"*@example.org\"] /d/t.toml:24".to_owned()), "{rows:#?}");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_no_secret_is_repeated() {
    let channel = |lines: &str| read(&format!("[notify.channels.x]\n{lines}")).map(drop).unwrap_err().join("\n");
    for (lines, told) in [
        ("kind = \"pigeon\"\n", ":2: `notify.channels.x.kind` must be one of webhook, slack, discord, ntfy, email, desktop"),
        ("kind = \"webhook\"\nsecret = \"secret:A\"\n", "`notify.channels.x.url` is missing: a channel of kind webhook needs it"),
        ("kind = \"slack\"\n", "`notify.channels.x.secret` is missing or `secret_file`"),
        ("kind = \"desktop\"\ntopic = \"t\"\n", ":3: `notify.channels.x.topic` means nothing to a channel of kind desktop"),
        ("kind = \"desktop\"\npigeon = 1\n", "unknown key `notify.channels.x.pigeon`"),
        ("kind = \"webhook\"\nurl = \"http://h.example/x\"\nsecret = \"secret:A\"\n", "is not https"),
        ("kind = \"webhook\"\nurl = \"https://u:p@h.example/x\"\nsecret = \"secret:A\"\n", "must hold no user"),
        (
            "kind = \"slack\"\nurl = \"https://hooks.slack.com/services/T/B/X\"\nsecret = \"secret:A\"\n",
            "must be scheme, host and port alone",
        ),
        ("kind = \"ntfy\"\ntopic = \"a/b\"\n", "must be 1 to 64 letters"),
        (
            "kind = \"email\"\nurl = \"smtp://h\"\nfrom = \"a@b\"\nrecipients = [\"a@b\"]\ntls = \"none\"\n",
            "can be `none` only with the exception",
        ),
        (
            "kind = \"email\"\nurl = \"smtp://h\"\nfrom = \"a@b\\r\\nBcc: c@d\"\nrecipients = [\"a@b\"]\n",
            "`notify.channels.x.from` must be an address",
        ),
        (
            "kind = \"email\"\nurl = \"smtp://h\"\nfrom = \"a@b\"\nrecipients = [\"a@b\", \"*\"]\n",
            "has `*`, which is neither an address nor `*@domain`",
        ),
        ("kind = \"email\"\nurl = \"smtp://h\"\nfrom = \"a@b\"\nrecipients = [\"a@b\"]\nuser = \"u\"\n", "belong together"),
        ("kind = \"desktop\"\nbody = \"{{ massage }}\"\n", "names `massage`; there are title, message"),
        ("kind = \"desktop\"\ntitle = \"{% for\"\n", "is no template"),
        ("kind = \"desktop\"\nbody = \"{{ range(9) }}\"\n", "names `range`"),
    ] {
        let problems = channel(lines);
        assert!(problems.contains(told), "{lines}\n{problems}");
    }
    let leaked = channel("kind = \"slack\"\nsecret = \"hunter2hunter2\"\n");
    assert!(leaked.contains("must be `secret:NAME`") && !leaked.contains("hunter2"), "{leaked}");
    for name in ["console", "mcp", "A", "1x", "\"a b\""] {
        let problems = read(&format!("[notify.channels.{name}]\nkind = \"desktop\"\n")).map(drop).unwrap_err().join("\n");
        assert!(problems.contains("no channel can have"), "{name}: {problems}");
    }
    assert!(read("[notify]\ndefault = [\"nobody\"]\n").map(drop).unwrap_err()[0].contains("names `nobody`, which is no channel"));
}
