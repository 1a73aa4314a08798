//! Keys and scopes, over REST and gRPC.

use attune_api::{Scope, v1};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    raw::Ask,
    support::{Server, keys},
};

fn sentiment() -> Ask {
    Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#)
}

#[tokio::test]
async fn no_key_and_a_wrong_key_are_told_apart_from_a_missing_scope() {
    let server = Server::start().await;
    let stranger = keys().await.1.secret;
    let reader = server.key_with(&[Scope::Read]).await;
    let refused = [
        (sentiment(), 401),
        (sentiment().key(&stranger), 401),
        (sentiment().key("att_nonsense"), 401),
        (sentiment().header("authorization", "Basic YTpi"), 401),
        (sentiment().header("x-api-key", &stranger), 401),
        (sentiment().key(&reader), 403),
    ];
    for (ask, status) in refused {
        let answer = ask.send(server.address).await;
        assert_eq!((answer.status, answer.json()["status"].as_u64()), (status, Some(u64::from(status))));
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401);
        assert!(!answer.body.windows(stranger.len()).any(|bytes| bytes == stranger.as_bytes()), "no key is echoed");
    }
    let openai = Ask::post("/v1/embeddings", "{}").send(server.address).await;
    assert_eq!((openai.status, openai.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    let tei = Ask::post("/embed", "{}").send(server.address).await;
    assert_eq!((tei.status, tei.json()["error_type"].as_str()), (401, Some("Unauthorized")));
    server.still_serves().await;
}

#[tokio::test]
async fn either_header_carries_a_key_and_a_scope_suffices() {
    let server = Server::start().await;
    let infer = server.key_with(&[Scope::Infer]).await;
    assert_eq!(sentiment().key(&infer).send(server.address).await.status, 200);
    assert_eq!(sentiment().header("x-api-key", &infer).send(server.address).await.status, 200);
    assert_eq!(sentiment().header("authorization", &format!("bearer {infer}")).send(server.address).await.status, 200);
    let reader = server.key_with(&[Scope::Read]).await;
    assert_eq!(Ask::get("/v1/models").key(&reader).send(server.address).await.status, 200);
}

#[tokio::test]
async fn a_key_comes_before_the_body() {
    let server = Server::start().await;
    // The refusal arrives although the client has much to say, and is not lost to a reset.
    let answer = Ask::post("/v1/sentiment", vec![b'x'; 8 << 20]).send(server.address).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn health_metrics_and_docs_need_no_key() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs/"] {
        assert_eq!(Ask::get(path).send(server.address).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn grpc_asks_for_the_same_keys() {
    let server = Server::start().await;
    let request = || v1::ClassifyRequest { inputs: vec!["a".into()], ..Default::default() };
    let status = server.client_with(None).await.classify(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
    let status = server.client_with(Some("att_nonsense")).await.classify(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let reader = server.key_with(&[Scope::Read]).await;
    let mut client = server.client_with(Some(&reader)).await;
    assert_eq!(client.classify(request()).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(client.list_models(v1::ListModelsRequest {}).await.is_ok());
}
