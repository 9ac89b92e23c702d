//! Which files the `.gitignore` files leave out.
//!
//! INVARIANT: a pure match of patterns against paths, linear in both but for the length of one name; the pattern files are read
//! through [`Folder`], so a linked one does not count. Knows the patterns of gitignore, not the machine's exclude files.

use std::collections::HashMap;

use crate::confine::{FileEntry, Folder, RelPath};
use crate::domain::{Bytes, ErrorCode, Fault};

/// Bytes of one pattern file.
const MOST_BYTES: Bytes = Bytes(256 << 10);
/// Patterns in all files together.
const MOST_PATTERNS: usize = 20_000;

/// The patterns of a folder, and what they said so far of its folders.
pub(super) struct Ignored {
    /// By folder; `""` is the root.
    patterns: HashMap<String, Vec<Pattern>>,
    folders: HashMap<String, bool>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    parts: Vec<Vec<char>>,
    keep: bool,
    only_folders: bool,
}

impl Ignored {
    /// Reads every `.gitignore` among `files`.
    pub(super) fn read(folder: &Folder, files: &[FileEntry]) -> Result<Self, Fault> {
        let (mut patterns, mut count) = (HashMap::new(), 0);
        for file in files.iter().filter(|file| file.path.name() == ".gitignore") {
            let bytes = folder.read(&file.path, MOST_BYTES)?;
            let list: Vec<Pattern> = String::from_utf8_lossy(&bytes).lines().filter_map(pattern).collect();
            count += list.len();
            if count > MOST_PATTERNS {
                return Err(Fault::new(ErrorCode::LimitExceeded, format!("more than {MOST_PATTERNS} ignore patterns")));
            }
            patterns.insert(file.path.parent().map_or_else(String::new, |parent| parent.to_string()), list);
        }
        Ok(Self { patterns, folders: HashMap::new() })
    }

    /// Whether a file is left out: by itself, or because a folder above it is.
    pub(super) fn is_ignored(&mut self, file: &RelPath) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        self.folder_ignored(file.parent().as_ref()) || self.matched(file, false)
    }

    fn folder_ignored(&mut self, folder: Option<&RelPath>) -> bool {
        let Some(folder) = folder else { return false };
        if let Some(known) = self.folders.get(folder.as_str()) {
            return *known;
        }
        // What lies in an ignored folder cannot be brought back.
        let ignored = self.folder_ignored(folder.parent().as_ref()) || self.matched(folder, true);
        self.folders.insert(folder.to_string(), ignored);
        ignored
    }

    /// The nearest file with an opinion decides; in it, the last pattern that matches.
    fn matched(&self, path: &RelPath, is_folder: bool) -> bool {
        let mut base = path.parent();
        loop {
            let (key, inner) = match &base {
                Some(base) => (base.as_str(), path.beneath(base)),
                None => ("", Some(path.clone())),
            };
            if let (Some(list), Some(inner)) = (self.patterns.get(key), inner) {
                let parts: Vec<Vec<char>> = inner.parts().map(|part| part.chars().collect()).collect();
                if let Some(last) =
                    list.iter().rev().find(|pattern| (is_folder || !pattern.only_folders) && parts_match(&pattern.parts, &parts))
                {
                    return !last.keep;
                }
            }
            match base {
                Some(folder) => base = folder.parent(),
                None => return false,
            }
        }
    }
}

fn pattern(line: &str) -> Option<Pattern> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut text = line.trim_end_matches(' ').to_owned();
    if text.ends_with('\\') && text.len() < line.len() {
        text.push(' ');
    }
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let (keep, rest) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
    let (only_folders, rest) = rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
    let anchored = rest.contains('/');
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if rest.is_empty() {
        return None;
    }
    let mut parts: Vec<Vec<char>> = rest.split('/').map(|part| part.chars().collect()).collect();
    if !anchored {
        parts.insert(0, vec!['*', '*']);
    }
    Some(Pattern { parts, keep, only_folders })
}

/// Matches part by part; `**` stands for any number of them, and at the end for at least one.
fn parts_match(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    let any = |part: &Vec<char>| part.as_slice() == ['*', '*'];
    let (mut p, mut at, mut back) = (0, 0, None);
    loop {
        match (pattern.get(p), path.get(at)) {
            (Some(part), Some(_)) if any(part) => {
                back = Some((p, at));
                // A closing `**` takes one part at least.
                if p + 1 == pattern.len() {
                    return true;
                }
                p += 1;
                continue;
            }
            (Some(part), Some(name)) if name_matches(part, name) => {
                p += 1;
                at += 1;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match back {
            Some((star, from)) if from < path.len() => {
                back = Some((star, from + 1));
                p = star + 1;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

/// Matches one name: `*`, `?`, `[…]` and `\`.
fn name_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut at, mut back) = (0, 0, None);
    loop {
        match (pattern.get(p), name.get(at)) {
            (None, None) => return true,
            (Some('*'), _) => {
                back = Some((p, at));
                p += 1;
                continue;
            }
            (Some(_), Some(c)) => {
                if let Some(next) = one_matches(pattern, p, *c) {
                    p = next;
                    at += 1;
                    continue;
                }
            }
            _ => {}
        }
        match back {
            Some((star, from)) if from < name.len() => {
                back = Some((star, from + 1));
                p = star + 1;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on after its item at `p` has taken `c`; `None` where it does not take it.
fn one_matches(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' => (pattern.get(p + 1)? == &c).then_some(p + 2),
        '[' => set_matches(pattern, p + 1, c),
        plain => (*plain == c).then_some(p + 1),
    }
}

fn set_matches(pattern: &[char], start: usize, c: char) -> Option<usize> {
    let negated = matches!(pattern.get(start), Some('!' | '^'));
    let first = start + usize::from(negated);
    let (mut at, mut found) = (first, false);
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && at > first {
            return (found != negated).then_some(at + 1);
        }
        if low == '\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        let range = pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|high| *high != ']');
        let high = if range { *pattern.get(at + 2)? } else { low };
        found |= low <= c && c <= high;
        at += if range { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &[(&str, &str)], path: &str) -> bool {
        let patterns = rules.iter().map(|(folder, text)| ((*folder).to_owned(), text.lines().filter_map(pattern).collect())).collect();
        Ignored { patterns, folders: HashMap::new() }.is_ignored(&RelPath::parse(path).unwrap())
    }

    #[test]
    fn patterns_say_what_git_says() {
        for (rules, path, expected) in [
            ("*.pyc", "a/b/x.pyc", true),
            ("*.pyc", "x.py", false),
            ("__pycache__/", "a/__pycache__/x.py", true),
            ("__pycache__/", "__pycache__", false),
            ("/build", "build/x", true),
            ("/build", "a/build/x", false),
            ("a/b", "a/b/c", true),
            ("a/b", "x/a/b", false),
            ("**/b", "x/a/b", true),
            ("a/**", "a/x/y", true),
            ("a/**", "a", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/c/y", false),
            ("*.log\n!keep.log", "keep.log", false),
            ("logs/\n!logs/keep.log", "logs/keep.log", true),
            ("x?z", "xyz", true),
            ("[a-c].t", "b.t", true),
            ("[!a-c].t", "b.t", false),
            ("[a", "[a", false),
            ("# x\n\n  ", "# x", false),
            ("\\#x", "#x", true),
            ("\\!x", "!x", true),
            ("a\\ ", "a ", false),
            ("foo*bar*baz", "fooXbarYbaz", true),
            ("foo*bar*baz", "fooXbarYba", false),
            ("*", "anything/at/all", true),
        ] {
            if RelPath::parse(path).is_ok() {
                assert_eq!(ignored(&[("", rules)], path), expected, "{rules:?} {path}");
            }
        }
    }

    #[test]
    fn the_nearest_file_decides() {
        assert!(!ignored(&[("", "*.log"), ("a", "!x.log")], "a/x.log"));
        assert!(ignored(&[("", "*.log"), ("a", "!x.log")], "b/x.log"));
        assert!(ignored(&[("a", "/x")], "a/x") && !ignored(&[("a", "/x")], "x"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "*a".repeat(60);
        assert!(!ignored(&[("", &format!("{pattern}b"))], &"a".repeat(250)));
        let folders = "**/a/".repeat(20);
        assert!(!ignored(&[("", &format!("{folders}b"))], &["a"; 40].join("/")));
    }
}
