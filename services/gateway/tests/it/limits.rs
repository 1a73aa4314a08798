//! Rates over the wire.

use std::time::Duration;

use attune_api::{Scope, v1};
use attune_gateway::{GatewayConfig, RateLimits};
use attune_store::cache::RateLimit;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{raw::Ask, support::Server};

/// So many at once, and then nothing for a day.
fn limit(burst: u32) -> Option<RateLimit> {
    Some(RateLimit { burst, rate: 1, period: Duration::from_secs(100_000) })
}

async fn server(limits: RateLimits) -> Server {
    Server::with(GatewayConfig { limits, ..GatewayConfig::default() }).await
}

#[tokio::test]
async fn a_key_that_is_over_its_rate_is_told_so_and_others_are_served() {
    let server = server(RateLimits { key: limit(3), tenant: limit(100), ..RateLimits::default() }).await;
    for remaining in ["r=2", "r=1", "r=0"] {
        let answer = server.ask(Ask::get("/v1/models")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("ratelimit").contains(remaining), "{}", answer.header("ratelimit"));
        assert!(answer.header("ratelimit-policy").contains("\"key\";q=3;"), "{}", answer.header("ratelimit-policy"));
    }
    let refused = server.ask(Ask::post("/v1/sentiment", "{}")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate_limited")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(refused.header("ratelimit").starts_with("\"key\";r=0;t="), "{}", refused.header("ratelimit"));
    let openai = server.ask(Ask::post("/v1/embeddings", "{}")).await;
    assert_eq!((openai.status, openai.json()["error"]["code"].as_str()), (429, Some("rate_limit_exceeded")));
    let status = server.client().await.list_models(v1::ListModelsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay > Some(Duration::ZERO));

    let other = server.key_with(&[Scope::Read]).await;
    assert_eq!(Ask::get("/v1/models").key(&other).send(server.address).await.status, 200);
    for path in ["/livez", "/readyz", "/metrics", "/docs/"] {
        assert_eq!(Ask::get(path).send(server.address).await.status, 200, "{path} is never limited");
    }
}

#[tokio::test]
async fn a_tenant_that_is_over_its_rate_leaves_the_others_theirs() {
    let server = server(RateLimits { tenant: limit(4), ..RateLimits::default() }).await;
    let acme = server.tenant("acme").await;
    for status in [200, 200, 200, 200, 429, 429] {
        assert_eq!(Ask::get("/v1/models").key(&acme).send(server.address).await.status, status);
    }
    assert_eq!(server.ask(Ask::get("/v1/models")).await.status, 200);
}

#[tokio::test]
async fn an_address_that_guesses_is_shut_out_before_its_key_is_looked_at() {
    let server = server(RateLimits { address: limit(20), failure_cost: 9, ..RateLimits::default() }).await;
    let guess = async || Ask::get("/v1/api-keys").key("att_guess").send(server.address).await;
    assert_eq!((guess().await.status, guess().await.status), (401, 401));
    let refused = guess().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate_limited")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("address"), "{}", refused.json());
    assert!(refused.header("ratelimit-policy").is_empty(), "a stranger is told no policy");
    assert_eq!(server.ask(Ask::get("/v1/models")).await.status, 429, "a right key would tell that a guess was right");
    assert_eq!(Ask::get("/livez").send(server.address).await.status, 200);
}
