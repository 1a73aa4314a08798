//! Every bad input of REST: a status, a typed body that says what and where, and a server that still serves.

use std::io::Write;

use serde_json::{Value, json};

use crate::{
    raw::{Answer, Ask},
    support::{EMBEDDER, Server, VOCABULARY},
};

const MIB: usize = 1 << 20;

/// A native refusal: problem details with this status, code and pointer (empty: no field is at fault).
fn assert_problem(answer: &Answer, status: u16, code: &str, pointer: Option<&str>) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{problem}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert!(!problem["detail"].as_str().unwrap().is_empty() && !problem["title"].as_str().unwrap().is_empty());
    let found = problem["errors"][0]["pointer"].as_str();
    assert_eq!(found, pointer, "{problem}");
}

/// An OpenAI refusal.
fn assert_openai(answer: &Answer, status: u16, param: Option<&str>) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, body["error"]["param"].as_str()), (status, param), "{body}");
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    body["error"].clone()
}

/// A text-embeddings-inference refusal.
fn assert_tei(answer: &Answer, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!((answer.status, body["error_type"].as_str()), (status, Some(kind)), "{body}");
    assert!(!body["error"].as_str().unwrap().is_empty());
}

fn sentiment(body: &Value) -> Ask {
    Ask::post("/v1/sentiment", body.to_string())
}

fn embeddings(input: Value) -> Ask {
    Ask::post("/v1/embeddings", json!({"model": EMBEDDER, "input": input}).to_string())
}

#[tokio::test]
async fn an_empty_list_is_refused() {
    let server = Server::start().await;
    assert_problem(&server.ask(sentiment(&json!({"inputs": []}))).await, 422, "invalid", Some("/inputs"));
    assert_openai(&server.ask(embeddings(json!([]))).await, 400, Some("input"));
    assert_tei(&server.ask(Ask::post("/embed", r#"{"inputs":[]}"#)).await, 400, "Empty");
    server.still_serves().await;
}

#[tokio::test]
async fn an_empty_text_has_an_embedding() {
    let server = Server::start().await;
    let answer = server.ask(embeddings(json!(["", "a"]))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["data"][0]["embedding"].as_array().unwrap().len(), server.dimensions());
    assert_eq!(server.ask(sentiment(&json!({"inputs": [""]}))).await.status, 200);
}

#[tokio::test]
async fn a_text_of_a_mebibyte_is_truncated_or_refused_as_asked() {
    let server = Server::start().await;
    let text = "word ".repeat(MIB / 5);
    let end = server.ask(sentiment(&json!({"inputs": [text], "truncate": "end"}))).await;
    assert_eq!((end.status, &end.json()["results"][0]["truncated"]), (200, &json!(true)));
    let refused = server.ask(sentiment(&json!({"inputs": ["a", text], "truncate": "refuse"}))).await;
    assert_problem(&refused, 422, "invalid", Some("/inputs/1"));
    assert_openai(&server.ask(embeddings(json!(text))).await, 400, Some("input"));
    let tei = json!({"inputs": text, "truncate": false}).to_string();
    assert_tei(&server.ask(Ask::post("/embed", tei)).await, 413, "Validation");
    server.still_serves().await;
}

#[tokio::test]
async fn a_text_over_a_mebibyte_is_too_large() {
    let server = Server::start().await;
    let text = "x".repeat(MIB + 1);
    let answer = server.ask(sentiment(&json!({"inputs": [text], "truncate": "end"}))).await;
    assert_problem(&answer, 413, "text_too_large", Some("/inputs/0"));
    assert_openai(&server.ask(embeddings(json!(["a", text]))).await, 400, Some("input[1]"));
    server.still_serves().await;
}

#[tokio::test]
async fn ten_thousand_texts_are_too_many() {
    let server = Server::start().await;
    let texts = vec!["a"; 10_000];
    assert_problem(&server.ask(sentiment(&json!({"inputs": texts}))).await, 422, "invalid", Some("/inputs"));
    let error = assert_openai(&server.ask(embeddings(json!(texts))).await, 400, Some("input"));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("10000") && message.contains("1024"), "{message}");
    assert_tei(&server.ask(Ask::post("/embed", json!({"inputs": texts}).to_string())).await, 413, "Validation");
    server.still_serves().await;
}

#[tokio::test]
async fn a_nul_is_a_character_like_others_when_escaped_and_malformed_when_raw() {
    let server = Server::start().await;
    assert_eq!(server.ask(sentiment(&json!({"inputs": ["a\u{0}b", "\u{0}"]}))).await.status, 200);
    let raw = Ask::post("/v1/sentiment", &b"{\"inputs\":[\"a\0b\"]}"[..]);
    assert_problem(&server.ask(raw).await, 400, "malformed", None);
    server.still_serves().await;
}

#[tokio::test]
async fn text_that_is_not_unicode_is_malformed() {
    let server = Server::start().await;
    let bodies: [&[u8]; 4] = [
        br#"{"inputs":["\ud800"]}"#,
        br#"{"inputs":["\udc00\ud800"]}"#,
        b"{\"inputs\":[\"\xff\xfe\"]}",
        b"{\"inputs\":[\"\xed\xa0\x80\"]}",
    ];
    for body in bodies {
        assert_problem(&server.ask(Ask::post("/v1/sentiment", body)).await, 400, "malformed", None);
    }
    let openai = Ask::post("/v1/embeddings", r#"{"model":"m","input":"\ud800"}"#);
    assert_openai(&server.ask(openai).await, 400, None);
    server.still_serves().await;
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    let server = Server::start().await;
    for body in ["", "{", "nonsense", r#"{"inputs":["a"]} trailing"#, r#"{"inputs":["a",]}"#] {
        assert_problem(&server.ask(Ask::post("/v1/sentiment", body)).await, 400, "malformed", None);
    }
    server.still_serves().await;
}

#[tokio::test]
async fn wrong_types_are_invalid_where_they_are() {
    let server = Server::start().await;
    let native = [
        (json!({"inputs": ["a", 1]}), "/inputs/1"),
        (json!({"inputs": "a"}), "/inputs"),
        (json!({"inputs": null}), "/inputs"),
        (json!({"inputs": [["a"]]}), "/inputs/0"),
        (json!({"inputs": ["a"], "model": 7}), "/model"),
        (json!({"inputs": ["a"], "truncate": "middle"}), "/truncate"),
        (json!({}), "/inputs"),
        (json!(["a"]), ""),
        (json!("a"), ""),
    ];
    for (body, pointer) in native {
        assert_problem(&server.ask(sentiment(&body)).await, 422, "invalid", Some(pointer));
    }
    for (input, param) in [(json!(1), "input"), (json!(["a", 1]), "input[1]"), (json!([[1], ["a"]]), "input[1][0]")] {
        assert_openai(&server.ask(embeddings(input)).await, 400, Some(param));
    }
    let no_model = Ask::post("/v1/embeddings", r#"{"input":"a"}"#);
    assert_openai(&server.ask(no_model).await, 400, Some("model"));
    server.still_serves().await;
}

#[tokio::test]
async fn deep_nesting_is_refused_without_a_panic() {
    let server = Server::start().await;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let answer = server.ask(Ask::post("/v1/sentiment", format!(r#"{{"inputs":{deep}}}"#))).await;
    assert!(matches!(answer.status, 400 | 422), "{}", answer.status);
    let answer = server.ask(Ask::post("/v1/embeddings", format!(r#"{{"model":"m","input":{deep}}}"#))).await;
    assert_eq!(answer.status, 400);
    let ignored = Ask::post("/v1/embeddings", format!(r#"{{"model":"{EMBEDDER}","input":"a","extra":{deep}}}"#));
    assert!(matches!(server.ask(ignored).await.status, 200 | 400));
    server.still_serves().await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_here_and_ignored_for_other_peoples_clients() {
    let server = Server::start().await;
    let answer = server.ask(sentiment(&json!({"inputs": ["a"], "trunkate": "end"}))).await;
    assert_problem(&answer, 422, "invalid", Some("/trunkate"));
    let openai = json!({"model": EMBEDDER, "input": "a", "surprise": {"x": 1}}).to_string();
    assert_eq!(server.ask(Ask::post("/v1/embeddings", openai)).await.status, 200);
    assert_eq!(server.ask(Ask::post("/embed", r#"{"inputs":"a","surprise":1}"#)).await.status, 200);
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let server = Server::start().await;
    let answer = server.ask(sentiment(&json!({"inputs": ["a"], "model": "gpt-9"}))).await;
    assert_problem(&answer, 404, "model_not_found", Some("/model"));
    let openai = Ask::post("/v1/embeddings", r#"{"model":"gpt-9","input":"a"}"#);
    let error = assert_openai(&server.ask(openai).await, 404, Some("model"));
    assert_eq!(error["code"], "model_not_found");
    assert!(error["message"].as_str().unwrap().contains(EMBEDDER), "the message names what there is");
    assert_eq!(server.ask(Ask::get("/v1/models/gpt-9")).await.status, 404);
    let no_text = assert_openai(&server.ask(Ask::get("/v1/models/%ff")).await, 400, None);
    assert!(no_text["message"].as_str().unwrap().contains("UTF-8"), "{no_text}");
    let wrong_task = server.ask(sentiment(&json!({"inputs": ["a"], "model": EMBEDDER}))).await;
    assert_problem(&wrong_task, 422, "invalid", Some("/model"));
    let long = json!({"inputs": ["a"], "model": "m".repeat(100_000)});
    let answer = server.ask(sentiment(&long)).await;
    assert!(answer.status == 404 && answer.body.len() < 2_000, "an error does not echo at length");
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let server = Server::start().await;
    let body = json!({"inputs": ["x".repeat(5 * MIB)]});
    assert_problem(&server.ask(sentiment(&body)).await, 413, "body_too_large", None);
    let openai = assert_openai(&server.ask(embeddings(json!("x".repeat(5 * MIB)))).await, 413, None);
    assert!(openai["message"].as_str().unwrap().contains("4194304"));
    // Sent in pieces, so that no header announces the size.
    let answer = server.ask_chunked("/v1/sentiment", &body.to_string()).await;
    assert_problem(&answer, 413, "body_too_large", None);
    server.still_serves().await;
}

#[tokio::test]
async fn gzip_is_read_and_a_gzip_bomb_is_too_large() {
    let server = Server::start().await;
    let zipped = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let post = |body: Vec<u8>| Ask::post("/v1/sentiment", body).header("content-encoding", "gzip");
    assert_eq!(server.ask(post(zipped(br#"{"inputs":["a"]}"#))).await.status, 200);
    let bomb = zipped(&vec![b' '; 64 * MIB]);
    assert!(bomb.len() < MIB);
    assert_problem(&server.ask(post(bomb)).await, 413, "body_too_large", None);
    assert_problem(&server.ask(post(b"not gzip at all".to_vec())).await, 400, "malformed", None);
    let cut = zipped(br#"{"inputs":["a"]}"#);
    assert_problem(&server.ask(post(cut[..cut.len() / 2].to_vec())).await, 400, "malformed", None);
    let brotli = Ask::post("/v1/sentiment", "x").header("content-encoding", "br");
    assert_problem(&server.ask(brotli).await, 415, "unsupported_media_type", None);
    server.still_serves().await;
}

#[tokio::test]
async fn only_json_is_read() {
    let server = Server::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let ask = Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#).header("content-type", kind);
        assert_problem(&server.ask(ask).await, 415, "unsupported_media_type", None);
    }
    let charset = Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#);
    assert_eq!(server.ask(charset.header("content-type", "application/json; charset=utf-8")).await.status, 200);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let server = Server::start().await;
    assert_problem(&server.ask(Ask::get("/v1/nowhere")).await, 404, "not_found", None);
    assert_problem(&server.ask(Ask::get("/")).await, 404, "not_found", None);
    // One that others have is told as such: whoever calls a wrong server should not look for a typing mistake.
    let answer = server.ask(Ask::post("/v1/events", "{}")).await;
    assert_problem(&answer, 404, "not_found", None);
    assert!(answer.json()["detail"].as_str().unwrap().contains("no service tracking"), "{}", answer.json());
    let answer = server.ask(Ask::get("/v1/sentiment")).await;
    assert_problem(&answer, 405, "method_not_allowed", None);
    assert_eq!(answer.header("allow"), "POST");
    assert_openai(&server.ask(Ask::get("/v1/embeddings")).await, 405, None);
    assert_tei(&server.ask(Ask::get("/embed")).await, 405, "Validation");
    let grpc_as_json = Ask::post("/attune.v1.Inference/Embed", "{}");
    assert_problem(&server.ask(grpc_as_json).await, 415, "unsupported_media_type", None);
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_a_504() {
    let server = Server::start().await;
    let past = |ask: Ask| ask.header("x-request-timeout-ms", "0");
    let answer = server.ask(past(sentiment(&json!({"inputs": ["a"]})))).await;
    assert_problem(&answer, 504, "deadline_exceeded", None);
    assert_openai(&server.ask(past(embeddings(json!("a")))).await, 504, None);

    let many = json!({"inputs": vec!["some words to compute ".repeat(20); 1_024]});
    let answer = server.ask(sentiment(&many).header("x-request-timeout-ms", "1")).await;
    assert_problem(&answer, 504, "deadline_exceeded", None);
    for nonsense in ["soon", "-1", "1.5"] {
        let answer = server.ask(sentiment(&json!({"inputs": ["a"]})).header("x-request-timeout-ms", nonsense)).await;
        assert_problem(&answer, 400, "malformed", None);
    }
    server.still_serves().await;
}

#[tokio::test]
async fn bad_dimensions_and_formats_are_refused() {
    let server = Server::start().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": EMBEDDER, "input": "a"});
        body[name] = value;
        Ask::post("/v1/embeddings", body.to_string())
    };
    let beyond = server.dimensions() + 1;
    for dimensions in [json!(0), json!(beyond), json!(-1), json!(1.5), json!("8"), json!(u64::MAX)] {
        assert_openai(&server.ask(with("dimensions", dimensions)).await, 400, Some("dimensions"));
    }
    for format in [json!("hex"), json!(1), json!([])] {
        assert_openai(&server.ask(with("encoding_format", format)).await, 400, Some("encoding_format"));
    }
    let left = Ask::post("/embed", r#"{"inputs":"a","truncation_direction":"Left"}"#);
    assert_tei(&server.ask(left).await, 413, "Validation");
    server.still_serves().await;
}

#[tokio::test]
async fn token_ids_out_of_range_are_refused_with_their_place() {
    let server = Server::start().await;
    assert_eq!(server.ask(embeddings(json!([1, 2, 3]))).await.status, 200);
    assert_openai(&server.ask(embeddings(json!([1, VOCABULARY]))).await, 400, Some("input"));
    assert_openai(&server.ask(embeddings(json!([[1], [VOCABULARY]]))).await, 400, Some("input[1]"));
    for bad in [json!([1, -1]), json!([1, 4294967296_u64]), json!([1, 1.5])] {
        assert_openai(&server.ask(embeddings(bad)).await, 400, Some("input[1]"));
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_class_of_work_that_does_not_exist_is_malformed() {
    let server = Server::start().await;
    for class in ["bulk", "interactive"] {
        let ask = sentiment(&json!({"inputs": ["a"]})).header("x-attune-class", class);
        assert_eq!(server.ask(ask).await.status, 200);
    }
    for class in ["training", "Bulk", ""] {
        let ask = sentiment(&json!({"inputs": ["a"]})).header("x-attune-class", class);
        assert_problem(&server.ask(ask).await, 400, "malformed", None);
    }
}
