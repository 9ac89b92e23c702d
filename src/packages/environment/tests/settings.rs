//! How installers are set up, as files and variables tell it.

use std::fs;
use std::path::Path;

use crate::packages::InstallerOptions;
use crate::packages::environment::address::{Address, folder, secrets, with_login};
use crate::packages::environment::resolve::without_wheels;
use crate::packages::environment::settings::{PipSays, Settings};

fn installer(variables: &[(&str, &str)]) -> InstallerOptions {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    InstallerOptions { path: Default::default(), environment }
}

fn of_uv(variables: &[(&str, &str)]) -> Settings {
    Settings::of_uv("/uv".into(), &installer(variables), Some("https://built-in.example/simple".into()))
}

fn value<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn places(settings: &Settings) -> Vec<String> {
    settings.addresses().iter().map(Address::place).collect()
}

#[test]
fn addresses_have_one_form_or_none() {
    for (url, place) in [
        ("https://Index.Example/simple", "index.example:443"),
        ("http://user:pass@index.example:8080/simple?x#y", "index.example:8080"),
        ("https://a@b@index.example", "index.example:443"),
        ("https://[2001:DB8::1]:444/", "[2001:db8::1]:444"),
        ("https://index.example\\@evil.example/", "index.example:443"),
        ("HTTPS://index.example:/", "index.example:443"),
    ] {
        assert_eq!(Address::parse(url).unwrap().place(), place, "{url}");
    }
    for url in [
        "ftp://index.example",
        "file:///wheels",
        "index.example/simple",
        "https://",
        "https://index.example.",
        "https://index%2eexample/",
        "https://index example/",
        "https://ind\nex.example/",
        "https://índex.example/",
        "https://index.example:0/",
        "https://index.example:99999/",
        "https://[::1/",
        "https://[nonsense]/",
    ] {
        assert_eq!(Address::parse(url), None, "{url:?}");
    }
    for (host, local) in [
        ("127.1", true),
        ("10.0.0.1", true),
        ("0x7f000001", true),
        ("2130706433", true),
        ("[::1]", true),
        ("localhost", true),
        ("wiki", true),
    ]
    .into_iter()
    .chain([("db.internal", true), ("files.example", false), ("a.b.example", false)])
    {
        assert_eq!(Address::parse(&format!("https://{host}/")).unwrap().is_local(), local, "{host}");
    }
}

#[test]
fn logins_are_known_in_both_spellings() {
    assert_eq!(secrets("https://robot:p%40ssword@index.example/"), ["p%40ssword", "p@ssword"]);
    assert_eq!(secrets("https://token-abc@index.example/"), ["token-abc", "token-abc"]);
    assert!(secrets("https://index.example/a@b").is_empty());
    assert_eq!(with_login("https://index.example/s", "me", "p@ss/word"), "https://me:p%40ss%2Fword@index.example/s");
    assert_eq!(with_login("https://a:b@index.example/s", "me", "x"), "https://a:b@index.example/s");
    let settings = of_uv(&[("UV_DEFAULT_INDEX", "https://robot:p%40ssword@index.example/simple")]);
    assert_eq!(settings.scrubbed("401 for robot with p%40ssword, p@ssword"), "401 for robot with (secret), (secret)");
}

#[test]
fn folders_are_told_from_addresses() {
    assert_eq!(folder("/wheels").as_deref(), Some(Path::new("/wheels")));
    assert_eq!(folder("file:///my%20wheels").as_deref(), Some(Path::new("/my wheels")));
    assert_eq!((folder("wheels"), folder("https://index.example/wheels"), folder("file:wheels")), (None, None, None));
}

#[test]
fn uv_has_its_default_where_nothing_is_set_up() {
    let settings = of_uv(&[("UV_NO_CONFIG", "1")]);
    assert_eq!(places(&settings), ["built-in.example:443"]);
    assert!(settings.variables.is_empty(), "it is not told what it knows: {:?}", settings.variables);
}

#[test]
fn uv_variables_come_before_files_and_the_users_before_the_machines() {
    let place = tempfile::tempdir().unwrap();
    for folder in ["user/uv", "shared/uv"] {
        fs::create_dir_all(place.path().join(folder)).unwrap();
    }
    let user = "index-strategy = \"unsafe-best-match\"\nfind-links = [\"/user/wheels\", \"relative\"]\n\
                [[index]]\nname = \"inner\"\nurl = \"https://inner.example/simple\"\n\
                [[index]]\nurl = \"https://explicit.example/simple\"\nexplicit = true\n\
                [pip]\nextra-index-url = [\"https://of-pip.example/simple\"]\n";
    fs::write(place.path().join("user/uv/uv.toml"), user).unwrap();
    let shared = "index-url = \"https://shared.example/simple\"\nnative-tls = true\nallow-insecure-host = [\"shared.example\"]\n";
    fs::write(place.path().join("shared/uv/uv.toml"), shared).unwrap();
    let (user, shared) = (place.path().join("user"), place.path().join("shared"));
    let base = [("XDG_CONFIG_HOME", user.to_str().unwrap()), ("XDG_CONFIG_DIRS", shared.to_str().unwrap())];

    let settings = of_uv(&base);
    assert_eq!(places(&settings), ["inner.example:443", "of-pip.example:443", "shared.example:443"]);
    assert_eq!(value(&settings, "UV_DEFAULT_INDEX"), Some("https://shared.example/simple"));
    assert_eq!(value(&settings, "UV_INDEX"), Some("inner=https://inner.example/simple https://of-pip.example/simple"));
    assert_eq!((value(&settings, "UV_INDEX_STRATEGY"), value(&settings, "UV_NATIVE_TLS")), (Some("unsafe-best-match"), Some("1")));
    assert_eq!((settings.insecure.len(), settings.arguments.join(" ")), (1, "--find-links /user/wheels".into()));

    let more = [
        ("UV_DEFAULT_INDEX", "https://own.example/simple"),
        ("UV_INDEX_STRATEGY", "first-index"),
        ("UV_INDEX_INNER_USERNAME", "me"),
        ("UV_INDEX_INNER_PASSWORD", "p@ss"),
        ("HTTPS_PROXY", "http://proxy.example:3128"),
        ("UV_CACHE_DIR", "/elsewhere"),
    ];
    let settings = of_uv(&[&base[..], &more[..]].concat());
    assert_eq!(places(&settings), ["inner.example:443", "of-pip.example:443", "own.example:443"]);
    assert_eq!(value(&settings, "UV_INDEX_STRATEGY"), Some("first-index"));
    assert_eq!(value(&settings, "UV_INDEX_INNER_PASSWORD"), Some("p@ss"));
    assert!(settings.indexes.contains(&"https://me:p%40ss@inner.example/simple".to_owned()));
    assert_eq!((value(&settings, "HTTPS_PROXY"), value(&settings, "UV_CACHE_DIR")), (None, None));

    let settings = of_uv(&[&base[..], &[("UV_NO_INDEX", "true")]].concat());
    assert!(settings.addresses().is_empty() && settings.arguments.contains(&"--no-index".to_owned()));
    // A file that cannot be read is as good as none.
    fs::write(user.join("uv/uv.toml"), "index = 1").unwrap();
    assert_eq!(places(&of_uv(&base)), ["shared.example:443"]);
}

#[test]
fn pip_is_told_what_it_told() {
    let says = |json: serde_json::Value| serde_json::from_value::<PipSays>(json).unwrap();
    let all = serde_json::json!({
        "index": "https://me:word@index.example/simple", "extra": ["http://extra.example:81/simple", "file:///local"],
        "links": ["/wheels", "https://links.example/page", "relative"], "no_index": false, "cert": "/certs/all.pem", "client_cert": null,
        "trusted": ["extra.example"], "timeout": 15.0, "retries": 9,
    });
    let settings = Settings::of_pip(&says(all.clone()));
    assert_eq!(places(&settings), ["extra.example:81", "index.example:443", "links.example:443"]);
    assert_eq!(settings.folders, [Path::new("/local"), Path::new("/wheels")]);
    assert_eq!(settings.arguments.join(" "), "--find-links /wheels --find-links https://links.example/page");
    assert_eq!((value(&settings, "PIP_RETRIES"), value(&settings, "PIP_DEFAULT_TIMEOUT")), (Some("5"), Some("15")));
    assert_eq!(value(&settings, "PIP_CERT"), Some("/certs/all.pem"));

    let mut none = all;
    none["no_index"] = true.into();
    none["links"] = serde_json::json!(["/wheels"]);
    let settings = Settings::of_pip(&says(none));
    assert!(settings.addresses().is_empty() && settings.arguments.contains(&"--no-index".to_owned()));
}

#[test]
fn uv_words_name_what_has_no_wheel() {
    let words = "error: No solution found\n cause: Because only Docopt==0.6.2 has no usable wheels and pywin32==306 has no\n wheels with a \
                 matching platform tag and you require x==1, we can conclude";
    assert_eq!(without_wheels(words), ["docopt 0.6.2", "pywin32 306"]);
    assert!(without_wheels("Because there is no version of six==99.0 and you require six==99.0").is_empty());
}
