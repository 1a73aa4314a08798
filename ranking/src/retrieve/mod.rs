//! What might be shown: candidates from several sources, each with a score and a reason.
//!
//! A [`Source`] answers a [`Batch`] of requests with the exact best items it knows of, best first. Which items may be
//! proposed at all, by a filter or because the user has seen them, is a set of rows that every source looks at *within*
//! its scan: what is proposed is what will be left, however narrow the filter. The alternative, to filter the lists
//! afterwards, is simpler and leaves a narrow filter with nothing.
//!
//! | source | asks | score | needs |
//! |---|---|---|---|
//! | [`Factors`] | whose taste fits | inner product | a trained user, liked items, or what is known of the person |
//! | [`Related`] | what is near, or follows, recent items | mean similarity | recent items, or an item looked at |
//! | [`Semantic`] | what reads alike | cosine or inner product | recent items with vectors, or a text's vector |
//! | [`Scored`](ByScorer) | any model that scores the whole catalogue | the model's | what the model needs |
//! | [`Ranked`] | what everybody likes, what is rising | logarithm of the share | nothing |
//! | [`Latest`] | what is new | halves with age | nothing |
//!
//! A source with nothing to go on says so and proposes nothing: that is what a new user looks like, and popular, rising
//! and new items, the item that he looks at, or a history that comes with the request take over. A [`Union`] keeps what
//! each source said of an item. Scores do not depend on the unit of event weights, only on their ratios.

mod by_scorer;
mod factors;
mod ranked;
mod related;
mod request;
mod semantic;
mod source;
mod trends;
mod union;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use by_scorer::ByScorer;
pub use factors::{Factors, Taste};
pub use ranked::{Latest, Ranked};
pub use related::{Links, Related, RelatedOptions};
pub use request::{Checked, EXCLUDED_MAX, HISTORY_MAX, Request, RequestError};
pub use semantic::{Semantic, SemanticOptions};
pub use source::{Batch, Proposals, Reason, Scratch, Source, SourceError};
pub use trends::{Trends, TrendsError};
pub use union::{Entry, Outcome, Union};
