//! A command as argv, and what of the sandboxed interpreter it asks for.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::{ErrorCode, Fault};
use crate::sandbox::Entry;

// Argv, or text that is split into argv as a POSIX shell splits words, without any expansion; no doc, as it would stand in the schema.
#[expect(missing_docs, reason = "a doc would stand in the tool's schema, whose field says it already")]
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum CommandLine {
    Argv(#[schemars(length(min = 1, max = 256))] Vec<String>),
    Text(#[schemars(length(min = 1, max = 8192))] String),
}

impl CommandLine {
    /// The words.
    ///
    /// # Errors
    /// `INVALID_INPUT` for text with an open quote, or without a word.
    pub(super) fn argv(&self) -> Result<Vec<String>, Fault> {
        let argv = match self {
            Self::Argv(argv) => argv.clone(),
            Self::Text(text) => shlex::split(text)
                .ok_or_else(|| Fault::new(ErrorCode::InvalidInput, format!("the command `{text}` has an open quote or a last `\\`")))?,
        };
        if argv.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "a command needs a program"));
        }
        Ok(argv)
    }
}

/// What an argv asks of the interpreter, and the program's own arguments.
///
/// # Errors
/// `SANDBOX_UNAVAILABLE` for another program than Python, `INVALID_INPUT` for an option of the interpreter that is not offered.
pub(super) fn entry(argv: &[String]) -> Result<(Entry, Vec<String>), Fault> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let rest = |from: usize| argv.iter().skip(from).cloned().collect::<Vec<_>>();
    match words.as_slice() {
        ["python" | "python3", "-m", module, ..] => Ok((Entry::Module((*module).to_owned()), rest(3))),
        ["python" | "python3", "-c", code, ..] => Ok((Entry::Code((*code).to_owned()), rest(3))),
        ["python" | "python3", option, ..] if option.starts_with('-') => {
            Err(Fault::new(ErrorCode::InvalidInput, format!("the interpreter's option `{option}` is not offered"))
                .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`"))
        }
        ["python" | "python3", file, ..] => Ok((Entry::File((*file).to_owned()), rest(2))),
        ["python" | "python3"] => Err(Fault::new(ErrorCode::InvalidInput, "`python` needs something to run")
            .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`")),
        [program, ..] => {
            Err(Fault::new(ErrorCode::SandboxUnavailable, format!("`{program}` is a native program, and the process sandbox is not there"))
                .hint("only `python …` runs here, in the wasm sandbox; `python -m unittest` runs tests"))
        }
        [] => Err(Fault::new(ErrorCode::InvalidInput, "a command needs a program")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(Entry, Vec<String>), ErrorCode> {
        CommandLine::Text(text.into()).argv().and_then(|argv| entry(&argv)).map_err(|fault| fault.code)
    }

    #[test]
    fn only_the_interpreter_is_there() {
        assert_eq!(
            of("python -m unittest discover -s 'my tests'").unwrap(),
            (Entry::Module("unittest".into()), vec!["discover".into(), "-s".into(), "my tests".into()])
        );
        assert_eq!(of("python3 a.py x").unwrap(), (Entry::File("a.py".into()), vec!["x".into()]));
        assert_eq!(of("ruff check"), Err(ErrorCode::SandboxUnavailable));
        assert_eq!(of("/usr/bin/python -c 1"), Err(ErrorCode::SandboxUnavailable));
        for bad in ["python", "python -i", "python -X dev a.py", "python 'x", "  "] {
            assert_eq!(of(bad), Err(ErrorCode::InvalidInput), "{bad}");
        }
    }

    #[test]
    fn nothing_is_expanded() {
        let (_, args) = of("python a.py $HOME `id` $(id) *.py ; rm -rf / && true").unwrap();
        assert_eq!(args, ["$HOME", "`id`", "$(id)", "*.py", ";", "rm", "-rf", "/", "&&", "true"]);
    }
}
