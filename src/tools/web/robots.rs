//! A site's robots file (RFC 9309): whether a path is open to us.
//!
//! INVARIANT: the group that names us counts, else the one for all; of its rules the longest that fits decides, and between equals the
//! one that allows. What cannot be read is skipped. Pure: the file is fetched elsewhere.

/// Rules that are read of one file.
const MOST_RULES: usize = 5_000;
/// Bytes of a rule's path that are looked at.
const LONGEST: usize = 1_024;

/// What a file says to one robot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    rules: Vec<(bool, String)>,
}

impl Rules {
    /// The rules for the robot of this product token, in lower case.
    pub(super) fn read(file: &str, robot: &str) -> Self {
        let (mut ours, mut of_all) = (Vec::new(), Vec::new());
        let mut names_us = false;
        // Groups for us and for all may come in pieces; the pieces count together.
        let (mut in_ours, mut in_all, mut in_names) = (false, false, false);
        for line in file.lines().take(50_000) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if !in_names {
                        (in_ours, in_all) = (false, false);
                    }
                    in_names = true;
                    let name = value.split(['/', ' ']).next().unwrap_or_default().to_ascii_lowercase();
                    in_all |= name == "*";
                    in_ours |= name == robot;
                    names_us |= name == robot;
                }
                "allow" | "disallow" => {
                    in_names = false;
                    let rule = (key == "allow", value.chars().take(LONGEST).collect::<String>());
                    // An empty `Disallow` closes nothing.
                    if rule.1.is_empty() {
                        continue;
                    }
                    if in_ours && ours.len() < MOST_RULES {
                        ours.push(rule);
                    } else if in_all && of_all.len() < MOST_RULES {
                        of_all.push(rule);
                    }
                }
                _ => {}
            }
        }
        Self { rules: if names_us { ours } else { of_all } }
    }

    /// Whether a path with its query is open.
    pub(super) fn allow(&self, path: &str) -> bool {
        let path: String = path.chars().take(4 * LONGEST).collect();
        let fitting = self.rules.iter().filter(|(_, pattern)| fits(pattern, &path));
        fitting.max_by_key(|(allows, pattern)| (pattern.len(), *allows)).is_none_or(|(allows, _)| *allows)
    }
}

/// Whether a pattern fits the beginning of a path; `*` stands for anything, a last `$` for the path's end.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, to_the_end) = pattern.strip_suffix('$').map_or((pattern, false), |pattern| (pattern, true));
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut last = None;
    // The earliest place for each piece leaves the most room for the next, so this is linear in pieces times path.
    for piece in pieces {
        last = Some(piece);
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    !to_the_end || rest.is_empty() || last.is_some_and(|last| last.is_empty() || rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_fitting_rule_of_our_group_decides() {
        let file = "# comment\nUser-agent: *\nDisallow: /\n\nUser-Agent: OtherBot\nUser-agent: toolgate/1.0\nDisallow: /private # secret\n\
                    Allow: /private/open\nDisallow: /*.pdf$\nDisallow:\n\nUser-agent: toolgate\nDisallow: /later\nSitemap: https://x/y";
        let ours = Rules::read(file, "toolgate");
        let table = [
            ("/", true),
            ("/private", false),
            ("/private/x", false),
            ("/private/open/x", true),
            ("/a/b.pdf", false),
            ("/a/b.pdf?x", true),
            ("/later/on", false),
            ("/priv", true),
        ];
        for (path, open) in table {
            assert_eq!(ours.allow(path), open, "{path}");
        }
        let others = Rules::read(file, "somebody");
        assert!(!others.allow("/") && !others.allow("/private/open"));
    }

    #[test]
    fn patterns_fit_as_the_standard_says() {
        let table = [
            ("/fish", "/fish.html", true),
            ("/fish", "/Fish", false),
            ("/fish*", "/fish", true),
            ("/*.php", "/index.php?x=1", true),
            ("/*.php$", "/index.php?x=1", false),
            ("/*.php$", "/a.php/b.php", true),
            ("/a*b*c$", "/a1b2c", true),
            ("/a*b*c$", "/a1b2c3", false),
            ("/$", "/", true),
            ("/$", "/x", false),
            ("*", "/anything", true),
        ];
        for (pattern, path, is) in table {
            assert_eq!(fits(pattern, path), is, "{pattern} on {path}");
        }
    }

    #[test]
    fn no_file_and_nonsense_close_nothing_and_a_tie_is_open() {
        assert!(Rules::read("", "toolgate").allow("/x"));
        assert!(Rules::read("<html>nothing: here</html>\nDisallow: /", "toolgate").allow("/x"));
        assert!(Rules::read("User-agent: *\nDisallow: /x\nAllow: /x", "toolgate").allow("/x"));
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = format!("/{}$", "*a".repeat(500));
        assert!(!fits(&pattern, &format!("/{}b", "a".repeat(4_000))));
    }
}
