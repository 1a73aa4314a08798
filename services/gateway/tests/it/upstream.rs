//! A gateway whose models are in other processes.

use std::time::{Duration, Instant};

use attune_api::v1;
use attune_gateway::GatewayConfig;
use serde_json::json;
use tokio_stream::StreamExt;

use crate::{
    raw::Ask,
    support::{EMBEDDER, Server},
};

fn embed() -> Ask {
    Ask::post("/embed", json!({"inputs": ["one text"]}).to_string())
}

#[tokio::test]
async fn an_answer_is_that_of_the_replica() {
    let replica = Server::start().await;
    let gateway = Server::before(&[&replica], GatewayConfig::default()).await;
    assert_eq!(gateway.ask(embed()).await.body, replica.ask(embed()).await.body);
    let listed = gateway.ask(Ask::get("/v1/models")).await.json();
    assert_eq!(listed["data"][0]["id"], EMBEDDER);

    let bad = Ask::post("/v1/sentiment", r#"{"inputs":["a",1]}"#).header("x-request-id", "mine");
    let answer = gateway.ask(bad).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["request_id"]), (422, &json!("mine")));
    assert_eq!(problem["errors"][0]["pointer"], "/inputs/1");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("x-request-id"), "mine");
}

#[tokio::test]
async fn who_may_not_does_not_get_through() {
    let replica = Server::start().await;
    let gateway = Server::before(&[&replica], GatewayConfig::default()).await;
    assert_eq!(embed().send(gateway.address).await.status, 401);
    let reader = gateway.key_with(&[attune_api::Scope::Read]).await;
    assert_eq!(embed().key(&reader).send(gateway.address).await.status, 403);
}

#[tokio::test]
async fn calls_and_streams_go_through() {
    let replica = Server::start().await;
    let gateway = Server::before(&[&replica], GatewayConfig::default()).await;
    let request = v1::EmbedRequest { inputs: vec!["one text".into()], ..Default::default() };
    let direct = replica.client().await.embed(request.clone()).await.unwrap().into_inner();
    let through = gateway.client().await.embed(request.clone()).await.unwrap().into_inner();
    assert_eq!(direct.embeddings, through.embeddings);

    let wrong = v1::EmbedRequest { model: "nobody".into(), ..request.clone() };
    let status = gateway.client().await.embed(wrong).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);

    let items = (0..100).map(move |id| v1::EmbedStreamRequest { id, request: Some(request.clone()) });
    let answers = gateway.client().await.embed_stream(tokio_stream::iter(items)).await.unwrap().into_inner();
    let ids: Vec<u64> = answers.map(|answer| answer.unwrap().id).collect().await;
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deadline_is_carried_on() {
    let replica = Server::start().await;
    let gateway = Server::before(&[&replica], GatewayConfig::default()).await;
    let texts = vec!["word ".repeat(400); 256];
    let slow = Ask::post("/v1/sentiment", json!({"inputs": texts}).to_string()).header("x-request-timeout-ms", "20");
    let answer = gateway.ask(slow).await;
    assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("deadline_exceeded")));
    replica.still_serves().await;
}

#[tokio::test]
async fn one_replica_dies_and_nobody_notices() {
    let mut dying = Server::start().await;
    let living = dying.beside().await;
    let gateway = Server::before(&[&dying, &living], GatewayConfig::default()).await;
    for number in 0..60 {
        if number == 20 {
            dying.kill().await;
        }
        let answer = gateway.ask(embed()).await;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.json());
    }
}

#[tokio::test]
async fn without_a_replica_the_answer_is_try_again() {
    let mut replica = Server::start().await;
    let gateway = Server::before(&[&replica], GatewayConfig::default()).await;
    replica.kill().await;
    let begun = Instant::now();
    let answer = gateway.ask(embed()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after") == "1" && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(gateway.ask(Ask::get("/livez")).await.status, 200);
    let none = Server::before(&[], GatewayConfig::default()).await;
    assert_eq!(none.ask(embed()).await.status, 503);
}
