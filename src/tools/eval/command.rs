//! Commands: from what was written to what the sandbox runs.

use crate::domain::{ErrorCode, Fault};
use crate::sandbox::Entry;

use super::Command;

/// Options of the interpreter that change nothing in the sandbox: it has no user site, no environment and no compiled files.
const WITHOUT_EFFECT: &[&str] = &["-B", "-E", "-I", "-P", "-s", "-u"];

/// A command that can be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// As it is told in the answer.
    pub(super) argv: Vec<String>,
    /// What is run.
    pub(super) entry: Entry,
    /// Its arguments.
    pub(super) args: Vec<String>,
}

impl Invocation {
    /// Reads a command.
    ///
    /// # Errors
    /// `INVALID_INPUT` for a text that cannot be split and a use of the interpreter that is not known; `SANDBOX_UNAVAILABLE` for another
    /// program.
    pub(super) fn read(command: &Command) -> Result<Self, Fault> {
        let argv = match command {
            Command::Argv(argv) => argv.clone(),
            Command::Line(line) => shlex::split(line)
                .ok_or_else(|| Fault::new(ErrorCode::InvalidInput, format!("the command `{line}` has a quote that does not end")))?,
        };
        let mut words = argv.iter().map(String::as_str);
        match words.next() {
            Some("python" | "python3") => {}
            Some(program) => return Err(other_program(program)),
            None => return Err(Fault::new(ErrorCode::InvalidInput, "a command is empty")),
        }
        let entry = loop {
            match words.next() {
                Some(option) if WITHOUT_EFFECT.contains(&option) => {}
                Some("-m") => break words.next().map(|name| Entry::Module(name.to_owned())),
                Some("-c") => break words.next().map(|code| Entry::Code(code.to_owned())),
                Some(option) if option.starts_with('-') => {
                    return Err(Fault::new(ErrorCode::InvalidInput, format!("the interpreter's option `{option}` is not offered"))
                        .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`"));
                }
                file => break file.map(|path| Entry::File(path.to_owned())),
            }
        };
        let entry = entry.ok_or_else(|| {
            Fault::new(ErrorCode::InvalidInput, "`python` needs something to run")
                .hint("use `python -m MODULE`, `python FILE` or `python -c CODE`")
        })?;
        let args = words.map(str::to_owned).collect();
        Ok(Self { argv, entry, args })
    }
}

fn other_program(program: &str) -> Fault {
    let shown: String = program.chars().take(80).collect();
    Fault::new(ErrorCode::SandboxUnavailable, format!("the program `{shown}` needs the process sandbox, which this version does not have"))
        .hint("the wasm sandbox runs `python`; for example `python -m unittest discover -s tests -v`")
        .details(serde_json::json!({ "missing": "process", "program": shown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, Fault> {
        Invocation::read(&Command::Line(line.to_owned()))
    }

    #[test]
    fn the_three_uses_of_the_interpreter() {
        let module = read("python3 -B -m unittest discover -s 'my tests' -v").unwrap();
        assert_eq!(module.entry, Entry::Module("unittest".into()));
        assert_eq!(module.args, ["discover", "-s", "my tests", "-v"]);
        let code = read("python -c 'print(1); import x' a").unwrap();
        assert_eq!((code.entry, code.args), (Entry::Code("print(1); import x".into()), vec!["a".to_owned()]));
        assert_eq!(read("python app.py -m x").unwrap().entry, Entry::File("app.py".into()));
    }

    #[test]
    fn nothing_is_ever_a_shell() {
        let invocation = read("python -m unittest ; rm -rf / && echo $HOME `id`").unwrap();
        assert_eq!(invocation.args, [";", "rm", "-rf", "/", "&&", "echo", "$HOME", "`id`"]);
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
        ] {
            assert_eq!(read(line).unwrap_err().code, code, "{line}");
        }
    }
}
