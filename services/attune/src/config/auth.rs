//! `[auth.jwt]`: tokens of an identity provider.

use std::time::Duration;

use attune_gateway::TokenConfig;
use serde::{Deserialize, Serialize};

/// Who may call besides holders of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Tokens of an identity provider.
    pub jwt: Jwt,
}

/// Which tokens are valid, and what they say. Without keys, none is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// A JSON Web Key Set: a path, or an address that begins with https://.
    pub keys: String,
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to contain.
    pub audience: String,
    /// By how many seconds the clocks of provider and server may differ.
    pub leeway_s: u64,
    /// After how many seconds the keys are read again.
    pub refresh_s: u64,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; if empty, they are refused.
    pub tenant: String,
    /// The claim that names scopes.
    pub scope_claim: String,
    /// What a scope of ours has before its name there.
    pub scope_prefix: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            keys: String::new(),
            issuer: String::new(),
            audience: "attune".into(),
            leeway_s: 30,
            refresh_s: 300,
            tenant_claim: "tenant".into(),
            tenant: String::new(),
            scope_claim: "scope".into(),
            scope_prefix: String::new(),
        }
    }
}

impl Jwt {
    /// In the words of the gateway; none without keys.
    ///
    /// # Errors
    /// A sentence with the key that is missing, or makes no sense.
    pub fn tokens(&self) -> Result<Option<TokenConfig>, String> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let demanded = [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("tenant_claim", &self.tenant_claim),
            ("scope_claim", &self.scope_claim),
        ];
        if let Some((name, _)) = demanded.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("auth.jwt.{name} is empty: tokens are checked against it"));
        }
        for (name, value, min, max) in
            [("leeway_s", self.leeway_s, 0, 600), ("refresh_s", self.refresh_s, 1, 7 * 86_400)]
        {
            if !(min..=max).contains(&value) {
                return Err(format!("auth.jwt.{name} is {value}, it must be {min} to {max}"));
            }
        }
        let tenant = (!self.tenant.is_empty()).then(|| self.tenant.parse()).transpose();
        Ok(Some(TokenConfig {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            keys: self.keys.clone(),
            refresh: Duration::from_secs(self.refresh_s),
            leeway: Duration::from_secs(self.leeway_s),
            tenant_claim: self.tenant_claim.clone(),
            tenant: tenant.map_err(|error| format!("auth.jwt.tenant: {error}"))?,
            scope_claim: self.scope_claim.clone(),
            scope_prefix: self.scope_prefix.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_need_an_issuer_and_an_audience() {
        assert!(Jwt::default().tokens().unwrap().is_none());
        let keys = Jwt { keys: "keys.json".into(), ..Jwt::default() };
        assert!(keys.tokens().unwrap_err().contains("auth.jwt.issuer"));
        let complete = Jwt { issuer: "https://id.example".into(), ..keys };
        assert!(complete.tokens().unwrap().unwrap().tenant.is_none());
        for (wrong, key) in [
            (Jwt { audience: String::new(), ..complete.clone() }, "audience"),
            (Jwt { leeway_s: 3_600, ..complete.clone() }, "leeway_s"),
            (Jwt { refresh_s: 0, ..complete.clone() }, "refresh_s"),
            (Jwt { tenant: "Not One".into(), ..complete.clone() }, "tenant"),
        ] {
            assert!(wrong.tokens().unwrap_err().contains(&format!("auth.jwt.{key}")));
        }
    }
}
