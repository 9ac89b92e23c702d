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
        "a": ["[REDACTED:canary]", 1234567890, null, true, { "b": "x [REDACTED:toolgate-token]" }],
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
    redactor.configure(Settings { pii: Pii::NONE.with("email").unwrap(), ..Settings::none() });
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

/// A text in lines of `width` characters.
fn folded(text: &str, width: usize, end: &str) -> String {
    text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join(end)
}

const LONG: &str = "kanarie/7+Zq\"9w~veilig, and a good deal more of it, so that it takes some lines wherever they end";

#[test]
fn what_encoders_break_into_lines_is_found() {
    let redactor = redactor(&[("k", LONG)]);
    let hex: String = LONG.bytes().map(|byte| format!("{byte:02x}")).collect();
    for before in 0..60 {
        let data = [&vec![b'x'; before], LONG.as_bytes(), &b"y".repeat(40)].concat();
        for (what, text) in
            [("base64", STANDARD.encode(&data)), ("url", URL_SAFE.encode(&data)), ("hex", format!("{}{hex}", "78".repeat(before)))]
        {
            for width in [16, 60, 64, 76] {
                for end in ["\n", "\r\n", "\\n", "\\r\\n", "\\\\n", "\r\n  ", "\n> "] {
                    let text = format!("head:\n\n{}\n\ntail", folded(&text, width, end));
                    // One automaton over the text as it is, which is what a redactor usually has, sees nothing.
                    let mut naive = 0;
                    redactor.exact().hits(text.as_bytes(), |_, _| naive += 1);
                    assert_eq!(naive, 0, "{what} {width} {end:?}");
                    let shown = redactor.text(&text).into_owned();
                    assert!(
                        shown.starts_with("head:\n\n") && shown.contains("[REDACTED:k]") && shown.ends_with("\n\ntail"),
                        "{what} {width} {end:?}: {shown}"
                    );
                    let left = shown.split("[REDACTED:k]").map(|part| part.replace(end, "")).collect::<String>();
                    let secret = if what == "hex" { hex.as_str() } else { "Zq\"9w~veilig" };
                    let decoded =
                        STANDARD.decode(left.trim().trim_start_matches("head:").trim_end_matches("tail").trim()).unwrap_or_default();
                    assert!(!left.contains(secret.get(..12).unwrap()) && !String::from_utf8_lossy(&decoded).contains("veilig"), "{left}");
                    assert!(redactor.may_touch(text.as_bytes()));
                }
            }
        }
    }
    // What is broken but is not it stays as it is.
    let other = folded(&STANDARD.encode([b'z'; 900]), 76, "\r\n");
    assert_eq!(redactor.text(&other), other);
}

#[test]
fn broken_lines_are_found_wherever_a_stream_is_cut() {
    let redactor = redactor(&[("k", LONG)]);
    for settings in [Settings::default(), Settings::none()] {
        redactor.configure(settings);
        for end in ["\n", "\r\n", "\\r\\n"] {
            let text = format!("it is {}\ntail of it", folded(&STANDARD.encode(["some data before it, ", LONG].concat()), 76, end));
            let whole = redactor.bytes(text.as_bytes()).into_owned();
            assert!(String::from_utf8_lossy(&whole).contains("[REDACTED:k]"));
            for first in 0..text.len() {
                for second in [1, 2, 40, text.len()] {
                    assert_eq!(through_a_stream(&redactor, text.as_bytes(), &[first, second]), whole, "{end:?} {first} {second}");
                }
            }
            assert_eq!(through_a_stream(&redactor, text.as_bytes(), &vec![1; text.len()]), whole);
        }
    }
}

#[test]
fn values_are_taken_out_by_the_names_of_their_fields() {
    let redactor = redactor(&[]);
    let given = json!({
        "Authorization": "Bearer short", "nested": [{ "dbPassword": "hunter2", "note": "{\"api_key\": \"k3y\"}" }], "passphrase": ["one", "two"],
        "password": { "type": "string" }, "pin_password": 1234, "client_secret": "secret:NAME", "cookie": "{{secret:NAME}}", "user": "hunter2",
    });
    let mut shown = given.clone();
    assert_eq!(redactor.value(&mut shown), 5);
    assert_eq!(
        shown,
        json!({
            "Authorization": "[REDACTED:authorization]", "nested": [{ "dbPassword": "[REDACTED:password]", "note": "{\"api_key\": \"[REDACTED:api_key]\"}" }],
            "passphrase": ["[REDACTED:passphrase]", "[REDACTED:passphrase]"], "password": { "type": "string" }, "pin_password": 1234,
            "client_secret": "secret:NAME", "cookie": "{{secret:NAME}}", "user": "hunter2",
        })
    );
    let again = shown.clone();
    assert_eq!((redactor.value(&mut shown), &shown), (0, &again), "what is marked stays");
    assert!(redactor.may_touch(given.to_string().as_bytes()));
    // Shapes alone, which is all that there was, see none of these; nor does whoever asks for values of known secrets.
    let mut naive = given.clone();
    assert_eq!(redactor.known(&mut naive), 0);
    redactor.configure(Settings { fields: Arc::default(), ..Settings::default() });
    assert_eq!((redactor.value(&mut naive), &naive), (0, &given));
    // Names of one's own take the place of the shipped ones.
    redactor.configure(Settings { fields: Arc::new(Fields::of(&["user"])), ..Settings::default() });
    redactor.value(&mut naive);
    assert_eq!((&naive["user"], &naive["Authorization"]), (&json!("[REDACTED:user]"), &json!("Bearer short")));
}

#[test]
fn a_field_s_value_is_found_wherever_a_stream_is_cut() {
    let redactor = redactor(&[]);
    for filler in [10, 8_000, 9_000, 20_000] {
        let text =
            format!("{{\"a\": \"{}\", \"db_password\": \"hunter2 {}\", \"b\": 1}} and more", "x".repeat(filler), "y".repeat(filler / 4));
        let whole = redactor.bytes(text.as_bytes()).into_owned();
        assert!(String::from_utf8_lossy(&whole).contains("\"db_password\": \"[REDACTED:password]\", \"b\": 1} and more"));
        for size in [1, 7, 64, 1_000, 4_096, 8_192] {
            if filler * size < 60_000 && size < 64 && filler > 10 {
                continue;
            }
            let cuts = vec![size; text.len() / size];
            assert_eq!(
                String::from_utf8_lossy(&through_a_stream(&redactor, text.as_bytes(), &cuts)),
                String::from_utf8_lossy(&whole),
                "{filler} {size}"
            );
        }
        for first in (filler.saturating_sub(1_100)..filler + 60).step_by(if filler == 10 { 1 } else { 13 }) {
            assert_eq!(through_a_stream(&redactor, text.as_bytes(), &[first, 8_200]), whole, "{filler} {first}");
        }
    }
}
