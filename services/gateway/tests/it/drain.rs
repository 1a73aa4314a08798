//! A shutdown answers what is in flight and takes nothing new.

use std::time::Duration;

use attune_api::v1;
use attune_gateway::GatewayConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    raw::{Ask, read_answer},
    support::Server,
};

const NEVER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn readiness_goes_first_and_requests_in_flight_are_answered() {
    let mut server = Server::start().await;
    let body = r#"{"inputs":["a"]}"#;
    let mut in_flight = TcpStream::connect(server.address).await.unwrap();
    let head = Ask::post("/v1/sentiment", body).key(&server.key).head();
    in_flight.write_all(head.as_bytes()).await.unwrap();
    let mut watch = HealthClient::new(server.channel().await)
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap();

    server.stop();
    let mut ready = server.ask(Ask::get("/readyz")).await;
    while ready.status == 200 {
        ready = server.ask(Ask::get("/readyz")).await;
    }
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("draining")));

    tokio::time::sleep(Duration::from_millis(100)).await;
    in_flight.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut in_flight).await.unwrap().status, 200);
    tokio::time::timeout(NEVER, server.stopped()).await.expect("drained");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stream_gets_its_answers_and_then_the_reason() {
    let mut server = Server::start().await;
    let (questions, receiver) = tokio::sync::mpsc::channel(4);
    let request = v1::EmbedRequest { inputs: vec!["a".into()], ..Default::default() };
    questions.send(v1::EmbedStreamRequest { id: 1, request: Some(request) }).await.unwrap();
    let call = server.client().await.embed_stream(ReceiverStream::new(receiver)).await;
    let mut answers = call.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, 1);

    server.stop();
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    tokio::time::timeout(NEVER, server.stopped()).await.expect("a stream does not hold the drain up");
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off() {
    let mut config = GatewayConfig::default();
    config.drain.notice = Duration::ZERO;
    config.drain.drain_max = Duration::from_millis(300);
    let mut server = Server::with(config).await;
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    let head = Ask::post("/v1/sentiment", "never sent").key(&server.key).head();
    stuck.write_all(head.as_bytes()).await.unwrap();
    server.still_serves().await;

    server.stop();
    tokio::time::timeout(NEVER, server.stopped()).await.expect("a drain has an end");
    assert!(read_answer(&mut stuck).await.is_none(), "closed without an answer");
}
