//! A recommender as a folder: trained once, verified when it is loaded, asked by row or by name.
//!
//! ```text
//! DATA/recommenders/als/            one folder a name
//!   current                         the version that the name means
//!   3f2a9c01d4be/                   one folder a version, named by the hash of its manifest
//!     attune-manifest.json          size and SHA-256 of every other file
//!     config.json                   the model and its options
//!     model.safetensors             factors or matrices
//!     histories.safetensors         what each user did, oldest first: what models by history are asked with
//!     users.txt, items.txt          one id a line, by row
//!     data.json                     what it was trained on, by hash, and what events were worth
//!     metrics.json                  figures on a part that was held out, then trained on too
//!     blend.json                    what its ranks weigh beside other sources of lists, where that was learned
//!     rejected.jsonl                rows of the input that were left out
//!     README.md                     all of this for a person
//! ```
//!
//! A version is named by its content and by nothing else: no time, no random number, no name of a machine. The same
//! command on the same data writes the same bytes and therefore the same version. The alternative, a version by date,
//! says when somebody trained and not whether anything changed.
//!
//! ```text
//! let history = History::read(path, &map)?;
//! let trained = train(settings, &history, &worth)?;
//! let folder = stored.write(Place::Named(data, "als"))?;
//! let recommender = Recommender::load(&folder)?;      // every byte verified
//! recommender.model.score(Some(row), history, &mut scores);
//! ```

mod card;
mod error;
mod gate;
mod histories;
mod measure;
mod model;
mod settings;
mod store;
mod tensors;
mod train;
mod travel;
pub mod vectors;

pub use error::RecommenderError;
pub use gate::{GateError, gate};
pub use histories::Histories;
pub use measure::{HeldOut, Measured, measure, search};
pub use model::{Factors, Model};
pub use settings::{BlendSettings, ContentSettings, Kind, Settings, SettingsError, VectorSettings};
pub use store::{DataCard, InputFile, Place, Recommender, Stored, config, measured, resolve};
pub use train::{About, Trained, train, train_model, train_without_people};
pub use travel::{Arriving, files, forget, prune};
