//! What a sound gRPC call gets, and that it is what REST gets.

use attune_api::v1;
use serde_json::json;
use tokio_stream::StreamExt;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

use crate::{
    raw::Ask,
    support::{CLASSIFIER, EMBEDDER, Server},
};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn rest_and_grpc_give_the_same_bits() {
    let server = Server::start().await;
    let request = v1::EmbedRequest { inputs: texts(&["one text", ""]), ..Default::default() };
    let response = server.client().await.embed(request).await.unwrap();
    assert!(response.metadata().get("server-timing").unwrap().to_str().unwrap().contains("infer;dur="));
    assert!(response.metadata().contains_key("x-request-id"));
    let grpc = response.into_inner();
    assert_eq!((grpc.model.as_str(), grpc.dimensions as usize), (EMBEDDER, server.dimensions()));
    assert_eq!(grpc.usage.unwrap().texts, 2);

    let rest = server.ask(Ask::post("/embed", json!({"inputs": ["one text", ""]}).to_string())).await.json();
    for (row, embedding) in rest.as_array().unwrap().iter().zip(&grpc.embeddings) {
        let row: Vec<f32> = row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        assert_eq!(row, embedding.values);
    }
}

#[tokio::test]
async fn classes_come_with_their_probabilities() {
    let server = Server::start().await;
    let request = v1::ClassifyRequest { inputs: texts(&["a", "b"]), ..Default::default() };
    let answer = server.client().await.classify(request).await.unwrap().into_inner();
    assert_eq!((answer.model.as_str(), answer.labels.len()), (CLASSIFIER, 3));
    for result in &answer.results {
        let best = answer.labels.iter().position(|label| *label == result.label).unwrap();
        assert_eq!(result.probabilities[best], result.score);
        assert!((result.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[tokio::test]
async fn token_ids_are_taken_instead_of_texts() {
    let server = Server::start().await;
    let ids = v1::TokenIds { ids: vec![1, 2, 3] };
    let request = v1::EmbedRequest { token_ids: vec![ids], normalize: Some(false), ..Default::default() };
    let answer = server.client().await.embed(request).await.unwrap().into_inner();
    assert_eq!(answer.embeddings[0].tokens, 3);
}

#[tokio::test]
async fn models_are_listed() {
    let server = Server::start().await;
    let models = server.client().await.list_models(v1::ListModelsRequest {}).await.unwrap().into_inner().models;
    let names: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.task(), model.is_default)).collect();
    assert_eq!(names, [(EMBEDDER, v1::Task::Embed, true), (CLASSIFIER, v1::Task::Classify, true)]);
}

#[tokio::test]
async fn a_stream_answers_in_order_and_a_bad_item_costs_only_itself() {
    const ITEMS: u64 = 200;
    let server = Server::start().await;
    let items = (0..ITEMS).map(|id| v1::EmbedStreamRequest {
        id,
        request: Some(v1::EmbedRequest {
            // Every tenth item asks for a model that is not there, and lengths differ.
            model: if id % 10 == 3 { "gpt-9".to_owned() } else { String::new() },
            inputs: vec!["word ".repeat(id as usize % 40)],
            ..Default::default()
        }),
    });
    let stream = server.client().await.embed_stream(tokio_stream::iter(items)).await.unwrap().into_inner();
    let answers: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(answers.iter().map(|answer| answer.id).collect::<Vec<_>>(), (0..ITEMS).collect::<Vec<_>>());
    for answer in answers {
        match answer.outcome.unwrap() {
            v1::embed_stream_response::Outcome::Response(response) => {
                assert_eq!((answer.id % 10 != 3, response.embeddings.len()), (true, 1));
            }
            v1::embed_stream_response::Outcome::Error(error) => {
                assert_eq!((answer.id % 10, error.code.as_str()), (3, "model_not_found"));
                assert_eq!((error.status, error.fields[0].pointer.as_str()), (tonic::Code::NotFound as i32, "/model"));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_of_classifications_answers_too() {
    let server = Server::start().await;
    let items = (0..3).map(|id| v1::ClassifyStreamRequest {
        id,
        request: Some(v1::ClassifyRequest { inputs: texts(&["a"]), ..Default::default() }),
    });
    let mut stream = server.client().await.classify_stream(tokio_stream::iter(items)).await.unwrap().into_inner();
    for id in 0..3 {
        assert_eq!(stream.next().await.unwrap().unwrap().id, id);
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn health_and_both_reflections_answer_without_a_key() {
    let server = Server::start().await;
    let channel = server.channel().await;
    for service in ["", "attune.v1.Inference"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, tonic_health::ServingStatus::Serving as i32);
    }

    let unknown = HealthCheckRequest { service: "nobody".into() };
    let status = HealthClient::new(channel.clone()).check(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);

    let request = reflection::ServerReflectionRequest {
        message_request: Some(reflection::server_reflection_request::MessageRequest::FileContainingSymbol(
            "attune.v1.Inference".to_owned(),
        )),
        ..Default::default()
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let stream = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = stream.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(answer, reflection::server_reflection_response::MessageResponse::FileDescriptorResponse(_)));

    let request = reflection_alpha::ServerReflectionRequest {
        message_request: Some(reflection_alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = reflection_alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let stream = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    assert!(stream.into_inner().next().await.unwrap().is_ok());
}

#[tokio::test]
async fn every_method_of_the_contract_is_routed() {
    use prost::Message;
    let server = Server::start().await;
    let set = prost_types::FileDescriptorSet::decode(attune_api::FILE_DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.package() == "attune.v1").unwrap();
    for service in &file.service {
        for method in &service.method {
            let path = format!("/attune.v1.{}/{}", service.name(), method.name());
            let ask = Ask::post(&path, "").header("content-type", "application/grpc");
            let status = server.ask(ask).await;
            assert_ne!(status.header("grpc-status"), "12", "{path} is not routed");
        }
    }
}
