//! Every rule against its own examples, and the scanner against what would break a simpler one.

use std::collections::BTreeSet;

use super::*;

fn scanner() -> Scanner {
    Scanner::shipped().unwrap()
}

fn rules_in(text: &str) -> BTreeSet<&'static str> {
    scanner().scan(text.as_bytes(), Sureness::Guesses).into_iter().map(|found| found.rule).collect()
}

/// What was found.
fn of<'t>(text: &'t str, found: &Finding) -> &'t str {
    text.get(found.start..found.end).unwrap()
}

/// An example as it would really stand.
fn real(example: &str) -> String {
    example.replace('¦', "")
}

fn example(rule: &str) -> String {
    let rule = scanner().rules().iter().find(|candidate| candidate.id == rule).unwrap();
    real(&rule.hits[0])
}

#[test]
fn every_rule_finds_its_hits_and_not_its_misses() {
    let rules = scanner().rules();
    assert!(rules.len() >= 60, "{}", rules.len());
    let ids: BTreeSet<_> = rules.iter().map(|rule| &rule.id).collect();
    assert_eq!(ids.len(), rules.len());
    for rule in rules {
        assert!(rule.regex().is_some(), "`{}` does not compile", rule.id);
        assert!(!rule.hits.is_empty() && !rule.misses.is_empty() && !rule.about.is_empty(), "`{}` has no examples", rule.id);
        for hit in &rule.hits {
            assert!(rules_in(&real(hit)).contains(rule.id.as_str()), "`{}` does not find {hit}", rule.id);
            let among = format!("{}\nfoo {}\r\nlast line", "a line\n".repeat(3_000), real(hit));
            assert!(rules_in(&among).contains(rule.id.as_str()), "`{}` does not find {hit} among lines", rule.id);
        }
        for miss in &rule.misses {
            assert!(!rules_in(&real(miss)).contains(rule.id.as_str()), "`{}` finds {miss}", rule.id);
        }
    }
}

#[test]
fn guesses_only_count_where_they_are_wanted() {
    let text = real("password = \"¦tR7#kQ9!vZx2Lm\"");
    assert_eq!(scanner().scan(text.as_bytes(), Sureness::Shapes), []);
    let found = scanner().scan(text.as_bytes(), Sureness::Guesses);
    assert_eq!((found[0].rule, of(&text, &found[0])), ("assigned-secret", "tR7#kQ9!vZx2Lm"));
}

#[test]
fn places_and_lines_are_right() {
    let token = example("github-pat");
    let text = format!("one\ntwo {token}\nthree\n\n{token}");
    let found = scanner().scan(text.as_bytes(), Sureness::Shapes);
    assert_eq!(found.iter().map(|found| (found.rule, found.line)).collect::<Vec<_>>(), [("github-pat", 2), ("github-pat", 5)]);
    assert!(found.iter().all(|found| of(&text, found) == token));
}

#[test]
fn a_long_line_hides_nothing_at_its_seams() {
    let token = example("github-pat");
    for at in (PIECE - 2 * OVERLAP..PIECE + 64).step_by(7) {
        let text = format!("{} {token} {}", "x".repeat(at), "y".repeat(3 * PIECE));
        let found = scanner().scan(text.as_bytes(), Sureness::Shapes);
        assert_eq!(found.len(), 1, "at {at}");
        assert_eq!(of(&text, &found[0]), token);
    }
}

#[test]
fn many_stretches_are_looked_at_and_none_is_passed_over() {
    let (one, other) = (example("github-pat"), example("npm-token"));
    let line = format!("{}\n", "x".repeat(PIECE - 1));
    // A token in each stretch beside the border of two batches, and in the very last one, which fills none.
    let wanted: Vec<usize> = [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH - 1, 2 * BATCH, 2 * BATCH + 7].to_vec();
    let text: String = (0..=2 * BATCH + 7)
        .map(|at| {
            if wanted.contains(&at) { format!("{one} {other} {}", line.get(one.len() + other.len() + 2..).unwrap()) } else { line.clone() }
        })
        .collect();
    let found = scanner().scan(text.as_bytes(), Sureness::Shapes);
    let lines = |rule: &str| found.iter().filter(|found| found.rule == rule).map(|found| found.line - 1).collect::<Vec<_>>();
    assert_eq!((lines("github-pat"), lines("npm-token")), (wanted.clone(), wanted));
}

#[test]
fn text_in_utf_16_is_read() {
    let token = example("github-pat");
    let text = format!("é 🙂 line one\r\nkey = {token} and more text after it");
    for is_big in [false, true] {
        for mark in [false, true] {
            let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
            let bytes: Vec<u8> = units.flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect();
            let found = scanner().scan(&bytes, Sureness::Shapes);
            assert_eq!(found.len(), 1, "big {is_big}, mark {mark}");
            assert_eq!(found[0].line, 2);
            let pairs = bytes[found[0].start..found[0].end].chunks(2);
            let units: Vec<u16> =
                pairs.map(|two| if is_big { u16::from_be_bytes([two[0], two[1]]) } else { u16::from_le_bytes([two[0], two[1]]) }).collect();
            assert_eq!(String::from_utf16(&units).unwrap(), token);
        }
    }
    // A scanner that reads bytes only sees nothing there.
    let wide: Vec<u8> = token.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut naive = 0;
    scanner().find(&wide, Sureness::Shapes, &mut |_, _| naive += 1);
    assert_eq!(naive, 0);
}

fn key(end: &str) -> String {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    format!(
        "-----BEGIN RSA PRIVATE KEY-----{end}Proc-Type: 4,ENCRYPTED{end}{end}{line}{end}{line}{end}q8Q=={end}-----END RSA PRIVATE KEY-----"
    )
}

#[test]
fn private_keys_are_found_whole() {
    for end in ["\n", "\r\n", "\\n", "\\r\\n", "\n    "] {
        let key = key(end);
        let text = format!("before\n{key}\nafter it all");
        let found = scanner().scan(text.as_bytes(), Sureness::Shapes);
        assert_eq!(found.len(), 1, "{end:?}: {found:?}");
        assert_eq!((found[0].rule, of(&text, &found[0])), ("private-key", key.as_str()));
        // Its end may be cut off.
        let cut = format!("{}\nafter it all", key.split("-----END").next().unwrap().trim_end());
        let found = scanner().scan(cut.as_bytes(), Sureness::Shapes);
        assert_eq!(found.len(), 1, "{end:?}: {cut}");
        let shown = cut.replace(of(&cut, &found[0]), "");
        assert!(!shown.contains("MIIEv") && shown.contains("after it all"), "{shown:?}");
    }
    for innocent in [
        "-----BEGIN PRIVATE KEY-----",
        "the file starts with -----BEGIN PRIVATE KEY----- and then\nthe words of a person",
        "-----BEGIN PUBLIC KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    ] {
        assert_eq!(scanner().scan(innocent.as_bytes(), Sureness::Guesses), [], "{innocent}");
    }
}

#[test]
fn our_own_sources_look_innocent() {
    for text in [include_str!("../operator.rs"), include_str!("mod.rs"), include_str!("../../gateway/path.rs"), include_str!("rules.toml")]
    {
        assert_eq!(scanner().scan(text.as_bytes(), Sureness::Shapes), []);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_bytes_come_places_are_within_them(bytes: Vec<u8>, keyword in 0_usize..100, at in 0_usize..200) {
        let token = real(&scanner().rules()[keyword].hits[0]);
        let at = at.min(bytes.len());
        let text = [&bytes[..at], b" ", token.as_bytes(), b" ", &bytes[at..]].concat();
        for found in scanner().scan(&text, Sureness::Guesses) {
            proptest::prop_assert!(found.start < found.end && found.end <= text.len() && found.line >= 1);
        }
    }
}
