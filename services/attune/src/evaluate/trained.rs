//! The models that can be trained by name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use attune_ranking::data::{EventLog, History, Interactions, Scorer, Worth, interactions};
use attune_ranking::evaluate::{Case, Protocol, Rule, Stage, Task};
use attune_ranking::train::{
    Als, AlsOptions, Blend, BlendCase, BlendOptions, ContentMapOptions, Ease, EaseOptions, ItemKnn, ItemKnnOptions,
    NaiveBayes, NaiveBayesOptions, Popular, Sequential, SequentialOptions, place_new_items,
};

/// What can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Popular,
    ItemKnn,
    Als,
    Ease,
    Sequential,
    NaiveBayes,
    Content,
    Blend,
}

const NAMES: [(&str, Kind); 8] = [
    ("popular", Kind::Popular),
    ("item-knn", Kind::ItemKnn),
    ("als", Kind::Als),
    ("ease", Kind::Ease),
    ("sequential", Kind::Sequential),
    ("naive-bayes", Kind::NaiveBayes),
    ("content", Kind::Content),
    ("blend", Kind::Blend),
];

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let Some((_, kind)) = NAMES.into_iter().find(|(known, _)| *known == name) else {
            bail!("no recommender is called {name:?}: use {}", NAMES.map(|(name, _)| name).join(", "));
        };
        Ok(kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.into_iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A trained model, shared by those who blend it.
pub type Trained = Arc<dyn Scorer + Send>;

/// What is known of the users and items of a log beside its events; a row each.
#[derive(Debug, Default)]
pub struct About {
    pub users: Option<Interactions>,
    pub items: Option<Interactions>,
}

/// Trains on a log, every event of which counts alike. A blend learns its weights on parts of the log that it splits off
/// as `protocol` splits; the models in it are then trained on all of it.
pub fn train(kind: Kind, log: &EventLog, about: &About, protocol: &Protocol, seed: u64) -> Result<Trained> {
    let data = Data::new(log)?;
    Ok(match kind {
        Kind::Popular => Arc::new(Popular::train(&data.table)?),
        Kind::ItemKnn => Arc::new(ItemKnn::train(&data.table, &ItemKnnOptions::default())?),
        Kind::Als => Arc::new(Als::train(&data.table, &AlsOptions { seed, ..AlsOptions::default() })?),
        Kind::Ease => Arc::new(Ease::train(&data.table, &EaseOptions::default())?),
        Kind::Sequential => Arc::new(Sequential::train(&data.table, &data.histories(), &SequentialOptions::default())?),
        Kind::NaiveBayes => {
            let (histories, options) = (data.histories(), NaiveBayesOptions::default());
            Arc::new(NaiveBayes::train(&data.table, &histories, about.users.as_ref(), &options)?)
        }
        Kind::Content => {
            let Some(items) = &about.items else { bail!("content needs attributes of the items") };
            let als = Als::train(&data.table, &AlsOptions { seed, ..AlsOptions::default() })?;
            let options = ContentMapOptions::default();
            Arc::new(place_new_items(als, &data.table, &dense(items), items.width(), &options)?)
        }
        Kind::Blend => Arc::new(blend(log, about, protocol, seed)?),
    })
}

/// The parts of a blend.
const PARTS: [Kind; 5] = [Kind::Ease, Kind::Als, Kind::ItemKnn, Kind::Sequential, Kind::NaiveBayes];

/// The weights are learned with users whom the parts do not know at all, beginning with no event, and with events held
/// out of all others.
fn blend(log: &EventLog, about: &About, protocol: &Protocol, seed: u64) -> Result<Blend> {
    let in_time = matches!(protocol.rule, Rule::LeaveLastOut | Rule::GlobalTime { .. });
    let inner = Protocol::named(if in_time { "leave-last-out-full" } else { "user-90-10" })?;
    let cold = Task::new(Protocol::named("users-cold")?, log, &Worth::alike(), seed, Stage::Test)?;
    let known = log.subset(&cold.split.train);
    let warm = Task::new(inner, &known, &Worth::alike(), seed, Stage::Test)?;
    let parts =
        |log: &EventLog| PARTS.iter().map(|kind| train(*kind, log, about, inner, seed)).collect::<Result<Vec<_>>>();
    let cases = warm.groups.iter().chain(&cold.groups).flat_map(|group| &group.cases);
    let cases: Vec<BlendCase<'_>> = cases.map(|case| blend_case(case, about)).collect();
    let fitted = Blend::fit(parts(&known.subset(&warm.split.train))?, &cases, &BlendOptions::default())?;
    Ok(Blend::new(parts(log)?, fitted.weights().to_vec())?)
}

fn blend_case<'a>(case: &'a Case, about: &'a About) -> BlendCase<'a> {
    let attributes = about.users.as_ref().map_or(&[][..], |users| users.row(case.user as usize).0);
    BlendCase { user: case.known.then_some(case.user), history: case.history(), attributes, relevant: &case.relevant }
}

/// Rows by columns, with the zeros.
fn dense(table: &Interactions) -> Vec<f32> {
    let mut values = vec![0.0; table.rows() * table.width()];
    for row in 0..table.rows() {
        let (columns, weights) = table.row(row);
        columns
            .iter()
            .zip(weights)
            .for_each(|(column, weight)| values[row * table.width() + *column as usize] = *weight);
    }
    values
}

/// A log as models read it.
struct Data {
    table: Interactions,
    items: Vec<Vec<u32>>,
    times: Vec<Vec<i64>>,
    ones: Vec<f32>,
}

impl Data {
    fn new(log: &EventLog) -> Result<Self> {
        let table = interactions(log, &Worth::alike(), log.latest().unwrap_or(0))?;
        let mut order: Vec<usize> = (0..log.events().len()).collect();
        // Stable: events of one second stay in the order of the file.
        order.sort_by_key(|&index| log.events()[index].time);
        let (mut items, mut times) = (vec![Vec::new(); log.users()], vec![Vec::new(); log.users()]);
        for event in order.into_iter().map(|index| log.events()[index]) {
            items[event.user as usize].push(event.item);
            times[event.user as usize].push(event.time);
        }
        let ones = vec![1.0; items.iter().map(Vec::len).max().unwrap_or(0)];
        Ok(Self { table, items, times, ones })
    }

    fn histories(&self) -> Vec<History<'_>> {
        let users = self.items.iter().zip(&self.times);
        users.map(|(items, times)| History { items, weights: &self.ones[..items.len()], times }).collect()
    }
}
