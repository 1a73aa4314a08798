//! From what is known of an item to where it stands among the factors: a place for items that nobody has met yet.
//!
//! A ridge regression from content vectors (embeddings of texts, attributes as numbers) to the factors of the items that
//! were trained with. An item without events is mapped, and then found by the same inner product as every other (Gantner
//! et al. 2010). The same map serves users: from what is known of a person to the factors of users.
//!
//! Both sides are centred, so that an item whose content says nothing stands where items stand on average. The strength of
//! the regularisation is found by generalised cross-validation (Golub, Heath, Wahba 1979), which needs no held-out items
//! and, once the covariance is decomposed, next to no time. A network would fit more; with some thousand items that are
//! warm and a few hundred dimensions, a linear map is what the data can carry.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side};
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::{length, positive};

/// Strengths that are tried: powers of this, from [`STRENGTH_LEAST`] on.
const STRENGTH_STEP: f64 = 2.0;
const STRENGTH_LEAST: f64 = 1e-4;
const STRENGTHS: usize = 27;
/// Items whose products are summed at a time.
const GATHER_ROWS: usize = 512;

/// Settings of [`ContentMap`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentMapOptions {
    /// What is added to the variances of the content, as a share of their mean; found by cross-validation if absent.
    pub regularisation: Option<f64>,
}

/// Rows to learn from: content and factors of the same items.
#[derive(Clone, Copy, Debug)]
pub struct ContentRows<'a> {
    /// Items by `width`, row by row.
    pub content: &'a [f32],
    /// Numbers of a content vector.
    pub width: usize,
    /// Items by factors, row by row.
    pub factors: &'a [f32],
    /// How far each item's factors are to be believed, from 0: items with 0 are left out, and only ratios count. A factor
    /// vector learnt from `n` events is worth about `n / (n + 10)`.
    pub evidence: &'a [f32],
}

/// A linear map from content vectors to factors; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentMap {
    /// Width by factors, row by row.
    weights: Vec<f32>,
    /// One a factor: where a content vector of zeros is mapped to.
    bias: Vec<f32>,
    /// As it was given or found.
    regularisation: f64,
}

impl ContentMap {
    /// Learns from the rows that have evidence: items × width² steps and one decomposition, width³.
    ///
    /// # Errors
    /// [`TrainError`] where lengths contradict each other, a number is not finite, an option makes no sense, or no row has
    /// evidence.
    pub fn train(rows: &ContentRows<'_>, options: &ContentMapOptions) -> Result<Self, TrainError> {
        let factors = check(rows)?;
        options.regularisation.map_or(Ok(()), |strength| positive("regularisation", strength))?;
        let means = Means::of(rows, factors);
        let Sums { covariance, products, spread } = Sums::of(rows, &means);
        let mean_variance = (0..rows.width).map(|at| covariance[(at, at)]).sum::<f64>() / rows.width as f64;
        let mut weights = Mat::zeros(rows.width, factors);
        let mut regularisation = options.regularisation.unwrap_or(1.0);
        // Items of one and the same content teach nothing but their mean.
        if mean_variance > 0.0 {
            let eigen =
                covariance.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::NotSolvable { row: rows.width })?;
            let variances: Vec<f64> = eigen.S().column_vector().iter().map(|value| value.max(0.0)).collect();
            let mut along = eigen.U().transpose() * &products;
            let errors = Errors { variances: &variances, along: &along, spread, items: means.items };
            let tried = (0..STRENGTHS as i32).map(|step| STRENGTH_LEAST * STRENGTH_STEP.powi(step));
            regularisation = options.regularisation.unwrap_or_else(|| errors.least(tried, mean_variance));
            for (row, variance) in variances.iter().enumerate() {
                along.row_mut(row).iter_mut().for_each(|value| *value /= variance + regularisation * mean_variance);
            }
            weights = eigen.U() * &along;
        }
        let bias = means.bias(&weights);
        let weights =
            (0..rows.width).flat_map(|row| weights.row(row).iter().map(|value| *value as f32).collect::<Vec<_>>());
        Self::from_parts(weights.collect(), bias, regularisation)
    }

    /// A map from its parts.
    ///
    /// # Errors
    /// [`TrainError`] where lengths contradict each other or a number is not finite.
    pub fn from_parts(weights: Vec<f32>, bias: Vec<f32>, regularisation: f64) -> Result<Self, TrainError> {
        length("bias", bias.len(), bias.len().max(1))?;
        length("weights", weights.len(), (weights.len() / bias.len()).max(1) * bias.len())?;
        finite("weights", &weights, bias.len())?;
        finite("bias", &bias, bias.len())?;
        positive("regularisation", regularisation)?;
        Ok(Self { weights, bias, regularisation })
    }

    /// Weights (width by factors), bias, and regularisation.
    pub fn into_parts(self) -> (Vec<f32>, Vec<f32>, f64) {
        (self.weights, self.bias, self.regularisation)
    }

    /// Numbers of a content vector.
    pub fn width(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    /// Numbers of a factor vector.
    pub fn factors(&self) -> usize {
        self.bias.len()
    }

    /// The regularisation, as it was given or found.
    pub fn regularisation(&self) -> f64 {
        self.regularisation
    }

    /// The factors of one or several content vectors, row by row.
    ///
    /// # Errors
    /// [`TrainError`] where these are not whole vectors, or a number is not finite.
    pub fn map(&self, content: &[f32]) -> Result<Vec<f32>, TrainError> {
        length("content", content.len(), content.len().div_ceil(self.width()) * self.width())?;
        finite("content", content, self.width())?;
        let mut mapped = Vec::with_capacity(content.len() / self.width() * self.factors());
        for content in content.chunks_exact(self.width()) {
            let first = mapped.len();
            mapped.extend_from_slice(&self.bias);
            for (value, weights) in content.iter().zip(self.weights.chunks_exact(self.factors())) {
                mapped[first..].iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
            }
        }
        Ok(mapped)
    }
}

/// The number of factors, if the rows are in order.
fn check(rows: &ContentRows<'_>) -> Result<usize, TrainError> {
    let items = rows.evidence.len();
    let factors = rows.factors.len().checked_div(items).unwrap_or(0);
    if !rows.evidence.iter().any(|evidence| *evidence > 0.0) || rows.width == 0 || factors == 0 {
        return Err(TrainError::Empty { rows: items, items });
    }
    length("content", rows.content.len(), items * rows.width)?;
    length("factors", rows.factors.len(), items * factors)?;
    finite("content", rows.content, rows.width)?;
    finite("factors", rows.factors, factors)?;
    match rows.evidence.iter().find(|evidence| !(evidence.is_finite() && **evidence >= 0.0)) {
        None => Ok(factors),
        Some(evidence) => {
            let need = "a finite number from 0 is needed";
            Err(TrainError::Option { name: "evidence", value: (*evidence).into(), need })
        }
    }
}

fn finite(part: &'static str, values: &[f32], width: usize) -> Result<(), TrainError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => Err(TrainError::NotFinite { part, row: place / width }),
    }
}

/// Means over the rows with evidence.
struct Means {
    content: Vec<f64>,
    factors: Vec<f64>,
    /// What an item's evidence is multiplied with, so that it is 1 on average.
    scale: f64,
    /// Rows with evidence.
    items: usize,
}

impl Means {
    fn of(rows: &ContentRows<'_>, factors: usize) -> Self {
        let items = rows.evidence.iter().filter(|evidence| **evidence > 0.0).count();
        let sum: f64 = rows.evidence.iter().copied().map(f64::from).sum();
        let mean = |values: &[f32], width: usize| {
            let mut means = vec![0.0; width];
            for (values, evidence) in values.chunks_exact(width).zip(rows.evidence) {
                let share = f64::from(*evidence) / sum;
                means.iter_mut().zip(values).for_each(|(mean, value)| *mean += share * f64::from(*value));
            }
            means
        };
        let (content, factors) = (mean(rows.content, rows.width), mean(rows.factors, factors));
        Self { content, factors, scale: items as f64 / sum, items }
    }

    /// What makes the mean content map to the mean factors.
    fn bias(&self, weights: &Mat<f64>) -> Vec<f32> {
        let bias = self.factors.iter().enumerate().map(|(factor, mean)| {
            let products = self.content.iter().enumerate().map(|(at, content)| content * weights[(at, factor)]);
            mean - products.sum::<f64>()
        });
        bias.map(|value| value as f32).collect()
    }
}

/// Sums over centred rows, weighed by their evidence.
struct Sums {
    /// Of content with itself; the lower triangle.
    covariance: Mat<f64>,
    /// Of content with factors.
    products: Mat<f64>,
    /// Of the squares of all factors.
    spread: f64,
}

impl Sums {
    fn of(rows: &ContentRows<'_>, means: &Means) -> Self {
        let (width, factors) = (rows.width, means.factors.len());
        let (mut covariance, mut products) = (Mat::zeros(width, width), Mat::zeros(width, factors));
        let mut spread = 0.0;
        let of_chunk = |values: &[f32], means: &[f64], evidence: &[f32], scale: f64| {
            let mut centred = Vec::with_capacity(values.len());
            for (values, evidence) in values.chunks_exact(means.len()).zip(evidence) {
                let root = (f64::from(*evidence) * scale).sqrt();
                centred.extend(values.iter().zip(means).map(|(value, mean)| root * (f64::from(*value) - mean)));
            }
            centred
        };
        for (number, evidence) in rows.evidence.chunks(GATHER_ROWS).enumerate() {
            let first = number * GATHER_ROWS;
            let chunk = |values: &[f32], means_of: &[f64]| {
                let values = &values[first * means_of.len()..][..evidence.len() * means_of.len()];
                of_chunk(values, means_of, evidence, means.scale)
            };
            let (content, factor) = (chunk(rows.content, &means.content), chunk(rows.factors, &means.factors));
            spread += factor.iter().map(|value| value * value).sum::<f64>();
            let content = MatRef::from_column_major_slice(&content, width, evidence.len());
            let factor = MatRef::from_column_major_slice(&factor, factors, evidence.len());
            triangular::matmul(
                covariance.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                content,
                BlockStructure::Rectangular,
                content.transpose(),
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
            matmul(products.as_mut(), Accum::Add, content, factor.transpose(), 1.0, Par::Seq);
        }
        Self { covariance, products, spread }
    }
}

/// What the error of cross-validation is computed from: all in the basis in which the covariance is diagonal.
struct Errors<'a> {
    variances: &'a [f64],
    /// The products, one row a variance.
    along: &'a Mat<f64>,
    spread: f64,
    items: usize,
}

impl Errors<'_> {
    /// The strength, as a share of the mean variance, with the least error; the weakest of equals.
    fn least(&self, strengths: impl Iterator<Item = f64>, mean_variance: f64) -> f64 {
        let error = |strength: f64| self.error(strength * mean_variance);
        let mut tried = strengths.map(|strength| (strength, error(strength)));
        let first = tried.next().expect("there are strengths to try");
        tried.fold(first, |best, next| if next.1 < best.1 { next } else { best }).0
    }

    /// The squared error divided by the square of the share of freedom that is left.
    fn error(&self, ridge: f64) -> f64 {
        let (mut residual, mut used) = (self.spread, 1.0);
        for (row, &variance) in self.variances.iter().enumerate() {
            let (gain, square) = (1.0 / (variance + ridge), self.along.row(row).squared_norm_l2());
            residual -= square * gain * (2.0 - variance * gain);
            used += variance * gain;
        }
        let left = 1.0 - used / self.items as f64;
        if left > 0.0 { residual.max(0.0) / (left * left) } else { f64::INFINITY }
    }
}

#[cfg(test)]
mod tests;
