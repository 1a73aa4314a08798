//! What a caller may do.

pub(crate) use attune_api::Scope;

/// A set of scopes, without anything to allocate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

const fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl Scopes {
    /// The set of these.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < scopes.len() {
            bits |= bit(scopes[index]);
            index += 1;
        }
        Self(bits)
    }

    /// Whether whoever has these may do what one of `any_of` is needed for.
    pub const fn allow(self, any_of: Self) -> bool {
        self.0 & (any_of.0 | bit(Scope::Admin)) != 0
    }

    /// The names, for a sentence.
    pub fn named(self) -> String {
        let names = Scope::ALL.into_iter().filter(|scope| self.0 & bit(*scope) != 0);
        names.map(|scope| format!("`{}`", scope.name())).collect::<Vec<_>>().join(" or ")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
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
