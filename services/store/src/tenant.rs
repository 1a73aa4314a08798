//! Whose data it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The longest name of a tenant, in bytes: what fits into the name of an index, a topic or a folder with room for more.
pub const TENANT_BYTES_MAX: usize = 63;

/// A customer of this installation. Its name stands in the keys, topics, indices and folders of every store, and is
/// therefore of lower-case letters, digits and `-` alone, the first of them a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

/// A name that no tenant can have.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "{name:?} cannot be a tenant: 1 to {TENANT_BYTES_MAX} lower-case letters, digits and `-` are needed, the first of \
     them a letter"
)]
pub struct TenantError {
    name: String,
}

impl Tenant {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tenant {
    type Err = TenantError;

    fn from_str(name: &str) -> Result<Self, TenantError> {
        let fits = (1..=TENANT_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && name.as_bytes()[0].is_ascii_lowercase();
        if fits { Ok(Self(name.into())) } else { Err(TenantError { name: name.chars().take(100).collect() }) }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_every_store_are_tenants_and_no_others() {
        for name in ["a", "acme-2", &"z".repeat(TENANT_BYTES_MAX)] {
            assert_eq!(name.parse::<Tenant>().unwrap().as_str(), name);
        }
        for name in ["", "2acme", "-a", "Acme", "a_b", "a.b", "a/b", "ä", "a\0", &"z".repeat(TENANT_BYTES_MAX + 1)] {
            assert!(name.parse::<Tenant>().unwrap_err().to_string().contains("lower-case"), "{name:?}");
        }
    }
}
