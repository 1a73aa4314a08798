//! The services behind this gateway.

use std::sync::Arc;

use attune_api::{
    analytics::SharedAnalytics, content::SharedContent, definitions::SharedDefinitions,
    recommendation::SharedRecommendation, tracking::Tracking, users::SharedUsers,
};
use attune_store::objects::Objects;

use crate::upstream::Upstreams;

/// Each service by its interface. One that is absent has no role in this process: its routes are not there.
#[derive(Clone, Default)]
pub struct Services {
    /// Those that are in other processes. A role that is here and there is refused at the start.
    pub upstreams: Upstreams,
    /// Answers questions about what happened.
    pub analytics: Option<SharedAnalytics>,
    /// Who keeps items.
    pub content: Option<SharedContent>,
    /// Where their files are, as far as this server serves them itself.
    pub objects: Option<Arc<dyn Objects>>,
    /// Who makes lists.
    pub recommendation: Option<SharedRecommendation>,
    /// Who keeps pipelines, rules and experiments.
    pub definitions: Option<SharedDefinitions>,
    /// Takes events.
    pub tracking: Option<Arc<dyn Tracking>>,
    /// Keeps people.
    pub users: Option<SharedUsers>,
}
