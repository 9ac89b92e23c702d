//! Agents of others, whole programs with a model behind them, each on a scratch home of a user; the model is a script.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::clients::{Npm, ended, home_that_asks, python};
use super::served::Served;
use super::{Ran, Toolgate, root};

/// Which agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ClaudeCode,
    Codex,
}

impl Kind {
    const fn package(self) -> &'static str {
        match self {
            Self::ClaudeCode => "@anthropic-ai/claude-code-linux-x64",
            Self::Codex => "@openai/codex",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::ClaudeCode => "@anthropic-ai/claude-code-linux-x64/claude",
            Self::Codex => "@openai/codex/vendor/x86_64-unknown-linux-musl/bin/codex",
        }
    }

    /// What `install` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
        }
    }
}

/// How the agent reaches toolgate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It starts the program, as `install` has written it.
    Lines,
    /// It goes to a server that runs already, with a token, as a person writes it by the documentation.
    Http,
}

/// An agent that has toolgate, and the model that it asks.
pub struct Agent {
    kind: Kind,
    /// Where toolgate serves, over HTTP.
    pub served: Option<Served>,
    program: PathBuf,
    pub toolgate: Toolgate,
    pub model: FakeModel,
}

impl Agent {
    /// On a home with these settings; its model plays these turns.
    pub fn with((kind, way): (Kind, Way), settings: &str, turns: &Value) -> Result<Self, String> {
        let npm = Npm::with(kind.package())?;
        let program = npm.file(kind.program());
        if !program.is_file() {
            return Err(format!("no `{}`: the package holds no program for this machine", program.display()));
        }
        let toolgate = home_that_asks(settings);
        let model = FakeModel::start(&toolgate.home().join("turns.json"), turns)?;
        if kind == Kind::Codex {
            let folder = toolgate.home().join(".codex");
            std::fs::create_dir_all(&folder).unwrap();
            let provider = format!(
                "name = \"fake\"\nbase_url = \"http://127.0.0.1:{}/v1\"\nwire_api = \"responses\"\nrequires_openai_auth = false\n",
                model.port
            );
            let main = "model = \"fake\"\nmodel_provider = \"fake\"\napproval_policy = \"never\"\nsandbox_mode = \"danger-full-access\"\n";
            std::fs::write(folder.join("config.toml"), format!("{main}\n[model_providers.fake]\n{provider}")).unwrap();
        }
        std::fs::create_dir_all(toolgate.home().join("project")).unwrap();
        let mut agent = Self { kind, served: None, program, toolgate, model };
        match way {
            Way::Lines => {
                let data = agent.toolgate.data();
                agent.toolgate.run(&["--home", data.to_str().unwrap(), "install", kind.name()]).exits(0);
            }
            Way::Http => agent.goes_to(Served::start(&agent.toolgate, &[])),
        }
        Ok(agent)
    }

    /// Names this server in the agent's settings.
    fn goes_to(&mut self, served: Served) {
        let url = format!("http://{}/mcp", served.address);
        match self.kind {
            Kind::ClaudeCode => {
                let header = format!("Authorization: Bearer {}", served.token);
                let add = ["mcp", "add", "--scope", "user", "--transport", "http", "toolgate", &url, "--header", &header];
                let ran = Ran::of(ended(&mut self.command(&add)));
                assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
            }
            Kind::Codex => self.adds(&format!("[mcp_servers.toolgate]\nurl = \"{url}\"\nbearer_token_env_var = \"TOOLGATE_TOKEN\"\n")),
        }
        self.served = Some(served);
    }

    /// Adds lines to Codex's settings.
    fn adds(&self, lines: &str) {
        use std::io::Write as _;
        let file = self.toolgate.home().join(".codex/config.toml");
        write!(std::fs::OpenOptions::new().append(true).open(file).unwrap(), "\n{lines}").unwrap();
    }

    /// Gives Codex another server beside toolgate: a script of `tests/clients`.
    pub fn has_also(&self, script: &str) {
        let script = root().join("tests/clients").join(script);
        self.adds(&format!("[mcp_servers.naive]\ncommand = {:?}\nargs = [\"-B\", {script:?}]\n", python("").unwrap()));
    }

    /// The agent's program in a project of its user, offline.
    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", self.toolgate.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", self.model.port))
            .env("ANTHROPIC_API_KEY", "sk-fake")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("ENABLE_TOOL_SEARCH", "false")
            .envs(self.served.as_ref().map(|served| ("TOOLGATE_TOKEN", &served.token)))
            .current_dir(self.toolgate.home().join("project"))
            .args(arguments);
        command
    }

    /// Gives the agent something to do, without a person at the keyboard, and gives its transcript.
    pub fn goes(&self) -> String {
        let arguments: &[&str] = match self.kind {
            Kind::ClaudeCode => &["-p", "go", "--allowedTools", "mcp__toolgate", "--output-format", "stream-json", "--verbose"],
            Kind::Codex => &["exec", "--skip-git-repo-check", "--json", "go"],
        };
        let ran = Ran::of(ended(&mut self.command(arguments)));
        assert_eq!(ran.code, 0, "{:?}\n{}\n{}\n{:?}", self.kind, ran.stdout, ran.stderr, self.model.seen());
        ran.stdout
    }

    /// What the agent says about its servers.
    pub fn lists_servers(&self) -> String {
        let ran = Ran::of(ended(&mut self.command(&["mcp", "list"])));
        assert_eq!(ran.code, 0, "{:?}\n{}\n{}", self.kind, ran.stdout, ran.stderr);
        ran.stdout
    }
}

/// A model endpoint that plays a script.
pub struct FakeModel {
    child: Child,
    pub port: u64,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl FakeModel {
    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    fn start(file: &Path, turns: &Value) -> Result<Self, String> {
        let python = python("import http.server")?;
        std::fs::write(file, turns.to_string()).unwrap();
        let mut child = Command::new(python)
            .arg("-B")
            .arg(root().join("tests/clients/fake_model.py"))
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first: Value = serde_json::from_str(&lines.next().ok_or("the model says no port")?).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        std::thread::spawn(move || lines.for_each(|line| sink.lock().unwrap().push(serde_json::from_str(&line).unwrap())));
        Ok(Self { child, port: first["port"].as_u64().unwrap(), seen })
    }

    /// What the agent handed to the model so far, one line for each answer of a tool.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// The answers of one tool, as the model saw them.
    pub fn saw(&self, tool: &str) -> Vec<Value> {
        self.seen().into_iter().filter(|line| line["tool"] == tool).collect()
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
