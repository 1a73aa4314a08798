//! Which of several ways is better, asked of people and answered with what chance could have done.
//!
//! [`Split`] gives every subject an arm that it keeps, on every machine, without anybody writing it down. [`Rate`] and
//! [`ClusteredRate`] say what came of an arm and how far off that may be, [`sample_ratio`] whether the split is what it
//! should be, which is to be asked first: an experiment whose arms are of the wrong size lost somebody on the way, and its
//! other figures mean nothing. [`best_chances`] is for those who would rather have the better arm shown more often than
//! know how much better it is. [`off_policy`] judges a policy that nobody has seen yet, by what another one logged.
//!
//! ```
//! use attune_ranking::experiment::{Rate, Split, sample_ratio};
//!
//! let split = Split::new("new ranking", &[("control", 0.5), ("treatment", 0.5)])?;
//! let arm = split.arm_of("ada");
//! assert_eq!(split.arm_of("ada"), arm);
//!
//! assert!(!sample_ratio(&[5_010, 4_990], &[0.5, 0.5])?.is_suspicious());
//! let (control, treatment) = (Rate::new(200, 5_010)?, Rate::new(270, 4_990)?);
//! let difference = treatment.less(&control, 0.95);
//! assert!(difference.interval.low > 0.0 && difference.p < 0.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assign;
mod bandit;
mod clustered;
pub mod off_policy;
mod rate;
mod ratio;

pub use assign::{ARMS_MAX, Split, SplitError};
pub use bandit::{BanditError, Beta, best_chances, place_chances, with_floor};
pub use clustered::ClusteredRate;
pub use rate::{Rate, RateError};
pub use ratio::{SampleRatio, SampleRatioError, sample_ratio};

use statrs::distribution::{ContinuousCDF, Normal};

/// The standard normal distribution.
fn normal() -> Normal {
    Normal::standard()
}

/// How many standard deviations around the middle hold `level` of a normal distribution.
fn deviations(level: f64) -> f64 {
    normal().inverse_cdf(0.5 + level / 2.0)
}

/// How likely so many standard deviations are by chance, to either side.
fn two_sided(deviations: f64) -> f64 {
    (2.0 * normal().sf(deviations.abs())).min(1.0)
}
