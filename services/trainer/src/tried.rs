//! A model tried without a part of what happened: how good it is, and what it weighs in lists. Whoever trains, the trainer
//! or a person by hand, learns both here.

use attune_batch::history::History;
use attune_batch::recommender::{HeldOut, Measured, Settings};
use attune_ranking::data::Worth;
use attune_ranking::evaluate::Protocol;
use attune_ranking::score::RankBand;
use attune_store::Tenant;

use crate::{MakesLists, Tried};

/// What is tried.
#[derive(Clone, Copy)]
pub struct Trying<'a> {
    /// The model.
    pub settings: &'a Settings,
    /// What events are worth.
    pub worth: &'a Worth,
    /// How events are held out, with the seed of the split.
    pub asked: (&'static Protocol, u64),
    /// Threads that users are asked about on.
    pub threads: usize,
    /// Who makes lists, and whose; without him nothing is learned of what the model weighs in them.
    pub lists: Option<(&'a dyn MakesLists, &'a Tenant)>,
}

impl Trying<'_> {
    /// How good the model is on what was held out, and what it weighs in lists, learned with one that does not know that
    /// either; nothing where it could not be, and lists are then made with weights that suit any model. It ends early where
    /// `is_wanted` says that nobody waits any more.
    pub fn measured(&self, history: &History, is_wanted: &dyn Fn() -> bool) -> (Measured, Vec<RankBand>) {
        let Self { settings, worth, asked, threads, .. } = *self;
        let (measured, held) = Measured::with_model(settings, &history.log, worth, asked, threads);
        let held = held.filter(|_| is_wanted());
        (measured, held.map(|held| self.blend(history, held, is_wanted)).unwrap_or_default())
    }

    fn blend(&self, history: &History, held: HeldOut, is_wanted: &dyn Fn() -> bool) -> Vec<RankBand> {
        let Some((lists, tenant)) = self.lists else { return Vec::new() };
        let HeldOut { task, model, outcome } = held;
        // A list for every user, which nobody looks at any more.
        drop(outcome);
        let tried = Tried { tenant, history, task, model: model.without_people() };
        lists.blend(tried, is_wanted).unwrap_or_else(|error| {
            tracing::warn!(%tenant, error, "what the model weighs in lists could not be learned");
            Vec::new()
        })
    }
}
