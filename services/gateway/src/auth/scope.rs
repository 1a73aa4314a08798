//! What a caller may do.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One right. `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading what is stored, and asking for recommendations.
    Read,
    /// Changing what is stored.
    Write,
    /// Running models.
    Infer,
    /// Everything, keys and tenants included.
    Admin,
}

/// A set of scopes, without anything to allocate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

/// A word that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: there are read, write, infer and admin")]
pub struct ScopeError(String);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Infer, Self::Admin];

    /// As in keys, tokens, files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Infer => "infer",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(name: &str) -> Result<Self, ScopeError> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == name);
        found.ok_or_else(|| ScopeError(name.chars().take(100).collect()))
    }
}

impl Scopes {
    /// The set of these.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < scopes.len() {
            bits |= scopes[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether whoever has these may do what one of `any_of` is needed for.
    pub const fn allow(self, any_of: Self) -> bool {
        self.0 & (any_of.0 | Scope::Admin.bit()) != 0
    }

    /// The names, for a sentence.
    pub fn named(self) -> String {
        let names = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0);
        names.map(|scope| format!("`{}`", scope.name())).collect::<Vec<_>>().join(" or ")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_all_and_nothing_includes_admin() {
        for scope in Scope::ALL {
            let alone = Scopes::of(&[scope]);
            assert_eq!(scope.name().parse(), Ok(scope));
            assert!(Scopes::of(&[Scope::Admin]).allow(alone));
            assert!(!Scopes::default().allow(alone));
            assert_eq!(alone.allow(Scopes::of(&[Scope::Admin])), scope == Scope::Admin);
        }
        assert!(Scopes::of(&[Scope::Read]).allow(Scopes::of(&[Scope::Infer, Scope::Read])));
        assert!("Admin".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }
}
