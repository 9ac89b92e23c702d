//! The fences of `ARCHITECTURE.md`: which room may import which, and which crate belongs to which room. A room or an import that is not
//! in the tables fails, and so does a line of the tables that nothing needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::{files, root};

/// Room → rooms it may import besides `domain` and itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("schema", &[]),
    ("audit", &[]),
    ("call", &["schema"]),
    ("manifest", &["schema"]),
    ("policy", &["call", "manifest"]),
    ("workflow", &["call", "schema"]),
    ("run", &["call", "schema", "workflow"]),
    ("store", &["call", "run", "audit", "policy"]),
    ("confine", &[]),
    ("sandbox", &["call"]),
    ("egress", &[]),
    ("packages", &[]),
    ("telemetry", &["call", "egress"]),
    ("secrets", &["call", "egress"]),
    ("tools", &["call", "schema", "confine", "sandbox", "egress", "packages", "secrets"]),
    ("registry", &["manifest", "schema", "call", "policy", "tools"]),
    ("gateway", &["call", "schema", "policy", "registry", "store", "audit", "run", "tools", "confine", "secrets"]),
    ("keeping", &["run", "store", "secrets"]),
    ("engine", &["run", "workflow", "call", "gateway", "store", "tools", "schema", "registry"]),
    ("config", &[]),
    ("mcp", &["gateway", "engine", "call"]),
    ("cli", &["gateway", "keeping", "engine", "call", "store", "run", "audit", "policy", "workflow", "manifest", "secrets", "config"]),
];

/// Files that join everything.
const ROOTS: &[&str] = &["app", "main", "lib"];

/// Crate → files and folders below `src/` that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("rmcp", &["mcp/"]),
    ("sqlx", &["store/"]),
    ("wasmtime", &["sandbox/wasm/"]),
    ("wasmtime_wasi", &["sandbox/wasm/"]),
    ("git2", &["tools/repo_git/"]),
    ("cedar_policy", &["policy/"]),
    ("cedar_policy_mcp_schema_generator", &["policy/"]),
    ("jaq_core", &["tools/transform/"]),
    ("argon2", &["secrets/"]),
    ("aes_gcm", &["secrets/"]),
    ("age", &["secrets/"]),
    ("hkdf", &["secrets/"]),
    ("keyring", &["secrets/"]),
    ("cap_std", &["confine/"]),
    ("clap", &["cli/"]),
    ("console", &["cli/"]),
    ("mcp_tools_sdk", &["policy/"]),
    ("indicatif", &["cli/"]),
    ("axum", &["mcp/http/"]),
    ("hyper", &["mcp/http/"]),
    ("hyper_util", &["mcp/http/"]),
    ("reqwest", &["egress/"]),
    ("rustls", &["egress/", "mcp/http/"]),
    ("rustls_platform_verifier", &["egress/"]),
    ("tokio_rustls", &["egress/", "mcp/http/"]),
    ("lettre", &["tools/notify/"]),
    ("notify_rust", &["tools/notify/"]),
    ("jsonwebtoken", &["mcp/auth/"]),
    ("zip", &["packages/"]),
    ("landlock", &["sandbox/process/"]),
    ("seccompiler", &["sandbox/process/"]),
    ("libc", &["sandbox/process/"]),
    ("roxmltree", &["tools/eval/"]),
    ("oauth2", &["tools/drive/google/"]),
    ("opendal", &["tools/drive/objects/"]),
    ("md5", &["tools/drive/"]),
    ("dom_query", &["tools/web/"]),
    ("dom_smoothie", &["tools/web/"]),
    ("htmd", &["tools/web/"]),
    ("html5ever", &["tools/web/"]),
    ("pdf_extract", &["tools/web/"]),
    ("encoding_rs", &["tools/web/"]),
    ("http_cache_semantics", &["egress/"]),
    ("flate2", &["egress/"]),
    ("backon", &["egress/", "tools/drive/google/"]),
    ("prometheus_client", &["telemetry/"]),
    ("opentelemetry", &["telemetry/otlp/"]),
    ("opentelemetry_http", &["telemetry/otlp/"]),
    ("opentelemetry_otlp", &["telemetry/otlp/"]),
    ("opentelemetry_sdk", &["telemetry/otlp/"]),
    ("tracing_opentelemetry", &["telemetry/otlp/"]),
];

/// Text that only these files may hold.
const WORDS: &[(&str, &[&str])] = &[
    ("std::process::Command", &["packages/installer.rs", "sandbox/peer.rs", "sandbox/process/launcher.rs", "sandbox/reader.rs"]),
    (
        "std::env::",
        &[
            "config/",
            "packages/installer.rs",
            "sandbox/process/",
            "sandbox/process_absent.rs",
            "packages/environment_absent.rs",
            "app/native.rs",
        ],
    ),
    // Where text leaves for a terminal, a pipe or a log: each of these goes through the redactor (docs/redaction.md lists them).
    ("stderr()", &["app/mod.rs", "app/panic.rs", "cli/log.rs", "cli/output.rs", "cli/tree.rs", "mcp/stdio.rs"]),
    ("stdout()", &["cli/output.rs", "mcp/stdio.rs", "sandbox/reader.rs"]),
    ("unsafe {", UNSAFE),
    ("unsafe fn", UNSAFE),
];

/// The few files with `unsafe` code, each with its reason beside it.
const UNSAFE: &[&str] = &["sandbox/process/init/sys.rs", "sandbox/wasm/native.rs", "tools/repo_git/"];

struct Source {
    /// Path below `src/`.
    path: String,
    room: String,
    /// The text without comments and without what follows the test module's mark.
    code: String,
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    files(&src)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs") && !is_test_file(path))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
            let room = path.split(['/', '.']).next().unwrap().to_owned();
            Source { path, room, code: production(&text) }
        })
        .collect()
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name == "tests" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

fn production(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Names that follow `crate::`, also in groups.
fn imported_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut name, mut fresh) = (0, String::new(), true);
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    ':' if depth == 0 => fresh = false,
                    c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => {
                        name.push(c);
                        continue;
                    }
                    _ => {}
                }
                if !name.is_empty() {
                    rooms.insert(std::mem::take(&mut name));
                }
            }
            rooms.extend((!name.is_empty()).then_some(name));
        } else {
            rooms.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

#[test]
fn rooms_import_downwards_only() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources().iter().filter(|source| !ROOTS.contains(&source.room.as_str())) {
        let Some(allowed) = table.get(source.room.as_str()) else {
            wrong.push(format!("{}: `{}` is not a room of the table", source.path, source.room));
            continue;
        };
        for room in imported_rooms(&source.code) {
            used.insert((source.room.clone(), room.clone()));
            if room != "domain" && room != source.room && !allowed.contains(&room.as_str()) {
                wrong.push(format!("{}: imports `{room}`, which `{}` may not", source.path, source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "fences broken:\n{}", wrong.join("\n"));
    assert!(used.contains(&("gateway".into(), "policy".into())), "the scan finds no imports at all");
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    let sources = sources();
    for (name, homes) in CRATES {
        let names = |code: &str| code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"));
        let holders: Vec<_> = sources.iter().filter(|source| mentions(&source.code, name) && names(&source.code)).collect();
        wrong.extend(
            holders.iter().filter(|s| !homes.iter().any(|home| fits(&s.path, home))).map(|s| format!("{}: names crate `{name}`", s.path)),
        );
        if holders.is_empty() {
            wrong.push(format!("the table fences `{name}`, which no file names"));
        }
    }
    for (word, homes) in WORDS {
        for source in sources.iter().filter(|source| source.code.contains(word)) {
            if !homes.iter().any(|home| fits(&source.path, home)) {
                wrong.push(format!("{}: holds `{word}`", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "fences broken:\n{}", wrong.join("\n"));
}

fn fits(path: &str, home: &str) -> bool {
    path.starts_with(home) || path == format!("{}.rs", home.trim_end_matches('/'))
}

fn mentions(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn the_scan_sees_what_it_should() {
    let code = "use crate::{call::{A, B}, policy, run::X};\nuse crate::store::Y; $crate::z; let a = crate::audit::seal();";
    let rooms: Vec<String> = imported_rooms(code).into_iter().collect();
    assert_eq!(rooms, ["audit", "call", "policy", "run", "store", "z"]);
    assert!(!mentions("my_sqlx::x sqlxy::z", "sqlx"));
}
