//! Where a request came from, where proxies stand before this server.
//!
//! A header that says so is worth what its last writer is worth. So nothing is read of it unless the peer is a proxy that
//! the configuration names; then it is read from the right, where that proxy has written, over further proxies that are
//! named, and the first address that is none of theirs is the client: what stands left of it, the client may have sent
//! itself. Only the one header is looked at to which the proxies add. Another one that says the same would pass through
//! them as the client sent it.

use std::{net::IpAddr, net::SocketAddr, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

/// The header without a standard that nearly all proxies write.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The most hops that are read, from the right.
const HOPS_MAX: usize = 32;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub IpAddr);

/// Proxies whose word is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Where they are. Empty: there are none, and headers say nothing.
    pub trusted: Vec<Network>,
    /// Where they write whom they speak for.
    pub header: AddressHeader,
}

/// The header to which proxies add whom they speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressHeader {
    /// `x-forwarded-for: client, proxy`.
    #[default]
    XForwardedFor,
    /// `forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

/// Addresses that begin with the same bits: `10.0.0.0/8`, or one of them: `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no [`Network`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no network: give an address, or one with its bits as in `10.0.0.0/8` or `fd00::/8`")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.chars().take(100).collect());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| error())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(error)?,
        };
        Ok(Self { address, bits })
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same_bits(u32::from(ours), u32::from(theirs), self.bits, 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same_bits(u128::from(ours), u128::from(theirs), self.bits, 128),
            _ => false,
        }
    }
}

fn same_bits(ours: impl Into<u128>, theirs: impl Into<u128>, bits: u8, width: u8) -> bool {
    (ours.into() ^ theirs.into()).checked_shr(u32::from(width - bits)).unwrap_or(0) == 0
}

impl Proxies {
    /// Whom a request comes from that `peer` has sent.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return ClientAddress(client);
        }
        let name = match self.header {
            AddressHeader::XForwardedFor => X_FORWARDED_FOR,
            AddressHeader::Forwarded => FORWARDED,
        };
        let hops = headers.get_all(name).iter().rev().flat_map(|value| from_the_right(value, b','));
        for hop in hops.take(HOPS_MAX) {
            let said = match self.header {
                AddressHeader::XForwardedFor => address(hop),
                AddressHeader::Forwarded => forwarded_for(hop),
            };
            // `unknown`, a name of the proxy's own, or nonsense: beyond, nobody vouches for anything.
            let Some(said) = said else { break };
            client = said.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        ClientAddress(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.has(address))
    }
}

/// Writes for whom a request is sent on: for one client, whoever else may have been named.
pub(crate) fn pass_on(headers: &mut HeaderMap, client: Option<ClientAddress>) {
    headers.remove(X_FORWARDED_FOR);
    headers.remove(FORWARDED);
    let value = client.and_then(|client| HeaderValue::from_str(&client.0.to_string()).ok());
    if let Some(value) = value {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// The parts of a value from the last to the first, divided where `divider` stands outside of quotes. From the right,
/// since there a proxy has written, and what a client has left open in front of that must not swallow it.
fn from_the_right(value: &HeaderValue, divider: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value.as_bytes());
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let cut = (0..text.len()).rev().find(|&at| {
            is_quoted ^= text[at] == b'"' && !is_escaped(text, at);
            text[at] == divider && !is_quoted
        });
        rest = cut.map(|at| &text[..at]);
        Some(&text[cut.map_or(0, |at| at + 1)..])
    })
}

fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// `for=` of one element of RFC 7239.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let element = HeaderValue::from_bytes(element).ok()?;
    let mut pairs = from_the_right(&element, b';').filter_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().to_owned())
    });
    // Twice is nonsense.
    let value = pairs.next().filter(|_| pairs.next().is_none())?;
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(&value);
    address(bare.as_bytes())
}

/// An address, perhaps in brackets, perhaps with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(header: AddressHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"].map(|text| text.parse().unwrap());
        Proxies { trusted: trusted.to_vec(), header }
    }

    fn client(header: AddressHeader, peer: &str, values: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        proxies(header).client(peer.parse().unwrap(), &headers).0.to_string()
    }

    fn xff(peer: &str, values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        client(AddressHeader::XForwardedFor, peer, &values)
    }

    fn forwarded(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| ("forwarded", *value)).collect();
        client(AddressHeader::Forwarded, "10.0.0.1", &values)
    }

    #[test]
    fn a_stranger_says_nothing_about_himself() {
        assert_eq!(xff("203.0.113.9", &["10.0.0.7"]), "203.0.113.9");
        assert_eq!(xff("192.0.2.2", &["1.2.3.4"]), "192.0.2.2");
        let nobody = Proxies::default().client([10, 0, 0, 1].into(), &HeaderMap::new());
        assert_eq!(nobody.0.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        assert_eq!(xff("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(xff("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.1.1.1"]), "203.0.113.9", "what he sent himself is left");
        assert_eq!(xff("::ffff:10.0.0.1", &["6.6.6.6", "203.0.113.9,192.0.2.1"]), "203.0.113.9", "over lines");
        assert_eq!(xff("10.0.0.1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(xff("10.0.0.1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(xff("fd00::1", &["203.0.113.9:1234"]), "203.0.113.9");
        assert_eq!(xff("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are proxies: the first of them");
    }

    #[test]
    fn beyond_what_cannot_be_read_nobody_vouches() {
        assert_eq!(xff("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", &["6.6.6.6, unknown"]), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", &["6.6.6.6, , 10.0.0.2"]), "10.0.0.2");
        let long = vec!["10.0.0.2"; 1_000].join(",");
        assert_eq!(xff("10.0.0.1", &[&format!("6.6.6.6,{long}")]), "10.0.0.2");
    }

    #[test]
    fn the_other_header_is_the_clients_own() {
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client(AddressHeader::XForwardedFor, "10.0.0.1", &both), "203.0.113.9");
        assert_eq!(client(AddressHeader::Forwarded, "10.0.0.1", &both), "6.6.6.6");
    }

    #[test]
    fn the_standard_header_is_read_from_the_right_and_not_into_quotes() {
        assert_eq!(forwarded(&["for=203.0.113.9;proto=https, For=\"10.0.0.2:80\""]), "203.0.113.9");
        assert_eq!(forwarded(&["for=6.6.6.6, host=h;for=\"[2001:db8::7]:4711\""]), "2001:db8::7");
        assert_eq!(forwarded(&["for=203.0.113.9;host=\"x,for=6.6.6.6\""]), "203.0.113.9");
        assert_eq!(forwarded(&["for=203.0.113.9;host=\"x\\\",for=6.6.6.6\""]), "203.0.113.9");
        assert_eq!(forwarded(&["for=\", for=203.0.113.9"]), "203.0.113.9", "an open quote swallows nothing");
        assert_eq!(forwarded(&["for=203.0.113.9;for=6.6.6.6"]), "10.0.0.1");
        assert_eq!(forwarded(&["for=6.6.6.6, for=_hidden"]), "10.0.0.1");
    }

    #[test]
    fn a_network_is_an_address_with_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
        ] {
            let network: Network = text.parse().unwrap();
            assert!(network.has(inside.parse().unwrap()) && !network.has(outside.parse().unwrap()), "{text}");
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "proxy", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_in_front_changes_nothing(sent in "[ -~]{0,80}") {
            let spoofed = format!("{sent}, 203.0.113.9");
            prop_assert_eq!(xff("10.0.0.1", &[&spoofed]), "203.0.113.9");
            prop_assert_eq!(forwarded(&[&format!("{sent}, for=203.0.113.9")]), "203.0.113.9");
        }
    }
}
