//! Where the key lies, and which keys are refused.

use std::sync::{Arc, Mutex};

use super::support::*;
use crate::domain::ErrorCode;
use crate::secrets::vault::*;

#[tokio::test]
async fn without_a_keyring_the_key_lies_in_a_file_of_its_owner() {
    let (world, by) = (World::new().await, proof());
    assert_eq!(world.vault.key_lies().await.unwrap(), None);
    world.set("TOKEN", "a value of mine", &by).await.unwrap();
    assert!(world.vault.key_lies().await.unwrap().unwrap().ends_with("vault/key`"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&world.key_file()), mode(&world.home.path().join("vault"))), (0o600, 0o700));
    }
    assert_eq!(value(&world.another(), "TOKEN").await.unwrap(), "a value of mine");
}

#[tokio::test]
async fn with_a_keyring_no_file_is_made_and_where_one_is_demanded_its_absence_is_told() {
    let by = proof();
    let keyring = TestKeyring(Some(Arc::new(Mutex::new(None))));
    for wanted in [Wanted::Auto, Wanted::Keyring] {
        let world = World::with(wanted, TestKeyring(Some(Arc::new(Mutex::new(None))))).await;
        world.set("TOKEN", "a value of mine", &by).await.unwrap();
        assert_eq!(world.vault.key_lies().await.unwrap().unwrap(), "the keyring");
        assert!(!world.key_file().exists());
        world.vault.rotate(&by).await.unwrap();
        assert_eq!(value(&world.another(), "TOKEN").await.unwrap(), "a value of mine");
    }
    let world = World::with(Wanted::Keyring, TestKeyring::default()).await;
    let fault = world.set("TOKEN", "a value of mine", &by).await.unwrap_err();
    assert!(fault.code == ErrorCode::VaultLocked && fault.message.contains("no keyring"), "{fault}");
    let world = World::with(Wanted::File, keyring).await;
    world.set("TOKEN", "a value of mine", &by).await.unwrap();
    assert!(world.key_file().exists());
}

#[tokio::test]
async fn a_keyring_that_is_locked_later_does_not_make_the_vault_begin_anew() {
    let by = proof();
    let mut world = World::with(Wanted::Auto, TestKeyring(Some(Arc::new(Mutex::new(None))))).await;
    world.set("TOKEN", "a value of mine", &by).await.unwrap();
    world.keyring = TestKeyring::default();
    world.reopen();
    assert_eq!(value(&world.vault, "TOKEN").await.unwrap_err().code, ErrorCode::VaultLocked);
    assert_eq!(world.set("OTHER", "another value", &by).await.unwrap_err().code, ErrorCode::VaultLocked);
    assert!(!world.key_file().exists(), "no second key was made");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_that_others_can_read_a_link_and_a_wrong_length_are_refused_with_a_mend() {
    use std::os::unix::fs::PermissionsExt as _;
    let by = proof();
    for (attack, words) in [
        ("mode", "chmod 600"),
        ("link", "link"),
        ("pipe", "not a plain file"),
        ("short", "line 1 is not 32 bytes"),
        ("long", "line 1 is not 32 bytes"),
        ("words", "line 1 is not 32 bytes"),
        ("empty", "empty"),
        ("binary", "not text"),
        ("many", "more than 8 keys"),
        ("twice", "twice"),
    ] {
        let mut world = World::new().await;
        world.set("TOKEN", "a value of mine", &by).await.unwrap();
        let (file, right) = (world.key_file(), std::fs::read(world.key_file()).unwrap());
        let write = |bytes: &[u8]| std::fs::write(&file, bytes).unwrap();
        match attack {
            "mode" => std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap(),
            "link" => {
                let elsewhere = world.home.path().join("elsewhere");
                std::fs::rename(&file, &elsewhere).unwrap();
                std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
            }
            "pipe" => {
                std::fs::remove_file(&file).unwrap();
                std::fs::create_dir(&file).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
            }
            "short" => write(b"AAAA\n"),
            "long" => write(format!("{}\n", "A".repeat(64)).as_bytes()),
            "words" => write(b"hunter2 is my passphrase\n"),
            "empty" => write(b"\n"),
            "binary" => write(&[0xff; 32]),
            "many" => {
                use base64::Engine as _;
                let lines = (0..9).map(|n| base64::engine::general_purpose::STANDARD.encode([n; 32]) + "\n");
                write(lines.collect::<String>().as_bytes());
            }
            _ => write(&[right.as_slice(), &right].concat()),
        }
        world.reopen();
        let fault = value(&world.vault, "TOKEN").await.unwrap_err();
        let told = format!("{} {}", fault.message, fault.hint.unwrap_or_default());
        assert_eq!(fault.code, ErrorCode::VaultLocked, "{attack}");
        assert!(told.contains(words), "{attack}: {told}");
        let text = String::from_utf8_lossy(&right);
        assert!(!told.contains(text.trim()) && !told.contains("hunter2"), "{attack}: nothing of the file is told");
    }
}

#[tokio::test]
async fn another_key_is_known_to_be_wrong_before_anything_is_opened() {
    let (mut world, by) = (World::new().await, proof());
    world.set("TOKEN", "a value of mine", &by).await.unwrap();
    let right = std::fs::read(world.key_file()).unwrap();
    use base64::Engine as _;
    let wrong = base64::engine::general_purpose::STANDARD.encode([9_u8; 32]);
    std::fs::write(world.key_file(), &wrong).unwrap();
    world.reopen();
    for fault in [value(&world.vault, "TOKEN").await.unwrap_err(), world.set("NEW", "a new value", &by).await.unwrap_err()] {
        assert!(fault.code == ErrorCode::VaultLocked && fault.message.contains("not the one"), "{fault}");
    }
    // Names can be seen, and a secret taken away, without any key.
    assert_eq!(world.vault.list().await.unwrap().len(), 1);
    std::fs::remove_file(world.key_file()).unwrap();
    world.reopen();
    assert!(value(&world.vault, "TOKEN").await.unwrap_err().message.contains("not there"));
    std::fs::write(world.key_file(), right).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(world.key_file(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    world.reopen();
    assert_eq!(value(&world.vault, "TOKEN").await.unwrap(), "a value of mine");
}

#[tokio::test]
async fn a_named_key_file_is_the_only_place_that_is_looked_at() {
    let (world, by) = (World::new().await, proof());
    let named = world.home.path().join("elsewhere/the.key");
    let keyring = TestKeyring(Some(Arc::new(Mutex::new(None))));
    let vault =
        vault_of(world.home.path(), &world.store, &world.live, (Wanted::Auto, Some(named.clone()), keyring), (&world.left, &world.after));
    vault.set(&name("TOKEN"), &"a value of mine".into(), &Terms::default(), &by).await.unwrap();
    assert!(named.exists() && !world.key_file().exists());
}

#[tokio::test]
async fn values_and_names_that_cannot_be_are_refused_without_being_repeated() {
    let (world, by) = (World::new().await, proof());
    let short = world.set("TOKEN", "short77", &by).await.unwrap_err();
    assert!(short.code == ErrorCode::InvalidInput && !short.message.contains("short77"), "{short}");
    assert_eq!(world.set("TOKEN_hunter2hunter2", "hunter2hunter2", &by).await.unwrap_err().code, ErrorCode::InvalidInput);
    assert_eq!(world.set("TOKEN", "api.example.com", &by).await.unwrap_err().code, ErrorCode::InvalidInput);
    assert_eq!(world.set("TOKEN", &"x".repeat(LONGEST + 1), &by).await.unwrap_err().code, ErrorCode::LimitExceeded);
    for bad in ["", "1abc", "a b", "a/b", "ghp_secret value", &"a".repeat(65), "é"] {
        let fault = bad.parse::<SecretName>().unwrap_err();
        assert!(bad.is_empty() || !fault.message.contains(bad), "{fault}");
    }
    for bad in ["ftp://a.example", "a.example/path", "*.example", "http://", "user@a.example", "a.example:0"] {
        assert!(bad.parse::<SecretHost>().is_err(), "{bad}");
    }
    for (text, canonical) in [
        ("API.Example.COM.", "api.example.com"),
        ("https://a.example:443", "a.example"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("[::1]:8443", "[::1]:8443"),
    ] {
        assert_eq!(text.parse::<SecretHost>().unwrap().to_string(), canonical);
    }
    assert!(world.store.head().await.unwrap().is_none(), "nothing was recorded");
}

#[tokio::test]
async fn a_service_renews_a_value_and_nothing_else() {
    let (world, by) = (World::new().await, proof());
    let unknown = world.vault.renew(&name("LOGIN"), &SecretString::from("a value of nobody's")).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownSecret);
    let first = world.set("LOGIN", "the first login", &by).await.unwrap();
    let renewed = world.vault.renew(&name("LOGIN"), &SecretString::from("the second login")).await.unwrap();
    assert_eq!((renewed.version, &renewed.terms), (first.version + 1, &first.terms));
    assert_eq!(value(&world.another(), "LOGIN").await.unwrap(), "the second login");
    assert_eq!(world.vault.renew(&name("LOGIN"), &SecretString::from("short")).await.unwrap_err().code, ErrorCode::InvalidInput);
    assert_eq!(value(&world.another(), "LOGIN").await.unwrap(), "the second login");
}
