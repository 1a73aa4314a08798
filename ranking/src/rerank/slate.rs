//! A list in the making.

use super::explore::{Belief, Draws, Exploration, epsilon_greedy, thompson};
use super::likeness::Nearest;
use super::plan::{Alternative, Candidate, Placed, Plan, RerankError};
use super::quotas::Quotas;
use super::rules::Effect;

/// A list in the making, position by position.
pub struct Slate<'a> {
    plan: Plan<'a>,
    candidates: &'a [Candidate],
    /// Scores after boosts.
    boosted: Vec<f64>,
    /// 1 over the best of them.
    scale: f64,
    /// What is left, best first, buried ones last.
    left: Vec<usize>,
    buried: Vec<bool>,
    /// By rule: whether it is about each candidate.
    concerns: Vec<Vec<bool>>,
    quotas: Quotas,
    nearest: Option<Nearest<'a>>,
    /// Position, from 0, and candidate; positions fall.
    pins: Vec<(usize, usize)>,
    placed: Vec<Placed>,
    /// The alternatives of the next position, by falling value.
    values: Vec<(f64, usize)>,
}

/// Makes a list.
///
/// # Errors
/// [`RerankError`] names what is wrong with the candidates, the plan or the rules.
pub fn rerank(candidates: &[Candidate], plan: Plan<'_>) -> Result<Vec<Placed>, RerankError> {
    let (mut slate, mut draws) = (Slate::new(candidates, plan)?, Draws::new(plan.seed));
    loop {
        let alternatives = slate.alternatives();
        if alternatives.is_empty() {
            return Ok(slate.into_placed());
        }
        let chosen = draws.choose(alternatives.iter().map(|alternative| alternative.propensity));
        slate.take(&alternatives, chosen);
    }
}

impl<'a> Slate<'a> {
    /// An empty list.
    ///
    /// # Errors
    /// As [`rerank`].
    pub fn new(candidates: &'a [Candidate], plan: Plan<'a>) -> Result<Self, RerankError> {
        check(candidates, &plan)?;
        let rows: Vec<u32> = candidates.iter().map(|candidate| candidate.row).collect();
        let concerns = concerns(&plan, &rows);
        let boosted = boosted(candidates, &plan, &concerns);
        let best = boosted.iter().copied().fold(0.0, f64::max);
        let mut buried = vec![false; candidates.len()];
        for (_, concerns) in of_effect(&plan, &concerns, |effect| *effect == Effect::Bury) {
            buried.iter_mut().zip(concerns).for_each(|(buried, concerned)| *buried |= concerned);
        }
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        left.sort_unstable_by(|&one, &two| {
            let by_score = boosted[two].total_cmp(&boosted[one]).then(rows[one].cmp(&rows[two]));
            buried[one].cmp(&buried[two]).then(by_score)
        });
        let quotas = Quotas::new(&plan.rules.rules, plan.catalogue, &rows, |rule, candidate| concerns[rule][candidate]);
        let diverse = plan.diversity > 0.0 && plan.k > 1;
        let nearest = diverse.then(|| Nearest::new(plan.likeness, plan.catalogue, rows.clone()));
        let scale = if best > 0.0 { 1.0 / best } else { 0.0 };
        let (pins, placed, values) = (Vec::new(), Vec::new(), Vec::new());
        let mut slate =
            Self { plan, candidates, boosted, scale, left, buried, concerns, quotas, nearest, pins, placed, values };
        slate.pin()?;
        Ok(slate)
    }

    /// Gives each pin within the list its item, those with the fewest to choose from first, and takes the room of all of
    /// them from the quotas. A pin without any candidate has no effect.
    fn pin(&mut self) -> Result<(), RerankError> {
        let is_pin = |effect: &Effect| matches!(effect, Effect::Pin { position } if *position <= self.plan.k);
        let mut pins: Vec<(usize, usize, Vec<usize>)> = Vec::new();
        for (rule, concerns) in of_effect(&self.plan, &self.concerns, is_pin) {
            if let Effect::Pin { position } = self.plan.rules.rules[rule].effect {
                pins.push((
                    rule,
                    position,
                    self.left.iter().copied().filter(|&candidate| concerns[candidate]).collect(),
                ));
            }
        }
        pins.retain(|(_, _, choices)| !choices.is_empty());
        pins.sort_by_key(|(_, position, choices)| (choices.len(), *position));
        let mut by: Vec<(usize, usize)> = Vec::new();
        for (rule, position, choices) in pins {
            let free = |candidate: &usize| {
                by.iter().all(|(taken, _)| taken != candidate) && self.quotas.forbids(*candidate).is_none()
            };
            let Some(candidate) = choices.iter().copied().find(free) else {
                let pinned = by.iter().find(|(taken, _)| *taken == choices[0]).map(|(_, rule)| *rule);
                let other = pinned.or(self.quotas.forbids(choices[0])).unwrap_or(rule);
                let name = |rule: usize| self.plan.rules.name(rule).to_owned();
                return Err(RerankError::Contradiction { pin: name(rule), position, other: name(other) });
            };
            by.push((candidate, rule));
            self.quotas.take(candidate);
            self.left.retain(|left| *left != candidate);
            self.pins.push((position - 1, candidate));
        }
        self.pins.sort_unstable_by(|one, two| two.cmp(one));
        Ok(())
    }

    /// What may stand at the next position, and how likely each is; the best first. Empty where the list is full, or
    /// nothing more may come. A pin whose position comes too late moves up.
    pub fn alternatives(&mut self) -> Vec<Alternative> {
        if self.placed.len() == self.plan.k {
            return Vec::new();
        }
        let pinned = self.pins.last().copied();
        if let Some((position, candidate)) = pinned
            && position <= self.placed.len()
        {
            return vec![Alternative { candidate, propensity: 1.0 }];
        }
        self.weigh();
        let propensities = match self.plan.exploration {
            Exploration::Epsilon { epsilon, .. } => epsilon_greedy(epsilon, self.values.len()),
            Exploration::Thompson { .. } => {
                thompson(&self.values.iter().map(|(_, candidate)| self.belief(*candidate)).collect::<Vec<_>>())
            }
            Exploration::Off => vec![1.0; self.values.len()],
        };
        let with = |(&(_, candidate), propensity)| Alternative { candidate, propensity };
        let alternatives: Vec<Alternative> = self.values.iter().zip(propensities).map(with).collect();
        match pinned {
            Some((_, candidate)) if alternatives.is_empty() => vec![Alternative { candidate, propensity: 1.0 }],
            _ => alternatives,
        }
    }

    /// Finds the most valuable ones that may come next, the best first, equal ones in the order of their scores.
    ///
    /// A value only falls while the list grows, so that one which was too low before need not be computed again (Minoux
    /// 1978), and none is above what the score alone is worth, which falls along the candidates.
    fn weigh(&mut self) {
        let (mut values, pool) = (std::mem::take(&mut self.values), self.plan.exploration.pool());
        values.clear();
        for place in 0..self.left.len() {
            let candidate = self.left[place];
            if self.quotas.forbids(candidate).is_some() {
                continue;
            }
            if values.first().is_some_and(|(_, first)| self.buried[candidate] && !self.buried[*first]) {
                break;
            }
            let is_too_low = |value: f64| values.len() == pool && value <= values[pool - 1].0;
            if is_too_low(self.scale() * self.boosted[candidate]) {
                break;
            }
            if is_too_low(self.value(candidate)) {
                continue;
            }
            if let Some(nearest) = &mut self.nearest {
                nearest.compare(candidate);
            }
            let value = self.value(candidate);
            values.insert(values.partition_point(|(better, _)| *better >= value), (value, candidate));
            values.truncate(pool);
        }
        self.values = values;
    }

    fn penalty(&self, candidate: usize) -> f64 {
        let likeness = self.nearest.as_ref().map_or(0.0, |nearest| nearest.at_least(candidate));
        f64::from(self.plan.diversity) * f64::from(likeness)
    }

    fn scale(&self) -> f64 {
        if self.nearest.is_some() { (1.0 - f64::from(self.plan.diversity)) * self.scale } else { 1.0 }
    }

    /// Marginal relevance, or more as long as the candidate was not compared with all that stands before.
    fn value(&self, candidate: usize) -> f64 {
        self.scale() * self.boosted[candidate] - self.penalty(candidate)
    }

    fn belief(&self, candidate: usize) -> Belief {
        let score = self.boosted[candidate];
        Belief {
            log_odds: (score / (1.0 - score)).ln(),
            deviation: self.candidates[candidate].deviation.into(),
            scale: self.scale(),
            penalty: self.penalty(candidate),
        }
    }

    /// Puts one of the alternatives at the next position.
    ///
    /// # Panics
    /// If there is no such alternative.
    pub fn take(&mut self, alternatives: &[Alternative], chosen: usize) {
        let Alternative { candidate, propensity } = alternatives[chosen];
        if self.pins.last().is_some_and(|(_, pinned)| *pinned == candidate) {
            self.pins.pop();
        } else {
            self.left.retain(|left| *left != candidate);
            self.quotas.take(candidate);
        }
        if let Some(nearest) = &mut self.nearest {
            nearest.take(candidate);
        }
        let Candidate { row, score, .. } = self.candidates[candidate];
        let rules = (0..self.concerns.len()).filter(|rule| self.concerns[*rule][candidate]).collect();
        self.placed.push(Placed { candidate, row, score, propensity, explored: chosen > 0, rules });
    }

    /// The list as far as it is filled.
    pub fn into_placed(self) -> Vec<Placed> {
        self.placed
    }
}

fn check(candidates: &[Candidate], plan: &Plan<'_>) -> Result<(), RerankError> {
    let fits = |candidate: &&Candidate| {
        (0.0..=1.0).contains(&candidate.score) && candidate.deviation.is_finite() && candidate.deviation >= 0.0
    };
    if let Some(&Candidate { row, score, deviation }) = candidates.iter().find(|candidate| !fits(candidate)) {
        return Err(RerankError::Score { row, score, deviation });
    }
    let mut rows: Vec<u32> = candidates.iter().map(|candidate| candidate.row).collect();
    rows.sort_unstable();
    if let Some(pair) = rows.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(RerankError::Twice { row: pair[0] });
    }
    if !(0.0..=1.0).contains(&plan.diversity) {
        return Err(RerankError::Diversity { diversity: plan.diversity });
    }
    if plan.k == 0 {
        return Err(RerankError::K);
    }
    Ok(plan.exploration.check()?)
}

/// By rule, whether it is about each candidate.
fn concerns(plan: &Plan<'_>, rows: &[u32]) -> Vec<Vec<bool>> {
    let of_rule = |rule: &super::rules::Compiled| {
        let mut concerns = match &rule.filter {
            Some(filter) => plan.catalogue.fulfil(filter, rows),
            None => vec![true; rows.len()],
        };
        if let Some(items) = &rule.items {
            concerns.iter_mut().zip(rows).for_each(|(concerned, row)| *concerned &= items.binary_search(row).is_ok());
        }
        concerns
    };
    plan.rules.rules.iter().map(of_rule).collect()
}

/// Rules of some effect, by number, with the candidates that they are about.
fn of_effect<'b>(
    plan: &'b Plan<'_>,
    concerns: &'b [Vec<bool>],
    effect: impl Fn(&Effect) -> bool + 'b,
) -> impl Iterator<Item = (usize, &'b Vec<bool>)> {
    concerns.iter().enumerate().filter(move |(rule, _)| effect(&plan.rules.rules[*rule].effect))
}

/// The scores with all boosts: each multiplies the odds.
fn boosted(candidates: &[Candidate], plan: &Plan<'_>, concerns: &[Vec<bool>]) -> Vec<f64> {
    let mut boosted: Vec<f64> = candidates.iter().map(|candidate| candidate.score.into()).collect();
    for (rule, concerns) in concerns.iter().enumerate() {
        let Effect::Boost { factor } = plan.rules.rules[rule].effect else { continue };
        for (score, _) in boosted.iter_mut().zip(concerns).filter(|(_, concerned)| **concerned) {
            let odds = f64::from(factor) * *score;
            *score = odds / (1.0 - *score + odds);
        }
    }
    boosted
}
