//! The settings under `drive`: which drives there are, and how their services are reached.
//!
//! INVARIANT: what a service wants to know must be there when the settings are read, not at the first call. A key or password is the name of
//! a secret of the vault, never written here.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use super::resolve::Resolver;
use super::{Source, Sourced};

/// Every drive there can be.
const DRIVES: [&str; 6] = ["local", "google", "s3", "webdav", "onedrive", "dropbox"];
/// How much of a Google Drive may be asked for.
const SCOPES: [&str; 3] = ["drive.file", "drive.readonly", "drive"];
/// Google's places.
const PLACES: [&str; 5] = ["auth", "token", "device", "revoke", "api"];
/// Google takes parts of an upload in multiples of this.
const STEP: u64 = 256 << 10;

const PROVIDERS: &str = "drive.providers";
const CLIENT: &str = "drive.google_client_id";
const CLIENT_SECRET: &str = "drive.google_client_secret";
const SCOPE: &str = "drive.google_scope";
const SHARED: &str = "drive.google_shared";
const ENDPOINTS: &str = "drive.google_endpoints";
const CHUNK: &str = "drive.google_chunk_bytes";

/// What a service may be told: key, whether it is a secret, whether it must be there.
type Known = &'static [(&'static str, bool, bool)];

/// The services besides, with their key and what they may be told.
const STORES: [(&str, &str, Known); 4] = [
    (
        "s3",
        "drive.s3",
        &[
            ("bucket", false, true),
            ("region", false, true),
            ("endpoint", false, false),
            ("root", false, false),
            ("access_key_id", true, true),
            ("secret_access_key", true, true),
            ("session_token", true, false),
        ],
    ),
    (
        "webdav",
        "drive.webdav",
        &[("endpoint", false, true), ("root", false, false), ("username", false, false), ("password", true, false), ("token", true, false)],
    ),
    (
        "onedrive",
        "drive.onedrive",
        &[
            ("endpoint", false, false),
            ("root", false, false),
            ("client_id", false, false),
            ("access_token", true, false),
            ("refresh_token", true, false),
            ("client_secret", true, false),
        ],
    ),
    (
        "dropbox",
        "drive.dropbox",
        &[
            ("endpoint", false, false),
            ("root", false, false),
            ("client_id", false, false),
            ("access_token", true, false),
            ("refresh_token", true, false),
            ("client_secret", true, false),
        ],
    ),
];

/// `drive.*` as it was said, checked; the folder of the local drive is beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveSettings {
    /// The drives, the usual one first.
    pub providers: Sourced<Vec<String>>,
    /// The id of the program at Google.
    pub google_client: Sourced<Option<String>>,
    /// The secret that goes with it: its name in the vault.
    pub google_client_secret: Sourced<Option<String>>,
    /// How much of the drive is asked for.
    pub google_scope: Sourced<&'static str>,
    /// `no`, `all`, or the id of one shared drive.
    pub google_shared: Sourced<String>,
    /// Google's places, where they are others.
    pub google_endpoints: BTreeMap<String, Url>,
    /// Bytes of one part of an upload.
    pub google_chunk: Sourced<u64>,
    /// What the other services are told, by service and option; secrets by their names.
    pub stores: BTreeMap<String, BTreeMap<String, String>>,
    endpoints_said: Sourced<Vec<String>>,
    stores_said: Vec<(&'static str, Sourced<Vec<String>>)>,
}

impl DriveSettings {
    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        let text = |said: &'_ Sourced<Option<String>>| json!(said.value.as_deref().unwrap_or_default());
        Some(match key {
            PROVIDERS => (json!(self.providers.value), &self.providers.source),
            CLIENT => (text(&self.google_client), &self.google_client.source),
            CLIENT_SECRET => {
                let shown = self.google_client_secret.value.as_ref().map(|name| format!("secret:{name}")).unwrap_or_default();
                (json!(shown), &self.google_client_secret.source)
            }
            SCOPE => (json!(self.google_scope.value), &self.google_scope.source),
            SHARED => (json!(self.google_shared.value), &self.google_shared.source),
            ENDPOINTS => (json!(self.endpoints_said.value), &self.endpoints_said.source),
            CHUNK => (json!(self.google_chunk.value), &self.google_chunk.source),
            _ => {
                let (_, said) = self.stores_said.iter().find(|(known, _)| *known == key)?;
                (json!(said.value), &said.source)
            }
        })
    }
}

/// `secret:NAME`; what is none is not repeated, as it may be the secret itself.
fn secret(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("secret:").filter(|name| name.parse::<crate::domain::SecretName>().is_ok());
    name.map(str::to_owned)
        .ok_or_else(|| "needs the name of a secret of the vault, as `secret:NAME`; a key itself does not belong here".to_owned())
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err("give an http or https address without query and user".to_owned());
    }
    Ok(url)
}

fn endpoints(resolver: &mut Resolver<'_>) -> (Sourced<Vec<String>>, BTreeMap<String, Url>) {
    let said = resolver.list(ENDPOINTS);
    let mut all = BTreeMap::new();
    for text in &said.value {
        let entry = text.split_once('=').ok_or_else(|| "it is not `place=URL`".to_owned()).and_then(|(place, url)| {
            if !PLACES.contains(&place) {
                return Err(format!("`{}` is none of {}", place.escape_debug(), PLACES.join(", ")));
            }
            Ok((place.to_owned(), address(url)?))
        });
        match entry {
            Ok((place, url)) => drop(all.insert(place, url)),
            Err(why) => resolver.refuse(ENDPOINTS, &said.source, &format!("has `{}`: {why}", text.escape_debug())),
        }
    }
    (said, all)
}

/// Reads `option=value` entries of one service. What is refused is named by its option, never by its value.
fn store(
    resolver: &mut Resolver<'_>,
    (name, key, known): (&str, &'static str, Known),
    wanted: bool,
) -> (Sourced<Vec<String>>, BTreeMap<String, String>) {
    let said = resolver.list(key);
    let mut all = BTreeMap::new();
    for text in &said.value {
        let (option, value) = text.split_once('=').unwrap_or((text, ""));
        let entry = match known.iter().find(|(known, ..)| *known == option) {
            None => {
                let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
                Err(format!("has an option that is none of {}", names.join(", ")))
            }
            Some(_) if value.is_empty() => Err(format!("gives `{option}` no value; write `{option}=…`")),
            Some((_, true, _)) => secret(value).map_err(|why| format!("`{option}` {why}")),
            Some(_) if option == "endpoint" => address(value).map(|_| value.to_owned()).map_err(|why| format!("`endpoint`: {why}")),
            Some(_) => Ok(value.to_owned()),
        };
        match entry {
            Ok(_) if all.contains_key(option) => resolver.refuse(key, &said.source, &format!("gives `{option}` twice")),
            Ok(value) => drop(all.insert(option.to_owned(), value)),
            Err(why) => resolver.refuse(key, &said.source, &why),
        }
    }
    for (option, _, needed) in known {
        if wanted && *needed && !all.contains_key(*option) {
            resolver.refuse(key, &said.source, &format!("lacks `{option}`, which `{name}` needs"));
        }
    }
    if wanted && matches!(name, "onedrive" | "dropbox") && !all.contains_key("access_token") {
        let refreshes = ["refresh_token", "client_id"].iter().all(|option| all.contains_key(*option))
            && (name == "onedrive" || all.contains_key("client_secret"));
        if !refreshes {
            resolver.refuse(
                key,
                &said.source,
                &format!("lacks `access_token`, or `refresh_token` with `client_id` and `client_secret`, which `{name}` needs"),
            );
        }
    }
    (said, all)
}

pub(super) fn read(resolver: &mut Resolver<'_>) -> DriveSettings {
    let mut providers = resolver.list(PROVIDERS);
    if providers.source == Source::Default {
        providers.value = vec!["local".to_owned()];
    }
    let (endpoints_said, google_endpoints) = endpoints(resolver);
    let mut stores = BTreeMap::new();
    let mut stores_said = Vec::new();
    for each in STORES {
        let wanted = providers.value.iter().any(|name| name == each.0);
        let (said, options) = store(resolver, each, wanted);
        stores.insert(each.0.to_owned(), options);
        stores_said.push((each.1, said));
    }
    let said = resolver.perhaps_text(CLIENT_SECRET);
    let google_client_secret = match said.value.as_deref().map(secret).transpose() {
        Ok(name) => Sourced { value: name, source: said.source },
        Err(why) => {
            resolver.refuse(CLIENT_SECRET, &said.source, &why);
            Sourced::default(None)
        }
    };
    let chunk = resolver.number(CHUNK, 8 << 20, STEP..=64 << 20);
    if !chunk.value.is_multiple_of(STEP) {
        resolver.refuse(CHUNK, &chunk.source, &format!("must be a multiple of {STEP}, as Google takes no other parts"));
    }
    let shared = resolver.perhaps_text(SHARED).map(|text| text.unwrap_or_else(|| "no".to_owned()));
    if !shared.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || shared.value.len() > 100 {
        resolver.refuse(SHARED, &shared.source, "must be `no`, `all`, or the id of a shared drive");
    }
    let settings = DriveSettings {
        google_client: resolver.perhaps_text(CLIENT),
        google_client_secret,
        google_scope: resolver.word(SCOPE, SCOPES[0], |word| SCOPES.into_iter().find(|known| *known == word), &SCOPES),
        google_shared: shared,
        google_chunk: chunk,
        providers,
        google_endpoints,
        stores,
        endpoints_said,
        stores_said,
    };
    check(resolver, &settings);
    settings
}

fn check(resolver: &mut Resolver<'_>, settings: &DriveSettings) {
    let said = &settings.providers;
    let mut seen = Vec::new();
    for name in &said.value {
        if !DRIVES.contains(&name.as_str()) {
            resolver.refuse(PROVIDERS, &said.source, &format!("names `{}`, which is none of {}", name.escape_debug(), DRIVES.join(", ")));
        } else if seen.contains(&name) {
            resolver.refuse(PROVIDERS, &said.source, &format!("names `{name}` twice"));
        } else if name == "google" && settings.google_client.value.is_none() {
            resolver.refuse(PROVIDERS, &said.source, "names `google`, which needs drive.google_client_id");
        }
        seen.push(name);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Ambient, Config, Options, Platform, resolve};

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let platform = Platform { data_dir: Some("/d".into()), ..Platform::default() };
        let vars = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        resolve(&Options::default(), &Ambient { platform, vars }, None).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_folder_is_the_drive_where_nothing_is_said() {
        let drive = read(&[]).unwrap().drive;
        assert_eq!(
            (drive.providers.value, drive.google_scope.value, drive.google_chunk.value),
            (vec!["local".to_owned()], "drive.file", 8 << 20)
        );
    }

    #[test]
    fn what_a_service_lacks_is_told_at_once_and_no_key_is_repeated() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("TOOLGATE_DRIVE_PROVIDERS", "ftp")], "none of local"),
            (&[("TOOLGATE_DRIVE_PROVIDERS", "local,local")], "twice"),
            (&[("TOOLGATE_DRIVE_PROVIDERS", "google")], "google_client_id"),
            (&[("TOOLGATE_DRIVE_PROVIDERS", "s3")], "lacks `bucket`"),
            (&[("TOOLGATE_DRIVE_PROVIDERS", "dropbox")], "lacks `access_token`"),
            (&[("TOOLGATE_DRIVE_S3", "secret_access_key=AKIA-CANARY")], "secret:NAME"),
            (&[("TOOLGATE_DRIVE_S3", "AKIA-CANARY")], "none of bucket"),
            (&[("TOOLGATE_DRIVE_WEBDAV", "endpoint=https://user:AKIA-CANARY@h/")], "endpoint"),
            (&[("TOOLGATE_DRIVE_GOOGLE_CLIENT_SECRET", "AKIA-CANARY")], "secret:NAME"),
            (&[("TOOLGATE_DRIVE_GOOGLE_SCOPE", "drive.everything")], "drive.file"),
            (&[("TOOLGATE_DRIVE_GOOGLE_CHUNK_BYTES", "262145")], "multiple"),
            (&[("TOOLGATE_DRIVE_GOOGLE_SHARED", "a'b")], "shared drive"),
            (&[("TOOLGATE_DRIVE_GOOGLE_ENDPOINTS", "token=ftp://x")], "http or https"),
        ];
        for (variables, words) in table {
            let problem = read(variables).unwrap_err();
            assert!(problem.contains(words) && !problem.contains("CANARY"), "{variables:?}: {problem}");
        }
        let good = read(&[
            ("TOOLGATE_DRIVE_PROVIDERS", "s3,local"),
            ("TOOLGATE_DRIVE_S3", "bucket=b,region=eu-central-1,access_key_id=secret:S3_ID,secret_access_key=secret:S3_KEY"),
        ]);
        assert_eq!(good.unwrap().drive.stores["s3"]["secret_access_key"], "S3_KEY");
    }
}
