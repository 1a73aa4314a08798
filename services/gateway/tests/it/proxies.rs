//! Where a request comes from, behind proxies: what of it is believed, and what for.

use std::time::Duration;

use attune_gateway::{AddressHeader, GatewayConfig, Proxies, RateLimits};
use attune_store::cache::RateLimit;
use serde_json::json;

use crate::{raw::Ask, support::Server};

/// So many requests of one address, and then none for a day.
fn config(trusted: &[&str], header: AddressHeader, burst: u32) -> GatewayConfig {
    let limit = RateLimit { burst, rate: 1, period: Duration::from_secs(100_000) };
    GatewayConfig {
        limits: RateLimits { address: Some(limit), ..RateLimits::default() },
        proxies: Proxies { trusted: trusted.iter().map(|text| text.parse().unwrap()).collect(), header },
        ..GatewayConfig::default()
    }
}

async fn status(server: &Server, headers: &[(&str, &str)]) -> u16 {
    let ask = headers.iter().fold(Ask::get("/v1/models"), |ask, (name, value)| ask.header(name, value));
    server.ask(ask).await.status
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_a_rate_of_its_own_whatever_he_claims() {
    let server = Server::with(config(&["127.0.0.0/8"], AddressHeader::XForwardedFor, 2)).await;
    let ask = async |value: &str| status(&server, &[("x-forwarded-for", value)]).await;
    assert_eq!((ask("203.0.113.1").await, ask("6.6.6.6, 203.0.113.1").await), (200, 200));
    for spoofed in
        ["203.0.113.1", "7.7.7.7, 203.0.113.1", "unknown, 203.0.113.1:443", "203.0.113.2, 203.0.113.1, 127.0.0.9"]
    {
        assert_eq!(ask(spoofed).await, 429, "{spoofed}");
    }
    let other = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.2")];
    assert_eq!(status(&server, &other).await, 429, "the header that the proxy does not write");
    assert_eq!(ask("203.0.113.2").await, 200, "another client");
    assert_eq!((ask("nonsense").await, status(&server, &[]).await), (200, 200), "of the proxy itself");
    assert_eq!(status(&server, &[]).await, 429);
}

#[tokio::test]
async fn the_standard_header_is_believed_where_it_is_the_proxys() {
    let server = Server::with(config(&["127.0.0.1"], AddressHeader::Forwarded, 1)).await;
    assert_eq!(status(&server, &[("forwarded", "for=\"[2001:db8::1]:4711\";proto=https")]).await, 200);
    // One network of 64 bits is one client.
    assert_eq!(status(&server, &[("forwarded", "for=6.6.6.6, for=\"[2001:db8::2]\"")]).await, 429);
    let other = [("forwarded", "for=\"[2001:db8::1]\""), ("x-forwarded-for", "203.0.113.2")];
    assert_eq!(status(&server, &other).await, 429);
    assert_eq!(status(&server, &[("forwarded", "for=203.0.113.2")]).await, 200);
}

#[tokio::test]
async fn without_proxies_nobody_says_where_he_comes_from() {
    for trusted in [&[][..], &["10.0.0.0/8", "::1"]] {
        let server = Server::with(config(trusted, AddressHeader::XForwardedFor, 2)).await;
        for (client, expected) in [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.3", 429)] {
            assert_eq!(status(&server, &[("x-forwarded-for", client)]).await, expected, "{trusted:?}");
        }
    }
}

#[tokio::test]
async fn the_audit_log_says_from_where() {
    let server = Server::with(config(&["127.0.0.1"], AddressHeader::XForwardedFor, 100)).await;
    let make = Ask::post("/v1/api-keys", r#"{"title":"a","scopes":["read"]}"#);
    let made = server.ask(make.header("x-forwarded-for", "6.6.6.6, 203.0.113.7")).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let log = server.ask(Ask::get("/v1/audit")).await.json();
    assert_eq!(log["entries"][0]["detail"]["address"], "203.0.113.7", "{log}");
    assert_eq!(log["entries"][0]["target"], made.json()["id"]);
}

#[tokio::test]
async fn a_replica_learns_from_its_gateway_who_asks() {
    let replica = Server::with(config(&["127.0.0.1"], AddressHeader::XForwardedFor, 2)).await;
    let gateway = Server::before(&[&replica], config(&["127.0.0.1"], AddressHeader::XForwardedFor, 100)).await;
    let ask = async |client: &str| status(&gateway, &[("x-forwarded-for", client), ("forwarded", "for=7.7.7.7")]).await;
    assert_eq!((ask("203.0.113.1").await, ask("6.6.6.6, 203.0.113.1").await), (200, 200));
    assert_eq!(ask("203.0.113.1").await, 429, "the replica counts the client, not the gateway");
    assert_eq!(ask("203.0.113.2").await, 200);
    let direct = Ask::post("/embed", json!({"inputs": ["a"]}).to_string());
    assert_eq!(replica.ask(direct).await.status, 200, "the peer itself has a rate too");
}
