//! What only a server can do to us.

use std::time::Duration;

use attune_store::network::cache::RedisCache;
use attune_store::{ErrorKind, StoreError};
use url::Url;

use crate::servers::server;
use crate::silent::{absent, silent};

/// Enough on any machine where an answer is expected.
const PATIENT: Duration = Duration::from_secs(60);

async fn open(url: &str, limit: Duration) -> Result<RedisCache, StoreError> {
    RedisCache::open(&url.parse().unwrap(), limit, limit).await
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_a_silent_one_is_given_up() {
    let error = open(&format!("redis://127.0.0.1:{}", absent().await), PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let (port, _task) = silent().await;
    let error = open(&format!("redis://127.0.0.1:{port}"), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let Some(url) = server("ATTUNE_TEST_REDIS") else { return };
    let mut url: Url = url.parse().unwrap();
    url.set_username("nobody").unwrap();
    url.set_password(Some("a-wrong-secret")).unwrap();
    let error = open(url.as_str(), PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("a-wrong-secret"), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_refused() {
    let Some(url) = server("ATTUNE_TEST_REDIS") else { return };
    let mut url: Url = url.parse().unwrap();
    url.set_path("/9999");
    let error = open(url.as_str(), PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}
