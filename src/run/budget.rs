//! What a run may use up and has used: a projection of its events.
//!
//! INVARIANT: pure; the same events give the same budget, and so the same refusals. The store keeps the result of this very fold beside the
//! journal so that an append can be judged without reading the log. Does not decide what a hit limit leads to: that is `next`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::{Actor, Allowance, Amounts, ApprovalId, LimitOf, Millis, Overrun, Quantity, Timestamp, day_of, next_day};

use super::event::{EventDraft, EventKind};

/// What an event means for budgets.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// The run begins, with what it may use up.
    Created(Allowance),
    /// This was used up. Time counts for the principal only.
    Spent(Amounts),
    /// A human is asked, until then at most.
    Asked(ApprovalId, Timestamp),
    /// A human answered.
    Answered(ApprovalId),
    /// The run is over: its time stands still.
    Ended,
    /// A limit was hit.
    Reached(Overrun),
    /// The operator raised the run's limits.
    Raised(Amounts),
}

impl Mark {
    /// Of an event, by its kind and the plain fields of its payload; `None` where it means nothing for budgets.
    #[must_use]
    pub fn of(kind: EventKind, payload: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| payload.get(name).and_then(Value::as_u64).unwrap_or_default();
        let spent = |amounts: Amounts| (!amounts.is_nothing()).then_some(Self::Spent(amounts));
        match kind {
            EventKind::RunCreated => {
                let limits = payload.get("limits").and_then(|limits| Allowance::deserialize(limits).ok());
                Some(Self::Created(limits.unwrap_or_default()))
            }
            EventKind::ToolCall => {
                spent(Amounts { calls: 1, tokens: number("tokens"), bytes_out: number("bytes_out"), ..Amounts::default() })
            }
            EventKind::AssistantMessage => spent(Amounts::of(Quantity::Tokens, number("tokens"))),
            EventKind::ToolResult | EventKind::ToolError => spent(Amounts::of(Quantity::WallMs, number("duration_ms"))),
            EventKind::SystemEvent => Self::of_system(payload),
            EventKind::UserMessage | EventKind::AssistantMessageDelta | EventKind::ArtifactRef => None,
        }
    }

    fn of_system(payload: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| payload.get(name).and_then(Value::as_u64).unwrap_or_default();
        let approval = || payload.get("approval_id").and_then(Value::as_str)?.parse().ok();
        match payload.get("event").and_then(Value::as_str)? {
            "step_started" | "step_waiting" if payload.contains_key("begins") => Some(Self::Spent(Amounts::of(Quantity::Steps, 1))),
            "bytes_reserved" => Some(Self::Spent(Amounts::of(Quantity::BytesOut, number("bytes_out")))),
            "http_request" => {
                // What was reserved before it was sent is counted already.
                let more = number("bytes_out").saturating_sub(number("reserved"));
                (more > 0).then(|| Self::Spent(Amounts::of(Quantity::BytesOut, more)))
            }
            "approval_requested" => Some(Self::Asked(approval()?, payload.get("expires_at").and_then(Value::as_str)?.parse().ok()?)),
            "approval_granted" | "approval_denied" => Some(Self::Answered(approval()?)),
            "run_succeeded" | "run_failed" | "run_cancelled" | "run_closed" => Some(Self::Ended),
            "limit_reached" => Overrun::deserialize(payload.get("limit")?).ok().map(Self::Reached),
            "limit_raised" => Amounts::deserialize(payload.get("by")?).ok().map(Self::Raised),
            _ => None,
        }
    }

    /// What it uses up, time left out: a run's time is that of the clock.
    #[must_use]
    pub fn asks(&self) -> Amounts {
        match self {
            Self::Spent(amounts) => amounts.without_wall(),
            Self::Created(_) | Self::Asked(..) | Self::Answered(_) | Self::Ended | Self::Reached(_) | Self::Raised(_) => Amounts::default(),
        }
    }
}

/// The event that tells that a limit was hit.
#[must_use]
pub fn reached_draft(over: &Overrun, actor: Actor) -> EventDraft {
    EventDraft::new(EventKind::SystemEvent, actor).field("event", "limit_reached").field("limit", json!(over))
}

/// The event that raises a run's limits.
#[must_use]
pub fn raised_draft(by: &Amounts, actor: Actor) -> EventDraft {
    EventDraft::new(EventKind::SystemEvent, actor).field("event", "limit_raised").field("by", json!(by))
}

/// A run's budget, as far as its events tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// When the run began.
    created: Option<Timestamp>,
    /// What it may use up, raises included.
    allowed: Allowance,
    /// What it used up, time left out.
    used: Amounts,
    /// Limits that were hit and not raised since, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<(Overrun, Timestamp)>,
    /// Questions that a human has not answered, and until when each stands.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    open: BTreeMap<ApprovalId, Timestamp>,
    /// How long a human was waited for, up to `settled`.
    waited_ms: u64,
    settled: Option<Timestamp>,
    /// When the run was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl Budget {
    /// Takes one more event into account.
    pub fn take(&mut self, at: Timestamp, mark: &Mark) {
        match mark {
            Mark::Created(allowed) => {
                (self.created, self.settled) = (Some(at), Some(at));
                self.allowed = *allowed;
            }
            Mark::Spent(amounts) => self.used = self.used.plus(&amounts.without_wall()),
            Mark::Asked(approval, until) => {
                self.settle(at);
                self.open.insert(*approval, *until);
            }
            Mark::Answered(approval) => {
                self.settle(at);
                self.open.remove(approval);
            }
            Mark::Ended => {
                self.settle(at);
                self.ended.get_or_insert(at);
            }
            Mark::Reached(over) => {
                self.settle(at);
                if !self.has_reached(over, at) {
                    self.reached.retain(|(known, _)| (known.of, known.which) != (over.of, over.which));
                    self.reached.push((*over, at));
                }
            }
            Mark::Raised(by) => {
                self.settle(at);
                self.allowed = self.allowed.raised(by);
                self.reached.retain(|(known, _)| known.of != LimitOf::Run || by.get(known.which) == 0);
            }
        }
    }

    /// What the run may use up.
    #[must_use]
    pub fn allowed(&self) -> &Allowance {
        &self.allowed
    }

    /// What it used up by `now`. Its time is that since its beginning during which no question to a human was open and no limit of its
    /// own was hit.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> Amounts {
        let now = self.ended.map_or(now, |ended| ended.min(now));
        let lasted = self.created.map_or(Millis(0), |created| now.since(created));
        Amounts { wall_ms: lasted.0.saturating_sub(self.waited_ms).saturating_sub(self.waits(now)), ..self.used }
    }

    /// The limit of the run that does not allow this on top.
    #[must_use]
    pub fn over(&self, now: Timestamp, asked: &Amounts) -> Option<Overrun> {
        // What was used of a run that is over can still be looked at.
        let allowed = if self.ended.is_some() { Allowance { wall_ms: None, ..self.allowed } } else { self.allowed };
        Overrun::find(LimitOf::Run, &allowed, &self.used(now), asked)
    }

    /// Whether that limit was told as hit already: a run's until it is raised, a principal's for that day.
    #[must_use]
    pub fn has_reached(&self, over: &Overrun, now: Timestamp) -> bool {
        self.standing(now).any(|known| (known.of, known.which) == (over.of, over.which))
    }

    /// The hit limit that keeps the run from going on, if there is one.
    #[must_use]
    pub fn stopped_by(&self, now: Timestamp) -> Option<Overrun> {
        self.standing(now).next().copied().or_else(|| self.over(now, &Amounts::default()))
    }

    /// When a run that is stopped can go on by itself; `None` where the operator must raise a limit, or nothing stops it.
    #[must_use]
    pub fn goes_on_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.standing(now).all(|known| known.of == LimitOf::Principal).then(|| next_day(now))
    }

    /// When the run's time will be over, if nobody is asked anything before; `None` where it is not limited or stands still.
    #[must_use]
    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        let limit = self.allowed.wall_ms?;
        if self.is_waiting(now) {
            return None;
        }
        Some(now.plus(Millis(limit.saturating_sub(self.used(now).wall_ms))))
    }

    /// When the last open question runs out, so that time goes on.
    #[must_use]
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.open.values().max().copied().filter(|until| *until > now)
    }

    fn standing(&self, now: Timestamp) -> impl Iterator<Item = &Overrun> {
        let stands = move |at: Timestamp, over: &Overrun| over.of == LimitOf::Run || day_of(at) == day_of(now);
        self.reached.iter().filter(move |(over, at)| stands(*at, over)).map(|(over, _)| over)
    }

    fn is_held(&self) -> bool {
        self.reached.iter().any(|(over, _)| over.of == LimitOf::Run)
    }

    fn is_waiting(&self, now: Timestamp) -> bool {
        self.is_held() || self.waits_until(now).is_some()
    }

    /// How long somebody was waited for from `settled` to `now`.
    fn waits(&self, now: Timestamp) -> u64 {
        let Some(since) = self.settled else { return 0 };
        if self.is_held() {
            return now.since(since).0;
        }
        self.open.values().max().map_or(0, |until| now.min(*until).since(since).0)
    }

    fn settle(&mut self, at: Timestamp) {
        self.waited_ms = self.waited_ms.saturating_add(self.waits(at));
        self.settled = Some(at);
        self.open.retain(|_, until| *until > at);
    }
}
