//! What is answered: the list, where it came from, and what there is to say about it.

use serde::{Deserialize, Serialize};

use super::{Pipeline, ScoredUnion, Wanted, World};
use crate::rerank::Placed;
use crate::retrieve::{Checked, Entry, Outcome, Reason};
use crate::score::{Blend, Contribution};

/// The last events of a history whose items are looked up for a note.
const EVENTS_LOOKED_AT: usize = 100;

/// A list and what there is to say about it; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Version of the blend.
    pub model_version: String,
    /// Whether a source was late or failed.
    pub degraded: bool,
    /// Best first.
    pub items: Vec<Answered>,
    /// What share of the list came from which source; an item of several counts in parts.
    pub sources: Vec<(String, f32)>,
    /// Why the list is less personal, or shorter, than it could be.
    pub notes: Vec<Note>,
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Its row.
    pub row: u32,
    /// The probability that the user acts on it, where a trained blend scores; else its share of the best by ranks.
    pub score: f32,
    /// From 1.
    pub rank: usize,
    /// The probability that it came to stand here, given what stands before: to be logged.
    pub propensity: f64,
    /// Whether exploration put it here.
    pub explored: bool,
    /// What is known of it, in the order of the pipeline's features; `None` where something is missing: to be logged.
    pub features: Vec<Option<f32>>,
    /// Why, where that was asked for.
    pub explanation: Option<Explanation>,
}

/// Why an item is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What each source said that proposed it.
    pub sources: Vec<Said>,
    /// What each feature, or source, adds to its score.
    pub contributions: Vec<Contribution>,
    /// Names of the rules that are about it.
    pub rules: Vec<String>,
    /// Version of the blend.
    pub model_version: String,
}

/// What one source said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Its name.
    pub source: String,
    /// In its own unit.
    pub score: f32,
    /// From 1, in its own list.
    pub rank: usize,
    /// Why.
    pub reason: Reason,
}

/// Something to know about a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// For programs.
    pub code: Code,
    /// For people.
    pub detail: String,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nothing is known of who asks.
    NoHistory,
    /// Recent items of the history that are not in the catalogue.
    ItemsUnknown,
    /// Fewer items fulfil the filter than were wanted.
    FilterTooNarrow,
    /// Fewer candidates than were wanted.
    FewCandidates,
    /// Quotas left no room for more.
    QuotasFull,
    /// A source was not waited for.
    SourceLate,
    /// A source could not answer.
    SourceFailed,
}

/// All that an answer is made of.
pub(super) struct Judged<'a> {
    pub pipeline: &'a Pipeline,
    pub request: &'a Checked,
    pub scored: &'a ScoredUnion,
    pub wanted: &'a Wanted,
    pub world: &'a World<'a>,
}

impl Judged<'_> {
    pub(super) fn answer(&self, placed: &[Placed]) -> Answer {
        // Once a list, and not an item.
        let blend = self.wanted.explain.then(|| self.pipeline.blend_for(&self.scored.gathered, &self.scored.features));
        Answer {
            model_version: self.pipeline.model_version().to_owned(),
            degraded: self.scored.gathered.outcomes.iter().any(Outcome::degrades),
            items: placed.iter().zip(1..).map(|(placed, rank)| self.item(placed, rank, blend.as_deref())).collect(),
            sources: self.shares(placed),
            notes: self.notes(placed.len()),
        }
    }

    fn item(&self, placed: &Placed, rank: usize, blend: Option<&Blend>) -> Answered {
        let Placed { row, score, propensity, explored, .. } = *placed;
        let features = self.scored.features.row(placed.candidate);
        let features = features.iter().map(|value| value.is_finite().then_some(*value)).collect();
        let explanation = blend.map(|blend| self.explain(placed, blend));
        Answered { row, score, rank, propensity, explored, features, explanation }
    }

    fn explain(&self, placed: &Placed, blend: &Blend) -> Explanation {
        let (pipeline, union) = (self.pipeline, &self.scored.gathered.union);
        let entries = union.entries(placed.candidate).iter().zip(&pipeline.names).zip(&pipeline.sources);
        let said = entries.filter_map(|((entry, name), (source, _))| {
            let Entry { score, rank } = (*entry)?;
            let reason = source.reason(self.request, placed.row);
            Some(Said { source: name.clone(), score, rank: rank as usize + 1, reason })
        });
        let features = &self.scored.features;
        Explanation {
            sources: said.collect(),
            contributions: blend.explain(union, features, placed.candidate),
            rules: placed.rules.iter().map(|rule| pipeline.rules.name(*rule).to_owned()).collect(),
            model_version: pipeline.model_version().to_owned(),
        }
    }

    /// Each item's share is divided among the sources that proposed it. Items of none are pinned or included.
    fn shares(&self, placed: &[Placed]) -> Vec<(String, f32)> {
        let (mut shares, placed_items) = (vec![0.0; self.pipeline.names.len()], placed.len());
        for placed in placed {
            let entries = self.scored.gathered.union.entries(placed.candidate);
            let proposed = entries.iter().filter(|entry| entry.is_some()).count();
            for (share, _) in shares.iter_mut().zip(entries).filter(|(_, entry)| entry.is_some()) {
                *share += 1.0 / (proposed * placed_items) as f32;
            }
        }
        self.pipeline.names.iter().cloned().zip(shares).collect()
    }

    fn notes(&self, listed: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut note = |code, detail: String| notes.push(Note { code, detail });
        let request = self.request.get();
        if request.user.is_none() && request.items.is_empty() && request.session.is_empty() {
            note(Code::NoHistory, "nothing is known of this user yet".to_owned());
        }
        let last = &request.items[request.items.len().saturating_sub(EVENTS_LOOKED_AT)..];
        let unknown = last.iter().filter(|row| !self.world.catalogue.contains(**row)).count();
        if unknown > 0 {
            let events = last.len();
            note(Code::ItemsUnknown, format!("{unknown} of the last {events} events are on items that are unknown"));
        }
        for (name, outcome) in self.pipeline.names.iter().zip(&self.scored.gathered.outcomes) {
            match outcome {
                Outcome::Late => note(Code::SourceLate, format!("{name} did not answer in time")),
                Outcome::Failed(error) => note(Code::SourceFailed, format!("{name}: {error}")),
                Outcome::Found(_) | Outcome::Silent => {}
            }
        }
        let (k, candidates) = (self.wanted.k, self.scored.gathered.union.rows().len());
        // What is hidden from everybody is no filter, and neither are the caller's own items.
        let is_filter = |fulfil: &usize| self.world.include.is_empty() && *fulfil < self.world.catalogue.items();
        let fulfil = self.world.allowed.map(|allowed| allowed.count()).filter(is_filter);
        if listed < k.min(candidates) {
            note(Code::QuotasFull, format!("quotas leave room for {listed} of {k} items"));
        } else if let Some(fulfil) = fulfil.filter(|fulfil| listed < k && *fulfil < k) {
            note(Code::FilterTooNarrow, format!("{fulfil} items fulfil the filter, {k} were asked for"));
        } else if listed < k {
            note(Code::FewCandidates, format!("there are {listed} candidates, {k} items were asked for"));
        }
        notes
    }
}
