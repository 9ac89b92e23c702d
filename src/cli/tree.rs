//! The live tree of a run's steps: marks, durations, notes; parallel steps are held together by a bracket.
//!
//! INVARIANT: [`lines`] is pure. What steps and notes say is made printable.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::domain::{StepId, Timestamp};

use super::ports::{RunView, StepNotes, StepState, StepView, WaitsFor};
use super::text::{ago, printable, span};

/// The newest note of each running step.
#[derive(Default)]
pub(super) struct Notes(Mutex<BTreeMap<StepId, String>>);

impl StepNotes for Notes {
    fn note(&self, step: &StepId, message: &str, done: Option<f64>, total: Option<f64>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(step.clone(), note_text(message, done, total));
    }
}

impl Notes {
    pub(super) fn of(&self, step: &StepId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(step).cloned()
    }
}

/// A note on progress in one line.
pub(super) fn note_text(message: &str, done: Option<f64>, total: Option<f64>) -> String {
    let message = printable(message);
    match (done, total) {
        (Some(done), Some(total)) if total > 0.0 => format!("{message} {:.0}%", (done / total * 100.0).clamp(0.0, 100.0)),
        (Some(done), _) => format!("{message} {done}"),
        (None, _) => message,
    }
}

/// The mark of a state.
pub(super) fn mark(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "·",
        StepState::Running => "▸",
        StepState::Waiting => "?",
        StepState::Succeeded => "✓",
        StepState::Failed => "✗",
        StepState::Skipped => "-",
        StepState::Cancelled => "x",
    }
}

/// What is to be said of a step beside its name.
pub(super) fn detail(step: &StepView, note: Option<&str>, now: Timestamp) -> String {
    let took = || step.started.map(|started| span(step.ended.unwrap_or(now).since(started))).unwrap_or_default();
    let mut said = match step.state {
        StepState::Pending => String::new(),
        StepState::Running => match note {
            Some(note) => format!("{}  {note}", took()),
            None => took(),
        },
        StepState::Waiting => match &step.waits_for {
            Some(WaitsFor::Approval { approval }) => format!("waits for the operator's yes to {approval}"),
            Some(WaitsFor::Agent) => "waits for an agent's answer".to_owned(),
            Some(WaitsFor::UserInput) => "waits for a person's data".to_owned(),
            Some(WaitsFor::Limit) => "waits until a limit of the run is raised".to_owned(),
            Some(WaitsFor::Time { until }) => format!("goes on {}", ago(*until, now)),
            None => "waits".to_owned(),
        },
        StepState::Succeeded => took(),
        StepState::Failed => match &step.error {
            Some(fault) => format!("{}  {}: {}", took(), fault.code, printable(fault.message.lines().next().unwrap_or_default())),
            None => took(),
        },
        StepState::Skipped => "skipped".to_owned(),
        StepState::Cancelled => "cancelled".to_owned(),
    };
    let again = again(step);
    if !again.is_empty() {
        said = format!("{said}  {again}");
    }
    said.trim().to_owned()
}

/// Whether a step does its work again, and which time it is.
pub(super) fn again(step: &StepView) -> String {
    let repair = step.repair.as_deref().map(|repair| format!("({})", printable(repair)));
    let attempt = (step.attempt > 1).then(|| format!("(attempt {})", step.attempt));
    repair.into_iter().chain(attempt).collect::<Vec<_>>().join("  ")
}

/// The tree, one line a step.
pub(super) fn lines(run: &RunView, notes: &Notes, now: Timestamp) -> Vec<String> {
    let mut levels: BTreeMap<&StepId, usize> = BTreeMap::new();
    for step in &run.steps {
        let above = step.depends_on.iter().filter_map(|id| levels.get(id)).max();
        let level = above.map_or(0, |above| above + 1);
        levels.insert(&step.id, level);
    }
    let mut groups: BTreeMap<usize, Vec<&StepView>> = BTreeMap::new();
    for step in &run.steps {
        groups.entry(levels.get(&step.id).copied().unwrap_or(0)).or_default().push(step);
    }
    let brackets = groups.values().any(|group| group.len() > 1);
    let width = run.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for group in groups.values() {
        for (at, step) in group.iter().enumerate() {
            let bracket = match (brackets, group.len(), at) {
                (false, ..) => "",
                (true, 1, _) => "  ",
                (true, _, 0) => "┌ ",
                (true, len, at) if at + 1 == len => "└ ",
                (true, ..) => "├ ",
            };
            let said = detail(step, notes.of(&step.id).as_deref(), now);
            lines.push(format!("{bracket}{} {:width$}  {said}", mark(step.state), step.id.as_str()).trim_end().to_owned());
        }
    }
    lines
}

/// The tree on a terminal that can redraw lines.
pub(super) struct LiveTree {
    group: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl LiveTree {
    pub(super) fn new() -> Self {
        Self { group: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), bars: Vec::new() }
    }

    pub(super) fn draw(&mut self, lines: &[String]) {
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        while self.bars.len() < lines.len() {
            self.bars.push(self.group.add(ProgressBar::new_spinner().with_style(style.clone())));
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(line.clone());
        }
    }

    /// Takes the tree off the screen, so that something else can be said; the next drawing begins anew.
    pub(super) fn clear(&mut self) {
        let _ = self.group.clear();
        *self = Self::new();
    }
}
