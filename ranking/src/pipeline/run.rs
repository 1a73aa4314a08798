//! The stages, one by one and all together.

use std::borrow::Cow;

use super::answer::{Answer, Judged};
use super::{AnswerError, Pipeline};
use crate::index::{Allowed, K_MAX, View};
use crate::rerank::{Candidate, Plan, rerank};
use crate::retrieve::{Batch, Checked, Outcome, Proposals, RequestError, Scratch, Union};
use crate::score::{Blend, Extra, Features, ScoreError, Scores};

/// What all requests of a call share.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// All items, with their attributes and the vectors that diversity looks at.
    pub catalogue: &'a View,
    /// Rows that fulfil the filter; all if absent.
    pub allowed: Option<&'a Allowed>,
    /// Rows that take part even if no source proposes them, as far as they are allowed: the caller's own candidates.
    pub include: &'a [u32],
    /// Unix seconds.
    pub now: i64,
    /// Threads that an index may use.
    pub threads: usize,
}

/// What a list shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Its length, 1 to [`K_MAX`].
    pub k: usize,
    /// 0 to 1; the pipeline's own if absent.
    pub diversity: Option<f32>,
    /// Decides all draws.
    pub seed: u64,
    /// Whether every item says why.
    pub explain: bool,
}

/// What the sources found for one request.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// How each source fared.
    pub outcomes: Vec<Outcome>,
    /// All that they said, by item.
    pub union: Union,
    /// Events that are known of the user.
    pub events: usize,
    /// Whether what is known of the user orders the caller's own items, and what everybody likes only breaks ties.
    pub taste_first: bool,
}

/// The candidates of one request with their scores.
#[derive(Clone, Debug)]
pub struct ScoredUnion {
    /// What the sources found.
    pub gathered: Gathered,
    /// What is known of each candidate.
    pub features: Features,
    /// What follows from it.
    pub scores: Scores,
}

/// Numbers that the caller adds to candidates: by feature, in the order of the pipeline's, one a row; NaN where unknown.
pub type ItemFeatures<'f> = dyn Fn(&[u32]) -> Vec<Vec<f32>> + Sync + 'f;

/// Whether each source had anything to say.
fn said(outcomes: &[Outcome]) -> impl Iterator<Item = bool> {
    outcomes.iter().map(|outcome| matches!(outcome, Outcome::Found(found) if !found.is_empty()))
}

impl Pipeline {
    /// Refuses what the caller should have given otherwise.
    ///
    /// # Errors
    /// [`RequestError`] names it.
    pub fn check(&self, request: &Checked, wanted: &Wanted) -> Result<(), RequestError> {
        if !(1..=K_MAX).contains(&wanted.k) {
            return Err(RequestError::K { k: wanted.k, max: K_MAX });
        }
        self.sources.iter().try_for_each(|(source, _)| source.check(request))
    }

    /// Asks one source, by its number, for the candidates of all requests. What a request gets does not depend on the
    /// others.
    ///
    /// # Panics
    /// If there is no such source, or not one `wanted` a request.
    pub fn retrieve(
        &self,
        source: usize,
        requests: &[Checked],
        wanted: &[Wanted],
        world: &World<'_>,
        scratch: &mut Scratch,
    ) -> Vec<Outcome> {
        assert_eq!(requests.len(), wanted.len(), "each request wants something");
        let (source, candidates) = &self.sources[source];
        let World { allowed, now, threads, .. } = *world;
        let depth = |wanted: &Wanted| wanted.k.max(*candidates).min(K_MAX);
        let batch = Batch { requests, k: wanted.iter().map(depth).max().unwrap_or(1), allowed, now, threads };
        let outcome = |(found, wanted): (Proposals, &Wanted)| {
            let Some(mut found) = found else { return Outcome::Silent };
            found.truncate(depth(wanted));
            Outcome::Found(found)
        };
        match source.propose(&batch, scratch) {
            Ok(found) => found.into_iter().zip(wanted).map(outcome).collect(),
            Err(error) => vec![Outcome::Failed(error); requests.len()],
        }
    }

    /// Joins what the sources found for one request with the items that are pinned or included.
    ///
    /// # Panics
    /// Unless there is one outcome a source.
    pub fn gather(&self, request: &Checked, outcomes: Vec<Outcome>, wanted: &Wanted, world: &World<'_>) -> Gathered {
        assert_eq!(outcomes.len(), self.sources.len(), "one outcome a source");
        let admitted = |row: &u32| {
            world.catalogue.contains(*row)
                && world.allowed.is_none_or(|allowed| allowed.contains(*row))
                && !request.excludes(*row)
        };
        let more = self.rules.pinned_items(wanted.k).chain(world.include.iter().copied()).filter(admitted);
        let more: Vec<u32> = more.collect();
        let taste_first = !world.include.is_empty() && self.tells_taste(&outcomes);
        let events = request.get().items.len();
        Gathered { union: Union::new(&outcomes, &more), outcomes, events, taste_first }
    }

    /// Whether a source that knows something of the user had something to say.
    fn tells_taste(&self, outcomes: &[Outcome]) -> bool {
        let mut sources = (0..self.sources.len()).zip(said(outcomes));
        sources.any(|(source, said)| said && !self.is_for_everyone(source))
    }

    /// The blend for one request. Sources for everybody fill lists that would be short, and order them where nothing else
    /// does. The caller's own few items need no filling, and joined by ranks each source orders nearly all of them, so that
    /// the several ways of being popular would outvote what the user likes. A trained blend knows how much each counts.
    pub(super) fn blend_for(&self, gathered: &Gathered, features: &Features) -> Cow<'_, Blend> {
        match &self.blend {
            Blend::Ranks(ranks) => {
                let said: Vec<bool> = said(&gathered.outcomes).chain(features.extras_known()).collect();
                let breaks_ties = |source| gathered.taste_first && self.is_for_everyone(source);
                Cow::Owned(Blend::Ranks(ranks.of(gathered.events, &said, breaks_ties)))
            }
            blend => Cow::Borrowed(blend),
        }
    }

    /// Scores the candidates of one request, in one call of the blend.
    ///
    /// # Errors
    /// [`ScoreError::Extra`] where the caller's features are not those of the pipeline.
    pub fn score(&self, gathered: Gathered, item_features: &ItemFeatures<'_>) -> Result<ScoredUnion, ScoreError> {
        let columns = if self.features.is_empty() { Vec::new() } else { item_features(gathered.union.rows()) };
        let named = self.features.iter().zip(&columns);
        let extras: Vec<Extra<'_>> = named.map(|(name, values)| Extra { name, values }).collect();
        let features = self.layout.fill(&gathered.union, &gathered.outcomes, gathered.events, &extras)?;
        let explores = matches!(self.exploration, crate::rerank::Exploration::Thompson { .. });
        let scores = self.blend_for(&gathered, &features).score(&gathered.union, &features, explores);
        Ok(ScoredUnion { gathered, features, scores })
    }

    /// Makes the list.
    ///
    /// # Errors
    /// [`AnswerError::Rerank`] where rules contradict each other, or what is wanted makes no sense.
    pub fn answer(
        &self,
        request: &Checked,
        scored: &ScoredUnion,
        wanted: &Wanted,
        world: &World<'_>,
    ) -> Result<Answer, AnswerError> {
        let rows = scored.gathered.union.rows().iter();
        let numbers = scored.scores.scores.iter().zip(&scored.scores.deviations);
        let candidate = |(row, (score, deviation)): (&u32, (&f32, &f32))| Candidate {
            row: *row,
            score: *score,
            deviation: *deviation,
        };
        let candidates: Vec<Candidate> = rows.zip(numbers).map(candidate).collect();
        let plan = Plan {
            catalogue: world.catalogue,
            rules: &self.rules,
            diversity: wanted.diversity.unwrap_or(self.diversity.amount),
            likeness: &self.diversity.by,
            exploration: self.exploration,
            k: wanted.k,
            seed: wanted.seed,
        };
        let placed = rerank(&candidates, plan)?;
        Ok(Judged { pipeline: self, request, scored, wanted, world }.answer(&placed))
    }

    /// Runs all stages for some requests, each with what it wants: the sources one after the other, all requests of one
    /// source together.
    ///
    /// # Panics
    /// Unless there is one `wanted` a request.
    pub fn recommend(
        &self,
        requests: &[Checked],
        wanted: &[Wanted],
        world: &World<'_>,
        item_features: &ItemFeatures<'_>,
        scratch: &mut Scratch,
    ) -> Vec<Result<Answer, AnswerError>> {
        let checks = requests.iter().zip(wanted).map(|(request, wanted)| self.check(request, wanted));
        let checks: Vec<Result<(), RequestError>> = checks.collect();
        if let [Err(error)] = &checks[..] {
            return vec![Err(error.clone().into())];
        }
        if checks.iter().any(Result::is_err) {
            // What is wrong with one of them must not reach the index with the others.
            let alone = |(request, wanted)| {
                let (request, wanted) = (std::slice::from_ref(request), std::slice::from_ref(wanted));
                self.recommend(request, wanted, world, item_features, &mut *scratch).remove(0)
            };
            return requests.iter().zip(wanted).map(alone).collect();
        }
        let mut by_request: Vec<Vec<Outcome>> = requests.iter().map(|_| Vec::new()).collect();
        for source in 0..self.sources.len() {
            let outcomes = self.retrieve(source, requests, wanted, world, scratch);
            by_request.iter_mut().zip(outcomes).for_each(|(of_request, outcome)| of_request.push(outcome));
        }
        let finish = |((request, wanted), outcomes): ((&Checked, &Wanted), Vec<Outcome>)| {
            let gathered = self.gather(request, outcomes, wanted, world);
            let scored = self.score(gathered, item_features)?;
            self.answer(request, &scored, wanted, world)
        };
        requests.iter().zip(wanted).zip(by_request).map(finish).collect()
    }
}
