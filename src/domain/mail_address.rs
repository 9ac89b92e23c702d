//! Addresses that mail goes to, and who may be written to.
//!
//! INVARIANT: an address is one plain name at one host. What mail servers take for a route, a quoted name or a second recipient is none.

use std::fmt;
use std::str::FromStr;

/// Longest parts (RFC 5321).
const LONGEST_NAME: usize = 64;
const LONGEST_HOST: usize = 253;

/// `name@host`. Hosts compare without regard to case, names with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailAddress {
    name: String,
    host: String,
}

impl FromStr for MailAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("it holds a line break, a blank or another control character");
        }
        let (name, host) = text.split_once('@').ok_or("it has no `@`")?;
        // `%` and `!` are routes to some servers, and a quoted name may hold anything.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-=~'".contains(&byte);
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(fits) {
            return Err("its name is not 1 to 64 letters, digits and `._+-=~'`");
        }
        if name.starts_with(['.', '-']) || name.ends_with('.') || name.contains("..") {
            return Err("its name begins, ends or is parted where none can be");
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if host.len() > LONGEST_HOST || !host.split('.').all(is_label) {
            return Err("its host is not a host name in ASCII letters");
        }
        Ok(Self { name: name.to_owned(), host: host.to_ascii_lowercase() })
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.host)
    }
}

impl MailAddress {
    /// Its host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Who may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// This one.
    One(MailAddress),
    /// Everybody at this host, not at those below it.
    AllAt(String),
}

impl FromStr for Recipients {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("*@") {
            Some(host) => format!("x@{host}").parse().map(|address: MailAddress| Self::AllAt(address.host)),
            None => text.parse().map(Self::One),
        }
    }
}

impl Recipients {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, address: &MailAddress) -> bool {
        match self {
            Self::One(one) => one == address,
            Self::AllAt(host) => *host == address.host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_name_at_one_host() {
        for good in ["a@b", "ann.o'neil+x@mail.example.com", "A_1=~-@ex-ample.org"] {
            assert_eq!(good.parse::<MailAddress>().unwrap().to_string(), good);
        }
        assert_eq!("Ann@EXAMPLE.com".parse::<MailAddress>().unwrap().to_string(), "Ann@example.com");
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\r\nRCPT TO:<e@f>",
            "a@b\0",
            "a\n@b",
            "\"a b\"@c",
            "a%evil.org@c",
            "evil!a@c",
            "<a@b>",
            "a@b,c@d",
            "a@b;c@d",
            ".a@b",
            "a.@b",
            "a..b@c",
            "-f@b",
            "a@[127.0.0.1]",
            "a@b..c",
            "a@-b",
            "a@é.org",
            "é@b",
            "a@b.",
            "a:b@c",
        ] {
            assert!(bad.parse::<MailAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_entry_covers_what_it_says() {
        let has = |entry: &str, address: &str| entry.parse::<Recipients>().unwrap().has(&address.parse().unwrap());
        assert!(has("a@b.org", "a@B.org") && !has("a@b.org", "A@b.org") && !has("a@b.org", "c@b.org"));
        assert!(has("*@b.org", "any@b.org") && !has("*@b.org", "any@x.b.org") && !has("*@b.org", "any@bb.org"));
        for bad in ["*", "*@", "a*@b.org", "*@*", "*@b.org, c@d.org", "*a@b"] {
            assert!(bad.parse::<Recipients>().is_err(), "{bad}");
        }
    }
}
