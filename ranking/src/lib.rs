//! The ranking half of Attune: what a user might like, found exactly, scored by trained models and measured honestly.
//!
//! Nothing here opens a file, a socket or a store: bytes and values come in, bytes and values go out. Users and items are
//! rows, small integers; names are kept by the caller.
//!
//! ```text
//! events -> data::Interactions -> train::* -> a model (data::Scorer)
//! items  -> index::Index (vectors, attributes) -> exact top-k under a filter::Filter
//! models + a request -> pipeline: retrieve::* -> score::* -> rerank::* -> a list that says why
//! model + events -> evaluate::Protocol -> metrics with intervals
//! subjects -> experiment::Split -> arms; what came of each -> rates, differences, a check of their sizes
//! ```
//!
//! A list for somebody of whom nothing is known, from a shop of four items:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use attune_ranking::attributes::{Kind, Schema, Value};
//! use attune_ranking::filter::{Filter, parse};
//! use attune_ranking::index::{Index, Item, Metric};
//! use attune_ranking::pipeline::{Models, Pipeline, Wanted, World};
//! use attune_ranking::retrieve::{Latest, Ranked, Request, Scratch, Source};
//! use attune_ranking::train::Popular;
//!
//! let schema = Schema::new([("kind", Kind::Keyword)])?;
//! let items = Index::new(2, Metric::Cosine, schema.clone())?;
//! let item = |row: u32, kind: &str| Item {
//!     row,
//!     vector: vec![1.0, row as f32],
//!     attributes: vec![("kind".into(), Value::Keyword(kind.into()))],
//! };
//! items.upsert(vec![item(0, "film"), item(1, "film"), item(2, "book"), item(3, "film")], 1)?;
//! let catalogue = items.view();
//!
//! let popular: Arc<dyn Source> = Arc::new(Ranked::popular(&Popular::from_scores(vec![5.0, 9.0, 7.0, 0.0])));
//! let latest: Arc<dyn Source> = Arc::new(Latest::new([(0, 100), (1, 200), (2, 300), (3, 400)], 7.0));
//! let sources = BTreeMap::from([("popular".to_owned(), popular), ("latest".to_owned(), latest)]);
//! let spec = serde_json::from_str(
//!     r#"{"sources": [{"source": "popular"}, {"source": "latest"}],
//!         "rules": [{"name": "new", "items": [3], "effect": {"pin": {"position": 1}}}]}"#,
//! )?;
//! let pipeline = Pipeline::new(&spec, &Models { sources: &sources, blends: &BTreeMap::new(), schema: &schema })?;
//!
//! let films = catalogue.rows(Some(&Filter::check(&parse(r#"kind == "film""#)?, &schema)?));
//! let world = World { catalogue: &catalogue, allowed: Some(&films), include: &[], now: 500, threads: 1 };
//! let wanted = Wanted { k: 2, diversity: None, seed: 1, explain: true };
//! let request = Request::default().check()?;
//! let mut answers = pipeline.recommend(&[request], &[wanted], &world, &|_| Vec::new(), &mut Scratch::default());
//! let answer = answers.remove(0)?;
//! assert_eq!(answer.items.iter().map(|item| item.row).collect::<Vec<u32>>(), [3, 1]);
//! assert_eq!(answer.items[0].explanation.as_ref().unwrap().rules, ["new"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod attributes;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod filter;
pub mod index;
pub mod pipeline;
pub mod rerank;
pub mod retrieve;
pub mod score;
pub mod train;
