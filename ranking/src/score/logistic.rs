//! Logistic regression on standardised features, its probabilities calibrated on held-out lists.
//!
//! The weights are the maximum of the penalised likelihood, found by Newton's method (Hastie, Tibshirani, Friedman,
//! 4.4.1). Its second derivative is also how sure they are: near the maximum the posterior is normal with the inverse of
//! it as covariance (Laplace), so that the log-odds of an item have a deviation, which is what Thompson sampling wants
//! (Chapelle, Li 2011). A slope and an offset learnt on the lists that were held out make probabilities of the log-odds
//! (Platt 1999); isotonic regression would fit any shape, and make equals of items that are not.
//!
//! Everything is summed in the order of the examples, in f64: the same examples give the same bits.

use serde::{Deserialize, Serialize};

use super::newton::{Problem, dot, probability};
use super::{Examples, ScoreError};

/// One list in so many is held out for calibration.
const FOLDS: u64 = 5;
/// Equal parts of the held-out examples, by their probability, in which calibration is looked at.
const BINS: usize = 10;

/// Settings of [`LogisticBlend::train`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticOptions {
    /// Weight of the squared weights in the loss, in examples.
    pub regularisation: f64,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { regularisation: 1.0 }
    }
}

/// How well a blend fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Examples that were learnt from.
    pub examples: usize,
    /// Examples that were held out.
    pub held_out: usize,
    /// Mean negative log-likelihood of the held-out ones, in nats, after calibration; `None` where none could be held out.
    pub log_loss: Option<f64>,
    /// The same of their mean alone.
    pub log_loss_of_mean: Option<f64>,
    /// Mean distance between probability and outcome over ten equal parts of the held-out ones.
    pub calibration_error: Option<f64>,
}

/// A trained blend; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticBlend {
    /// Which model this is, as the caller names it.
    pub version: String,
    pub(super) names: Vec<String>,
    means: Vec<f64>,
    /// One over the standard deviation; 0 for a feature that never changed.
    scales: Vec<f64>,
    /// Bias first.
    weights: Vec<f64>,
    /// Of the weights, row by row.
    covariance: Vec<f64>,
    slope: f64,
    offset: f64,
}

impl LogisticBlend {
    /// Learns from four lists in five, and calibrates with the others.
    ///
    /// # Errors
    /// [`ScoreError`] where there is nothing to learn from.
    pub fn train(version: &str, examples: &Examples, options: &LogisticOptions) -> Result<(Self, Fit), ScoreError> {
        examples.check()?;
        let strength = options.regularisation;
        if !(strength.is_finite() && strength > 0.0) {
            return Err(ScoreError::Regularisation(strength));
        }
        let (held_out, learnt): (Vec<usize>, Vec<usize>) =
            (0..examples.len()).partition(|example| examples.in_fold(*example, 0, FOLDS));
        both_sides(examples, &learnt)?;
        let (means, scales) = moments(examples, &learnt);
        let names = examples.names().to_vec();
        let zeros = vec![0.0; names.len() + 1];
        let mut blend = Self {
            version: version.to_owned(),
            names,
            means,
            scales,
            weights: zeros,
            covariance: Vec::new(),
            slope: 1.0,
            offset: 0.0,
        };
        let (width, design) = (blend.weights.len(), blend.design(examples, &learnt));
        let targets = learnt.iter().map(|example| f64::from(u8::from(examples.acted(*example))));
        let problem = Problem {
            width,
            design: &design,
            targets: targets.collect(),
            importance: learnt.iter().map(|example| examples.weight(*example)).collect(),
            ridge: (0..width).map(|at| if at == 0 { 0.0 } else { strength }).collect(),
        };
        let (weights, covariance) = problem.solve(blend.weights.clone());
        blend.weights = weights;
        blend.covariance = covariance;
        blend.calibrate(examples, &held_out);
        let fit = blend.fit(examples, learnt.len(), &held_out);
        Ok((blend, fit))
    }

    /// Names of the features it was trained with.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Refuses parts, read from elsewhere, that do not fit together.
    ///
    /// # Errors
    /// [`ScoreError::Parts`].
    pub fn check(&self) -> Result<(), ScoreError> {
        let width = self.names.len();
        if [self.means.len(), self.scales.len(), self.weights.len().wrapping_sub(1)] != [width; 3] {
            return Err(ScoreError::Parts("as many means, scales and weights as names are needed, and a bias"));
        }
        if self.covariance.len() != (width + 1) * (width + 1) {
            return Err(ScoreError::Parts("the covariance must be as wide as the weights"));
        }
        let parts = [&self.means, &self.scales, &self.weights, &self.covariance];
        let finite = parts.into_iter().flatten().chain([&self.slope, &self.offset]).all(|value| value.is_finite());
        if finite && self.slope > 0.0 {
            Ok(())
        } else {
            Err(ScoreError::Parts("numbers must be finite, the slope above 0"))
        }
    }

    /// Writes the standardised features, a 1 before them; what is missing is the mean.
    pub(super) fn standardise(&self, features: impl Iterator<Item = Option<f32>>, row: &mut Vec<f64>) {
        row.push(1.0);
        let known = features.zip(self.means.iter().zip(&self.scales));
        row.extend(known.map(|(value, (mean, scale))| value.map_or(0.0, |value| (f64::from(value) - mean) * scale)));
    }

    /// What a standardised row adds to the calibrated log-odds: the base first, then one number a feature.
    pub(super) fn contributions<'b>(&'b self, row: &'b [f64]) -> impl Iterator<Item = f64> + 'b {
        let shares = row.iter().zip(&self.weights).map(|(value, weight)| self.slope * value * weight);
        shares.enumerate().map(|(at, share)| if at == 0 { share + self.offset } else { share })
    }

    /// Calibrated log-odds of a standardised row.
    pub(super) fn log_odds(&self, row: &[f64]) -> f64 {
        self.slope * dot(row, &self.weights) + self.offset
    }

    /// The standard deviation of the calibrated log-odds of a standardised row.
    pub(super) fn deviation(&self, row: &[f64]) -> f64 {
        let along = self.covariance.chunks_exact(row.len()).zip(row).map(|(line, value)| value * dot(line, row));
        self.slope * along.sum::<f64>().max(0.0).sqrt()
    }

    fn design(&self, examples: &Examples, chosen: &[usize]) -> Vec<f64> {
        let mut design = Vec::with_capacity(chosen.len() * self.weights.len());
        for example in chosen {
            self.standardise(examples.row(*example).iter().copied(), &mut design);
        }
        design
    }

    /// Platt's slope and offset, with his targets. Where nothing could be held out, or the order is not confirmed by what
    /// was, the log-odds stay as they are.
    fn calibrate(&mut self, examples: &Examples, held_out: &[usize]) {
        let weight = |acted: bool| {
            let those = held_out.iter().filter(move |example| examples.acted(**example) == acted);
            those.map(|example| examples.weight(*example)).sum::<f64>()
        };
        let (acted, ignored) = (weight(true), weight(false));
        if acted <= 0.0 || ignored <= 0.0 {
            return;
        }
        let rows = self.design(examples, held_out);
        let design: Vec<f64> =
            rows.chunks_exact(self.weights.len()).flat_map(|row| [1.0, dot(row, &self.weights)]).collect();
        let target = |example: &usize| {
            if examples.acted(*example) { (acted + 1.0) / (acted + 2.0) } else { 1.0 / (ignored + 2.0) }
        };
        let problem = Problem {
            width: 2,
            design: &design,
            targets: held_out.iter().map(target).collect(),
            importance: held_out.iter().map(|example| examples.weight(*example)).collect(),
            ridge: vec![0.0, 1e-6],
        };
        let (found, _) = problem.solve(vec![0.0, 1.0]);
        if found[1] > 0.0 && found.iter().all(|value| value.is_finite()) {
            (self.offset, self.slope) = (found[0], found[1]);
        }
    }

    fn fit(&self, examples: &Examples, learnt: usize, held_out: &[usize]) -> Fit {
        let mut row = Vec::new();
        let mut judged: Vec<(f64, f64, f64)> = Vec::with_capacity(held_out.len());
        for example in held_out {
            row.clear();
            self.standardise(examples.row(*example).iter().copied(), &mut row);
            let acted = f64::from(u8::from(examples.acted(*example)));
            judged.push((probability(self.log_odds(&row)), acted, examples.weight(*example)));
        }
        judged.sort_by(|one, two| one.0.total_cmp(&two.0));
        let total: f64 = judged.iter().map(|(_, _, weight)| weight).sum();
        let known = total > 0.0;
        let mean = judged.iter().map(|(_, acted, weight)| acted * weight).sum::<f64>() / total;
        let loss = |probability: f64, acted: f64| {
            let of_outcome = if acted > 0.5 { probability } else { 1.0 - probability };
            -of_outcome.max(1e-15).ln()
        };
        let sum = |of: &dyn Fn(&(f64, f64, f64)) -> f64| judged.iter().map(of).sum::<f64>() / total;
        let bin =
            |bin: &[(f64, f64, f64)]| bin.iter().map(|(p, acted, weight)| (p - acted) * weight).sum::<f64>().abs();
        let bins = judged.chunks(judged.len().div_ceil(BINS).max(1));
        Fit {
            examples: learnt,
            held_out: held_out.len(),
            log_loss: known.then(|| sum(&|(p, acted, weight)| weight * loss(*p, *acted))),
            log_loss_of_mean: known.then(|| sum(&|(_, acted, weight)| weight * loss(mean, *acted))),
            calibration_error: known.then(|| bins.map(bin).sum::<f64>() / total),
        }
    }
}

fn both_sides(examples: &Examples, learnt: &[usize]) -> Result<(), ScoreError> {
    let counting = || learnt.iter().filter(|example| examples.weight(**example) > 0.0);
    let (count, acted) = (counting().count(), counting().filter(|example| examples.acted(**example)).count());
    if acted == 0 || acted == count { Err(ScoreError::OneSided { examples: count, acted }) } else { Ok(()) }
}

/// Mean and one over the deviation of each feature, where it is known.
fn moments(examples: &Examples, chosen: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let width = examples.names().len();
    let (mut counts, mut sums, mut squares) = (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
    let each = |visit: &mut dyn FnMut(usize, f64, f64)| {
        for example in chosen {
            for (at, value) in examples.row(*example).iter().enumerate() {
                if let Some(value) = value {
                    visit(at, f64::from(*value), examples.weight(*example));
                }
            }
        }
    };
    each(&mut |at, value, weight| {
        counts[at] += weight;
        sums[at] += weight * value;
    });
    let means: Vec<f64> =
        sums.iter().zip(&counts).map(|(sum, count)| if *count > 0.0 { sum / count } else { 0.0 }).collect();
    each(&mut |at, value, weight| squares[at] += weight * (value - means[at]).powi(2));
    let scale = |(square, count): (&f64, &f64)| {
        let deviation = if *count > 0.0 { (square / count).sqrt() } else { 0.0 };
        if deviation > 1e-12 { 1.0 / deviation } else { 0.0 }
    };
    let scales = squares.iter().zip(&counts).map(scale).collect();
    (means, scales)
}
