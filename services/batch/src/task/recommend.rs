//! Users into lists of items.
//!
//! One row for each item of each list, and not one row with a list for each user: that is what joins, groups and loads
//! into a table anywhere. Models of vectors find the best by exact search ([`attune_ranking::index`]), the others score
//! every item. A user of whom nothing is known gets what is popular, and the column `based_on` says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use arrow::array::{Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use attune_ranking::attributes::{self, Columns, ColumnsError};
use attune_ranking::data::{Amount, Event, History, Scorer, Worth};
use attune_ranking::filter::Filter;
use attune_ranking::index::{Index, IndexError, Item, K_MAX, Query, Scored, View};

use super::rank::best;
use super::{About, OutputBatch, Task, TaskError};
use crate::read::{Batch, Done, Numbered, Rejected, User};
use crate::recommender::{Factors, Recommender};

/// Rows of the output that one batch becomes at most, about.
const OUTPUT_ROWS: usize = 100_000;
/// Items that are put into the index at once.
const INDEXED: usize = 1 << 20;

/// What is asked of a recommender.
#[derive(Clone, Debug)]
pub struct RecommendOptions {
    /// Items a list.
    pub k: usize,
    /// Leave out what a user has met: what the model saw of him, and the history of his row.
    pub exclude_seen: bool,
    /// What an item must fulfil, and what is known of the items, by row.
    pub filter: Option<ItemFilter>,
    /// What the events of a row's history are worth; what the model was trained with if absent.
    pub worth: Option<Worth>,
    /// What else decides the output, by name: the text of the filter, the hash of the file of items.
    pub settings: BTreeMap<String, String>,
    /// With which instructions vectors are multiplied.
    pub instruction_set: String,
    /// Threads.
    pub threads: usize,
}

/// A filter, and what it is held against.
#[derive(Clone, Debug)]
pub struct ItemFilter {
    /// The filter.
    pub filter: Filter,
    /// The attributes' kinds.
    pub schema: attributes::Schema,
    /// Attributes of each item, by row.
    pub by_row: Vec<Vec<(String, attributes::Value)>>,
}

/// Why nothing can be recommended.
#[derive(Debug, thiserror::Error)]
pub enum RecommendError {
    /// `k` makes no sense.
    #[error("--k is {k}: 1 to {max} are possible, since the model knows {items} items")]
    K {
        /// As given.
        k: usize,
        /// The most.
        max: usize,
        /// Items of the model.
        items: usize,
    },
    /// The vectors cannot be searched.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The attributes do not fit.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
}

/// Recommends. Columns: `row`, `user_id`, `rank` (from 1), `item_id`, `score`, `based_on` (`user`: what the model learned
/// of him; `history`: the history of his row; `popular`: nothing is known of him), `model_version`.
pub struct Recommend {
    recommender: Recommender,
    options: RecommendOptions,
    worth: Worth,
    search: Option<View>,
    allowed: Option<Vec<bool>>,
    /// What everybody likes, best first; `None` where the model does not know.
    popular: Option<List>,
    columns: SchemaRef,
}

/// What a list is made of.
enum Basis<'a> {
    /// The user's row.
    Known(u32),
    /// What he did.
    Told(OwnedHistory),
    /// Nothing.
    Popular,
    /// A list that is empty, and why.
    None(&'a str),
}

#[derive(Default)]
struct OwnedHistory {
    items: Vec<u32>,
    weights: Vec<f32>,
    times: Vec<i64>,
}

impl OwnedHistory {
    fn borrow(&self) -> History<'_> {
        History { items: &self.items, weights: &self.weights, times: &self.times }
    }
}

/// A row of the input, resolved.
struct Asked<'a> {
    row: &'a Numbered<User>,
    basis: Basis<'a>,
    /// Rows that are not recommended; they rise.
    excluded: Vec<u32>,
}

type List = Vec<Scored>;

impl Recommend {
    /// A task over a loaded recommender.
    ///
    /// # Errors
    /// [`RecommendError`].
    pub fn new(recommender: Recommender, options: RecommendOptions) -> Result<Self, RecommendError> {
        let items = recommender.items.len();
        let max = items.min(K_MAX);
        if !(1..=max).contains(&options.k) {
            return Err(RecommendError::K { k: options.k, max, items });
        }
        let search = recommender.model.factors().map(|factors| index(factors, &options)).transpose()?;
        let allowed = options.filter.as_ref().map(|filter| allowed(filter, items)).transpose()?;
        let popular = recommender.model.knows_what_is_popular().then(|| {
            let mut scores = vec![0.0; items];
            recommender.model.score(None, History::default(), &mut scores);
            best(&scores, items, allowed.as_deref(), &[], &mut Vec::new())
        });
        let worth = options.worth.as_ref().unwrap_or(&recommender.data.worth).times(recommender.data.unit);
        let columns = vec![
            Field::new("row", DataType::UInt64, false),
            Field::new("user_id", DataType::Utf8, false),
            Field::new("rank", DataType::UInt32, false),
            Field::new("item_id", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
            Field::new("based_on", DataType::Utf8, false),
            Field::new("model_version", DataType::Utf8, false),
        ];
        Ok(Self { recommender, options, worth, search, allowed, popular, columns: Arc::new(Schema::new(columns)) })
    }

    fn resolve<'a>(&self, row: &'a Numbered<User>) -> Asked<'a> {
        let recommender = &self.recommender;
        let known = recommender.users.row(&row.row.user_id);
        let told = self.told(&row.row.history);
        let seen = known.map(|user| recommender.histories.of(user)).unwrap_or_default();
        let mut excluded = Vec::new();
        if self.options.exclude_seen {
            excluded = [seen.items, &told.items].concat();
            excluded.sort_unstable();
            excluded.dedup();
        }
        let has_vector = |user| recommender.model.factors().and_then(|factors| factors.user(user)).is_some_and(some);
        let basis = match known {
            _ if likes(told.borrow()) => Basis::Told(told),
            Some(user) if likes(seen) || (seen.items.is_empty() && has_vector(user)) => Basis::Known(user),
            _ if self.popular.is_some() => Basis::Popular,
            _ => Basis::None("the model knows no such user and not what is popular: give a history of its items"),
        };
        Asked { row, basis, excluded }
    }

    /// A row's history as the model knows it: items that it does not know are left out.
    fn told(&self, history: &[Done]) -> OwnedHistory {
        let now = self.recommender.data.last.unwrap_or(0);
        let mut told = OwnedHistory::default();
        for done in history {
            let Some(item) = self.recommender.items.row(&done.item_id) else { continue };
            let time = done.timestamp_ms.map_or(now, |ms| ms.div_euclid(1_000));
            let value = done.value.map(|value| Amount::from(value as f32));
            let event = Event { user: 0, item, kind: 0, value, time };
            told.items.push(item);
            told.times.push(time);
            told.weights.push(done.kind.as_ref().map_or(1.0, |kind| self.worth.of(kind).weigh(&event, now)));
        }
        told
    }

    fn lists(&self, asked: &[Asked<'_>]) -> Result<Vec<List>, TaskError> {
        let mut lists = match &self.search {
            Some(view) => self.search(view, asked)?,
            None => self.score(asked),
        };
        for (list, asked) in lists.iter_mut().zip(asked) {
            if let (Basis::Popular, Some(popular)) = (&asked.basis, &self.popular) {
                let new = popular.iter().filter(|scored| asked.excluded.binary_search(&scored.row).is_err());
                *list = new.take(self.options.k).copied().collect();
            }
        }
        Ok(lists)
    }

    /// Exact search with the vectors of those who have one.
    fn search(&self, view: &View, asked: &[Asked<'_>]) -> Result<Vec<List>, TaskError> {
        let factors = self.recommender.model.factors().expect("there is an index of them");
        let (mut queries, mut excluded, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (place, one) in asked.iter().enumerate() {
            let folded;
            let vector = match &one.basis {
                Basis::Known(user) => factors.user(*user),
                Basis::Told(history) => {
                    folded = self.recommender.model.fold_in(history.borrow());
                    folded.as_deref()
                }
                Basis::Popular | Basis::None(_) => None,
            };
            if let Some(vector) = vector {
                queries.extend_from_slice(vector);
                excluded.push(&one.excluded[..]);
                places.push(place);
            }
        }
        let mut lists = vec![List::new(); asked.len()];
        if places.is_empty() {
            return Ok(lists);
        }
        let filter = self.options.filter.as_ref().map(|filter| &filter.filter);
        let (k, threads) = (self.options.k, self.options.threads);
        let found = view.search(&Query { queries: &queries, k, filter, excluded: &excluded, threads })?;
        for (place, found) in places.into_iter().zip(found) {
            lists[place] = found;
        }
        Ok(lists)
    }

    /// Scores of all items, user by user, on several threads.
    fn score(&self, asked: &[Asked<'_>]) -> Vec<List> {
        let mut lists = vec![List::new(); asked.len()];
        let share = asked.len().div_ceil(self.options.threads.max(1)).max(1);
        thread::scope(|scope| {
            for (asked, lists) in asked.chunks(share).zip(lists.chunks_mut(share)) {
                scope.spawn(move || self.score_some(asked, lists));
            }
        });
        lists
    }

    fn score_some(&self, asked: &[Asked<'_>], lists: &mut [List]) {
        let model = &self.recommender.model;
        let (mut scores, mut candidates) = (vec![0.0; model.items()], Vec::new());
        for (asked, list) in asked.iter().zip(lists) {
            match &asked.basis {
                Basis::Known(user) => model.score(Some(*user), self.recommender.histories.of(*user), &mut scores),
                Basis::Told(history) => model.score(None, history.borrow(), &mut scores),
                Basis::Popular | Basis::None(_) => continue,
            }
            *list = best(&scores, self.options.k, self.allowed.as_deref(), &asked.excluded, &mut candidates);
        }
    }

    fn rows(&self, answered: &[(&Asked<'_>, List)]) -> Result<RecordBatch, TaskError> {
        let rows = || answered.iter().flat_map(|(asked, list)| list.iter().zip(1_u32..).map(move |at| (asked, at)));
        let items = &self.recommender.items;
        let numbers: UInt64Array = rows().map(|(asked, _)| asked.row.number).collect::<Vec<_>>().into();
        let users: StringArray = rows().map(|(asked, _)| Some(asked.row.row.user_id.as_str())).collect();
        let ranks: UInt32Array = rows().map(|(_, (_, rank))| rank).collect::<Vec<_>>().into();
        let ids: StringArray = rows().map(|(_, (scored, _))| Some(items.name(scored.row))).collect();
        let scores: Float32Array = rows().map(|(_, (scored, _))| scored.score).collect::<Vec<_>>().into();
        let based_on: StringArray = rows().map(|(asked, _)| Some(asked.basis.name())).collect();
        let versions: StringArray = rows().map(|_| Some(self.recommender.version.as_str())).collect();
        let columns: [arrow::array::ArrayRef; 7] = [
            Arc::new(numbers),
            Arc::new(users),
            Arc::new(ranks),
            Arc::new(ids),
            Arc::new(scores),
            Arc::new(based_on),
            Arc::new(versions),
        ];
        Ok(RecordBatch::try_new(self.columns(), columns.to_vec())?)
    }
}

impl Basis<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Known(_) => "user",
            Self::Told(_) => "history",
            Self::Popular | Self::None(_) => "popular",
        }
    }
}

fn likes(history: History<'_>) -> bool {
    history.weights.iter().any(|weight| *weight > 0.0)
}

fn some(vector: &[f32]) -> bool {
    vector.iter().any(|value| *value != 0.0)
}

/// All items with their vectors, and with attributes where there is a filter.
fn index(factors: Factors<'_>, options: &RecommendOptions) -> Result<View, IndexError> {
    let schema = options.filter.as_ref().map(|filter| filter.schema.clone()).unwrap_or_default();
    let index = Index::new(factors.width, factors.metric, schema)?;
    let item = |(row, vector): (usize, &[f32])| {
        let attributes = options.filter.as_ref().map(|filter| filter.by_row[row].clone()).unwrap_or_default();
        Item { row: row as u32, vector: vector.to_vec(), attributes }
    };
    let items: Vec<Item> = factors.items.chunks_exact(factors.width).enumerate().map(item).collect();
    for some in items.chunks(INDEXED) {
        index.upsert(some.to_vec(), options.threads)?;
    }
    Ok(index.view())
}

/// Which items fulfil a filter.
fn allowed(ItemFilter { filter, schema, by_row }: &ItemFilter, items: usize) -> Result<Vec<bool>, ColumnsError> {
    let mut builder = Columns::builder(schema);
    by_row.iter().try_for_each(|attributes| builder.push(attributes).map(|_| ()))?;
    let columns = builder.finish();
    let mut allowed = vec![false; items];
    filter.select(&columns).iter().for_each(|row| allowed[row as usize] = true);
    Ok(allowed)
}

impl Task for Recommend {
    type Row = User;

    fn about(&self) -> About {
        let mut settings = self.options.settings.clone();
        settings.insert("k".into(), self.options.k.to_string());
        settings.insert("exclude_seen".into(), self.options.exclude_seen.to_string());
        if let Some(worth) = &self.options.worth {
            settings.insert("worth".into(), serde_json::to_string(worth).expect("plain data"));
        }
        About {
            task: "recommend",
            model: self.recommender.name.clone(),
            model_version: self.recommender.version.clone(),
            engine: if self.search.is_some() { "exact top-k" } else { "scores of all items" }.into(),
            instruction_set: self.options.instruction_set.clone(),
            precision: "f32".into(),
            tokens_max: None,
            settings,
        }
    }

    fn columns(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn batch_rows(&self) -> u64 {
        (OUTPUT_ROWS / self.options.k).max(1) as u64
    }

    fn run(&mut self, batch: &Batch<User>, answered: &mut dyn FnMut(usize)) -> Result<OutputBatch, TaskError> {
        let asked: Vec<Asked<'_>> = batch.rows.iter().map(|row| self.resolve(row)).collect();
        let lists = self.lists(&asked)?;
        let (mut rejected, mut full) = (Vec::new(), Vec::new());
        for (asked, list) in asked.iter().zip(lists) {
            match asked.basis {
                Basis::None(why) => rejected.push(Rejected { row: asked.row.number, reason: why.to_owned() }),
                _ if list.is_empty() => {
                    let reason = "no item is left that passes the filter and was not seen".to_owned();
                    rejected.push(Rejected { row: asked.row.number, reason });
                }
                _ => full.push((asked, list)),
            }
        }
        answered(batch.rows.len());
        Ok(OutputBatch { rows: self.rows(&full)?, answered: full.len(), rejected })
    }
}
