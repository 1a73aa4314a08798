//! Whether the arms are as large as they should be.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use thiserror::Error;

/// Below this the sizes are not chance (Fabijan et al., "Diagnosing sample ratio mismatch", KDD 2019, use .0005 to .001).
const SUSPICIOUS_P: f64 = 0.001;

/// How the sizes of the arms compare with their shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    /// Pearson's statistic.
    pub chi_square: f64,
    /// Arms that should have somebody, less one.
    pub degrees: usize,
    /// How likely sizes so far off would be by chance.
    pub p: f64,
}

/// Counts and shares that do not belong together.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SampleRatioError {
    /// Not one count a share.
    #[error("there are {counts} counts and {shares} shares: one each an arm is needed")]
    Lengths {
        /// Counts given.
        counts: usize,
        /// Shares given.
        shares: usize,
    },
    /// Shares that are none.
    #[error("a share is {share}: numbers from 0 to 1 that add up to more than 0 are needed")]
    Share {
        /// As given, or what they add up to.
        share: f64,
    },
}

impl SampleRatio {
    /// Whether somebody was lost or counted twice on the way: the experiment's other figures mean nothing then.
    pub fn is_suspicious(&self) -> bool {
        self.p < SUSPICIOUS_P
    }
}

/// Holds the number of subjects of each arm against its share. Subjects, not lists: one who comes back ten times is one.
///
/// # Errors
/// [`SampleRatioError`].
pub fn sample_ratio(subjects: &[u64], shares: &[f64]) -> Result<SampleRatio, SampleRatioError> {
    if subjects.len() != shares.len() {
        return Err(SampleRatioError::Lengths { counts: subjects.len(), shares: shares.len() });
    }
    if let Some(share) = shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        return Err(SampleRatioError::Share { share: *share });
    }
    let (total, sum) = (subjects.iter().sum::<u64>() as f64, shares.iter().sum::<f64>());
    if sum <= 0.0 {
        return Err(SampleRatioError::Share { share: sum });
    }
    let degrees = shares.iter().filter(|share| **share > 0.0).count() - 1;
    // Somebody where nobody should be is no chance.
    if subjects.iter().zip(shares).any(|(subjects, share)| *subjects > 0 && *share == 0.0) {
        return Ok(SampleRatio { chi_square: f64::MAX, degrees, p: 0.0 });
    }
    let expected = shares.iter().map(|share| share / sum * total);
    let terms = subjects.iter().zip(expected).filter(|(_, expected)| *expected > 0.0);
    let chi_square: f64 = terms.map(|(subjects, expected)| (*subjects as f64 - expected).powi(2) / expected).sum();
    let p = ChiSquared::new(degrees as f64).map_or(1.0, |distribution| distribution.sf(chi_square));
    Ok(SampleRatio { chi_square, degrees, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistic_is_that_of_the_tables() {
        // The .05 and .001 points of the distribution of one and two degrees: 3.841, 10.828, 5.991, 13.816.
        let of = |counts: &[u64], shares: &[f64]| sample_ratio(counts, shares).unwrap();
        let even = of(&[5_098, 4_902], &[0.5, 0.5]);
        assert!((even.chi_square - 3.8416).abs() < 1e-9 && (even.p - 0.05).abs() < 1e-4, "{even:?}");
        assert!(!even.is_suspicious());
        let off = of(&[5_165, 4_835], &[0.5, 0.5]);
        assert!((off.chi_square - 10.89).abs() < 1e-9 && off.is_suspicious(), "{off:?}");
        let three = of(&[1_070, 965, 965], &[1.0 / 3.0; 3]);
        assert!(three.degrees == 2 && (three.chi_square - 7.35).abs() < 1e-9 && (three.p - 0.02535).abs() < 1e-4);
        assert!(of(&[9_000, 1_000], &[0.9, 0.1]).p > 0.99);
    }

    #[test]
    fn nobody_is_as_should_be_and_somebody_in_an_empty_arm_is_not() {
        assert_eq!(sample_ratio(&[0, 0], &[0.5, 0.5]).unwrap().p, 1.0);
        assert_eq!(sample_ratio(&[7], &[1.0]).unwrap().p, 1.0);
        assert!(sample_ratio(&[7, 1], &[1.0, 0.0]).unwrap().is_suspicious());
        assert!(matches!(sample_ratio(&[7], &[0.5, 0.5]), Err(SampleRatioError::Lengths { .. })));
        assert!(matches!(sample_ratio(&[7, 7], &[0.5, -0.5]), Err(SampleRatioError::Share { .. })));
        assert!(matches!(sample_ratio(&[7], &[0.0]), Err(SampleRatioError::Share { .. })));
    }
}
