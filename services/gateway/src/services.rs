//! The services behind this gateway.

use attune_api::recommendation::SharedRecommendation;

/// Each service by its interface. One that is absent has no role in this process: its routes are not there.
#[derive(Clone, Default)]
pub struct Services {
    /// Who makes lists.
    pub recommendation: Option<SharedRecommendation>,
}
