//! Health, metrics and documentation.

use std::sync::Arc;

use attune_api::rest::operations::ReadyTables;
use serde_json::json;

use crate::{
    raw::Ask,
    support::{CLASSIFIER, EMBEDDER, Server},
};

#[tokio::test]
async fn readiness_names_the_models_and_the_queue() {
    let server = Server::start().await;
    assert_eq!(server.ask(Ask::get("/livez")).await.json(), json!({"status": "alive"}));
    for path in ["/readyz", "/healthz"] {
        let ready = server.ask(Ask::get(path)).await;
        let json = ready.json();
        assert_eq!((ready.status, &json["status"]), (200, &json!("ready")));
        let names: Vec<_> = json["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect();
        assert_eq!(names, [EMBEDDER, CLASSIFIER]);
        assert!(json["queue"]["texts"].is_u64() && json["queue"]["tokens"].is_u64());
    }
}

/// The CPU searches what the GPU does not: no reason to send requests elsewhere.
#[tokio::test]
async fn segments_that_a_gpu_lost_are_told_and_do_not_end_readiness() {
    let (card, reason) = ("cuda:0 a card".to_owned(), "it hangs".to_owned());
    let tables = ReadyTables { card, in_use: 3, out_of_use: 2, failures: 7, reason };
    let server = Server::with_tables(Arc::new(move || tables.clone())).await;
    let ready = server.ask(Ask::get("/readyz")).await;
    let expected = json!([
        {"card": "cuda:0 a card", "in_use": 3, "out_of_use": 2, "failures": 7, "reason": "it hangs"}
    ]);
    assert_eq!((ready.status, &ready.json()["tables"]), (200, &expected));
    let metrics = String::from_utf8(server.ask(Ask::get("/metrics")).await.body).unwrap();
    for line in [
        r#"attune_gpu_tables{card="cuda:0 a card",state="in_use"} 3"#,
        r#"attune_gpu_tables{card="cuda:0 a card",state="out_of_use"} 2"#,
        r#"attune_gpu_table_failures_total{card="cuda:0 a card"} 7"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(Server::start().await.ask(Ask::get("/readyz")).await.json().get("tables").is_none(), "there is no card");
}

#[tokio::test]
async fn metrics_count_requests_by_pattern_and_never_by_path() {
    let server = Server::start().await;
    server.still_serves().await;
    server.ask(Ask::get("/v1/models/secret-name")).await;
    server.ask(Ask::get("/secret-path")).await;
    server.client().await.list_models(attune_api::v1::ListModelsRequest {}).await.unwrap();
    let metrics = String::from_utf8(server.ask(Ask::get("/metrics")).await.body).unwrap();
    let wanted = [
        r#"attune_requests_total{protocol="http",route="/v1/sentiment",status="200"}"#,
        r#"attune_requests_total{protocol="http",route="/v1/models/{*id}",status="404"}"#,
        r#"attune_requests_total{protocol="http",route="none",status="404"}"#,
        r#"attune_requests_total{protocol="grpc",route="/attune.v1.Inference/ListModels",status="0"}"#,
        "attune_request_duration_seconds_bucket{",
        "attune_batches_total",
        "attune_tokens_total",
        "attune_engine_busy_seconds",
        "attune_queue_texts{class=",
        "attune_build_info{version=",
        "attune_ready 1",
        "attune_resident_memory_bytes",
    ];
    for line in wanted {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("secret"), "labels must come from a bounded set");
}

#[tokio::test]
async fn the_documentation_is_complete_and_works_offline() {
    let server = Server::start().await;
    let openapi = server.ask(Ask::get("/openapi.json")).await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(openapi["paths"]["/v1/embeddings"]["post"]["requestBody"].is_object());
    let page = String::from_utf8(server.ask(Ask::get("/docs/")).await.body).unwrap();
    let sources = page.split(['"', '\'']).filter(|text| text.starts_with("http://") || text.starts_with("https://"));
    assert_eq!(sources.count(), 0, "the page must load nothing from elsewhere:\n{page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        assert_eq!(server.ask(Ask::get(&format!("/docs/{file}"))).await.status, 200, "{file}");
    }
}
