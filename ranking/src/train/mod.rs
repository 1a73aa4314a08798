//! Models learned from a table of events, and the search for their settings.
//!
//! | model | learns | costs | good at |
//! |---|---|---|---|
//! | [`Popular`] | one number an item | nothing | users without a history |
//! | [`ItemKnn`] | each item's nearest items | pairs of events of one user | explaining, dislikes |
//! | [`Ease`] | a dense items-by-items matrix | items³, at most [`EASE_ITEMS_MAX`] items | small catalogues |
//! | [`Als`] | a vector per user and item | events × factors | large catalogues, retrieval by inner product |
//! | [`Sequential`] | what follows what | as EASE, and events × window | what comes next |
//! | [`co_visits`] | what follows what | events × window | sessions, large catalogues |
//! | [`NaiveBayes`] | what is liked lately, and what goes with it | pairs of events of one user | people of whom little is known |
//! | [`Blend`] | one weight a model and length of history | scores of held-out users | more than each of them |
//! | [`ContentMap`] | from content to factors | items × width² | items that nobody has met, by [`place_new_items`] |
//!
//! Training is a pure function of the table, the options and their seed: the same bits come out whatever the number of
//! threads, on one machine. Each model can be taken apart into plain vectors and put together again, since where and how it
//! is stored is the caller's to say.
//!
//! Entries whose weight is not above 0 are dislikes. [`Als`] leaves them out: an item that somebody dislikes counts as one
//! that he has not met. The item-to-item models use them with their sign.

mod als;
mod background;
mod blend;
mod co_visits;
mod conjugate;
mod content_map;
mod ease;
mod error;
mod item_knn;
mod naive_bayes;
mod new_items;
mod normal;
mod parallel;
mod popular;
mod search;
mod sequential;
mod sparse;

pub use als::{Als, AlsOptions, AlsParts};
pub use background::in_background;
pub(crate) use blend::judge::{Moves, best_weights};
pub use blend::{BLEND_BANDS, Blend, BlendCase, BlendOptions};
pub use co_visits::{CoVisitOptions, co_visits};
pub use content_map::{ContentMap, ContentMapOptions, ContentRows};
pub use ease::{EASE_ITEMS_MAX, Ease, EaseOptions};
pub use error::TrainError;
pub use item_knn::{ItemKnn, ItemKnnOptions};
pub use naive_bayes::{Lately, NaiveBayes, NaiveBayesOptions, NaiveBayesParts};
pub use new_items::place_new_items;
pub use popular::Popular;
pub use search::{Budget, Found, Params, Range, Trial, search};
pub use sequential::{Sequential, SequentialOptions};
pub use sparse::SparseParts;
