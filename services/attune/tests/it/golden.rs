//! The published similarities of all-MiniLM-L6-v2 and plain opinions, through REST and gRPC, for every engine and
//! precision.

use attune_api::v1::inference_client::InferenceClient;
use attune_api::v1::{ClassifyRequest, EmbedRequest};
use serde_json::json;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::http;
use crate::server::{Server, floats};

const SENTENCES: [&str; 6] = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
    "A man is eating food.",
    "A man is eating a piece of bread.",
];
/// Pairs of the above and their cosine, to four places (sentence-transformers' own figures).
const SIMILARITIES: [(usize, usize, f32); 4] = [(0, 1, 0.6946), (0, 2, 0.9429), (0, 3, 0.2569), (4, 5, 0.7553)];
/// The first five dimensions of `SENTENCES[4]`, to four significant places.
const FIRST_FIVE: [f32; 5] = [0.03324, 0.00441, -0.00628, 0.04838, -0.1387];
const OPINIONS: [(&str, &str); 4] = [
    ("I love this film, it is wonderful.", "positive"),
    ("A terrible product, it broke after one day.", "negative"),
    ("The best phone I have ever owned!", "positive"),
    ("I hate waiting and the service was awful.", "negative"),
];

/// How an engine is asked for, and how far it may be from candle in f32.
struct Case {
    flags: &'static [&'static str],
    /// Of one published similarity.
    similarity_error_max: f32,
    /// Of one of the five published coordinates.
    coordinate_error_max: f32,
    /// Between a sentence's embedding here and the reference engine's.
    cosine_min: f32,
}

/// f32 differs from candle by the order of its sums, and from the published figures by their rounding. bf16 keeps 8 bits
/// and int8 7 of each factor: their bounds on the cosine are the product's promise (0.995 and 0.99 at worst).
const CASES: [Case; 4] = [
    Case {
        flags: &["--engine", "reference"],
        similarity_error_max: 1e-4,
        coordinate_error_max: 1e-4,
        cosine_min: 0.999_999,
    },
    Case {
        flags: &["--engine", "cpu", "--precision", "f32"],
        similarity_error_max: 1e-4,
        coordinate_error_max: 1e-4,
        cosine_min: 0.999_99,
    },
    Case {
        flags: &["--engine", "cpu", "--precision", "bf16"],
        similarity_error_max: 0.02,
        coordinate_error_max: 0.01,
        cosine_min: 0.995,
    },
    Case {
        flags: &["--engine", "cpu", "--precision", "int8"],
        similarity_error_max: 0.03,
        coordinate_error_max: 0.02,
        cosine_min: 0.99,
    },
];

#[test]
fn golden_values_through_both_protocols_for_every_engine_and_precision() {
    let mut reference = None;
    for case in &CASES {
        let server = Server::start(case.flags);
        let over_rest = server.embed(&SENTENCES);
        check_published(case, &over_rest);
        let reference = reference.get_or_insert_with(|| over_rest.clone());
        for (mine, theirs) in over_rest.iter().zip(reference) {
            let cosine = dot(mine, theirs);
            assert!(cosine >= case.cosine_min, "{:?}: cosine to the reference engine {cosine}", case.flags);
        }
        let over_grpc = grpc(&server);
        assert_eq!(over_grpc.0, over_rest, "{:?}: gRPC and REST differ", case.flags);
        let labels: Vec<String> = over_grpc.1;
        assert_eq!(labels, OPINIONS.map(|(_, label)| label), "{:?} over gRPC", case.flags);
        assert_eq!(rest_labels(&server), labels, "{:?} over REST", case.flags);
    }
}

fn check_published(case: &Case, embeddings: &[Vec<f32>]) {
    for embedding in embeddings {
        assert_eq!(embedding.len(), 384);
        assert!((dot(embedding, embedding) - 1.0).abs() < 1e-4, "not of unit length");
    }
    for (a, b, published) in SIMILARITIES {
        let found = dot(&embeddings[a], &embeddings[b]);
        let error = (found - published).abs();
        assert!(error <= case.similarity_error_max, "{:?}: {a},{b}: {found} instead of {published}", case.flags);
    }
    for (found, published) in embeddings[4].iter().zip(FIRST_FIVE) {
        let error = (found - published).abs();
        assert!(error <= case.coordinate_error_max, "{:?}: {found} instead of {published}", case.flags);
    }
}

fn rest_labels(server: &Server) -> Vec<String> {
    let body = json!({"inputs": OPINIONS.map(|(text, _)| text)});
    let answer = http::post(server.address, "/v1/sentiment", server.key(), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    json["results"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

fn grpc(server: &Server) -> (Vec<Vec<f32>>, Vec<String>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let channel = Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
        let mut client = InferenceClient::new(channel);
        let embed = EmbedRequest { model: "mini".into(), inputs: texts(&SENTENCES), ..EmbedRequest::default() };
        let embedded = client.embed(with_key(embed, server)).await.unwrap().into_inner();
        assert_eq!((embedded.dimensions, embedded.model.as_str()), (384, "all-MiniLM-L6-v2"));
        let classify = ClassifyRequest { inputs: texts(&OPINIONS.map(|(text, _)| text)), ..ClassifyRequest::default() };
        let classified = client.classify(with_key(classify, server)).await.unwrap().into_inner();
        for result in &classified.results {
            assert!((result.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
        let embeddings = embedded.embeddings.into_iter().map(|one| one.values).collect();
        (embeddings, classified.results.into_iter().map(|one| one.label).collect())
    })
}

fn with_key<T>(message: T, server: &Server) -> Request<T> {
    let mut request = Request::new(message);
    let bearer: MetadataValue<_> = format!("Bearer {}", server.key()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn one_text_is_the_same_alone_and_in_company() {
    let server = Server::start(&[]);
    let together = server.embed(&SENTENCES);
    for (sentence, embedding) in SENTENCES.iter().zip(&together) {
        assert_eq!(&server.embed(&[sentence])[0], embedding, "{sentence}");
    }
    let tei = http::post(server.address, "/embed", server.key(), &json!({"inputs": SENTENCES}));
    let wrapped: Vec<_> = tei.json().as_array().unwrap().iter().map(|row| json!({"embedding": row})).collect();
    assert_eq!(floats(&json!(wrapped), "embedding"), together);
}
