use std::ffi::OsString;
use std::path::PathBuf;

use super::*;

fn ambient(vars: &[(&str, &str)]) -> Ambient {
    Ambient {
        vars: vars.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect(),
        platform: Platform {
            data_dir: Some("/data".into()),
            cache_dir: Some("/cache".into()),
            user_home: Some("/users/ann".into()),
            current_dir: Some("/here".into()),
        },
    }
}

fn settings(text: &str, named: bool) -> Result<SettingsFile, Problems> {
    SettingsFile::new(&Location { file: "/data/toolgate/toolgate.toml".into(), named }, text.into())
}

fn problems(text: &str) -> Vec<String> {
    let refused = settings(text, false).and_then(|file| resolve(&Options::default(), &ambient(&[]), Some(&file)));
    refused.unwrap_err().list().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = resolve(&Options::default(), &ambient(&[]), None).unwrap();
    assert_eq!(config.home, Sourced::default(PathBuf::from("/data/toolgate")));
    assert_eq!(config.drive_local_root.value, PathBuf::from("/data/toolgate/drive"));
    assert_eq!(config.python_cache_dir.value, PathBuf::from("/cache/toolgate"));
    assert_eq!(config.log.value, None);
    assert_eq!(config.approvals_wait.value, Millis(45_000));
    assert_eq!(config.approvals_expire.value, Millis(900_000));
    assert_eq!(config.inline_output.value, Bytes(16_384));
    assert_eq!(config.tool_names.value, ToolNames::Underscore);
    assert_eq!(config.toolsets.value, ["default"]);
    assert!(config.notes.is_empty());
}

#[test]
fn option_stands_above_environment_above_file_above_default() {
    let file = settings("log = \"error\"\n", false).unwrap();
    let at = |options: &Options, vars: &[(&str, &str)], file: Option<&SettingsFile>| {
        let log = resolve(options, &ambient(vars), file).unwrap().log;
        (log.value.map(LogLevel::as_str), log.source.to_string())
    };
    let option = Options { log: Some("trace".into()), ..Options::default() };
    let vars = [("TOOLGATE_LOG", "debug")];
    assert_eq!(at(&option, &vars, Some(&file)), (Some("trace"), "option --log".into()));
    assert_eq!(at(&Options::default(), &vars, Some(&file)), (Some("debug"), "environment TOOLGATE_LOG".into()));
    assert_eq!(at(&Options::default(), &[], Some(&file)), (Some("error"), "/data/toolgate/toolgate.toml:1".into()));
    assert_eq!(at(&Options::default(), &[("TOOLGATE_LOG", "")], None), (None, "default".into()), "an empty variable says nothing");
}

#[test]
fn the_whole_file_is_read() {
    let text = "log = \"info\"\n[drive]\nlocal_root = \"~/files\"\n[git]\nauthor_name = \"Ann\"\nauthor_email = \"ann@example.org\"\n\
                [python]\ncache_dir = \"cache\"\n[approvals]\nwait_sec = 1\nexpire_sec = 60\n[limits]\ninline_output_bytes = 2_048\n\
                [serve]\ntool_names = \"dotted\"\ntoolsets = [\"default\", \"audit\"]\n";
    let config = resolve(&Options::default(), &ambient(&[]), Some(&settings(text, false).unwrap())).unwrap();
    assert_eq!(config.drive_local_root.value, PathBuf::from("/users/ann/files"));
    assert_eq!(config.python_cache_dir.value, PathBuf::from("/data/toolgate/cache"), "relative to the file");
    assert_eq!(config.git_author_email.value, "ann@example.org");
    assert_eq!((config.approvals_wait.value, config.approvals_expire.value), (Millis(1_000), Millis(60_000)));
    assert_eq!(config.inline_output.value, Bytes(2_048));
    assert_eq!((config.tool_names.value, config.toolsets.value), (ToolNames::Dotted, vec!["default".into(), "audit".into()]));
    assert_eq!(config.git_author_name.source.to_string(), "/data/toolgate/toolgate.toml:5");
}

#[test]
fn unknown_keys_are_errors_with_their_line_and_what_was_meant() {
    assert_eq!(
        problems("lgo = \"info\"\n\n[drive]\nlocal_rot = \"x\"\n[nonsense]\nx = 1\n"),
        [
            "/data/toolgate/toolgate.toml:1: unknown key `lgo` (did you mean `log`?)",
            "/data/toolgate/toolgate.toml:4: unknown key `drive.local_rot` (did you mean `drive.local_root`?)",
            "/data/toolgate/toolgate.toml:5: unknown key `nonsense` (`toolgate config show` lists the keys there are)",
        ]
    );
}

#[test]
fn values_that_cannot_be_understood_are_all_reported() {
    let text = "log = \"loud\"\n[approvals]\nwait_sec = 46\nexpire_sec = \"long\"\n[git]\nauthor_name = \"a <b>\"\n\
                [serve]\ntoolsets = [1]\ntool_names = true\n[drive]\nlocal_root = 3\n\
                [redaction]\npatterns = \"some\"\npii = [\"email\", \"names\"]\n";
    let file = "/data/toolgate/toolgate.toml";
    assert_eq!(
        problems(text),
        [
            format!("{file}:1: `log` `loud` is none of off, error, warn, info, debug, trace"),
            format!("{file}:3: `approvals.wait_sec` must be a whole number from 0 to 45"),
            format!("{file}:4: `approvals.expire_sec` must be a whole number from 10 to 86400"),
            format!("{file}:6: `git.author_name` must not be empty nor hold `<`, `>` or control characters"),
            format!("{file}:8: `serve.toolsets` must be a list of toolset names (lower case letters, digits, `_`, `-`)"),
            format!("{file}:9: `serve.tool_names` must be a string, not true or false"),
            format!("{file}:11: `drive.local_root` must be a string, not a number"),
            format!("{file}:13: `redaction.patterns` `some` is none of off, tokens, all"),
            format!("{file}:14: `redaction.pii` holds `names`, which is none of email, phone, card, iban"),
        ]
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let broken = problems("log = \"info\"\n[drive\n");
    assert!(broken[0].starts_with("/data/toolgate/toolgate.toml:2: not TOML: "), "{broken:?}");
    let twice = problems("log = \"info\"\nlog = \"warn\"\n");
    assert!(twice[0].starts_with("/data/toolgate/toolgate.toml:2: not TOML: "), "{twice:?}");
    let location = Location { file: "x.toml".into(), named: true };
    assert!(SettingsFile::new(&location, vec![0xff, 0xfe]).is_err());
    assert!(SettingsFile::new(&location, vec![b'#'; 2 << 20]).is_err());
}

#[test]
fn only_a_named_file_says_where_the_home_is() {
    assert!(problems("home = \"/elsewhere\"\n")[0].contains("`home` cannot stand in the home's own file"));
    let named = settings("home = \"../other\"\n", true).unwrap();
    let config = resolve(&Options::default(), &ambient(&[]), Some(&named)).unwrap();
    assert_eq!(config.home.value, PathBuf::from("/data/toolgate/../other"));
    let option = Options { home: Some("mine".into()), ..Options::default() };
    assert_eq!(resolve(&option, &ambient(&[]), Some(&named)).unwrap().home.value, PathBuf::from("/here/mine"));
}

#[test]
fn the_file_is_looked_for_where_it_was_named_else_in_the_home() {
    let at = |options: &Options, vars: &[(&str, &str)]| locate(options, &ambient(vars)).unwrap();
    let default = at(&Options::default(), &[]);
    assert_eq!(default, Location { file: "/data/toolgate/toolgate.toml".into(), named: false });
    assert_eq!(at(&Options::default(), &[("TOOLGATE_HOME", "/h")]).file, PathBuf::from("/h/toolgate.toml"));
    let env = [("TOOLGATE_HOME", "/h"), ("TOOLGATE_CONFIG", "c.toml")];
    assert_eq!(at(&Options::default(), &env), Location { file: "/here/c.toml".into(), named: true });
    let option = Options { config: Some("/o.toml".into()), ..Options::default() };
    assert_eq!(at(&option, &env).file, PathBuf::from("/o.toml"));
    assert!(locate(&Options::default(), &Ambient::default()).is_err(), "neither name nor home");
}

#[test]
fn stray_variables_are_noted_but_do_not_stop_anything() {
    let config = resolve(&Options::default(), &ambient(&[("TOOLGATE_LOGS", "x"), ("PATH", "/bin")]), None).unwrap();
    assert_eq!(config.notes, ["the variable `TOOLGATE_LOGS` means nothing to toolgate; did you mean `TOOLGATE_LOG`?"]);
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_utf8_are_a_path_but_not_a_word() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = OsString::from_vec(b"/h\xff".to_vec());
    let mut around = ambient(&[]);
    around.vars.insert("TOOLGATE_HOME".into(), odd.clone());
    assert_eq!(resolve(&Options::default(), &around, None).unwrap().home.value, PathBuf::from(odd.clone()));
    around.vars.insert("TOOLGATE_LOG".into(), odd.clone());
    around.vars.insert("TOOLGATE_APPROVALS_WAIT_SEC".into(), odd);
    let refused = resolve(&Options::default(), &around, None).unwrap_err().to_string();
    assert!(refused.contains("environment TOOLGATE_LOG: is not UTF-8 text"), "{refused}");
    assert!(refused.contains("environment TOOLGATE_APPROVALS_WAIT_SEC: must be a whole number"), "{refused}");
}

#[test]
fn the_template_names_every_key_and_means_the_defaults() {
    let text = template();
    let file = settings(&text, false).unwrap();
    assert!(file.values.is_empty(), "everything is commented out");
    for key in KEYS.iter().filter(|key| key.path != "home") {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("# {name} = ")) && text.contains(key.env), "{}", key.path);
    }
    // Uncommented, it must still be read.
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.contains(" = ") => rest,
        _ => line,
    });
    let uncommented: Vec<&str> = lines.collect();
    let file = settings(&uncommented.join("\n"), false).unwrap();
    let said = resolve(&Options::default(), &ambient(&[]), Some(&file)).unwrap();
    let unsaid = resolve(&Options::default(), &ambient(&[]), None).unwrap();
    assert_eq!(said.drive_local_root.value, unsaid.drive_local_root.value);
    assert_eq!((said.approvals_wait.value, said.approvals_expire.value), (unsaid.approvals_wait.value, unsaid.approvals_expire.value));
    assert_eq!((said.toolsets.value, said.tool_names.value), (unsaid.toolsets.value, unsaid.tool_names.value));
    assert_eq!(file.values.len(), KEYS.len() - 1, "a key is not in the template");
}

#[test]
fn a_named_file_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let around = ambient(&[]);
    let missing = Options { config: Some(folder.path().join("no.toml")), ..Options::default() };
    assert!(load(&missing, &around).unwrap_err().to_string().contains("cannot be read"));
    let home = Options { home: Some(folder.path().to_owned()), ..Options::default() };
    assert_eq!(load(&home, &around).unwrap().file, None, "the home's file need not exist");
    std::fs::write(folder.path().join(FILE_NAME), "log = \"debug\"").unwrap();
    assert_eq!(load(&home, &around).unwrap().log.value, Some(LogLevel::Debug));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|[a-z.=\\[\\]\"\n ]{0,60}") {
        let _ = settings(&text, true).and_then(|file| resolve(&Options::default(), &ambient(&[]), Some(&file)));
    }
}
