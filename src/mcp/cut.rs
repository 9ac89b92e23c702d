//! Makes a large answer small enough to show: long texts lose their middle, then long lists do.
//!
//! INVARIANT: what comes out has the shape of what went in, so it still fits its schema's names and types, and is at most
//! [`SHOWN`] bytes of JSON. Does not store the whole; that is done before the reply.

use serde_json::{Map, Value};

use crate::call::ArtifactRef;

/// The most bytes of JSON that a client is shown of one answer.
pub(super) const SHOWN: usize = 16 * 1024;

/// No text of up to this many bytes is cut, so that ids, digests and paths stay whole.
const SHORTEST: usize = 160;

/// A value as it is shown.
#[derive(Debug, PartialEq)]
pub(super) enum Shown {
    /// As it was.
    Whole(Value),
    /// With its middle parts taken out.
    Cut(Value),
    /// Too many parts even so.
    TooLarge {
        /// Its size as JSON, in bytes.
        bytes: usize,
    },
}

/// Cuts `value` to [`SHOWN`] bytes. Where `mark` says so, a cut object gets the member `truncated`.
pub(super) fn fit(value: Value, whole: Option<&ArtifactRef>, mark: bool) -> Shown {
    let bytes = size(&value);
    if bytes <= SHOWN {
        return Shown::Whole(value);
    }
    let place = whole.map(|artifact| format!("artifact://{}", artifact.artifact));
    let knife = Knife { place: place.as_deref(), mark, bytes };
    let widest = greatest(SHORTEST, SHOWN, |text| size(&knife.cut(&value, Caps { text, items: usize::MAX })) <= SHOWN);
    let cut = match widest {
        Some(text) => Some(knife.cut(&value, Caps { text, items: usize::MAX })),
        // Half of the room for texts, whatever number of items then fits.
        None => greatest(2, SHOWN / 4, |items| size(&knife.cut(&value, Caps { text: SHORTEST, items })) <= SHOWN)
            .map(|items| knife.cut(&value, Caps { text: SHORTEST, items })),
    };
    cut.map_or(Shown::TooLarge { bytes }, Shown::Cut)
}

/// The greatest number of `low..=high` for which `fits` holds, where it holds for all below one for which it does.
fn greatest(mut low: usize, mut high: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

/// Bytes of `value` as JSON.
pub(super) fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

#[derive(Clone, Copy)]
struct Caps {
    text: usize,
    items: usize,
}

struct Knife<'a> {
    place: Option<&'a str>,
    mark: bool,
    bytes: usize,
}

impl Knife<'_> {
    fn cut(&self, value: &Value, caps: Caps) -> Value {
        let mut cut = self.part(value, caps);
        if let (true, Some(members)) = (self.mark, cut.as_object_mut()) {
            let mut note = Map::new();
            note.insert("bytes".to_owned(), self.bytes.into());
            if let Some(place) = self.place {
                note.insert("whole".to_owned(), place.into());
            }
            members.insert("truncated".to_owned(), Value::Object(note));
        }
        cut
    }

    fn part(&self, value: &Value, caps: Caps) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, caps.text)),
            Value::Array(items) if items.len() > caps.items => {
                let tail = caps.items / 2;
                let head = caps.items - tail;
                let ends = items.iter().take(head).chain(items.iter().skip(items.len() - tail));
                ends.map(|item| self.part(item, caps)).collect()
            }
            Value::Array(items) => items.iter().map(|item| self.part(item, caps)).collect(),
            Value::Object(members) => Value::Object(members.iter().map(|(name, member)| (name.clone(), self.part(member, caps))).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&self, text: &str, cap: usize) -> String {
        let place = self.place.map(|place| format!("; the whole answer is {place}")).unwrap_or_default();
        let marker = |bytes: usize| format!("\n[... {bytes} of {} bytes cut{place} ...]\n", text.len());
        if text.len() <= cap + marker(text.len()).len() {
            return text.to_owned();
        }
        let head = text.floor_char_boundary(cap - cap / 3);
        let tail = text.ceil_char_boundary(text.len() - cap / 3);
        let (Some(first), Some(last)) = (text.get(..head), text.get(tail..)) else { return text.to_owned() };
        format!("{first}{}{last}", marker(tail - head))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::domain::ArtifactId;

    use super::*;

    fn whole() -> ArtifactRef {
        ArtifactRef { artifact: ArtifactId::of(b"x"), size: 1, media_type: "application/json".into() }
    }

    #[test]
    fn a_small_value_is_left_alone() {
        let value = json!({"stdout": "x".repeat(16_000)});
        assert_eq!(fit(value.clone(), None, true), Shown::Whole(value));
    }

    #[test]
    fn a_long_text_keeps_head_and_tail_and_names_the_artifact() {
        let text = format!("HEAD{}TAIL", "ä\n\u{1}".repeat(400_000));
        let value = json!({"return_code": 0, "stdout": text, "id": "run_0190000000000000"});
        let Shown::Cut(cut) = fit(value, Some(&whole()), true) else { panic!("not cut") };
        let shown = cut["stdout"].as_str().unwrap();
        assert!(shown.starts_with("HEAD") && shown.ends_with("TAIL"), "{shown}");
        assert!(shown.contains(&format!("artifact://{}", whole().artifact)));
        assert!(size(&cut) <= SHOWN && size(&cut) > SHOWN - 64, "{}", size(&cut));
        assert_eq!(cut["id"], "run_0190000000000000");
        assert_eq!(cut["truncated"]["whole"], format!("artifact://{}", whole().artifact));
    }

    #[test]
    fn a_long_list_keeps_its_ends() {
        let items: Vec<Value> = (0..20_000).map(|n| json!({"n": n})).collect();
        let Shown::Cut(cut) = fit(json!({"items": items}), None, false) else { panic!("not cut") };
        let kept = cut["items"].as_array().unwrap();
        assert_eq!((kept[0]["n"].as_i64(), kept[kept.len() - 1]["n"].as_i64()), (Some(0), Some(19_999)));
        assert!(size(&cut) <= SHOWN && kept.len() > 100);
        assert!(cut.get("truncated").is_none());
    }

    #[test]
    fn a_value_of_too_many_names_is_too_large() {
        let members: Map<String, Value> = (0..5_000).map(|n| (format!("member{n}"), json!(n))).collect();
        let value = Value::Object(members);
        let bytes = size(&value);
        assert_eq!(fit(value, None, true), Shown::TooLarge { bytes });
    }
}
