//! What the services of chat and push take: each message as the request that its service documents. Pure.
//!
//! INVARIANT: the same letter gives the same body at every attempt. No text of a message calls anybody, opens a link by itself or ends a
//! field: what a service takes for a sign of its own is escaped or switched off.

use serde_json::{Value, json};

use super::{Level, Parcel};

/// The longest texts that services take, in characters (Discord) and bytes (ntfy, which keeps longer ones as files).
const DISCORD_MOST: usize = 2_000;
const NTFY_MOST: usize = 4_096;
/// No previews of links.
const DISCORD_SUPPRESS_EMBEDS: u32 = 1 << 2;

/// For an address of anybody's.
pub(super) fn webhook(parcel: &Parcel) -> Value {
    let letter = &parcel.letter;
    json!({
        "type": "notification",
        "id": parcel.id,
        "run_id": parcel.run,
        "channel": letter.channel,
        "level": letter.level,
        "title": letter.title,
        "message": letter.text,
        "queued_at": parcel.queued,
    })
}

/// For an incoming webhook of Slack. Its signs (`<!channel>`, `<@U…>`, links) all begin with `<`.
pub(super) fn slack(parcel: &Parcel) -> Value {
    let text = format!("{}\n{}", parcel.letter.title, parcel.letter.text);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": text, "mrkdwn": false, "link_names": false, "parse": "none", "unfurl_links": false, "unfurl_media": false })
}

/// For a webhook of Discord. Nobody may be called by it, whatever the text says.
pub(super) fn discord(parcel: &Parcel) -> Value {
    let text = format!("{}\n{}", parcel.letter.title, parcel.letter.text);
    json!({ "content": cut_characters(&text, DISCORD_MOST), "allowed_mentions": { "parse": [] }, "flags": DISCORD_SUPPRESS_EMBEDS })
}

/// For an ntfy server, as JSON at its root.
pub(super) fn ntfy(parcel: &Parcel, topic: &str) -> Value {
    let letter = &parcel.letter;
    let (priority, tag) = match letter.level {
        Level::Info => (3, "information_source"),
        Level::Success => (3, "white_check_mark"),
        Level::Warning => (4, "warning"),
        Level::Error => (5, "rotating_light"),
    };
    json!({
        "topic": topic,
        "title": letter.title,
        "message": cut_bytes(&letter.text, NTFY_MOST),
        "priority": priority,
        "tags": [tag],
    })
}

fn cut_characters(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut out = String::with_capacity(most);
    for c in text.chars() {
        if out.len() + c.len_utf8() + '…'.len_utf8() > most {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}
