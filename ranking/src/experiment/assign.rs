//! Who is in which arm: a hash of the experiment's name and the subject, and nothing that is kept.
//!
//! Every machine comes to the same answer, before and after a restart. The name is in the hash, so that those who were
//! together in one experiment are not together in the next. Arms have adjoining parts of the hash's range: when shares
//! change, only those move whose part went over to another arm.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Arms of an experiment, at most.
pub const ARMS_MAX: usize = 16;
/// What the sum of shares may be off: that of decimal fractions.
const SUM_TOLERANCE: f64 = 1e-6;

/// Arms and what share of the subjects each has.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    name: String,
    /// By arm, where its part of the hash's range ends.
    ends: Vec<u64>,
    shares: Vec<f64>,
}

/// What is wrong with the arms.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SplitError {
    /// None, or too many.
    #[error("there are {count} arms: 1 to {ARMS_MAX} are possible")]
    Arms {
        /// Arms given.
        count: usize,
    },
    /// Results could not tell them apart.
    #[error("arm {arm} has no name, or that of another: give each its own")]
    Name {
        /// From 0.
        arm: usize,
    },
    /// Not from 0 to 1.
    #[error("the share of arm {arm} is {share}: a number from 0 to 1 is needed")]
    Share {
        /// From 0.
        arm: usize,
        /// As given.
        share: f64,
    },
    /// More or less than everybody.
    #[error("the shares of the arms add up to {sum}: they must add up to 1")]
    Sum {
        /// What they add up to.
        sum: f64,
    },
}

impl Split {
    /// An experiment of that name, with the name and share of each arm.
    ///
    /// # Errors
    /// [`SplitError`] says which arm makes no sense, or that the shares do not add up to 1.
    pub fn new(name: &str, arms: &[(&str, f64)]) -> Result<Self, SplitError> {
        if !(1..=ARMS_MAX).contains(&arms.len()) {
            return Err(SplitError::Arms { count: arms.len() });
        }
        let mut names = BTreeSet::new();
        for (arm, (name, share)) in arms.iter().enumerate() {
            if name.is_empty() || !names.insert(name) {
                return Err(SplitError::Name { arm });
            }
            if !(0.0..=1.0).contains(share) {
                return Err(SplitError::Share { arm, share: *share });
            }
        }
        let shares: Vec<f64> = arms.iter().map(|(_, share)| *share).collect();
        let sum: f64 = shares.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(SplitError::Sum { sum });
        }
        let mut end = 0.0;
        let ends = shares.iter().map(|share| {
            end += share / sum;
            // A cast of what is beyond the largest number gives the largest number.
            (end * 2.0_f64.powi(64)) as u64
        });
        let ends = ends.collect();
        Ok(Self { name: name.to_owned(), ends, shares })
    }

    /// The arm of a subject, by its number.
    pub fn arm_of(&self, subject: &str) -> usize {
        let place = place(&self.name, subject);
        let arm = self.ends.iter().position(|end| place < *end);
        // The end of the range belongs to the last arm that has a part of it.
        arm.or_else(|| self.shares.iter().rposition(|share| *share > 0.0)).expect("shares that add up to 1")
    }

    /// The shares, by arm, as they were given.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// How likely an arm is for a subject of whom nothing is known, exactly: the part of the hash's range that it has.
    pub fn chance_of(&self, arm: usize) -> f64 {
        let begin = if arm == 0 { 0 } else { self.ends[arm - 1] };
        (self.ends[arm] - begin) as f64 / 2.0_f64.powi(64)
    }
}

/// Where a subject lies in the range of the hash. The name's length is in it too, so that no two pairs are one text.
fn place(name: &str, subject: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(subject);
    let digest = hash.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::experiment::sample_ratio;

    const SUBJECTS: usize = 20_000;

    fn split(name: &str, shares: &[f64]) -> Split {
        let names: Vec<String> = (0..shares.len()).map(|arm| format!("arm {arm}")).collect();
        let arms: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(shares.iter().copied()).collect();
        Split::new(name, &arms).unwrap()
    }

    fn arms(split: &Split) -> Vec<usize> {
        (0..SUBJECTS).map(|subject| split.arm_of(&format!("subject {subject}"))).collect()
    }

    fn counts(arms: &[usize], of: usize) -> Vec<u64> {
        (0..of).map(|arm| arms.iter().filter(|one| **one == arm).count() as u64).collect()
    }

    #[test]
    fn assignments_never_change() {
        // What is written here was computed by another program: whoever changes it moves everybody to another arm.
        assert_eq!(place("checkout", "ada"), 15_789_662_113_629_584_598);
        let split = split("checkout", &[0.2, 0.3, 0.5]);
        assert_eq!(["ada", "bob", "", "\u{1f600}"].map(|subject| split.arm_of(subject)), [2, 2, 0, 2]);
    }

    #[test]
    fn arms_are_as_large_as_chance_lets_them_be() {
        for name in ["a", "b", "colour of the button", "d", "e"] {
            for shares in [&[0.5, 0.5][..], &[0.9, 0.1], &[0.2, 0.3, 0.5], &[0.1; 10], &[0.99, 0.0, 0.01]] {
                let counts = counts(&arms(&split(name, shares)), shares.len());
                let ratio = sample_ratio(&counts, shares).unwrap();
                assert!(!ratio.is_suspicious(), "{name} {shares:?} {counts:?} {ratio:?}");
            }
        }
    }

    #[test]
    fn experiments_know_nothing_of_each_other() {
        let (first, second) = (arms(&split("first", &[0.5, 0.5])), arms(&split("second", &[0.5, 0.5])));
        let pairs: Vec<usize> = first.iter().zip(&second).map(|(first, second)| 2 * first + second).collect();
        let ratio = sample_ratio(&counts(&pairs, 4), &[0.25; 4]).unwrap();
        assert!(!ratio.is_suspicious(), "{ratio:?}");
        assert_ne!(place("a", "bc"), place("ab", "c"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(Split::new("x", &[]), Err(SplitError::Arms { count: 0 }));
        assert_eq!(Split::new("x", &[("a", 0.5), ("a", 0.5)]), Err(SplitError::Name { arm: 1 }));
        assert_eq!(Split::new("x", &[("", 1.0)]), Err(SplitError::Name { arm: 0 }));
        assert_eq!(Split::new("x", &[("a", 1.5), ("b", -0.5)]), Err(SplitError::Share { arm: 0, share: 1.5 }));
        assert!(matches!(Split::new("x", &[("a", f64::NAN)]), Err(SplitError::Share { arm: 0, .. })));
        assert_eq!(Split::new("x", &[("a", 0.5), ("b", 0.25)]), Err(SplitError::Sum { sum: 0.75 }));
        let error = Split::new("x", &[("a", 0.5), ("b", 0.6)]).unwrap_err().to_string();
        assert_eq!(error, "the shares of the arms add up to 1.1: they must add up to 1");
        let many = vec![("a", 0.01); ARMS_MAX + 1];
        assert_eq!(Split::new("x", &many), Err(SplitError::Arms { count: ARMS_MAX + 1 }));
    }

    #[test]
    fn chances_are_the_shares_brought_to_one() {
        let split = split("thirds", &[0.333_333_3, 0.333_333_3, 0.333_333_3]);
        assert!((0..3).all(|arm| (split.chance_of(arm) - 1.0 / 3.0).abs() < 1e-12));
    }

    proptest! {
        #[test]
        fn nobody_is_without_an_arm_or_in_an_empty_one(parts in prop::collection::vec(0_u32..5, 1..ARMS_MAX), subject in ".*") {
            let total: u32 = parts.iter().sum();
            prop_assume!(total > 0);
            let shares: Vec<f64> = parts.iter().map(|part| f64::from(*part) / f64::from(total)).collect();
            prop_assert!(parts[split("any", &shares).arm_of(&subject)] > 0);
        }

        #[test]
        fn a_larger_share_takes_and_never_gives(share in 0.0_f64..1.0, more in 0.0_f64..1.0, subject in ".{0,20}") {
            let larger = share + (1.0 - share) * more;
            let arm = |share: f64| split("growing", &[share, 1.0 - share]).arm_of(&subject);
            prop_assert!(arm(share) == 1 || arm(larger) == 0);
        }
    }
}
