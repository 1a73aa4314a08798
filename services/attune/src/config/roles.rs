//! Which services this process has, and where the others are.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};
use attune_gateway::{Addresses, Role, RoleError, Upstreams};
use serde::{Deserialize, Serialize};

/// The services of this process. Every process has a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Roles(Vec<Role>);

/// `[upstreams]`: replicas of the services that this process does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replicas {
    /// Who runs models.
    pub inference: Vec<String>,
    /// Who makes lists.
    pub recommendation: Vec<String>,
    /// Who takes events.
    pub tracking: Vec<String>,
    /// Who keeps items.
    pub content: Vec<String>,
    /// Who keeps people.
    pub users: Vec<String>,
    /// Who answers questions about what happened.
    pub analytics: Vec<String>,
}

const ALL: &str = "all";
const GATEWAY: &str = "gateway";

impl Roles {
    /// Whether this process has that service.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether this process loads models: for others, for the texts of its items, or to know which vectors of items are of
    /// the model in use.
    pub fn need_models(&self) -> bool {
        [Role::Inference, Role::Content, Role::Recommendation].into_iter().any(|role| self.has(role))
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self(Role::ALL.to_vec())
    }
}

impl FromStr for Roles {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let mut roles = Vec::new();
        for word in text.split(',').map(str::trim) {
            match word {
                ALL => roles.extend(Role::ALL),
                GATEWAY => {}
                word => roles.push(word.parse()?),
            }
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(Self(roles))
    }
}

impl TryFrom<String> for Roles {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        text.parse()
    }
}

impl From<Roles> for String {
    fn from(roles: Roles) -> Self {
        roles.to_string()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == Role::ALL.len() {
            return f.write_str(ALL);
        }
        let names = self.0.iter().map(|role| role.name());
        f.write_str(&std::iter::once(GATEWAY).chain(names).collect::<Vec<_>>().join(","))
    }
}

impl Replicas {
    /// By role, those that have any.
    pub fn addresses(&self) -> Addresses {
        let Self { inference, recommendation, tracking, content, users, analytics } = self;
        let all = [
            (Role::Inference, inference),
            (Role::Recommendation, recommendation),
            (Role::Tracking, tracking),
            (Role::Content, content),
            (Role::Users, users),
            (Role::Analytics, analytics),
        ];
        all.into_iter().filter(|(_, entries)| !entries.is_empty()).map(|(role, all)| (role, all.clone())).collect()
    }

    /// # Errors
    /// An entry that is no address, a service that is here as well, or no service anywhere.
    pub fn check(&self, roles: &Roles) -> Result<()> {
        let addresses = self.addresses();
        ensure!(
            !(roles.0.is_empty() && addresses.is_empty()),
            "a gateway alone needs somebody to send requests to: name the replicas of services in `upstreams`, in the \
             file, or services of this process in `roles`"
        );
        for role in addresses.keys() {
            let remedy = "take it out of `roles`, or its replicas out of `upstreams`";
            ensure!(!roles.has(*role), "{role} is a service of this process and has upstreams as well: {remedy}");
        }
        Upstreams::new(addresses)?;
        Ok(())
    }

    /// The services that neither this process has nor one behind it, where any is.
    pub fn lacking(&self, roles: &Roles) -> Vec<Role> {
        let addresses = self.addresses();
        // The trainer is asked for nothing; and a replica, for nothing but what it has.
        let is_lacking = |role: &Role| *role != Role::Trainer && !roles.has(*role) && !addresses.contains_key(role);
        if addresses.is_empty() { Vec::new() } else { Role::ALL.into_iter().filter(is_lacking).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_words_and_a_gateway_is_always_there() {
        let parse = |text: &str| text.parse::<Roles>();
        assert_eq!(parse("all"), Ok(Roles::default()));
        assert_eq!(parse("gateway").unwrap().to_string(), "gateway");
        let some = parse("tracking, recommendation").unwrap();
        assert_eq!(some.to_string(), "gateway,recommendation,tracking");
        assert_eq!(parse(&some.to_string()), Ok(some));
        assert!(parse("gateway,recomendation").unwrap_err().to_string().contains("`recomendation`"));
        assert!(parse("").is_err());
    }

    #[test]
    fn a_service_is_here_or_elsewhere() {
        let replicas = Replicas { content: vec!["10.0.0.1:8080".into()], ..Replicas::default() };
        assert!(replicas.check(&"gateway".parse().unwrap()).is_ok());
        assert!(replicas.check(&Roles::default()).unwrap_err().to_string().contains("content is a service"));
        let none = Replicas::default();
        assert!(none.check(&"gateway".parse().unwrap()).unwrap_err().to_string().contains("`upstreams`"));
        assert!(none.check(&"tracking".parse().unwrap()).is_ok(), "it is one of the replicas");
        let nonsense = Replicas { content: vec!["10.0.0.1".into()], ..Replicas::default() };
        assert!(nonsense.check(&"gateway".parse().unwrap()).unwrap_err().to_string().contains("host:port"));
    }

    #[test]
    fn who_stands_before_others_is_told_whom_he_does_not_know() {
        let replicas = Replicas { content: vec!["10.0.0.1:8080".into()], ..Replicas::default() };
        let some: Roles = "gateway,inference,tracking,users".parse().unwrap();
        assert_eq!(replicas.lacking(&some), [Role::Recommendation, Role::Analytics]);
        assert!(Replicas::default().lacking(&some).is_empty(), "it is one of the replicas");
    }
}
