//! Which checker a command is, told from its argument vector alone, and how it is run so that what it finds can be read.
//!
//! INVARIANT: the caller's arguments are never changed; a form of output is asked for by the environment only, and only where the caller
//! chose none himself.

/// A program whose findings are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checker {
    /// `ruff check` and `ruff format`.
    Ruff,
    /// mypy.
    Mypy,
    /// pytest.
    Pytest,
    /// unittest.
    Unittest,
    /// Any other: its tracebacks are read.
    Other,
}

/// A command as it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The caller's own.
    pub(super) argv: Vec<String>,
    /// Added to its environment.
    pub(super) env: Vec<(&'static str, String)>,
    /// The file that it writes in the folder for reports.
    pub(super) file: Option<&'static str>,
}

/// The file that pytest writes.
const JUNIT: &str = "pytest.xml";

/// The command as it is run. `folder_for_reports` is a folder inside the sandbox that exists and can be written.
///
/// ruff is asked for one line per finding, which people read as well as we do. mypy's own text is that already. pytest is asked for a
/// report beside its text, in the form that names files.
pub(super) fn with_report(argv: &[String], folder_for_reports: &str) -> (Checker, Report) {
    let (checker, args) = recognise(argv);
    let has = |names: &[&str]| args.iter().any(|arg| names.iter().any(|name| is_option(arg, name)));
    let mut report = Report { argv: argv.to_vec(), env: Vec::new(), file: None };
    match checker {
        // Other subcommands know other forms.
        Checker::Ruff if args.iter().any(|arg| arg == "check" || arg == "format") && !has(&["--output-format"]) => {
            report.env.push(("RUFF_OUTPUT_FORMAT", "concise".to_owned()));
        }
        Checker::Pytest if !has(&["--junitxml", "--junit-xml"]) && !args.iter().any(|arg| arg.ends_with("no:junitxml")) => {
            let path = format!("{}/{JUNIT}", folder_for_reports.trim_end_matches('/'));
            let option = quoted(&format!("--junitxml={path}"));
            report.env.push(("PYTEST_ADDOPTS", format!("{option} -o junit_family=xunit1")));
            report.file = Some(JUNIT);
        }
        Checker::Ruff | Checker::Pytest | Checker::Mypy | Checker::Unittest | Checker::Other => {}
    }
    (checker, report)
}

/// The checker, with the arguments that are its own.
fn recognise(argv: &[String]) -> (Checker, &[String]) {
    let Some((program, args)) = argv.split_first() else { return (Checker::Other, &[]) };
    let program = program.rsplit('/').next().unwrap_or_default();
    let by_name = named(program);
    if by_name != Checker::Other && program != "unittest" {
        return (by_name, args);
    }
    let version = program.strip_prefix("python").filter(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    version.and_then(|_| module(args)).map_or((Checker::Other, args), |(name, args)| (named(name), args))
}

fn named(name: &str) -> Checker {
    match name {
        "ruff" => Checker::Ruff,
        "mypy" => Checker::Mypy,
        "pytest" | "py.test" => Checker::Pytest,
        "unittest" => Checker::Unittest,
        _ => Checker::Other,
    }
}

/// The module that an interpreter's arguments name, with what follows: `-B -m pytest x`, `-Bm pytest x`, `-mpytest x`.
fn module(args: &[String]) -> Option<(&str, &[String])> {
    let mut rest = args;
    loop {
        let (word, after) = rest.split_first()?;
        rest = after;
        let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty() && !letters.starts_with('-'))?;
        for (at, letter) in letters.char_indices() {
            let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            match letter {
                'm' if attached.is_empty() => return rest.split_first().map(|(name, args)| (name.as_str(), args)),
                'm' => return Some((attached, rest)),
                'c' => return None,
                'W' | 'X' => {
                    if attached.is_empty() {
                        rest = rest.split_first()?.1;
                    }
                    break;
                }
                _ => {}
            }
        }
    }
}

fn is_option(arg: &str, name: &str) -> bool {
    arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// As a word of a text that is split like a shell would.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(line: &str) -> (Checker, Report) {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (checker, report) = with_report(&argv, "/tmp/reports");
        assert_eq!(report.argv, argv, "{line}");
        (checker, report)
    }

    #[test]
    fn a_checker_is_known_by_its_program_or_its_module() {
        for (line, checker) in [
            ("ruff check .", Checker::Ruff),
            ("/env/bin/ruff format --check", Checker::Ruff),
            ("mypy --strict app", Checker::Mypy),
            ("pytest", Checker::Pytest),
            ("py.test -q", Checker::Pytest),
            ("python -m pytest -q", Checker::Pytest),
            ("python3 -B -I -m mypy .", Checker::Mypy),
            ("python3.14 -Bm ruff check", Checker::Ruff),
            ("python -mpytest", Checker::Pytest),
            ("python -X dev -W error -Wignore -m pytest", Checker::Pytest),
            ("/usr/bin/python3 -m unittest discover", Checker::Unittest),
            ("python -m coverage run -m pytest", Checker::Other),
            ("python -c -m pytest", Checker::Other),
            ("python app.py -m pytest", Checker::Other),
            ("python -X -m pytest", Checker::Other),
            ("python -", Checker::Other),
            ("python --help -m pytest", Checker::Other),
            ("python -m", Checker::Other),
            ("pythonic -m pytest", Checker::Other),
            ("unittest", Checker::Other),
            ("sh -c pytest", Checker::Other),
            ("pytester", Checker::Other),
            ("", Checker::Other),
        ] {
            assert_eq!(report(line).0, checker, "{line}");
        }
    }

    #[test]
    fn a_form_of_output_is_asked_for_by_the_environment() {
        let (_, ruff) = report("python -m ruff check .");
        assert_eq!((ruff.env, ruff.file), (vec![("RUFF_OUTPUT_FORMAT", "concise".to_owned())], None));
        let (_, pytest) = report("pytest -q tests");
        assert_eq!(pytest.env, [("PYTEST_ADDOPTS", "'--junitxml=/tmp/reports/pytest.xml' -o junit_family=xunit1".to_owned())]);
        assert_eq!(pytest.file, Some("pytest.xml"));
        let odd = with_report(&["pytest".to_owned()], "/a b'c/").1;
        assert_eq!(odd.env[0].1, r#"'--junitxml=/a b'"'"'c/pytest.xml' -o junit_family=xunit1"#);
    }

    #[test]
    fn the_callers_own_choice_stands() {
        for line in [
            "ruff check --output-format json",
            "ruff check --output-format=github .",
            "ruff rule F401",
            "pytest --junitxml=x.xml",
            "pytest --junit-xml x.xml",
            "pytest -p no:junitxml",
            "mypy --pretty .",
            "python -m unittest",
            "python app.py --junitxml",
        ] {
            let (_, report) = report(line);
            assert_eq!((report.env, report.file), (vec![], None), "{line}");
        }
    }
}
