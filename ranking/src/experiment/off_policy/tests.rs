//! The estimators against worlds whose truth is known.

use proptest::prelude::*;

use super::*;
use crate::evaluate::Bootstrap;
use crate::evaluate::seeded::Draws;

const ACTIONS: usize = 6;
const POSITIONS: usize = 2;
/// Of the interval of an estimate.
const LEVEL: f64 = 0.95;

/// How often each action is clicked, in thousandths.
fn clicks(action: usize, position: usize) -> usize {
    20 + 40 * action - 10 * position
}

/// A policy that likes later actions the more, the larger the slope.
fn policy(slope: f64) -> Policy {
    let of_position = |position: usize| {
        let odds = (0..ACTIONS).map(|action| (slope * action as f64 / (1.0 + position as f64)).exp());
        let odds: Vec<f64> = odds.collect();
        let sum: f64 = odds.iter().sum();
        odds.into_iter().map(move |odd| odd / sum)
    };
    Policy::new(ACTIONS, (0..POSITIONS).flat_map(of_position).collect()).unwrap()
}

/// What a policy earns a row, in truth.
fn truth(policy: &Policy) -> f64 {
    let chance = |position: usize, action: usize| policy.chance(action as u32, position as u32).unwrap();
    let at =
        |position| (0..ACTIONS).map(move |action| chance(position, action) * clicks(action, position) as f64 / 1e3);
    (0..POSITIONS).flat_map(at).sum::<f64>() / POSITIONS as f64
}

/// Lists that a policy showed, and what was clicked.
fn log(shown_by: &Policy, lists: u64, stream: u64) -> Vec<Logged> {
    let mut draws = Draws::new(77, stream);
    let mut rows = Vec::new();
    for list in 0..lists {
        for position in 0..POSITIONS {
            let mut left = draws.below(1 << 40) as f64 / (1_u64 << 40) as f64;
            let chances = shown_by.at(position);
            let action = chances.iter().position(|chance| {
                left -= chance;
                left < 0.0
            });
            let action = action.unwrap_or(ACTIONS - 1);
            let reward = f64::from(u8::from(draws.below(1_000) < clicks(action, position)));
            let (propensity, position) = (chances[action], position as u32);
            rows.push(Logged { action: action as u32, position, propensity, reward, list });
        }
    }
    rows
}

fn judged(rows: &[Logged], policy: &Policy) -> Estimates {
    let bootstrap = Bootstrap { resamples: 100, level: LEVEL, seed: 1 };
    estimate(&Weighed::of(rows, policy, 1).unwrap(), bootstrap).unwrap()
}

#[test]
fn over_many_logs_they_are_right_on_average_and_as_often_within_their_interval_as_they_say() {
    let (logging, asked) = (policy(-0.4), policy(0.3));
    let truth = truth(&asked);
    let all: Vec<Estimates> = (0..200).map(|stream| judged(&log(&logging, 600, stream), &asked)).collect();
    let bias_and_deviation = |name: &str, of: fn(&Estimates) -> crate::evaluate::Interval, least: usize| {
        let means: Vec<f64> = all.iter().map(|estimates| of(estimates).mean).collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let variance = means.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (means.len() - 1) as f64;
        let error = (variance / means.len() as f64).sqrt();
        assert!((mean - truth).abs() < 4.0 * error, "{name}: {mean} +- {error}, {truth} in truth");
        let holds = |estimates: &&Estimates| (of(estimates).low..=of(estimates).high).contains(&truth);
        let held = all.iter().filter(holds).count();
        assert!(held >= least, "{name}: {held} of 200 intervals hold the truth");
        variance
    };
    let ips = bias_and_deviation("ips", |estimates| estimates.ips, 180);
    let snips = bias_and_deviation("snips", |estimates| estimates.snips, 180);
    let doubly_robust = bias_and_deviation("doubly robust", |estimates| estimates.doubly_robust, 178);
    assert!(snips < ips && doubly_robust < ips, "{snips} and {doubly_robust} are steadier than {ips}");
}

#[test]
fn the_logging_policy_itself_is_worth_what_it_earned() {
    let logging = policy(0.2);
    let found = judged(&log(&logging, 500, 3), &logging);
    assert!((found.ips.mean - found.logged.mean).abs() < 1e-12);
    assert!((found.snips.mean - found.logged.mean).abs() < 1e-12);
    assert!((found.rows_effective - 1_000.0).abs() < 1e-6 && (found.weight_max - 1.0).abs() < 1e-12);
    assert_eq!(found.rows, 1_000);
}

#[test]
fn wrong_propensities_are_told_by_the_mean_weight() {
    let logging = policy(0.5);
    let mut rows = log(&logging, 2_000, 5);
    let uniform = 1.0 / ACTIONS as f64;
    rows.iter_mut().for_each(|row| row.propensity = uniform);
    let found = judged(&rows, &policy(0.5));
    assert!(found.weight.low > 1.1, "{:?}", found.weight);
}

#[test]
fn a_good_model_alone_would_do_and_a_bad_one_does_no_harm() {
    let asked = policy(0.3);
    let rows = log(&policy(-0.4), 5_000, 8);
    let mut weighed = Weighed::of(&rows, &asked, 1).unwrap();
    let bootstrap = Bootstrap { resamples: 200, level: LEVEL, seed: 1 };
    let truth = truth(&asked);
    for row in &mut weighed {
        (row.predicted, row.expected) = (0.9, 0.9);
    }
    let found = estimate(&weighed, bootstrap).unwrap();
    assert!((found.direct.mean - 0.9).abs() < 1e-12, "the model is wrong");
    assert!((found.doubly_robust.low..=found.doubly_robust.high).contains(&truth), "{found:?}, {truth} in truth");
}

#[test]
fn rows_of_a_list_are_drawn_together() {
    // Each list twice over: as rows by themselves they seem to tell twice as much.
    let asked = policy(0.0);
    let rows = log(&asked, 400, 9);
    let twice: Vec<Logged> = rows.iter().chain(&rows).copied().collect();
    let apart: Vec<Logged> = twice.iter().zip(0..).map(|(row, list)| Logged { list, ..*row }).collect();
    let width = |rows: &[Logged]| {
        let weighed = Weighed::of(rows, &asked, 1).unwrap();
        let ips = estimate(&weighed, Bootstrap { resamples: 1_500, level: LEVEL, seed: 1 }).unwrap().ips;
        ips.high - ips.low
    };
    let (apart, twice) = (width(&apart), width(&twice));
    // By the square root of two.
    assert!((apart / twice - 0.5_f64.sqrt()).abs() < 0.1, "{apart} {twice}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let uniform = Policy::uniform(2, 1);
    let row = Logged { action: 0, position: 0, propensity: 0.5, reward: 1.0, list: 0 };
    let error = |row: Logged| Weighed::of(&[row], &uniform, 0).unwrap_err();
    assert!(matches!(error(Logged { propensity: 0.0, ..row }), OffPolicyError::Propensity { row: 0, .. }));
    assert!(matches!(error(Logged { propensity: f64::NAN, ..row }), OffPolicyError::Propensity { .. }));
    assert!(matches!(error(Logged { reward: f64::INFINITY, ..row }), OffPolicyError::Reward { .. }));
    assert!(matches!(error(Logged { reward: -1e300, ..row }), OffPolicyError::Reward { .. }));
    assert!(matches!(error(Logged { propensity: 1e-300, ..row }), OffPolicyError::Weight { row: 0, .. }));
    assert!(matches!(error(Logged { action: 2, ..row }), OffPolicyError::Unknown { action: 2, .. }));
    assert!(matches!(error(Logged { position: 1, ..row }), OffPolicyError::Unknown { position: 1, .. }));
    let bootstrap = Bootstrap::default();
    assert_eq!(estimate(&[], bootstrap), Err(OffPolicyError::Empty));
    let never = Policy::new(2, vec![0.0, 1.0]).unwrap();
    let weighed = Weighed::of(&[row], &never, 0).unwrap();
    assert_eq!(estimate(&weighed, bootstrap), Err(OffPolicyError::NoOverlap));
    assert!(matches!(Policy::new(2, vec![0.5]), Err(OffPolicyError::Shape { .. })));
    assert!(matches!(Policy::new(0, Vec::new()), Err(OffPolicyError::Shape { .. })));
    assert!(matches!(Policy::new(2, vec![0.5, 0.4]), Err(OffPolicyError::Chances { position: 0, .. })));
    assert!(matches!(Policy::new(2, vec![1.5, -0.5]), Err(OffPolicyError::Chances { .. })));
}

#[test]
fn errors_count_rows_and_positions_from_1_as_files_do() {
    let told = OffPolicyError::Chances { position: 0, sum: 0.6 }.to_string();
    assert!(told.contains("at position 1 add up to 0.6"), "{told}");
    let told = OffPolicyError::Weight { row: 2, weight: 5e299 }.to_string();
    assert!(told.starts_with("row 3 would weigh 5e299, at most 1e12"), "{told}");
    let told = OffPolicyError::Propensity { row: 0, propensity: 0.0 }.to_string();
    assert!(told.starts_with("row 1 has a propensity of 0:"), "{told}");
}

proptest! {
    #[test]
    fn a_policy_that_shows_what_was_shown_earns_between_the_least_and_the_most(
        rows in prop::collection::vec((0_u32..4, 0.01_f64..=1.0, -5.0_f64..5.0), 1..50),
    ) {
        let rows: Vec<Logged> = rows.into_iter().zip(0..).map(|((action, propensity, reward), list)| {
            Logged { action, position: 0, propensity, reward, list }
        }).collect();
        let found = judged(&rows, &Policy::uniform(4, 1));
        let least = rows.iter().map(|row| row.reward).fold(f64::INFINITY, f64::min);
        let most = rows.iter().map(|row| row.reward).fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(found.snips.mean >= least - 1e-9 && found.snips.mean <= most + 1e-9);
        for interval in [found.ips, found.snips, found.doubly_robust, found.logged] {
            prop_assert!(interval.low <= interval.high && interval.mean.is_finite());
        }
        prop_assert!(found.rows_effective <= rows.len() as f64 + 1e-9);
    }
}
