//! What only a server can do to us.

use std::time::Duration;

use attune_store::network::documents::MongoDocuments;
use attune_store::{ErrorKind, StoreError};
use url::Url;

use super::backends::skip_on_ferret;
use crate::servers::server;
use crate::silent::{absent, silent};

async fn open(url: &str, limit: Duration) -> Result<MongoDocuments, StoreError> {
    MongoDocuments::open(&url.parse().unwrap(), 4, limit).await
}

/// The driver tells a server that is away from one that is silent no further than in its words.
#[tokio::test]
async fn an_absent_or_silent_server_is_given_up() {
    let (silent_port, _task) = silent().await;
    for port in [absent().await, silent_port] {
        let error = open(&format!("mongodb://127.0.0.1:{port}/attune"), Duration::from_millis(200)).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let Some(url) = server("ATTUNE_TEST_MONGODB") else { return };
    let patient = Duration::from_secs(60);
    let documents = open(&url, patient).await.unwrap();
    if !documents.is_atomic() {
        return skip_on_ferret("wrong_credentials_are_denied", "it asks for none");
    }
    let mut url: Url = url.parse().unwrap();
    url.set_username("nobody").unwrap();
    url.set_password(Some("a-wrong-secret")).unwrap();
    let error = open(url.as_str(), patient).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("a-wrong-secret"), "{error:?}");
}
