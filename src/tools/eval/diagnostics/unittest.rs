//! Reads unittest's failures from what it writes to standard error.

use super::{Diagnostic, traceback};

/// Each `FAIL:` or `ERROR:` heading with the block below it, up to the next heading or the summary.
pub(super) fn read(text: &str, folder: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let heading = |n: usize| {
        let rule =
            n.checked_sub(1).and_then(|before| lines.get(before)).is_some_and(|line| line.len() >= 20 && line.bytes().all(|b| b == b'='));
        let line = lines.get(n).filter(|_| rule)?;
        ["FAIL", "ERROR"].into_iter().find_map(|code| Some((code, line.strip_prefix(code)?.strip_prefix(": ")?)))
    };
    let starts: Vec<(usize, &str, &str)> = (0..lines.len()).filter_map(|n| heading(n).map(|(code, test)| (n, code, test))).collect();
    let ends = starts.iter().skip(1).map(|(n, ..)| n.saturating_sub(1)).chain([lines.len()]);
    starts
        .iter()
        .zip(ends)
        .take(super::MOST)
        .map(|(&(start, code, test), end)| {
            let block: Vec<&str> = lines.iter().take(end).skip(start + 2).copied().take_while(|line| !line.starts_with("Ran ")).collect();
            let cause = traceback::cause(&block).unwrap_or_default();
            let found = Diagnostic::new(code, &format!("{test}: {cause}"));
            match traceback::place(&block) {
                Some((path, line)) => found.at(path, Some(line), folder),
                None => found,
            }
        })
        .collect()
}
