//! What is shown: rules, diversity and exploration make a list of scored candidates.
//!
//! A list is filled position by position. At each one there are **alternatives**, the candidates that may stand there, and
//! a probability for each of them, given what stands before; one of them is drawn, and its probability is the
//! **propensity** that is logged with the exposure. With it, another way to rank can be judged from what was shown
//! (inverse propensity scoring: Horvitz, Thompson 1952; Li et al. 2011), so it has to be exact and not an estimate:
//!
//! - *Epsilon-greedy*: `epsilon / n` for each of `n` alternatives, and `1 - epsilon` more for the best.
//! - *Thompson*: what is known of an item is the normal distribution of its log-odds, which the blend answers with its
//!   mean and deviation, here as 32 equally likely points. Each position draws one point an alternative anew, and shows
//!   the item with the best. That is a finite distribution, so the probability of every item to be the best is a sum of
//!   products of shares, computed to rounding in one pass over the sorted points. To draw once for the whole list is the
//!   usual way; its propensities, given what stands before, have no such form, and would have to be simulated.
//!
//! What a position is filled by is in this order: pins, what is not buried, quotas, then maximal marginal relevance
//! (Carbonell, Goldstein 1998): `(1 - diversity) * score / best score - diversity * likeness to what stands before`. With
//! 0 that is the order of scores, equal ones by row. Quotas only keep items out, so that a list can always be filled as far
//! as there are candidates; a pin that a quota or another pin forbids is a contradiction, and told.
//!
//! The seed alone decides the draws.

mod explore;
mod likeness;
mod plan;
mod quotas;
mod rules;
mod slate;

#[cfg(test)]
mod tests;

pub use explore::{Exploration, ExplorationError, POOL_MAX};
pub use likeness::Likeness;
pub use plan::{Alternative, Candidate, Placed, Plan, RerankError};
pub use rules::{Effect, RULES_MAX, Rule, RuleError, RuleProblem, Rules};
pub use slate::{Slate, rerank};
