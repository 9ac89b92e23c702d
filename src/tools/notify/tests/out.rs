//! What leaves: which channels, with which effects, bound to what, and how texts read at each service.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::*;
use crate::domain::{Digest, MessageId, Timestamp};
use crate::tools::testing::{Bench, bench, call, prepare};
use crate::tools::{Handler, handler};

pub(super) fn mail(recipients: &[&str]) -> Mail {
    let recipients = recipients.iter().map(|entry| entry.parse().unwrap()).collect();
    Mail { from: "toolgate@example.com".parse().unwrap(), user: None, tls: MailTls::StartTls, recipients }
}

pub(super) fn channel(name: &str, service: Service, host: &str, port: u16) -> Channel {
    Channel {
        name: name.into(),
        service,
        origin: origin_of(host, port, false).unwrap(),
        secret: None,
        template: Template::new(None, None).unwrap(),
        settings: Digest::of(name.as_bytes()),
    }
}

/// Remembers what was put in; each letter's fate is by its channel.
#[derive(Default)]
pub(super) struct Box_ {
    pub(super) letters: Mutex<Vec<Letter>>,
}

#[async_trait]
impl Outbox for Box_ {
    async fn queue(&self, letters: Vec<Letter>, _context: &CallContext) -> Result<Vec<MessageId>, Fault> {
        let ids = letters.iter().map(|_| MessageId::mint(Timestamp::from_unix_millis(1))).collect();
        self.letters.lock().unwrap().extend(letters);
        Ok(ids)
    }

    async fn fates(&self, ids: &[MessageId], _context: &CallContext, _patience: Duration) -> Result<Vec<Fate>, Fault> {
        let letters = self.letters.lock().unwrap();
        let newest = letters.iter().rev().take(ids.len()).rev();
        Ok(newest
            .map(|letter| match letter.channel.as_str() {
                "ops" => Fate::Sent,
                "chat" => Fate::Failed("it answered 404".into()),
                _ => Fate::Waiting,
            })
            .collect())
    }
}

pub(super) fn scene(default: &[&str]) -> (Bench, Arc<dyn Handler>, Arc<Box_>) {
    let hub = Arc::new(NotifyHub::new());
    hub.attach("console", Arc::new(WriterSink::new(Vec::new())));
    let outbox = Arc::new(Box_::default());
    let hook = url::Url::parse("https://hooks.example.com/x").unwrap();
    let channels = Channels::of([
        channel("ops", Service::Webhook(hook), "hooks.example.com", 443),
        channel("chat", Service::Slack, "hooks.slack.com", 443),
        channel("mail", Service::Email(mail(&["ann@example.com", "*@example.org"])), "mail.example.com", 587),
    ]);
    let leaving = Leaving {
        channels: Arc::new(channels),
        outbox: outbox.clone(),
        default: default.iter().map(|name| (*name).to_owned()).collect(),
        patience: Duration::from_secs(1),
    };
    (bench(), handler(NotifySend::new(hub).leaving(leaving)), outbox)
}

#[tokio::test]
async fn effects_hosts_and_target_are_those_of_the_channel() {
    let (bench, tool, _) = scene(&[]);
    let of = async |input: Value| prepare(&tool, &bench, input).await.unwrap();
    let here = of(json!({ "message": "m" })).await;
    assert_eq!((here.effects, here.hosts.len()), (Effects::only(Effect::Write), 0), "without a channel nothing leaves");
    let out = of(json!({ "message": "m", "channel": "mail", "to": ["bob@example.org"] })).await;
    assert_eq!(out.effects, Effects::of([Effect::Egress, Effect::ExternalWrite]));
    assert_eq!(out.hosts.iter().collect::<Vec<_>>(), ["mail.example.com:587"]);
    let target = &out.target["out"][0];
    assert_eq!(
        (&target["goes_to"], &target["to"], &target["kind"]),
        (&json!("mail.example.com:587"), &json!(["bob@example.org"]), &json!("email"))
    );
    let usual = of(json!({ "message": "m", "channel": "mail" })).await;
    assert_eq!(usual.target["out"][0]["to"], json!(["ann@example.com"]), "without `to` those who are written out");
    assert_ne!(usual.target, out.target, "an approval of one is none of the other");
}

#[tokio::test]
async fn a_default_sends_here_and_out_and_tells_each_fate() {
    let (bench, tool, outbox) = scene(&["console", "ops", "chat", "mail"]);
    let prepared = prepare(&tool, &bench, json!({ "message": "m" })).await.unwrap();
    assert_eq!(prepared.effects, Effects::of([Effect::Write, Effect::Egress, Effect::ExternalWrite]));
    let told = call(&tool, &bench, json!({ "message": "m", "title": "T" })).await.unwrap();
    assert_eq!(
        told,
        json!({ "delivered": ["console", "ops"], "queued": ["mail"], "failed": [{ "channel": "chat", "why": "it answered 404" }] })
    );
    assert_eq!(outbox.letters.lock().unwrap().len(), 3);
    let fault = call(&tool, &bench, json!({ "message": "m", "channel": "chat" })).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::NotifyFailed, "nobody took it: {fault}");
}

fn parcel(title: &str, text: &str, level: Level) -> Parcel {
    let letter = Letter { channel: "c".into(), kind: "k", level, title: title.into(), text: text.into(), to: Vec::new() };
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    Parcel { id: MessageId::mint(now), run: RunId::mint(now), queued: now, letter }
}

#[test]
fn services_get_what_they_take_and_no_more() {
    let long = "ä".repeat(5_000);
    let sent = parcel("T", &long, Level::Warning);
    let discord = services::discord(&sent);
    assert_eq!(discord["content"].as_str().unwrap().chars().count(), 2_000);
    assert!(discord["content"].as_str().unwrap().ends_with('…'));
    let push = services::ntfy(&sent, "topic");
    assert!(push["message"].as_str().unwrap().len() <= 4_096 && push["priority"] == 4, "{}", push["message"].as_str().unwrap().len());
    assert_eq!(services::webhook(&sent), services::webhook(&sent), "the same body at every attempt");
    let exact = parcel("T", &"a".repeat(4_096), Level::Info);
    assert_eq!(services::ntfy(&exact, "t")["message"].as_str().unwrap().len(), 4_096);
}

#[test]
fn templates_are_strict_one_line_and_bounded() {
    let notice = |title: Option<&str>, message: &str| Notice {
        run: RunId::mint(Timestamp::from_unix_millis(1)),
        whose: None,
        level: Level::Error,
        title: title.map(str::to_owned),
        message: message.into(),
    };
    let render = |title: Option<&str>, text: Option<&str>, notice: &Notice| Template::new(title, text)?.render(notice, "ops");
    assert_eq!(render(None, None, &notice(None, "a\nb")).unwrap(), ("toolgate: error".into(), "a\nb".into()));
    assert_eq!(render(None, None, &notice(Some("T"), "m")).unwrap().0, "T");
    let both =
        render(Some("{{ channel }} {{ message }}"), Some("{{ level | upper }} {{ title }}"), &notice(Some("T"), "a\nb\r\nc")).unwrap();
    assert_eq!(both, ("ops a b c".into(), "ERROR T".into()), "a title is one line, whatever is put into it");
    // What stands in a message is no template.
    assert_eq!(
        render(None, None, &notice(Some("{{ 7*7 }}"), "{% raw %}{{ run }}")).unwrap(),
        ("{{ 7*7 }}".into(), "{% raw %}{{ run }}".into())
    );
    for (text, code) in [
        ("{{ massage }}", ErrorCode::ConfigInvalid),
        ("{{ message.nothing.more }}", ErrorCode::ConfigInvalid),
        ("{{ '' }}", ErrorCode::InvalidInput),
        (
            "{% for a in message %}{% for b in message %}{% for c in message %}{{ message }}{% endfor %}{% endfor %}{% endfor %}",
            ErrorCode::LimitExceeded,
        ),
        (
            "{% for a in message %}{% for b in message %}{% for c in message %}{% endfor %}{% endfor %}{% endfor %}",
            ErrorCode::ConfigInvalid,
        ),
    ] {
        let fault = render(None, Some(text), &notice(None, &"x".repeat(400))).unwrap_err();
        assert_eq!(fault.code, code, "{text}: {fault}");
    }
    assert!(Template::new(Some("{{"), None).is_err());
}
