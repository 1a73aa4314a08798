//! How good settings are on a part of the events that is held out, and the search for better ones.

use attune_ranking::data::{EventLog, Worth};
use attune_ranking::evaluate::{Bootstrap, Metric, Outcome, Protocol, Report, Stage, Task, evaluate};
use attune_ranking::train::{self, Budget, Found, Params, Range};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{About, Model, RecommenderError, Settings, train_model};

/// What is known of a model's quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Figures of a model with the same settings, trained without the events that it was asked about.
    HeldOut(Box<Report>),
    /// Nothing is known.
    Not {
        /// Why.
        reason: String,
    },
}

/// A model that was trained without the events that it was asked about.
pub struct HeldOut {
    /// The split, and what was asked.
    pub task: Task,
    /// The model.
    pub model: Model,
    /// How good it is.
    pub outcome: Outcome,
}

/// Trains on the training part of a protocol's split and asks about another part.
///
/// # Errors
/// The events cannot be split, or not be trained on.
pub fn measure(
    settings: &Settings,
    logged: (&EventLog, &About),
    worth: &Worth,
    asked: (&'static Protocol, u64, Stage),
    threads: usize,
) -> Result<Outcome, RecommenderError> {
    Ok(hold_out(settings, logged, worth, asked, threads)?.outcome)
}

fn hold_out(
    settings: &Settings,
    (log, about): (&EventLog, &About),
    worth: &Worth,
    asked: (&'static Protocol, u64, Stage),
    threads: usize,
) -> Result<HeldOut, RecommenderError> {
    let split = Task::split(log, worth, asked)?;
    let model = train_model(settings, (log.part(&split.train), about), worth)?;
    let mut task = Task::of(split, log, worth, asked)?;
    if let Some(users) = &about.users {
        task = task.with_user_attributes(users.clone());
    }
    let outcome = evaluate(&model, &task, threads)?;
    Ok(HeldOut { task, model, outcome })
}

impl Measured {
    /// The figures of settings on the test part, or why there are none.
    pub fn new(
        settings: &Settings,
        log: &EventLog,
        worth: &Worth,
        asked: (&'static Protocol, u64),
        threads: usize,
    ) -> Self {
        Self::with_model(settings, log, worth, asked, threads).0
    }

    /// The same, and the model that was asked, where one could be trained.
    pub fn with_model(
        settings: &Settings,
        log: &EventLog,
        worth: &Worth,
        (protocol, seed): (&'static Protocol, u64),
        threads: usize,
    ) -> (Self, Option<HeldOut>) {
        let held = || {
            let (worth, _) = worth.in_events(log, log.latest().unwrap_or(0))?;
            hold_out(settings, (log, &About::default()), &worth, (protocol, seed, Stage::Test), threads)
        };
        match held() {
            Ok(held) => (Self::HeldOut(Box::new(Report::new(&held.outcome, Bootstrap::default()))), Some(held)),
            Err(error) => (Self::Not { reason: error.to_string() }, None),
        }
    }
}

/// A setting to search for, from one value to another.
struct Dimension(&'static str, f64, f64, bool);

/// What is searched for, by model. What changes the cost more than the quality (factors, epochs) is left as it is.
fn dimensions(settings: &Settings) -> &'static [Dimension] {
    match settings {
        Settings::Als(_) => &[
            Dimension("regularisation", 1e-4, 0.3, true),
            Dimension("unobserved_weight", 0.02, 2.0, true),
            Dimension("nu", 0.0, 1.0, false),
        ],
        Settings::Ease(_) => &[Dimension("regularisation", 3.0, 10_000.0, true)],
        Settings::ItemKnn(_) => &[Dimension("neighbours", 10.0, 1_000.0, true), Dimension("shrinkage", 0.1, 1e3, true)],
        Settings::Sequential(_) => &[
            Dimension("ease.regularisation", 3.0, 10_000.0, true),
            Dimension("history_half_life", 1.0, 100.0, true),
            Dimension("floor", 0.0, 1.0, false),
            Dimension("follow_history_half_life", 0.5, 20.0, true),
            Dimension("follow_weight", 0.1, 10.0, true),
        ],
        _ => &[],
    }
}

/// Looks for the settings with the highest nDCG on the validation part of a protocol. `None` where a model has nothing
/// to search for.
///
/// # Errors
/// The events cannot be split, or no trial can be trained.
pub fn search(
    settings: &Settings,
    log: &EventLog,
    worth: &Worth,
    (protocol, seed, trials): (&'static Protocol, u64, usize),
    threads: usize,
    mut tried: impl FnMut(usize, f64),
) -> Result<Option<(Settings, Found)>, RecommenderError> {
    let dimensions = dimensions(settings);
    if dimensions.is_empty() {
        return Ok(None);
    }
    let (worth, _) = worth.in_events(log, log.latest().unwrap_or(0))?;
    let task = Task::new(protocol, log, &worth, seed, Stage::Validation)?;
    let part = log.part(&task.split.train);
    let (mut failed, mut trial) = (None, 0);
    let value = |params: &Params| {
        let asked = with_params(settings, params)
            .and_then(|settings| train_model(&settings, (part, &About::default()), &worth));
        let outcome = asked.and_then(|model| Ok(evaluate(&model, &task, threads)?));
        let value = outcome.map(|outcome| mean_ndcg(&outcome)).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            f64::NAN
        });
        trial += 1;
        tried(trial, value);
        value
    };
    let range =
        |&Dimension(name, low, high, logarithmic): &Dimension| Range { name: name.to_owned(), low, high, logarithmic };
    let ranges: Vec<Range> = dimensions.iter().map(range).collect();
    let found = train::search(&ranges, Budget::Trials(trials), seed, value)?;
    match failed {
        Some(error) if found.best().value.is_nan() => Err(error),
        _ => Ok(Some((with_params(settings, &found.best().params)?, found))),
    }
}

fn mean_ndcg(outcome: &Outcome) -> f64 {
    let values = outcome.groups.first().map(|group| group.values(Metric::Ndcg)).unwrap_or_default();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Settings with some of them set to numbers, rounded where the option counts.
fn with_params(settings: &Settings, params: &Params) -> Result<Settings, RecommenderError> {
    let options = settings.options();
    let pair = |(name, value): (&str, f64)| {
        let counts = options.pointer(&format!("/{}", name.replace('.', "/"))).is_some_and(Value::is_u64);
        // Three digits: no figure depends on more, and a person can read them.
        if counts { format!("{name}={value:.0}") } else { format!("{name}={}", rounded(value)) }
    };
    Ok(settings.set(params.iter().map(pair))?)
}

/// A number of three significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().expect("a number that was written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommender::Kind;

    #[test]
    fn numbers_become_options() {
        let mut seen = Vec::new();
        let ranges = [Range { name: "neighbours".into(), low: 10.4, high: 10.4, logarithmic: false }];
        train::search(&ranges, Budget::Trials(1), 0, |params| {
            seen.push(with_params(&Settings::new(Kind::ItemKnn, 0), params).unwrap());
            0.0
        })
        .unwrap();
        assert!(matches!(&seen[0], Settings::ItemKnn(options) if options.neighbours == 10), "{seen:?}");
        assert_eq!((rounded(123.456), rounded(0.000_123_45)), (123.0, 0.000_123));
    }

    #[test]
    fn every_dimension_is_an_option() {
        for kind in [Kind::Als, Kind::Ease, Kind::ItemKnn, Kind::Sequential] {
            let settings = Settings::new(kind, 0);
            let pairs = dimensions(&settings).iter().map(|Dimension(name, ..)| format!("{name}=1"));
            settings.set(pairs).unwrap();
        }
    }
}
