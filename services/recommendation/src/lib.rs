//! Lists for people, from what everybody did until a moment ago.
//!
//! Every replica keeps all it needs in memory, one tenant beside the other: [`fold`] makes it of the log's records, a
//! pure function that a replay repeats; [`shelf`] holds what the catalogue says of the items. The log is followed in the
//! background, and every so often a [`world`] of ranking sources is made of both, which requests share and nobody changes.
//! A user's own events do not wait for that: they are read from the state itself, and what the state has not consumed yet
//! from the cache ([`fresh`]). The alternative, to keep lists that were made beforehand, is what makes a recommender
//! answer a click with yesterday's list.
//!
//! ```text
//! log ----follow----> fold::State --+--publish--> World (sources, pipelines, items that may be shown)
//! catalogue --scan--> shelf::Shelf -+                |
//! definitions -> pipelines, rules, experiments --+  (read anew every few seconds)
//! request -> people -> fresh -> (a thread of the pool) person + world -> ranking's stages -> answer -> exposures
//!            services of the user's own, asked meanwhile (outside) ------^
//! ```

mod answer;
mod ask;
mod asked;
mod config;
mod cursor;
mod definitions;
mod departed;
mod exposures;
mod features;
pub mod fold;
mod follow;
mod fresh;
mod layout;
mod model;
mod outside;
mod people;
mod pool;
mod rehearse;
mod replay;
mod replica;
mod serve;
mod service;
mod shelf;
mod snapshot;
mod stage;
mod stock;
mod world;

pub use config::{ConfigError, RecommendationConfig};
pub use definitions::{Experiment, InForce, Recipe, RuleSpec};
pub use layout::Layout;
pub use model::{Change, MODEL, Trained, TrainedModels};
pub use outside::{OUTSIDE_MAX, OutsideSpec};
pub use rehearse::{REHEARSED_MAX, Rehearsal, judge_lists, rehearse};
pub use replay::{ReplayError, Replayed, replay};
pub use service::{Following, Recommender, Seams};
pub use world::{DEFAULT, FOR_EVERYBODY, SIMILAR, TRENDING, source_names};
