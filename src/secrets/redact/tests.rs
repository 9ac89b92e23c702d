//! Random secrets in random encodings, cut at random; and what must not change.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    let live = LiveSecrets::new();
    for (name, value) in secrets {
        live.add(name, &(*value).into());
    }
    Redactor::new(live).unwrap()
}

/// A secret as an encoder writes it, after `before` bytes of other data.
fn encoded(secret: &str, which: usize, before: usize) -> String {
    let around = [&b"ab"[..before % 3], secret.as_bytes(), b"tail"].concat();
    let hex =
        |upper: bool| secret.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect::<String>();
    let percent = |kept: &str, upper: bool| {
        let one = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        };
        secret.bytes().map(one).collect::<String>()
    };
    match which % 13 {
        0 => secret.to_owned(),
        1 => STANDARD.encode(around),
        2 => URL_SAFE.encode(around),
        3 => STANDARD_NO_PAD.encode(secret),
        4 => hex(false),
        5 => hex(true),
        6 => percent("-._~", true),
        7 => percent("-._~", false),
        8 => percent("*-._ ", true).replace(' ', "+"),
        9 => json!(secret).to_string(),
        10 => secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        11 => json!(json!({ "k": secret }).to_string()).to_string(),
        _ => percent("", true),
    }
}

/// What tells the secret: the parts of an encoding that no other data shares.
fn telling(secret: &str, which: usize, before: usize) -> String {
    let text = encoded(secret, which, before);
    match which % 13 {
        // The neighbours of the secret in base64 are other data's, but for the characters beside it.
        1 | 2 => text.chars().skip((before % 3 * 8).div_ceil(6)).take(secret.len() * 8 / 6 - 1).collect(),
        9 => text.trim_matches('"').to_owned(),
        11 => text.split("\\\"").nth(3).map_or_else(|| text.clone(), str::to_owned),
        _ => text,
    }
}

fn through_a_stream(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut stream = redactor.stream();
    let (mut out, mut rest) = (Vec::new(), text);
    for cut in cuts {
        let (piece, left) = rest.split_at((*cut).min(rest.len()));
        out.extend(stream.push(piece));
        rest = left;
    }
    out.extend(stream.push(rest));
    out.extend(stream.finish());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_secret_survives_any_encoding_or_cutting(
        secret in "[ -~]{8,40}|[a-zA-Z0-9+/]{8,70}|[!-~é€🙂]{8,20}",
        which in 0_usize..13,
        before in 0_usize..3,
        head in "[a-z \n]{0,30}",
        tail in "[a-z \n]{0,30}",
        cuts in prop::collection::vec(0_usize..12, 0..20),
    ) {
        let redactor = redactor(&[("canary", &secret)]);
        let text = format!("{head}{}{tail}", encoded(&secret, which, before));
        let telling = telling(&secret, which, before);
        prop_assume!(!"[REDACTED:canary]".contains(&telling) && !head.contains(&secret) && !tail.contains(&secret));
        // The attack bites: without redaction the secret is there for anybody to see.
        prop_assert!(text.contains(&telling));
        let whole = redactor.text(&text);
        prop_assert!(!whole.contains(&telling), "{whole}");
        let piecewise = String::from_utf8(through_a_stream(&redactor, text.as_bytes(), &cuts)).unwrap();
        prop_assert!(!piecewise.contains(&telling), "{piecewise}");
        prop_assert!(piecewise.contains("[REDACTED:canary]"));
    }

    #[test]
    fn text_without_secrets_passes_byte_for_byte(
        text in "\\PC{0,200}|[a-z0-9 \n\r\t]{0,400}",
        cuts in prop::collection::vec(0_usize..40, 0..20),
    ) {
        let redactor = redactor(&[("canary", "ß the-canary-that-is-nowhere"), ("other", "0000000000000000000000")]);
        prop_assume!(!text.contains("00000000"));
        prop_assert_eq!(redactor.text(&text), text.as_str());
        prop_assert_eq!(through_a_stream(&redactor, text.as_bytes(), &cuts), text.as_bytes());
    }

    #[test]
    fn any_bytes_pass_a_stream_as_they_pass_in_one_piece(
        bytes in prop::collection::vec(prop::sample::select(b"abA \n\xff\xc3\xa9=".to_vec()), 0..300),
        cuts in prop::collection::vec(0_usize..9, 0..60),
    ) {
        let redactor = redactor(&[("one", "abababab"), ("two", "babababaA"), ("three", "AAAAAAAA A")]);
        let whole = redactor.bytes(&bytes).into_owned();
        let piecewise = through_a_stream(&redactor, &bytes, &cuts);
        for secret in [&b"abababab"[..], b"babababaA", b"AAAAAAAA A"] {
            prop_assert!(!piecewise.windows(secret.len()).any(|part| part == secret));
            prop_assert!(!whole.windows(secret.len()).any(|part| part == secret));
        }
    }
}

#[test]
fn a_naive_redactor_would_let_pieces_through() {
    let redactor = redactor(&[("token", "correct horse battery")]);
    let pieces = ["the token is correct ho", "rse battery, keep it"];
    let naive: String = pieces.iter().map(|piece| redactor.text(piece)).collect();
    assert!(naive.contains("correct horse battery"));
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| out.extend(stream.push(piece.as_bytes())));
    out.extend(stream.finish());
    assert_eq!(String::from_utf8(out).unwrap(), "the token is [REDACTED:token], keep it");
}

#[test]
fn secrets_that_come_and_go_are_followed() {
    let redactor = redactor(&[]);
    let text = "value: hunter2hunter2";
    assert_eq!(redactor.text(text), text);
    redactor.live().add("login", &"hunter2hunter2".into());
    assert_eq!(redactor.text(text), "value: [REDACTED:login]");
    redactor.live().add("hunter2hunter2", &"hunter2hunter2".into());
    redactor.live().remove("login");
    assert_eq!(redactor.text(text), "value: [REDACTED:secret]");
    redactor.live().remove("hunter2hunter2");
    assert_eq!(redactor.text(text), text);
    assert_eq!(redactor.live().add("short", &"1234567".into()), super::super::live::Watched::TooShort);
    assert_eq!(redactor.text("1234567"), "1234567");
}

#[test]
fn a_secret_that_comes_while_a_stream_runs_is_found_in_it() {
    let redactor = redactor(&[]);
    let mut stream = redactor.stream();
    let mut out = stream.push(b"line one\nnow: s3cret-");
    redactor.live().add("late", &"s3cret-value".into());
    out.extend(stream.push(b"value\n"));
    out.extend(stream.finish());
    assert_eq!(String::from_utf8(out).unwrap(), "line one\nnow: [REDACTED:late]\n");
}

#[test]
fn overlapping_and_long_secrets_leave_nothing() {
    let key: String = (0..200).map(|n| format!("{:048x}\n", n * 7919)).collect();
    let redactor = redactor(&[("one", "abcdefghIJKL"), ("two", "IJKLmnopqrst"), ("key", &key)]);
    assert_eq!(redactor.text("x abcdefghIJKLmnopqrst y"), "x [REDACTED:one] y");
    assert_eq!(redactor.text(&format!("<{key}>")).matches("[REDACTED:key]").count(), 1);
    // One line of it, set in, or with other line ends.
    let line = key.lines().nth(7).unwrap();
    assert_eq!(redactor.text(&format!("    {line}\r\n")), "    [REDACTED:key]\r\n");
    let pieces = through_a_stream(&redactor, STANDARD.encode(&key).as_bytes(), &[5; 2_000]);
    assert_eq!(String::from_utf8(pieces).unwrap().replace("[REDACTED:key]", "").trim_end_matches('='), "");
}

#[test]
fn json_stays_json_and_numbers_stay_numbers() {
    let redactor = redactor(&[("canary", "canary-value"), ("digits", "1234567890")]);
    let token = super::super::scan::Scanner::shipped().unwrap().rules()[0].hits[0].replace('¦', "");
    let mut value = json!({
        "a": ["canary-value", 1234567890, null, true, { "b": format!("x {token}") }],
        "canary-value": 1,
        "[REDACTED:canary]": 2,
        "token": "fine",
    });
    assert_eq!(redactor.value(&mut value), 3);
    let expected = json!({
        "a": ["[REDACTED:canary]", 1234567890, null, true, { "b": "x [REDACTED:aws-access-key-id]" }],
        "[REDACTED:canary] 2": 1,
        "[REDACTED:canary]": 2,
        "token": "fine",
    });
    assert_eq!(value, expected);
    let mut pinned = json!(["canary-value", token]);
    assert_eq!(redactor.known(&mut pinned), 1);
    assert_eq!(pinned[1], token.as_str());
    assert_eq!(redactor.value(&mut value), 0, "a mark is nothing to redact");
}

#[test]
fn what_is_certainly_untouched_is_told_so() {
    let redactor = redactor(&[("canary", "canary \"value\"")]);
    assert!(!redactor.may_touch(b"{\"stdout\":\"hello\"}"));
    assert!(redactor.may_touch(json!({ "k": "canary \"value\"" }).to_string().as_bytes()));
    let token = super::super::scan::Scanner::shipped().unwrap().rules()[0].hits[0].replace('¦', "");
    assert!(redactor.may_touch(json!({ "k": token }).to_string().as_bytes()));
    redactor.configure(Settings { pii: Pii::NONE.with("email").unwrap(), shapes: None });
    assert_eq!(redactor.text(&format!("{token} a@b.example")), format!("{token} [REDACTED:email]"));
}

#[test]
fn tokens_and_keys_are_found_across_pieces() {
    let redactor = redactor(&[]);
    let rules = super::super::scan::Scanner::shipped().unwrap().rules();
    let token = rules.iter().find(|rule| rule.id == "github-pat").unwrap().hits[0].replace('¦', "");
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----", format!("{line}\n").repeat(20));
    let text = format!("first\nexport T={token}\n{key}\nlast");
    for size in [1, 2, 3, 7, 16, 64, 1_000] {
        let out = String::from_utf8(through_a_stream(&redactor, text.as_bytes(), &vec![size; text.len() / size + 1])).unwrap();
        assert_eq!(out, "first\nexport T=[REDACTED:github-pat]\n[REDACTED:private-key]\nlast", "pieces of {size}");
    }
    // On a line without an end as well.
    let text = format!("{} {token} {}", "word ".repeat(3_000), "more ".repeat(3_000));
    let out = String::from_utf8(through_a_stream(&redactor, text.as_bytes(), &[1_500; 40])).unwrap();
    assert_eq!(out, text.replace(&token, "[REDACTED:github-pat]"));
}
