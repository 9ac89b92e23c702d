//! The channels of `notify.send`, from the operator's settings.

use std::sync::Arc;

use crate::config::{ChannelKind, ChannelSettings, Config, MailTls as SaidTls, SecretPlace};
use crate::domain::{Digest, ErrorCode, Fault};
use crate::tools::notify::{Channel, Channels, Desktop, Mail, MailTls, NotifyHub, SecretOf, Service, Template, origin_of};

/// Those that leave the machine.
///
/// # Errors
/// `CONFIG_INVALID` for one that cannot be used.
pub(super) fn leaving(config: &Config) -> Result<Channels, Fault> {
    let mut channels = Vec::new();
    for (name, said) in &config.notify.channels {
        if let Some(channel) = channel(config, name, said).map_err(|fault| named(name, fault))? {
            channels.push(channel);
        }
    }
    Ok(Channels::of(channels))
}

/// Puts the desktops that are named among the channels of this machine.
///
/// # Errors
/// `CONFIG_INVALID` for templates that do not compile.
pub(super) fn attach_desktops(config: &Config, hub: &Arc<NotifyHub>) -> Result<(), Fault> {
    for (name, said) in config.notify.channels.iter().filter(|(_, said)| said.kind == ChannelKind::Desktop) {
        let template = template(said).map_err(|fault| named(name, fault))?;
        hub.attach(name, Desktop::new(name, template));
    }
    Ok(())
}

fn channel(config: &Config, name: &str, said: &ChannelSettings) -> Result<Option<Channel>, Fault> {
    let lacks = |what: &str| Fault::new(ErrorCode::ConfigInvalid, format!("it lacks `{what}`"));
    let Some((host, port)) = said.place() else { return Ok(None) };
    let url = said.url.clone().ok_or_else(|| lacks("url"))?;
    let service = match said.kind {
        ChannelKind::Desktop => return Ok(None),
        ChannelKind::Webhook => Service::Webhook(url.clone()),
        ChannelKind::Slack => Service::Slack,
        ChannelKind::Discord => Service::Discord,
        ChannelKind::Ntfy => Service::Ntfy(url.clone(), said.topic.clone().ok_or_else(|| lacks("topic"))?),
        ChannelKind::Email => Service::Email(mail(said)?),
    };
    let is_plain = if said.kind == ChannelKind::Email { said.tls == SaidTls::Plain } else { url.scheme() == "http" };
    let secret = match &said.secret {
        None => None,
        Some(SecretPlace::File(path)) => Some(SecretOf::File(path.clone())),
        Some(SecretPlace::Vault(name)) => Some(SecretOf::Vault(name.parse()?)),
    };
    let origin = origin_of(&host, port, is_plain)?;
    Ok(Some(Channel { name: name.to_owned(), service, origin, secret, template: template(said)?, settings: digest(config, name) }))
}

fn mail(said: &ChannelSettings) -> Result<Mail, Fault> {
    let wrong = |what: &str, why: &str| Fault::new(ErrorCode::ConfigInvalid, format!("`{what}`: {why}"));
    let from = said.from.as_deref().unwrap_or_default().parse().map_err(|why| wrong("from", why))?;
    let recipients = said.recipients.iter().map(|entry| entry.parse().map_err(|why| wrong("recipients", why)));
    let tls = match said.tls {
        SaidTls::Implicit => MailTls::Implicit,
        SaidTls::StartTls => MailTls::StartTls,
        SaidTls::Plain => MailTls::Plain,
    };
    Ok(Mail { from, user: said.user.clone(), tls, recipients: recipients.collect::<Result<_, Fault>>()? })
}

fn template(said: &ChannelSettings) -> Result<Template, Fault> {
    Template::new(said.title.as_deref(), said.body.as_deref())
}

/// Of every setting of the channel as it was written: an approval given under others stands for nothing.
fn digest(config: &Config, name: &str) -> Digest {
    let of_channel = format!("notify.channels.{name}.");
    let written: Vec<String> =
        config.notify.rows().filter(|(key, ..)| key.starts_with(&of_channel)).map(|(key, value, _)| format!("{key} {value}")).collect();
    let parts: Vec<&[u8]> = written.iter().map(String::as_bytes).collect();
    Digest::of_parts("toolgate/notify-channel/v1", &parts)
}

fn named(name: &str, fault: Fault) -> Fault {
    Fault { message: format!("`notify.channels.{name}`: {}", fault.message), ..fault }
        .hint("`toolgate config show` says where the value comes from")
}
