//! Settings and events into a model.

use std::sync::Arc;

use attune_ranking::data::{EventLog, Scorer, Worth, interactions};
use attune_ranking::evaluate::{Case, Protocol, Stage, Task};
use attune_ranking::train::{Als, Blend, BlendCase, Ease, ItemKnn, Popular, Sequential};

use super::model::Blended;
use super::{BlendSettings, Histories, Model, RecommenderError, Settings};
use crate::history::History;

/// Users and items that there are at least.
const SIDE_MIN: usize = 2;

/// A model, and what belongs to it.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// What each user did.
    pub histories: Histories,
    /// What the worth of every event was multiplied with, so that the mean liked event is worth 1.
    pub unit: f32,
}

/// Trains on all events of a history. Only the ratios between weights matter.
///
/// # Errors
/// [`RecommenderError`] where there is too little to learn from, or settings or worth make no sense.
pub fn train(settings: &Settings, history: &History, worth: &Worth) -> Result<Trained, RecommenderError> {
    check_sides(history)?;
    let now = history.log.latest().unwrap_or(0);
    let (worth, unit) = worth.in_events(&history.log, now)?;
    let model = train_model(settings, &history.log, &worth)?;
    Ok(Trained { model, histories: Histories::new(&history.log, &worth, now)?, unit })
}

/// Refuses a history that nothing can be learned from.
fn check_sides(history: &History) -> Result<(), RecommenderError> {
    for (what, count) in [("user", history.users.len()), ("item", history.items.len())] {
        if count < SIDE_MIN {
            return Err(RecommenderError::TooFew { what, count });
        }
    }
    Ok(())
}

/// Trains on a log with a worth as it is.
///
/// # Errors
/// As [`train`].
pub fn train_model(settings: &Settings, log: &EventLog, worth: &Worth) -> Result<Model, RecommenderError> {
    let now = log.latest().unwrap_or(0);
    let table = || interactions(log, worth, now);
    Ok(match settings {
        Settings::Popular => Model::Popular(Popular::train(&table()?)?),
        Settings::ItemKnn(options) => Model::ItemKnn(ItemKnn::train(&table()?, options)?),
        Settings::Als(options) => Model::Als(Als::train(&table()?, options)?),
        Settings::Ease(options) => Model::Ease(Ease::train(&table()?, options)?),
        Settings::Sequential(options) => {
            let histories = Histories::new(log, worth, now)?;
            Model::Sequential(Sequential::train(&table()?, &histories.all(), options)?)
        }
        Settings::Blend(options) => Model::Blend(blend(options, log, worth)?),
        Settings::Vectors(_) => {
            return Err(RecommenderError::NotTrainable("use `attune train vectors` to make a recommender of them"));
        }
    })
}

/// Learns the weights on a part of the log that is split off; the models are then trained on all of it.
fn blend(options: &BlendSettings, log: &EventLog, worth: &Worth) -> Result<Blended, RecommenderError> {
    let name = if options.in_time { "leave-last-out-full" } else { "user-90-10" };
    let protocol = Protocol::named(name).expect("both are in the table");
    let task = Task::new(protocol, log, worth, options.seed, Stage::Test)?;
    let parts = |log: &EventLog| {
        let part = |settings: &Settings| train_model(settings, log, worth).map(Arc::new);
        options.parts.iter().map(part).collect::<Result<Vec<_>, _>>()
    };
    let cases: Vec<BlendCase<'_>> = task.groups.iter().flat_map(|group| &group.cases).map(blend_case).collect();
    let fitted = parts(&log.subset(&task.split.train))?;
    let fitted = fitted.into_iter().map(|part| part as Arc<dyn Scorer + Send>).collect();
    let weights = Blend::fit(fitted, &cases, &options.fit)?.weights().to_vec();
    Ok(Blended::new(parts(log)?, weights)?)
}

fn blend_case(case: &Case) -> BlendCase<'_> {
    BlendCase { user: case.known.then_some(case.user), history: case.history(), relevant: &case.relevant }
}
