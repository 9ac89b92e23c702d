//! Where each client keeps its servers, and in which form.

use std::path::{Path, PathBuf};

use crate::cli::args::Client;
use crate::config::Ambient;
use crate::domain::{ErrorCode, Fault};

/// How a settings file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON with an object of servers under this key; `typed` where an entry says that it is one over standard input and output.
    Json { servers: &'static str, typed: bool },
    /// TOML with a table of servers, `mcp_servers`.
    Toml,
}

/// A client's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The client's name as people write it.
    pub(super) title: &'static str,
    pub(super) file: PathBuf,
    pub(super) form: Form,
}

/// Where this client's settings of this user lie.
///
/// # Errors
/// `CONFIG_INVALID` where the platform names no home folder.
pub(super) fn place(client: Client, ambient: &Ambient) -> Result<Place, Fault> {
    let home = ambient.platform.user_home.clone().ok_or_else(|| {
        Fault::new(ErrorCode::ConfigInvalid, "this user has no home folder, so no client keeps its settings there").hint("set HOME")
    })?;
    let folder = |variable: &str, otherwise: PathBuf| ambient.var(variable).map_or(otherwise, PathBuf::from);
    let json = |servers, typed| Form::Json { servers, typed };
    let (title, file, form) = match client {
        Client::ClaudeDesktop => {
            ("Claude Desktop", application(&home, ambient).join("Claude/claude_desktop_config.json"), json("mcpServers", false))
        }
        Client::ClaudeCode => ("Claude Code", folder("CLAUDE_CONFIG_DIR", home).join(".claude.json"), json("mcpServers", true)),
        Client::Codex => ("Codex", folder("CODEX_HOME", home.join(".codex")).join("config.toml"), Form::Toml),
        Client::Vscode => ("VS Code", application(&home, ambient).join("Code/User/mcp.json"), json("servers", true)),
        Client::Cursor => ("Cursor", home.join(".cursor/mcp.json"), json("mcpServers", false)),
        Client::Gemini => ("Gemini CLI", home.join(".gemini/settings.json"), json("mcpServers", false)),
    };
    Ok(Place { title, file, form })
}

/// Where desktop programs keep their settings.
fn application(home: &Path, ambient: &Ambient) -> PathBuf {
    if cfg!(target_os = "macos") {
        home.join("Library/Application Support")
    } else if cfg!(windows) {
        ambient.var("APPDATA").map_or_else(|| home.join("AppData/Roaming"), PathBuf::from)
    } else {
        ambient.var("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from)
    }
}
