//! What a sound REST request gets.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    raw::Ask,
    support::{CLASSIFIER, EMBEDDER, Server},
};

fn floats(row: &serde_json::Value) -> Vec<f32> {
    row.as_array().expect("a list of numbers").iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn length(row: &[f32]) -> f32 {
    row.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[tokio::test]
async fn embeddings_come_as_numbers_and_as_the_same_numbers_in_base64() {
    let server = Server::start().await;
    let ask = |format: &str| {
        let body = json!({"model": EMBEDDER, "input": ["one text", "another"], "encoding_format": format});
        server.ask(Ask::post("/v1/embeddings", body.to_string()))
    };
    let (numbers, encoded) = (ask("float").await.json(), ask("base64").await.json());
    assert_eq!((&numbers["object"], &numbers["model"]), (&json!("list"), &json!(EMBEDDER)));
    assert_eq!(numbers["usage"]["prompt_tokens"], numbers["usage"]["total_tokens"]);
    for index in 0..2 {
        let row = floats(&numbers["data"][index]["embedding"]);
        assert!((length(&row) - 1.0).abs() < 1e-5);
        let bytes = BASE64_STANDARD.decode(encoded["data"][index]["embedding"].as_str().unwrap()).unwrap();
        let decoded: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(row, decoded, "shortest decimal notation loses nothing");
        assert_eq!(numbers["data"][index]["index"], index);
    }
}

#[tokio::test]
async fn fewer_dimensions_are_the_leading_ones_at_unit_length() {
    let server = Server::start().await;
    let ask = |dimensions: usize| {
        let body = json!({"model": EMBEDDER, "input": "one text", "dimensions": dimensions});
        server.ask(Ask::post("/v1/embeddings", body.to_string()))
    };
    let all = floats(&ask(server.dimensions()).await.json()["data"][0]["embedding"]);
    let few = floats(&ask(8).await.json()["data"][0]["embedding"]);
    assert_eq!(few.len(), 8);
    let scale = length(&all[..8]);
    assert!(few.iter().zip(&all).all(|(few, all)| (few - all / scale).abs() < 1e-5));
}

#[tokio::test]
async fn tei_answers_bare_rows() {
    let server = Server::start().await;
    let answer = server.ask(Ask::post("/embed", json!({"inputs": ["a", "b"]}).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    assert!((length(&floats(&answer.json()[0])) - 1.0).abs() < 1e-5);
    let one = server.ask(Ask::post("/embed", json!({"inputs": "a"}).to_string())).await.json();
    assert_eq!(floats(&one[0]), floats(&answer.json()[0]), "a text does not depend on its company");

    let info = server.ask(Ask::get("/info")).await.json();
    assert_eq!((&info["model_id"], &info["max_client_batch_size"]), (&json!(EMBEDDER), &json!(1_024)));
    assert!(info["model_type"]["embedding"]["pooling"].is_string() && info["max_input_length"].as_u64() > Some(0));
}

#[tokio::test]
async fn sentiment_names_its_labels() {
    let server = Server::start().await;
    let body = json!({"inputs": ["what a lovely day", "what a mess"]}).to_string();
    let answer = server.ask(Ask::post("/v1/sentiment", body)).await;
    let json = answer.json();
    assert_eq!((answer.status, &json["model"]), (200, &json!(CLASSIFIER)), "{json}");
    for result in json["results"].as_array().unwrap() {
        let scores = result["scores"].as_object().unwrap();
        assert_eq!(scores.keys().collect::<Vec<_>>(), ["negative", "neutral", "positive"]);
        let sum: f64 = scores.values().map(|score| score.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        let best = scores.values().map(|score| score.as_f64().unwrap()).fold(0.0, f64::max);
        assert_eq!((result["score"].as_f64(), &scores[result["label"].as_str().unwrap()]), (Some(best), &json!(best)));
    }
}

#[tokio::test]
async fn models_are_listed_as_openai_lists_them() {
    let server = Server::start().await;
    let list = server.ask(Ask::get("/v1/models")).await.json();
    let embedder = list["data"].as_array().unwrap().iter().find(|model| model["id"] == EMBEDDER).unwrap().clone();
    assert_eq!(
        (&list["object"], &embedder["object"], &embedder["task"]),
        (&json!("list"), &json!("model"), &json!("embed"))
    );
    assert_eq!(embedder["dimensions"], server.dimensions());
    let one = server.ask(Ask::get(&format!("/v1/models/{EMBEDDER}"))).await.json();
    assert_eq!(one, embedder);
}

#[tokio::test]
async fn every_answer_carries_its_request_id_and_its_timing() {
    let server = Server::start().await;
    let ask = Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#).header("x-request-id", "mine-1");
    let answer = server.ask(ask).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    for part in ["queue;dur=", "tokenize;dur=", "infer;dur=", "total;dur="] {
        assert!(answer.header("server-timing").contains(part), "{}", answer.header("server-timing"));
    }
    let refusal = server.ask(Ask::get("/v1/nowhere")).await;
    assert!(!refusal.header("x-request-id").is_empty() && refusal.header("server-timing").contains("total"));
}

#[tokio::test]
async fn http2_without_tls_carries_rest_too() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/v1/sentiment", server.address))
        .header("content-type", "application/json")
        .header("x-api-key", &server.key)
        .body(Full::new(Bytes::from_static(br#"{"inputs":["a"]}"#)));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), 1);
}
