//! Settings and events into a model.

use std::sync::Arc;

use attune_ranking::data::{Interactions, LogPart, Scorer, Worth, interactions};
use attune_ranking::evaluate::{Case, Protocol, Stage, Task};
use attune_ranking::train::{Als, Blend, BlendCase, Ease, ItemKnn, NaiveBayes, Popular, Sequential, place_new_items};

use super::model::Blended;
use super::{BlendSettings, ContentSettings, Histories, Model, RecommenderError, Settings};
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

/// What is known of the users and items of a log beside its events; a row each, and 1 for each attribute that applies.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Users by attributes.
    pub users: Option<Interactions>,
    /// Items by attributes.
    pub items: Option<Interactions>,
}

/// Trains on all events of a history. Only the ratios between weights matter.
///
/// # Errors
/// [`RecommenderError`] where there is too little to learn from, or settings or worth make no sense.
pub fn train(settings: &Settings, history: &History, worth: &Worth) -> Result<Trained, RecommenderError> {
    let (trained, worth) = without_histories(settings, history, worth)?;
    let now = history.log.latest().unwrap_or(0);
    Ok(Trained { histories: Histories::new(history.log.all(), &worth, now)?, ..trained })
}

/// The same with nothing of single users, and so with nothing to be forgotten: for models that are asked by histories
/// alone.
///
/// # Errors
/// As [`train`].
pub fn train_without_people(
    settings: &Settings,
    history: &History,
    worth: &Worth,
) -> Result<Trained, RecommenderError> {
    let (trained, _) = without_histories(settings, history, worth)?;
    Ok(Trained { model: trained.model.without_people(), ..trained })
}

/// The model, and the worth that it was trained with.
fn without_histories(
    settings: &Settings,
    history: &History,
    worth: &Worth,
) -> Result<(Trained, Worth), RecommenderError> {
    check_sides(history)?;
    let (worth, unit) = worth.in_events(&history.log, history.log.latest().unwrap_or(0))?;
    let model = train_model(settings, (history.log.all(), &About::default()), &worth)?;
    Ok((Trained { model, histories: Histories::empty(0), unit }, worth))
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

/// Trains on a part of a log, with a worth as it is.
///
/// # Errors
/// As [`train`].
pub fn train_model(
    settings: &Settings,
    (part, about): (LogPart<'_>, &About),
    worth: &Worth,
) -> Result<Model, RecommenderError> {
    let now = part.latest().unwrap_or(0);
    let table = || interactions(part, worth, now);
    Ok(match settings {
        Settings::Popular => Model::Popular(Popular::train(&table()?)?),
        Settings::ItemKnn(options) => Model::ItemKnn(ItemKnn::train(&table()?, options)?),
        Settings::Als(options) => Model::Als(Als::train(&table()?, options)?),
        Settings::Ease(options) => Model::Ease(Ease::train(&table()?, options)?),
        Settings::Sequential(options) => {
            let histories = Histories::new(part, worth, now)?;
            Model::Sequential(Sequential::train(&table()?, &histories.all(), options)?)
        }
        Settings::NaiveBayes(options) => {
            let histories = Histories::new(part, worth, now)?;
            Model::NaiveBayes(NaiveBayes::train(&table()?, &histories.all(), about.users.as_ref(), options)?)
        }
        Settings::Content(ContentSettings { als, map }) => {
            let Some(items) = &about.items else {
                return Err(RecommenderError::NotTrainable("content needs attributes of the items"));
            };
            let table = table()?;
            Model::Als(place_new_items(Als::train(&table, als)?, &table, &dense(items), items.width(), map)?)
        }
        Settings::Blend(options) => Model::Blend(blend(options, (part, about), worth)?),
        Settings::Vectors(_) => {
            return Err(RecommenderError::NotTrainable("vectors made elsewhere are not trained on events"));
        }
    })
}

/// Learns the weights with users whom the parts do not know at all, beginning with no event, and with events held out of
/// all others; the parts are then trained on all of the log.
fn blend(
    options: &BlendSettings,
    (part, about): (LogPart<'_>, &About),
    worth: &Worth,
) -> Result<Blended, RecommenderError> {
    let log = part.to_log();
    let protocol = |name| Protocol::named(name).expect("it is in the table");
    let inner = protocol(if options.in_time { "leave-last-out-full" } else { "user-90-10" });
    let cold = Task::new(protocol("users-cold"), &log, worth, options.seed, Stage::Test)?;
    let known = log.subset(&cold.split.train);
    let warm = Task::new(inner, &known, worth, options.seed, Stage::Test)?;
    let parts = |known: LogPart<'_>| {
        let part = |settings: &Settings| train_model(settings, (known, about), worth).map(Arc::new);
        options.parts.iter().map(part).collect::<Result<Vec<_>, _>>()
    };
    let cases = warm.groups.iter().chain(&cold.groups).flat_map(|group| &group.cases);
    let cases: Vec<BlendCase<'_>> = cases.map(|case| blend_case(case, about)).collect();
    let fitted = parts(known.part(&warm.split.train))?;
    let fitted = fitted.into_iter().map(|part| part as Arc<dyn Scorer + Send>).collect();
    let weights = Blend::fit(fitted, &cases, &options.fit)?.weights().to_vec();
    Ok(Blended::new(parts(part)?, weights)?)
}

fn blend_case<'a>(case: &'a Case, about: &'a About) -> BlendCase<'a> {
    let attributes = about.users.as_ref().map_or(&[][..], |users| users.row(case.user as usize).0);
    BlendCase { user: case.known.then_some(case.user), history: case.history(), attributes, relevant: &case.relevant }
}

/// Rows by columns, with the zeros.
fn dense(table: &Interactions) -> Vec<f32> {
    let mut values = vec![0.0; table.rows() * table.width()];
    for (row, values) in values.chunks_exact_mut(table.width().max(1)).enumerate() {
        let (columns, weights) = table.row(row);
        columns.iter().zip(weights).for_each(|(&column, weight)| values[column as usize] = *weight);
    }
    values
}
