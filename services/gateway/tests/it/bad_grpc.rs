//! Every bad input of gRPC: a canonical status with typed details, and a server that still serves.

use std::time::Duration;

use attune_api::v1;
use tonic::{Code, Request, Status, codec::CompressionEncoding};
use tonic_types::StatusExt;

use crate::{
    raw::Ask,
    support::{EMBEDDER, Server, VOCABULARY},
};

const MIB: usize = 1 << 20;

/// The code, `ErrorInfo.reason`, and the field of the first violation.
fn assert_status(status: &Status, code: Code, reason: &str, field: Option<&str>) {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "attune"));
    let found = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|field| field.field.as_str());
    assert_eq!(found, field, "{status:?}");
    assert!(!status.message().is_empty());
}

fn request(inputs: &[&str]) -> v1::EmbedRequest {
    v1::EmbedRequest { inputs: inputs.iter().map(|text| (*text).to_owned()).collect(), ..Default::default() }
}

async fn refusal(server: &Server, request: v1::EmbedRequest) -> Status {
    server.client().await.embed(request).await.expect_err("a refusal")
}

#[tokio::test]
async fn lists_that_are_empty_or_too_long_are_invalid() {
    let server = Server::start().await;
    assert_status(&refusal(&server, request(&[])).await, Code::InvalidArgument, "INVALID", Some("inputs"));
    let many = refusal(&server, request(&["a"; 10_000])).await;
    assert_status(&many, Code::InvalidArgument, "INVALID", Some("inputs"));
    let both = v1::EmbedRequest { token_ids: vec![v1::TokenIds { ids: vec![1] }], ..request(&["a"]) };
    assert_status(&refusal(&server, both).await, Code::InvalidArgument, "INVALID", Some("token_ids"));
    server.still_serves().await;
}

#[tokio::test]
async fn empty_and_nul_texts_have_embeddings() {
    let server = Server::start().await;
    let answer = server.client().await.embed(request(&["", "a\0b"])).await.unwrap().into_inner();
    assert_eq!(answer.embeddings.len(), 2);
}

#[tokio::test]
async fn long_texts_are_truncated_or_refused() {
    let server = Server::start().await;
    let text = "word ".repeat(MIB / 5);
    let end = server.client().await.embed(request(&[&text])).await.unwrap().into_inner();
    assert!(end.embeddings[0].truncated);
    let refuse = v1::EmbedRequest { truncate: v1::Truncate::Refuse as i32, ..request(&["a", &text]) };
    assert_status(&refusal(&server, refuse).await, Code::InvalidArgument, "INVALID", Some("inputs[1]"));
    let over = refusal(&server, request(&[&"x".repeat(MIB + 1)])).await;
    assert_status(&over, Code::InvalidArgument, "TEXT_TOO_LARGE", Some("inputs[0]"));
    server.still_serves().await;
}

#[tokio::test]
async fn an_unknown_model_dimension_truncation_or_token_is_named() {
    let server = Server::start().await;
    let model = v1::EmbedRequest { model: "gpt-9".into(), ..request(&["a"]) };
    assert_status(&refusal(&server, model).await, Code::NotFound, "MODEL_NOT_FOUND", Some("model"));
    for dimensions in [0, server.dimensions() as u32 + 1, u32::MAX] {
        let asked = v1::EmbedRequest { dimensions: Some(dimensions), ..request(&["a"]) };
        assert_status(&refusal(&server, asked).await, Code::InvalidArgument, "INVALID", Some("dimensions"));
    }
    let truncate = v1::EmbedRequest { truncate: 77, ..request(&["a"]) };
    assert_status(&refusal(&server, truncate).await, Code::InvalidArgument, "INVALID", Some("truncate"));
    let token_ids = vec![v1::TokenIds { ids: vec![1] }, v1::TokenIds { ids: vec![VOCABULARY] }];
    let unknown = v1::EmbedRequest { token_ids, ..Default::default() };
    assert_status(&refusal(&server, unknown).await, Code::InvalidArgument, "INVALID", Some("token_ids[1]"));
    let wrong_task = v1::ClassifyRequest { model: EMBEDDER.into(), inputs: vec!["a".into()], ..Default::default() };
    let status = server.client().await.classify(wrong_task).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, "INVALID", Some("model"));
    server.still_serves().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_as_sent_and_decompressed() {
    let server = Server::start().await;
    let large = request(&[&"x".repeat(5 * MIB)]);
    assert_status(&refusal(&server, large.clone()).await, Code::ResourceExhausted, "BODY_TOO_LARGE", None);
    let mut client = server.client().await.send_compressed(CompressionEncoding::Gzip);
    let bomb = client.embed(large).await.unwrap_err();
    assert_status(&bomb, Code::ResourceExhausted, "BODY_TOO_LARGE", None);
    assert!(client.embed(request(&["small and compressed"])).await.is_ok());
    server.still_serves().await;
}

#[tokio::test]
async fn what_is_not_protobuf_is_refused() {
    let server = Server::start().await;
    // A frame of 4 bytes whose content is no message, and a text that is not UTF-8.
    for frame in [&b"\0\0\0\0\x04\xff\xff\xff\xff"[..], b"\0\0\0\0\x04\x12\x02\xff\xfe", b"\0\0\0\0\x7f\x12"] {
        let ask = Ask::post("/attune.v1.Inference/Embed", frame).header("content-type", "application/grpc");
        let answer = server.ask(ask).await;
        assert_eq!(answer.status, 200, "gRPC tells its errors in grpc-status");
        assert_eq!(answer.header("grpc-status"), "3", "INVALID_ARGUMENT: {answer:?}");
        assert!(!answer.header("grpc-status-details-bin").is_empty());
    }
    server.still_serves().await;
}

#[tokio::test]
async fn an_unknown_method_or_service_is_unimplemented() {
    let server = Server::start().await;
    for path in ["/attune.v1.Inference/Nonsense", "/attune.v2.Inference/Embed", "/nonsense"] {
        let answer = server.ask(Ask::post(path, "").header("content-type", "application/grpc")).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "12"), "{path}");
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_deadline_exceeded() {
    let server = Server::start().await;
    // By hand, since the client would give up by itself.
    for timeout in ["0n", "1n"] {
        let ask = Ask::post("/attune.v1.Inference/Embed", &b"\0\0\0\0\x03\x12\x01a"[..]);
        let ask = ask.header("content-type", "application/grpc").header("grpc-timeout", timeout);
        assert_eq!(server.ask(ask).await.header("grpc-status"), "4");
    }
    let mut call = Request::new(request(&["a"]));
    call.set_timeout(Duration::ZERO);
    let code = server.client().await.embed(call).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    let nonsense = Ask::post("/attune.v1.Inference/Embed", "").header("content-type", "application/grpc");
    let answer = server.ask(nonsense.header("grpc-timeout", "soon")).await;
    assert_eq!(answer.header("grpc-status"), "3");
    server.still_serves().await;
}

#[tokio::test]
async fn a_stream_ends_at_its_callers_deadline() {
    let server = Server::start().await;
    let mut call = Request::new(tokio_stream::pending::<v1::EmbedStreamRequest>());
    call.metadata_mut().insert("x-request-timeout-ms", "50".parse().unwrap());
    let mut stream = server.client().await.embed_stream(call).await.unwrap().into_inner();
    let status = stream.message().await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
}

#[tokio::test]
async fn an_oversize_item_ends_its_stream_after_the_ones_before_it() {
    let server = Server::start().await;
    let item = |id, text: String| v1::EmbedStreamRequest { id, request: Some(request(&[&text])) };
    let items = tokio_stream::iter([item(1, "a".into()), item(2, "x".repeat(5 * MIB))]);
    let mut stream = server.client().await.embed_stream(items).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().id, 1);
    let over = stream.message().await.unwrap_err();
    assert_status(&over, Code::ResourceExhausted, "BODY_TOO_LARGE", None);
    server.still_serves().await;
}
