//! A small shop for tests: users of two tastes, items with vectors and attributes.

use std::sync::Arc;

use super::{ByScorer, Factors, Latest, Ranked, Related, RelatedOptions, Request, Semantic, Source, Taste, Trends};
use crate::attributes::{Kind, Schema, Value};
use crate::data::{History, Interactions};
use crate::index::{Index, Item, Metric, View};
use crate::train::{Als, AlsOptions, CoVisitOptions, Ease, EaseOptions, ItemKnn, ItemKnnOptions, Popular, co_visits};

pub(crate) const USERS: u32 = 40;
pub(crate) const ITEMS: u32 = 60;
pub(crate) const NOW: i64 = 1_000_000;

/// Models of one world, and the catalogue.
pub(crate) struct Shop {
    pub als: Arc<Als>,
    pub factors: View,
    pub contents: View,
    pub sources: Vec<(&'static str, Arc<dyn Source>)>,
}

pub(crate) fn schema() -> Schema {
    Schema::new([("taste", Kind::Keyword), ("price", Kind::Number), ("tags", Kind::KeywordList)]).unwrap()
}

/// User `u` likes items of the parity of `u`; every fifth event is a dislike of the other parity.
pub(crate) fn events(scale: f32) -> Vec<(Vec<u32>, Vec<f32>, Vec<i64>)> {
    (0..USERS)
        .map(|user| {
            let item = |step: u32| (user * 7 + step * step * 2 + step * 4) % ITEMS / 2 * 2 + user % 2;
            let items: Vec<u32> = (0..12).map(|step| if step % 5 == 4 { item(step) ^ 1 } else { item(step) }).collect();
            let weight = |step: u32| scale * if step % 5 == 4 { -1.0 } else { 1.0 + (step % 3) as f32 };
            let times = (0..12).map(|step| NOW - 50_000 + i64::from(step * 1_000 + user)).collect();
            (items, (0..12).map(weight).collect(), times)
        })
        .collect()
}

fn attributes(row: u32) -> Vec<(String, Value)> {
    let taste = if row.is_multiple_of(2) { "even" } else { "odd" };
    let tags = vec![format!("t{}", row % 3), format!("t{}", row % 5)];
    vec![
        ("taste".into(), Value::Keyword(taste.into())),
        ("price".into(), Value::Number(f64::from(row))),
        ("tags".into(), Value::Keywords(tags)),
    ]
}

fn view(metric: Metric, vectors: &[f32], width: usize) -> View {
    let index = Index::new(width, metric, schema()).unwrap();
    let items = (0..).zip(vectors.chunks(width));
    let item = |(row, vector): (u32, &[f32])| Item { row, vector: vector.to_vec(), attributes: attributes(row) };
    index.upsert(items.map(item).collect(), 1).unwrap();
    index.view()
}

impl Shop {
    /// All weights of all events are multiplied with `scale`.
    pub(crate) fn new(scale: f32) -> Self {
        let events = events(scale);
        let entries: Vec<(u32, u32, f32)> = (0..)
            .zip(&events)
            .flat_map(|(user, (items, weights, _))| items.iter().zip(weights).map(move |(i, w)| (user, *i, *w)))
            .collect();
        let table = Interactions::from_entries(USERS as usize, ITEMS as usize, &entries).unwrap();
        let histories: Vec<History<'_>> =
            events.iter().map(|(items, weights, times)| History { items, weights, times }).collect();
        let als = Arc::new(Als::train(&table, &AlsOptions { factors: 8, epochs: 6, ..Default::default() }).unwrap());
        let factors = view(Metric::InnerProduct, als.item_factors(), 8);
        let content: Vec<f32> = (0..ITEMS)
            .flat_map(|row| [(row % 2) as f32 * 2.0 - 1.0, (row as f32 * 0.7).sin(), (row as f32 * 1.3).cos(), 0.3])
            .collect();
        let contents = view(Metric::Cosine, &content, 4);
        let knn = ItemKnn::train(&table, &ItemKnnOptions::default()).unwrap().into_parts().0;
        let visits = co_visits(ITEMS as usize, &histories, &CoVisitOptions::default()).unwrap();
        let ease = Ease::train(&table, &EaseOptions { regularisation: 10.0, ..Default::default() }).unwrap();
        let mut trends = Trends::new(10_000.0).unwrap();
        for (items, weights, times) in &events {
            for ((item, weight), time) in items.iter().zip(weights).zip(times) {
                trends.add(*item, *weight, *time, NOW).unwrap();
            }
        }
        let session = RelatedOptions { session: true, half_life: 2.0, ..Default::default() };
        let published = (0..ITEMS).map(|row| (row, NOW - 86_400 * i64::from(row * 37 % ITEMS) + 86_400));
        let sources: Vec<(&'static str, Arc<dyn Source>)> = vec![
            ("factors", Arc::new(Factors::new(als.clone(), factors.clone(), Taste::History).unwrap())),
            ("neighbours", Arc::new(Related::new(Arc::new(knn), Default::default()).unwrap())),
            ("session", Arc::new(Related::new(Arc::new(visits), session).unwrap())),
            ("semantic", Arc::new(Semantic::new(contents.clone(), Default::default()))),
            ("ease", Arc::new(ByScorer::new(Arc::new(ease), 0))),
            ("popular", Arc::new(Ranked::popular(&Popular::train(&table).unwrap()))),
            ("trending", Arc::new(Ranked::trending(&trends))),
            ("latest", Arc::new(Latest::new(published, 7.0))),
        ];
        Self { als, factors, contents, sources }
    }

    /// What is known of a trained user.
    pub(crate) fn request(scale: f32, user: u32) -> Request {
        let (items, weights, times) = events(scale)[user as usize].clone();
        Request { user: Some(user), excluded: items.clone(), items, weights, times, ..Request::default() }
    }
}
