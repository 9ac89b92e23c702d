//! The names that a resource gives to classes, packages, tables and sentences.
//!
//! INVARIANT: every name is a plain ASCII word that means nothing else in Python or SQL where the templates use it. Renders nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Classes that the templates import or define beside the resource's own.
const TAKEN: &[&str] = &[
    "Callable",
    "Exception",
    "False",
    "LookupError",
    "Mapping",
    "None",
    "NotFoundError",
    "OrmBase",
    "Page",
    "Status",
    "StrEnum",
    "True",
    "UTC",
    "UtcDateTime",
    "ValidationError",
    "ValueError",
];

/// The name of a resource: CamelCase, 2 to 40 ASCII letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(inline)]
pub struct Resource(#[schemars(regex(pattern = r"^[A-Z][A-Za-z0-9]{1,39}$"))] String);

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let camel = (2..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let shown = crate::confine::shown(&text);
        if !camel {
            return Err(serde::de::Error::custom(format!(
                "`{shown}` is not a resource: a capital letter, then letters and digits, as in `LineItem`"
            )));
        }
        if TAKEN.contains(&text.as_str()) || text.to_ascii_lowercase().starts_with("sqlite") {
            return Err(serde::de::Error::custom(format!("`{shown}` means something else in the code; choose another name")));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All forms of the name, as the templates know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) name: String,
    pub(super) plural: String,
    pub(super) package: String,
    pub(super) human: String,
    pub(super) human_plural: String,
    pub(super) a_human: String,
    pub(super) a_human_upper: String,
}

impl Names {
    pub(super) fn of(resource: &Resource) -> Self {
        let words = words(&resource.0);
        let human = words.join(" ");
        let mut several = words.clone();
        if let Some(last) = several.last_mut() {
            *last = plural(last);
        }
        let article = if human.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let upper = if article == "an" { "An" } else { "A" };
        Self {
            name: resource.0.clone(),
            plural: several.join("_"),
            package: format!("{}_service", words.join("_")),
            human_plural: several.join(" "),
            a_human: format!("{article} {human}"),
            a_human_upper: format!("{upper} {human}"),
            human,
        }
    }
}

/// `HTTPRoute2` is `http`, `route2`.
fn words(camel: &str) -> Vec<String> {
    let all: Vec<char> = camel.chars().collect();
    let mut words: Vec<String> = Vec::new();
    for (n, c) in all.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| all.get(n));
        let after = all.get(n + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_none_or(|before| !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase));
        match words.last_mut() {
            Some(word) if !begins => word.push(c.to_ascii_lowercase()),
            _ => words.push(c.to_ascii_lowercase().to_string()),
        }
    }
    words
}

fn plural(word: &str) -> String {
    match word {
        "person" => return "people".to_owned(),
        "child" => return "children".to_owned(),
        _ => {}
    }
    let vowel_before_y = word.ends_with("ay") || word.ends_with("ey") || word.ends_with("oy") || word.ends_with("uy");
    match word.strip_suffix('y') {
        Some(stem) if !vowel_before_y && !stem.is_empty() => format!("{stem}ies"),
        _ if ["s", "x", "z", "ch", "sh"].iter().any(|end| word.ends_with(end)) => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        Names::of(&serde_json::from_value(text.into()).unwrap())
    }

    #[test]
    fn forms_follow_from_the_name() {
        for (resource, package, plural) in [
            ("Listing", "listing_service", "listings"),
            ("LineItem", "line_item_service", "line_items"),
            ("Category", "category_service", "categories"),
            ("Survey", "survey_service", "surveys"),
            ("Box", "box_service", "boxes"),
            ("HTTPRoute2", "http_route2_service", "http_route2s"),
            ("Person", "person_service", "people"),
        ] {
            let names = names(resource);
            assert_eq!((names.package.as_str(), names.plural.as_str()), (package, plural));
        }
        assert_eq!(names("OrderItem").a_human, "an order item");
    }

    #[test]
    fn what_is_no_plain_name_is_refused() {
        for bad in ["", "listing", "L", "Line-Item", "Line Item", "Lísting", "None", "Status", "SqliteMaster", "A\"; DROP", &"A".repeat(41)]
        {
            assert!(serde_json::from_value::<Resource>((*bad).into()).is_err(), "{bad}");
        }
    }
}
