//! At a bound the answer is a typed refusal, at once, and health answers as ever.

use std::time::{Duration, Instant};

use attune_api::v1;
use attune_gateway::GatewayConfig;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    raw::{Ask, read_answer},
    support::Server,
};

/// Far more than a refusal takes, and far less than waiting for anything would.
const AT_ONCE: Duration = Duration::from_secs(2);

fn sentiment() -> Ask {
    Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#)
}

/// A server that has two places, both taken by requests whose bodies do not come.
async fn full() -> (Server, Vec<TcpStream>) {
    let mut config = GatewayConfig::default();
    config.requests.in_flight_max = 2;
    let server = Server::with(config).await;
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sentiment().key(&server.key).head().as_bytes()).await.unwrap();
        holders.push(stream);
    }
    // The refusal itself shows that both have arrived.
    while server.ask(sentiment()).await.status != 429 {}
    (server, holders)
}

#[tokio::test]
async fn beyond_the_last_place_is_a_429_that_says_when_to_come_again() {
    let (server, mut holders) = full().await;
    let start = Instant::now();
    let answer = server.ask(sentiment()).await;
    assert!(start.elapsed() < AT_ONCE);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (429, Some("overloaded")));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(answer.header("ratelimit").contains("r=0"));
    let openai = server.ask(Ask::post("/v1/embeddings", "{}")).await;
    assert_eq!((openai.status, openai.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    let tei = server.ask(Ask::post("/embed", "{}")).await;
    assert_eq!((tei.status, tei.json()["error_type"].as_str()), (429, Some("Overloaded")));

    let call = v1::ClassifyRequest { inputs: vec!["a".into()], ..Default::default() };
    let status = server.client().await.classify(call).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());

    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(Ask::get(path).send(server.address).await.status, 200, "{path} waits for nobody");
    }
    for holder in &mut holders {
        holder.write_all(br#"{"inputs":["a"]}"#).await.unwrap();
        assert_eq!(read_answer(holder).await.unwrap().status, 200, "who was admitted is served");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let (server, holders) = full().await;
    drop(holders);
    let start = Instant::now();
    while server.ask(sentiment()).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(30), "a place was lost");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let mut config = GatewayConfig::default();
    config.requests.body_read_max = Duration::from_millis(100);
    let server = Server::with(config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(sentiment().key(&server.key).head().as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("request_timeout")));
}

#[tokio::test]
async fn open_streams_have_a_bound_too() {
    let mut config = GatewayConfig::default();
    config.requests.streams_max = 1;
    let server = Server::with(config).await;
    let open = || async {
        let (questions, receiver) = tokio::sync::mpsc::channel(1);
        let answers = server.client().await.embed_stream(ReceiverStream::new(receiver)).await?;
        Ok::<_, tonic::Status>((questions, answers))
    };
    let first = open().await.unwrap();
    assert_eq!(open().await.unwrap_err().code(), Code::ResourceExhausted);
    drop(first);
    let start = Instant::now();
    while open().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "a place was lost");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_flood_is_served_or_refused_and_never_left_hanging() {
    let server = Server::with_short_queue().await;
    let body = json!({"inputs": vec!["some words to compute ".repeat(10); 8]}).to_string();
    let ask = Ask::post("/v1/sentiment", body).key(&server.key);
    let flood = (0..200).map(|_| {
        let (ask, address) = (ask.clone(), server.address);
        tokio::spawn(async move { ask.send(address).await })
    });
    let (mut served, mut refused) = (0, 0);
    for answer in flood.collect::<Vec<_>>() {
        let answer = tokio::time::timeout(Duration::from_secs(120), answer).await.expect("never a hang").unwrap();
        match answer.status {
            200 => served += 1,
            429 => {
                assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
                refused += 1;
            }
            other => panic!("{other}: {}", answer.json()),
        }
    }
    assert!(served > 0 && served + refused == 200, "{served} served, {refused} refused");
    server.still_serves().await;
}

#[tokio::test]
async fn texts_whose_client_has_gone_leave_the_queue() {
    let server = Server::start().await;
    let body = json!({"inputs": vec!["some words to compute ".repeat(10); 1_024]}).to_string();
    let request = Ask::post("/v1/sentiment", body).key(&server.key).bytes();
    let start = Instant::now();
    while server.inference.stats().total.cancelled == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was ever cancelled");
        let mut gone = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(&request).await.unwrap();
            gone.push(stream);
        }
        while server.inference.stats().waiting[0].texts == 0 && start.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(gone);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.still_serves().await;
}
