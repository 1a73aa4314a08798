//! The models that can be trained by name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use attune_ranking::data::{EventLog, History, Interactions, Scorer, Worth, interactions};
use attune_ranking::evaluate::{Case, Protocol, Rule, Stage, Task};
use attune_ranking::train::{
    Als, AlsOptions, Blend, BlendCase, BlendOptions, Ease, EaseOptions, ItemKnn, ItemKnnOptions, Popular, Sequential,
    SequentialOptions,
};

/// What can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Popular,
    ItemKnn,
    Als,
    Ease,
    Sequential,
    Blend,
}

const NAMES: [(&str, Kind); 6] = [
    ("popular", Kind::Popular),
    ("item-knn", Kind::ItemKnn),
    ("als", Kind::Als),
    ("ease", Kind::Ease),
    ("sequential", Kind::Sequential),
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

/// Trains on a log, every event of which counts alike. A blend learns its weights on a part of the log that it splits off
/// as `protocol` splits; the models in it are then trained on all of it.
pub fn train(kind: Kind, log: &EventLog, protocol: &Protocol, seed: u64) -> Result<Trained> {
    let data = Data::new(log)?;
    Ok(match kind {
        Kind::Popular => Arc::new(Popular::train(&data.table)?),
        Kind::ItemKnn => Arc::new(ItemKnn::train(&data.table, &ItemKnnOptions::default())?),
        Kind::Als => Arc::new(Als::train(&data.table, &AlsOptions { seed, ..AlsOptions::default() })?),
        Kind::Ease => Arc::new(Ease::train(&data.table, &EaseOptions::default())?),
        Kind::Sequential => Arc::new(Sequential::train(&data.table, &data.histories(), &SequentialOptions::default())?),
        Kind::Blend => Arc::new(blend(log, protocol, seed)?),
    })
}

/// The parts of a blend.
const PARTS: [Kind; 4] = [Kind::Ease, Kind::Als, Kind::ItemKnn, Kind::Sequential];

fn blend(log: &EventLog, protocol: &Protocol, seed: u64) -> Result<Blend> {
    let in_time = matches!(protocol.rule, Rule::LeaveLastOut | Rule::GlobalTime { .. });
    let inner = Protocol::named(if in_time { "leave-last-out-full" } else { "user-90-10" })?;
    let task = Task::new(inner, log, &Worth::alike(), seed, Stage::Test)?;
    let parts = |log: &EventLog| PARTS.iter().map(|kind| train(*kind, log, inner, seed)).collect::<Result<Vec<_>>>();
    let cases = task.groups.iter().flat_map(|group| &group.cases);
    let cases: Vec<BlendCase<'_>> = cases.map(blend_case).collect();
    let fitted = Blend::fit(parts(&log.subset(&task.split.train))?, &cases, &BlendOptions::default())?;
    Ok(Blend::new(parts(log)?, fitted.weights().to_vec())?)
}

fn blend_case(case: &Case) -> BlendCase<'_> {
    BlendCase { user: case.known.then_some(case.user), history: case.history(), relevant: &case.relevant }
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
