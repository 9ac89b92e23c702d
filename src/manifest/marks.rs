//! What a tool's output brings into its run: labels, always or where the call has an effect.
//!
//! INVARIANT: a word that is not known is a problem of its file, never passed over.

use super::fields::Fields;
use super::reach::Reach;
use crate::domain::{Effect, Effects, Label, Labels, Problem};

/// The labels that calls of a tool give to their runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks(Vec<(Label, Option<Effect>)>);

impl Marks {
    /// The labels that a call with these effects brings.
    #[must_use]
    pub fn of(&self, effects: &Effects) -> Labels {
        let brought = self.0.iter().filter(|(_, when)| when.is_none_or(|effect| effects.contains(effect)));
        Labels::of(brought.map(|(label, _)| *label))
    }

    /// As a manifest writes them.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let word = |(label, when): &(Label, Option<Effect>)| match when {
            Some(effect) => format!("{} if {}", label.as_str(), effect.as_str()),
            None => label.as_str().to_owned(),
        };
        self.0.iter().map(word).collect()
    }

    /// With the labels that what a script reaches brings, whatever its manifest says of them.
    pub(super) fn with(mut self, reach: &Reach) -> Self {
        let certain = [(Label::Untrusted, !reach.hosts.is_empty()), (Label::Private, !reach.secrets.is_empty())];
        for (label, _) in certain.into_iter().filter(|(_, is_certain)| *is_certain) {
            self.0.retain(|(said, _)| *said != label);
            self.0.push((label, None));
        }
        self.0.sort_unstable();
        self
    }

    /// Reads `marks: [private, untrusted if egress]`; none where it is not there.
    pub(super) fn read(file: &str, fields: &Fields<'_>, effects: Option<&Effects>, problems: &mut Vec<Problem>) -> Self {
        let mut marks = Vec::new();
        for (text, line) in fields.texts("marks", problems).unwrap_or_default() {
            match one(text, effects) {
                Ok(mark) if marks.contains(&mark) => problems.push(Problem::new(file, format!("`marks` says `{text}` twice")).at(line)),
                Ok(mark) => marks.push(mark),
                Err(why) => {
                    let shown: String = text.chars().take(60).collect();
                    let hint = "write `untrusted` or `private`, and after it ` if ` and an effect where not every call brings it";
                    problems.push(Problem::new(file, format!("mark `{shown}` {why}")).at(line).hint(hint));
                }
            }
        }
        marks.sort_unstable();
        Self(marks)
    }
}

fn one(text: &str, effects: Option<&Effects>) -> Result<(Label, Option<Effect>), &'static str> {
    let (label, when) = match text.split_once(" if ") {
        Some((label, when)) => (label, Some(when)),
        None => (text, None),
    };
    let label = Label::ALL.into_iter().find(|known| known.as_str() == label).ok_or("is no label")?;
    let effect = |word: &str| Effect::ALL.into_iter().find(|effect| effect.as_str() == word).ok_or("names no effect");
    let when = when.map(effect).transpose()?;
    match (when, effects) {
        (Some(effect), Some(widest)) if !widest.contains(effect) => Err("names an effect that the tool does not have"),
        _ => Ok((label, when)),
    }
}
