//! What a policy would have earned, from what another one logged.
//!
//! A row of a log says which action was shown at which position, how likely that was, and what came of it. A [`Policy`]
//! says how likely it would show each action. [`Weighed::of`] puts the two together, and [`estimate`] averages in four
//! ways, each with its interval:
//!
//! * **IPS** (Horvitz and Thompson 1952): rewards weighted by how much likelier the policy would have made the row.
//!   Unbiased if propensities are right, and unsteady where weights are large.
//! * **SNIPS** (Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS 2015): divided
//!   by the sum of weights. A little biased, much steadier.
//! * **Direct method**: what a model of rewards expects of the policy. As biased as the model.
//! * **Doubly robust** (Dudik, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011): the direct
//!   method, corrected by the weighted errors of its model. Unbiased if propensities are right, whatever the model, and
//!   steady if the model is good.
//!
//! No estimator repairs a log without overlap: what was never shown is not in it. The effective number of rows and the
//! mean weight, which is 1 but for chance, tell.

mod error;
mod estimate;
mod policy;
mod rewards;

#[cfg(test)]
mod tests;

pub use error::OffPolicyError;
pub use estimate::{Estimates, Weighed, estimate};
pub use policy::Policy;

/// One position of one list that was shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// What was shown, as a row.
    pub action: u32,
    /// Where, from 0.
    pub position: u32,
    /// How likely it was to be shown there, above 0.
    pub propensity: f64,
    /// What came of it: 1 for a click, or any finite number.
    pub reward: f64,
    /// Rows of one number came about together, such as those of one list, and are drawn again together.
    pub list: u64,
}
