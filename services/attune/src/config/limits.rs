//! `[limits]`: how much whoever asks may ask for.

use attune_gateway::RateLimits;
use attune_store::cache::RateLimit;
use serde::{Deserialize, Serialize};

use super::COUNT_MAX;

/// Rates, each with what may come at once. A rate of 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second from one client address, before its key is looked at.
    pub address_per_s: u32,
    /// The same, at once.
    pub address_burst: u32,
    /// Requests a second with one key, or of one subject of tokens.
    pub key_per_s: u32,
    /// The same, at once.
    pub key_burst: u32,
    /// Requests a second of one tenant.
    pub tenant_per_s: u32,
    /// The same, at once.
    pub tenant_burst: u32,
    /// As how many requests of its address one counts whose key or token is refused.
    pub failure_cost: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let RateLimits { address, key, tenant, failure_cost } = RateLimits::default();
        let of = |limit: Option<RateLimit>| limit.map_or((0, 1), |limit| (limit.rate, limit.burst));
        let ((address_per_s, address_burst), (key_per_s, key_burst)) = (of(address), of(key));
        let (tenant_per_s, tenant_burst) = of(tenant);
        Self { address_per_s, address_burst, key_per_s, key_burst, tenant_per_s, tenant_burst, failure_cost }
    }
}

impl Limits {
    /// None at all: whoever asks may ask for as much as there is.
    pub fn none() -> Self {
        Self { address_per_s: 0, key_per_s: 0, tenant_per_s: 0, ..Self::default() }
    }

    /// In the words of the gateway.
    pub fn rates(&self) -> RateLimits {
        let rate = |per_s, burst| (per_s > 0).then(|| RateLimits::per_second(per_s, burst));
        RateLimits {
            address: rate(self.address_per_s, self.address_burst),
            key: rate(self.key_per_s, self.key_burst),
            tenant: rate(self.tenant_per_s, self.tenant_burst),
            failure_cost: self.failure_cost,
        }
    }

    /// Refuses a burst of nothing, and one that takes so long to come back that it would be forgotten before.
    ///
    /// # Errors
    /// A sentence with the key.
    pub fn check(&self) -> Result<(), String> {
        let rates = [
            ("address", self.address_per_s, self.address_burst),
            ("key", self.key_per_s, self.key_burst),
            ("tenant", self.tenant_per_s, self.tenant_burst),
        ];
        for (name, per_s, burst) in rates.into_iter().filter(|(_, per_s, _)| *per_s > 0) {
            let burst_max = (u64::from(per_s) * RateLimits::FILL_MAX.as_secs()).min(COUNT_MAX);
            if !(1..=burst_max).contains(&u64::from(burst)) {
                return Err(format!("limits.{name}_burst is {burst}, it must be 1 to {burst_max}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_nothing_is_no_limit_and_a_burst_of_nothing_is_a_mistake() {
        let off = Limits { key_per_s: 0, ..Limits::default() };
        assert!(off.check().is_ok() && off.rates().key.is_none() && off.rates().tenant.is_some());
        let RateLimits { address, key, tenant, .. } = Limits::none().rates();
        assert!([address, key, tenant].iter().all(Option::is_none) && Limits::none().check().is_ok());
        let nothing = Limits { tenant_burst: 0, ..Limits::default() };
        assert_eq!(nothing.check(), Err("limits.tenant_burst is 0, it must be 1 to 72000000".to_owned()));
        let slow = Limits { key_per_s: 1, key_burst: 3_601, ..Limits::default() };
        assert_eq!(slow.check(), Err("limits.key_burst is 3601, it must be 1 to 3600".to_owned()));
    }
}
