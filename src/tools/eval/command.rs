//! Commands: from what was written to what a sandbox runs.

use crate::domain::{ErrorCode, Fault};
use crate::sandbox::Entry;

use super::Command;

/// Options of the interpreter that change nothing in the WebAssembly sandbox: it has no user site, no environment and no compiled files.
const WITHOUT_EFFECT: &[&str] = &["-B", "-E", "-I", "-P", "-s", "-u"];

/// A command that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The program and its arguments; never empty.
    pub(super) argv: Vec<String>,
}

impl Invocation {
    /// Reads a command.
    ///
    /// # Errors
    /// `INVALID_INPUT` for a text that cannot be split, and for nothing at all.
    pub(super) fn read(command: &Command) -> Result<Self, Fault> {
        let argv = match command {
            Command::Argv(argv) => argv.clone(),
            Command::Line(line) => shlex::split(line)
                .ok_or_else(|| Fault::new(ErrorCode::InvalidInput, format!("the command `{line}` has a quote that does not end")))?,
        };
        match argv.first() {
            None => Err(Fault::new(ErrorCode::InvalidInput, "a command is empty")),
            Some(program) if program.is_empty() => Err(Fault::new(ErrorCode::InvalidInput, "a command's program is empty")),
            Some(_) if argv.iter().any(|word| word.contains('\0')) => {
                Err(Fault::new(ErrorCode::InvalidInput, "a command holds a NUL character"))
            }
            Some(_) => Ok(Self { argv }),
        }
    }

    /// Whether the interpreter of the sandbox is meant.
    pub(super) fn is_python(&self) -> bool {
        matches!(self.argv.first().map(String::as_str), Some("python" | "python3"))
    }

    /// What the WebAssembly sandbox runs for it, with the arguments.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE` for another program, `INVALID_INPUT` for a use of the interpreter that is not offered.
    pub(super) fn for_wasm(&self) -> Result<(Entry, Vec<String>), Fault> {
        let mut words = self.argv.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        if !self.is_python() {
            return Err(other_program(program));
        }
        let entry = loop {
            match words.next() {
                Some(option) if WITHOUT_EFFECT.contains(&option) => {}
                Some("-m") => break words.next().map(|name| Entry::Module(name.to_owned())),
                Some("-c") => break words.next().map(|code| Entry::Code(code.to_owned())),
                Some(option) if option.starts_with('-') => {
                    return Err(Fault::new(ErrorCode::InvalidInput, format!("the interpreter's option `{option}` is not offered"))
                        .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`, or `python: \"process\"`"));
                }
                file => break file.map(|path| Entry::File(path.to_owned())),
            }
        };
        let entry = entry.ok_or_else(|| {
            Fault::new(ErrorCode::InvalidInput, "`python` needs something to run")
                .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`")
        })?;
        Ok((entry, words.map(str::to_owned).collect()))
    }
}

fn other_program(program: &str) -> Fault {
    let shown: String = program.chars().take(80).collect();
    Fault::new(ErrorCode::SandboxUnavailable, format!("the program `{shown}` is native, and the WebAssembly sandbox runs Python alone"))
        .hint("leave `python` out or give \"process\" for native programs; `sandbox.status` says whether this machine can")
        .details(serde_json::json!({ "layer": "process", "program": shown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Entry, Vec<String>), Fault> {
        Invocation::read(&Command::Line(line.to_owned()))?.for_wasm()
    }

    #[test]
    fn the_three_uses_of_the_interpreter() {
        let (entry, args) = read("python3 -B -m unittest discover -s 'my tests' -v").unwrap();
        assert_eq!(entry, Entry::Module("unittest".into()));
        assert_eq!(args, ["discover", "-s", "my tests", "-v"]);
        assert_eq!(read("python -c 'print(1); import x' a").unwrap(), (Entry::Code("print(1); import x".into()), vec!["a".to_owned()]));
        assert_eq!(read("python app.py -m x").unwrap().0, Entry::File("app.py".into()));
    }

    #[test]
    fn nothing_is_ever_a_shell() {
        let invocation = Invocation::read(&Command::Line("ruff check ; rm -rf / && echo $HOME `id`".into())).unwrap();
        assert_eq!(invocation.argv, ["ruff", "check", ";", "rm", "-rf", "/", "&&", "echo", "$HOME", "`id`"]);
    }

    #[test]
    fn other_programs_and_uses_are_refused() {
        for (line, code) in [
            ("ruff check .", ErrorCode::SandboxUnavailable),
            ("/usr/bin/python3 -m unittest", ErrorCode::SandboxUnavailable),
            ("sh -c 'python x'", ErrorCode::SandboxUnavailable),
            ("python", ErrorCode::InvalidInput),
            ("python -m", ErrorCode::InvalidInput),
            ("python -i", ErrorCode::InvalidInput),
            ("python 'x", ErrorCode::InvalidInput),
            ("", ErrorCode::InvalidInput),
            ("'' x", ErrorCode::InvalidInput),
        ] {
            assert_eq!(read(line).unwrap_err().code, code, "{line}");
        }
    }
}
