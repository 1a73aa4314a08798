//! Why is this list not personal? What commonly goes wrong with the data of an installation, found in facts about it.
//!
//! ```text
//! rows of the lake --Tally--> Facts --examine--> findings, each with what was seen, where, and what to do
//! ```
//!
//! Everything here is pure: whoever reads stores hands rows to a [`Tally`] and puts the rest of the [`Facts`] beside it.
//! So what is a fault is decided in one place, whichever stores an installation has, and is tested with plain numbers.
//!
//! A finding is an error where lists cannot be personal, or where what people do is lost; where lists are only worse than
//! they could be it is a warning. Shares are held against bounds that stand with their checks; below a few events nothing
//! is said, since anything is a large share of them.

mod check;
mod facts;
mod finding;
mod tally;

pub use check::examine;
pub use facts::{
    CatalogueFacts, ClockFacts, EventFacts, Facts, KindFacts, Lag, LetterFacts, ListFacts, LiveModel, ModelFacts,
    PipelineFacts, RuleFacts, Run, ZONES,
};
pub use finding::{Finding, Severity};
pub use tally::{EventRow, KnownItems, Lists, Tally, Weighed, Weigher};
