//! The unit, the container file and the units of `docs/hardening.md` start the program with arguments, variables and paths that it really
//! has: they are read here and the program is started by them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ran, Toolgate, root};

const HOME: &str = "/var/lib/toolgate";
const CACHE: &str = "/var/cache/toolgate";
const PROGRAM: &str = "/usr/local/bin/toolgate";
const ADDRESS: &str = "127.0.0.1:8801";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Settings of a unit's `[Service]`: every line's name and value.
fn settings(unit: &str) -> Vec<(String, String)> {
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn all<'s>(settings: &'s [(String, String)], name: &str) -> Vec<&'s str> {
    settings.iter().filter(|(there, _)| there == name).map(|(_, value)| value.as_str()).collect()
}

/// The arguments of a command line that begins with the program's installed path.
fn arguments(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words.first(), Some(&PROGRAM), "{line}");
    words[1..].iter().map(|word| (*word).to_owned()).collect()
}

/// Variables that are settings of the program.
fn assert_are_settings<'v>(variables: impl IntoIterator<Item = &'v String>) {
    for name in variables {
        let known = name == "TOOLGATE_HOME" || name == "TOOLGATE_CONFIG" || toolgate::config::KEYS.iter().any(|key| key.env == name);
        assert!(known, "`{name}` is no variable of the program");
    }
}

/// What a file says, in a scratch place: its home, its cache, and a port that is free.
struct Started {
    toolgate: Toolgate,
    address: String,
    child: Child,
}

impl Started {
    #[expect(clippy::disallowed_methods, reason = "a test is a machine, and a machine starts services")]
    fn by(arguments: &[String], variables: &BTreeMap<String, String>) -> Self {
        let toolgate = Toolgate::new();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let cache = crate::support::python_cache().to_str().unwrap();
        let home = toolgate.data();
        std::fs::create_dir_all(&home).unwrap();
        let here = |text: &str| text.replace(HOME, home.to_str().unwrap()).replace(CACHE, cache).replace(ADDRESS, &address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
        command.env_clear().env("HOME", toolgate.home()).args(arguments.iter().map(|argument| here(argument)));
        command.envs(variables.iter().map(|(name, value)| (name, here(value))));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { toolgate, address, child }
    }

    /// The answer of `/healthz`, once there is one.
    fn health(&mut self) -> String {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let token = std::fs::read_to_string(self.toolgate.data().join("http.token"));
            if let (Ok(token), Ok(mut stream)) = (token, TcpStream::connect(&self.address)) {
                let token = token.trim();
                let ask = format!(
                    "GET /healthz HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
                    self.address
                );
                stream.write_all(ask.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                return answer;
            }
            if let Some(ended) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("it ended with {ended}: {said}");
            }
            assert!(Instant::now() < until, "it does not serve");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells it to end, as a service's manager does.
    fn end(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM).unwrap();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_unit_starts_a_server_that_answers() {
    let unit = settings(&read("packaging/toolgate.service"));
    let starts = all(&unit, "ExecStart");
    assert_eq!(starts.len(), 1);
    let pairs = all(&unit, "Environment").into_iter().map(|pair| pair.split_once('=').unwrap());
    let variables: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_are_settings(variables.keys());
    // What the service may write is where the program writes.
    assert_eq!(all(&unit, "StateDirectory"), [HOME.trim_start_matches("/var/lib/")]);
    assert_eq!(all(&unit, "CacheDirectory"), [CACHE.trim_start_matches("/var/cache/")]);
    assert_eq!(variables.get("TOOLGATE_PYTHON_CACHE_DIR").map(String::as_str), Some(CACHE));
    let mut started = Started::by(&arguments(starts[0]), &variables);
    let health = started.health();
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(started.toolgate.data().join("toolgate.db").is_file(), "its home is where the unit says");
    started.end();
}

/// The list behind an instruction of the container file that takes one.
fn list(file: &str, instruction: &str) -> Vec<String> {
    let found = file.lines().find_map(|line| line.strip_prefix(instruction)).unwrap_or_else(|| panic!("no {instruction}"));
    serde_json::from_str(found.trim()).unwrap_or_else(|error| panic!("{instruction}: {error}"))
}

#[test]
fn the_container_file_builds_what_there_is_and_starts_a_server_that_answers() {
    let file = read("packaging/Containerfile").replace("\\\n", " ");
    let cargo: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let rust = text(&cargo["workspace"]["package"]["rust-version"]);
    assert!(file.contains(&format!("FROM rust:{rust}-")), "the toolchain is that of `rust-version`");
    let build = file.lines().find(|line| line.starts_with("RUN cargo build")).unwrap();
    let mut programs = Vec::new();
    for (folder, package) in [(".", "toolgate"), ("evidence", "toolgate-evidence")] {
        assert!(build.contains(&format!("-p {package} ")) && build.contains("--locked") && build.contains("--release"), "{build}");
        let manifest: toml::Value = toml::from_str(&read(&format!("{folder}/Cargo.toml"))).unwrap();
        assert_eq!(text(&manifest["package"]["name"]), package);
        programs.extend(manifest["bin"].as_array().unwrap().iter().map(|bin| text(&bin["name"])));
    }
    let copied = file.lines().find(|line| line.starts_with("COPY --from=build")).unwrap();
    for program in &programs {
        assert!(copied.split_whitespace().any(|word| word == format!("/src/target/release/{program}")), "{program}: {copied}");
    }
    let variables: BTreeMap<String, String> = file
        .lines()
        .filter_map(|line| line.strip_prefix("ENV "))
        .flat_map(str::split_whitespace)
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_are_settings(variables.keys());
    let kept = list(&file, "VOLUME");
    assert!(variables.values().all(|folder| kept.contains(folder) && file.contains(&format!("0700 {HOME} {CACHE}"))), "{variables:?}");
    let entry = list(&file, "ENTRYPOINT");
    assert_eq!(entry, [PROGRAM]);
    let mut started = Started::by(&list(&file, "CMD"), &variables);
    let health = started.health();
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(started.toolgate.data().join("toolgate.db").is_file());
    started.end();
}

#[test]
fn the_units_of_the_hardening_page_start_the_program() {
    let page = read("docs/hardening.md");
    let block = |name: &str| {
        let begin = format!("# /etc/systemd/system/{name}\n");
        page.split("```\n").find_map(|block| block.strip_prefix(&begin)).unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let (socket, service) = (settings(&block("toolgate.socket")), settings(&block("toolgate@.service")));
    assert_eq!(
        (all(&socket, "Accept"), all(&service, "StandardInput"), all(&service, "StandardOutput")),
        (vec!["yes"], vec!["socket"], vec!["socket"])
    );
    assert_eq!(all(&service, "ReadWritePaths"), [HOME]);
    // A connection that says nothing and ends.
    let arguments = arguments(all(&service, "ExecStart")[0]);
    let toolgate = Toolgate::new();
    let home = toolgate.data();
    std::fs::create_dir_all(&home).unwrap();
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace(HOME, home.to_str().unwrap())).collect();
    let ran = Ran::of(toolgate.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap());
    assert!(ran.code == 0 && ran.stdout.is_empty(), "{ran:?}");
    // The same line is what `sudo` lets through.
    let sudo = page.lines().find(|line| line.contains("NOPASSWD:")).unwrap();
    assert!(sudo.ends_with(all(&service, "ExecStart")[0]), "{sudo}");
}

#[test]
fn a_wrong_option_or_variable_would_be_seen() {
    let wrong: Vec<String> = ["--home", HOME, "serve", "--htpp", ADDRESS].map(str::to_owned).to_vec();
    let said = std::panic::catch_unwind(|| Started::by(&wrong, &BTreeMap::new()).health()).unwrap_err();
    assert!(said.downcast_ref::<String>().unwrap().contains("--htpp"));
    assert!(std::panic::catch_unwind(|| assert_are_settings(&["TOOLGATE_PYTHON_CACHE".to_owned()])).is_err());
}
