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

/// Every file in which this client may look for servers: the user's, where `install` writes, then those of the project in this folder and
/// those of the client's other editions.
///
/// # Errors
/// `CONFIG_INVALID` where the platform names no home folder.
pub(super) fn candidates(client: Client, ambient: &Ambient) -> Result<Vec<Place>, Fault> {
    let main = place(client, ambient)?;
    let like = |title: &'static str, file: PathBuf| Place { title, file, form: main.form };
    let of_project = |file: &str| ambient.platform.current_dir.as_ref().map(|here| here.join(file));
    let application = ambient.platform.user_home.as_deref().map(|home| application(home, ambient)).unwrap_or_default();
    let others = match client {
        // The edition of the Microsoft Store sees a folder of its own.
        Client::ClaudeDesktop => {
            let store = "Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/claude_desktop_config.json";
            let local = ambient.var("LOCALAPPDATA").filter(|_| cfg!(windows)).map(PathBuf::from);
            vec![local.map(|local| like("Claude Desktop (Store)", local.join(store)))]
        }
        Client::ClaudeCode => vec![of_project(".mcp.json").map(|file| like("Claude Code (project)", file))],
        Client::Codex => vec![of_project(".codex/config.toml").map(|file| like("Codex (project)", file))],
        Client::Vscode => vec![
            of_project(".vscode/mcp.json").map(|file| like("VS Code (project)", file)),
            Some(like("VS Code Insiders", application.join("Code - Insiders/User/mcp.json"))),
            Some(like("VSCodium", application.join("VSCodium/User/mcp.json"))),
        ],
        Client::Cursor => vec![of_project(".cursor/mcp.json").map(|file| like("Cursor (project)", file))],
        Client::Gemini => vec![of_project(".gemini/settings.json").map(|file| like("Gemini CLI (project)", file))],
    };
    let mut places = vec![main.clone()];
    for other in others.into_iter().flatten() {
        if places.iter().all(|known| known.file != other.file) {
            places.push(other);
        }
    }
    Ok(places)
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
