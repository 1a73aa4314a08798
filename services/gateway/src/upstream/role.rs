//! Which service answers which route.

use std::{fmt, str::FromStr};

/// A part that a process can play. A gateway without a role's service sends that role's routes to its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Texts through models.
    Inference,
    /// Lists.
    Recommendation,
    /// Events.
    Tracking,
    /// Items.
    Content,
    /// People.
    Users,
    /// Questions about what happened.
    Analytics,
    /// Models that stay fresh. It has no routes.
    Trainer,
}

/// A word that is no role.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no role `{0}`; roles are inference, recommendation, tracking, content, users, analytics, trainer")]
pub struct RoleError(String);

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Inference,
        Self::Recommendation,
        Self::Tracking,
        Self::Content,
        Self::Users,
        Self::Analytics,
        Self::Trainer,
    ];

    /// As in configuration, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Recommendation => "recommendation",
            Self::Tracking => "tracking",
            Self::Content => "content",
            Self::Users => "users",
            Self::Analytics => "analytics",
            Self::Trainer => "trainer",
        }
    }

    /// Whose route it is; none for those that every gateway answers itself.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if let Some(method) = path.strip_prefix("/attune.v1.") {
            let service = method.split('/').next().unwrap_or_default();
            return Self::ALL.into_iter().find(|role| service.eq_ignore_ascii_case(role.name()));
        }
        let first = path.strip_prefix("/v1/").unwrap_or(path).trim_start_matches('/');
        match first.split(['/', ':']).next().unwrap_or_default() {
            "embeddings" | "embed" | "info" | "sentiment" | "models" => Some(Self::Inference),
            "recommend" | "rank" | "similar" | "trending" | "pipelines" | "rules" | "experiments" => {
                Some(Self::Recommendation)
            }
            "events" | "identify" | "dead-letters" => Some(Self::Tracking),
            "items" | "objects" => Some(Self::Content),
            "users" | "jobs" => Some(Self::Users),
            "analytics" => Some(Self::Analytics),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(word: &str) -> Result<Self, RoleError> {
        let role = Self::ALL.into_iter().find(|role| role.name() == word);
        role.ok_or_else(|| RoleError(word.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    /// Routes of the gateway itself.
    const OWN: [&str; 4] = ["/v1/api-keys", "/v1/tenants", "/v1/audit", "/grpc."];

    #[test]
    fn every_route_behind_a_key_has_a_role_or_is_the_gateways_own() {
        for route in ROUTES.iter().filter(|route| route.any_of().is_some()) {
            let is_own = OWN.iter().any(|own| route.path.starts_with(own));
            assert_eq!(Role::of(route.path).is_none(), is_own, "{}", route.path);
        }
        assert_eq!(Role::of("/attune.v1.Recommendation/Rank"), Some(Role::Recommendation));
        assert_eq!(Role::of("/v1/items:batch"), Some(Role::Content));
        assert_eq!("tracking".parse(), Ok(Role::Tracking));
        assert!("trackin".parse::<Role>().is_err());
    }
}
