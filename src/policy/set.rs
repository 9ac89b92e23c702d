//! The loaded rules, cut by tool and role, and the decision.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{Authorizer, Entities, Request};

use super::context::{Question, request, with_question};
use super::lint::Reads;
use super::load::{self, Rule};
use super::trial::{Counters, Trial, Trials};
use super::vocabulary::{Vocabulary, Word};
use super::{Decision, Facts, PolicySource, Principals, Reason, Verdict};
use crate::call::PreparedCall;
use crate::domain::{Digest, Problems, Role, ToolName};
use crate::manifest::ToolDef;

const ROLES: [Role; 3] = [Role::Agent, Role::Operator, Role::System];
const UNREADABLE: &str = "(call)";
const NO_RULE: &str = "default";

/// All rules that are in force. Immutable; shared by all calls.
pub struct PolicySet {
    words: Vocabulary,
    rules: Vec<Rule>,
    slices: HashMap<ToolName, [Slice; 3]>,
    digest: Digest,
    authorizer: Authorizer,
    /// Who has which role, and which tool is in which group.
    entities: Entities,
    principals: Principals,
    counters: Counters,
}

/// The rules that can match a call of one tool by one kind of principal, by their places among all.
pub(super) struct Slice {
    /// Those that speak of all principals of the kind.
    rules: Vec<usize>,
    /// Those that speak of one, by its name: with many principals most rules are of this sort, and each call meets few of them.
    named: HashMap<String, Vec<usize>>,
    /// Those that speak of a role, by its name.
    members: HashMap<String, Vec<usize>>,
    /// Those on trial: asked beside, never counted.
    trials: Trials,
    /// What of a call they look at.
    reads: Reads,
}

impl Slice {
    /// What of a call its rules look at.
    pub(super) fn reads(&self) -> &Reads {
        &self.reads
    }
}

/// What became of asking a slice.
struct Asked {
    verdict: Verdict,
    reasons: Vec<Reason>,
    failures: Vec<Reason>,
    trials: Vec<Trial>,
}

impl PolicySet {
    /// Loads policies for these tools, where no principal has a role. The order of sources does not count.
    ///
    /// # Errors
    /// As [`PolicySet::load_for`].
    pub fn load(sources: &[PolicySource], tools: &[ToolDef]) -> Result<Self, Problems> {
        Self::load_for(sources, tools, &Principals::default())
    }

    /// Loads policies for these tools and principals. The order of sources does not count.
    ///
    /// # Errors
    /// Every problem of every file: what is not Cedar; names a tool, attribute, effect, origin or annotation that is not known; can
    /// never match; or carries an `@id` that another rule has.
    pub fn load_for(sources: &[PolicySource], tools: &[ToolDef], principals: &Principals) -> Result<Self, Problems> {
        let mut sources: Vec<&PolicySource> = sources.iter().collect();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        let sources: Vec<PolicySource> = sources.into_iter().cloned().collect();
        let words = Vocabulary::of(tools)?;
        let rules = load::rules(&sources, &words, principals)?;
        let mut slices = HashMap::new();
        for tool in words.tools.keys() {
            let [agent, operator, system] = ROLES.map(|role| slice(&rules, tool, role));
            slices.insert(tool.clone(), [agent?, operator?, system?]);
        }
        let covered = principals.covered();
        let mut parts: Vec<&[u8]> = vec![words.text.as_bytes(), &covered];
        for source in &sources {
            parts.extend([source.name.as_bytes(), source.text.as_bytes()]);
        }
        let digest = Digest::of_parts("toolgate/policy/v2", &parts);
        let entities = words.entities(principals)?;
        let counters = Counters::of(rules.iter().filter(|rule| rule.log_only).map(|rule| rule.id.clone()));
        let principals = principals.clone();
        Ok(Self { words, rules, slices, digest, authorizer: Authorizer::new(), entities, principals, counters })
    }

    /// Over all sources, the schema they are checked against, and who has which role.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many rules are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none: then every call is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The Cedar schema that policies are checked against, as JSON.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.words.text
    }

    /// Decides on a call.
    pub fn decide(&self, call: &PreparedCall, facts: &Facts) -> Decision {
        let asked = with_question(call, facts, |question| self.ask(question, &self.principals, &self.entities));
        for failure in &asked.failures {
            tracing::error!(call_id = %call.parsed().id, tool = %call.parsed().tool.name, rule = %failure.rule, "a rule could not be evaluated: {}", failure.text);
        }
        self.counters.count(asked.verdict, &asked.trials);
        let decision = Decision::new(asked.verdict, asked.reasons, asked.failures, Some(*call.digest())).with_trials(asked.trials);
        match facts.grants.iter().find(|grant| grant.answers(call, &decision)) {
            Some(grant) => decision.answered(grant.id, *call.digest()),
            None => decision,
        }
    }

    /// How often each rule on trial matched since these rules were loaded, and how often it would have changed the verdict.
    #[must_use]
    pub fn trial_counts(&self) -> Vec<super::TrialCount> {
        self.counters.told()
    }

    /// What would be decided on a question; no Grant can come of it.
    pub fn would(&self, question: &Question<'_>) -> Decision {
        self.ask(question, &self.principals, &self.entities).unbound()
    }

    /// The same, if the one who asks had these roles and no others.
    ///
    /// # Errors
    /// A role that rules cannot name.
    pub(super) fn would_in_roles(&self, question: &Question<'_>, roles: &BTreeSet<String>) -> Result<Decision, Problems> {
        let principals = Principals::new([(question.principal.to_owned(), roles.clone())], self.principals.known().iter().cloned());
        let entities = self.words.entities(&principals)?;
        Ok(self.ask(question, &principals, &entities).unbound())
    }

    /// The roles that rules may name.
    pub(super) fn known_roles(&self) -> &BTreeSet<String> {
        self.principals.known()
    }

    pub(super) fn words(&self) -> &Vocabulary {
        &self.words
    }

    pub(super) fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    pub(super) fn entities(&self) -> &Entities {
        &self.entities
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(super) fn find(&self, question: &Question<'_>) -> Option<(&Word, &Slice)> {
        let [agent, operator, system] = self.slices.get(question.tool)?;
        let slice = match question.role {
            Role::Agent => agent,
            Role::Operator => operator,
            Role::System => system,
        };
        Some((self.words.tools.get(question.tool)?, slice))
    }

    fn ask(&self, question: &Question<'_>, principals: &Principals, entities: &Entities) -> Asked {
        let Some((word, slice)) = self.find(question) else {
            return denied(NO_RULE, "policy does not know this tool");
        };
        match request(&self.words, word, question, &slice.reads) {
            Ok(request) => {
                let members = principals.roles_of(question.principal).filter_map(|role| slice.members.get(role));
                let places = std::iter::once(&slice.rules).chain(slice.named.get(question.principal)).chain(members).flatten();
                let mut asked = answer(places.filter_map(|place| self.rules.get(*place)), &request, entities);
                asked.trials = slice.trials.ask(&self.authorizer, &request, entities, asked.verdict, asked.nothing_matched());
                asked
            }
            Err(error) => {
                let failures = vec![Reason { rule: UNREADABLE.to_owned(), text: error }];
                Asked { failures, ..denied(UNREADABLE, "the call cannot be put before policy") }
            }
        }
    }

    /// Every rule that matches or fails, of all rules, each asked alone by Cedar's authorizer about the whole call: what slices are held against.
    #[cfg(test)]
    pub(super) fn matching_of_all(&self, question: &Question<'_>) -> Vec<(String, Verdict)> {
        let request = request(&self.words, &self.words.tools[question.tool], question, &Reads::All).unwrap();
        let ask = |rule: &&Rule| {
            let alone = cedar_policy::PolicySet::from_policies([rule.policy.clone()]).unwrap();
            let answer = self.authorizer.is_authorized(&request, &alone, &self.entities);
            let failed = answer.diagnostics().errors().next().is_some();
            (failed || answer.diagnostics().reason().next().is_some())
                .then(|| (rule.id.clone(), if failed { Verdict::Deny } else { rule.verdict }))
        };
        self.rules.iter().filter(|rule| !rule.log_only).filter_map(|rule| ask(&rule)).collect()
    }
}

impl Asked {
    /// As a decision that is of no call.
    fn unbound(self) -> Decision {
        Decision::new(self.verdict, self.reasons, self.failures, None).with_trials(self.trials)
    }

    /// Whether the verdict is what holds where no rule speaks, so that a permit could change it.
    fn nothing_matched(&self) -> bool {
        self.failures.is_empty() && self.reasons.iter().all(|reason| reason.rule == NO_RULE)
    }
}

/// The strictest of these rules.
fn answer<'r>(rules: impl Iterator<Item = &'r Rule>, request: &Request, entities: &Entities) -> Asked {
    let mut failures = Vec::new();
    let mut matched: Vec<&Rule> = Vec::new();
    for rule in rules {
        match rule.ready.matches(request, entities) {
            Ok(true) => matched.push(rule),
            Ok(false) => {}
            Err(text) => failures.push(Reason { rule: rule.id.clone(), text }),
        }
    }
    let verdict = matched.iter().map(|rule| rule.verdict).max().unwrap_or(Verdict::Deny);
    let told = |rule: &&&Rule| rule.verdict == verdict && (failures.is_empty() || verdict == Verdict::Deny);
    let mut reasons: Vec<Reason> =
        matched.iter().filter(told).map(|rule| Reason { rule: rule.id.clone(), text: rule.text.clone() }).collect();
    reasons.sort_by(|one, other| one.rule.cmp(&other.rule));
    if !failures.is_empty() {
        reasons
            .extend(failures.iter().map(|failure| Reason { rule: failure.rule.clone(), text: "a rule could not be evaluated".to_owned() }));
        return Asked { verdict: Verdict::Deny, reasons, failures, trials: Vec::new() };
    }
    if reasons.is_empty() {
        return denied(NO_RULE, "no rule allows it");
    }
    Asked { verdict, reasons, failures, trials: Vec::new() }
}

fn denied(rule: &str, text: &str) -> Asked {
    let reasons = vec![Reason { rule: rule.to_owned(), text: text.to_owned() }];
    Asked { verdict: Verdict::Deny, reasons, failures: Vec::new(), trials: Vec::new() }
}

fn slice(rules: &[Rule], tool: &ToolName, role: Role) -> Result<Slice, Problems> {
    let mut slice =
        Slice { rules: Vec::new(), named: HashMap::new(), members: HashMap::new(), trials: Trials::default(), reads: Reads::nothing() };
    for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.concerns(tool, role)) {
        slice.reads.add(&rule.reads);
        if rule.log_only {
            slice.trials.add(rule)?;
            continue;
        }
        match (&rule.principal, &rule.member) {
            (Some(principal), _) => slice.named.entry(principal.clone()).or_default().push(place),
            (None, Some(role)) => slice.members.entry(role.clone()).or_default().push(place),
            (None, None) => slice.rules.push(place),
        }
    }
    Ok(slice)
}
