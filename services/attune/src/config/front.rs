//! `[front]`: what stands before this server.

use attune_gateway::{AddressHeader, Network, Proxies};
use serde::{Deserialize, Serialize};

/// Proxies, and where they write whom they speak for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    /// Addresses, or networks as in `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
    /// The header to which they add the address of a client.
    pub address_header: Header,
}

/// A header with addresses of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// Nearly everybody's.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl Front {
    /// In the words of the gateway.
    ///
    /// # Errors
    /// A sentence with the entry that is no network.
    pub fn proxies(&self) -> Result<Proxies, String> {
        let trusted = self.trusted_proxies.iter().map(|text| text.parse()).collect::<Result<Vec<Network>, _>>();
        let header = match self.address_header {
            Header::XForwardedFor => AddressHeader::XForwardedFor,
            Header::Forwarded => AddressHeader::Forwarded,
        };
        Ok(Proxies { trusted: trusted.map_err(|error| format!("front.trusted_proxies: {error}"))?, header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_networks() {
        let front: Front =
            toml::from_str("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\naddress_header = \"forwarded\"").unwrap();
        let proxies = front.proxies().unwrap();
        assert_eq!((proxies.trusted.len(), proxies.header), (2, AddressHeader::Forwarded));
        let wrong = Front { trusted_proxies: vec!["10.0.0.0/40".into()], ..Front::default() };
        assert!(wrong.proxies().unwrap_err().contains("front.trusted_proxies: \"10.0.0.0/40\""));
        assert!(toml::from_str::<Front>("address_header = \"x-real-ip\"").is_err());
    }
}
