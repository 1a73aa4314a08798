//! A demo on stores that others use, too, leaves nothing there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};

use crate::http;
use crate::server::{Server, config};
use crate::servers::{Servers, block_on};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_demo_on_real_servers_deletes_its_tenant_when_it_stops() {
    let Some(servers) = Servers::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let variables: Vec<(&str, &str)> =
        servers.variables.iter().map(|(name, uri)| (name.as_str(), uri.as_str())).collect();
    let server = Server::start_with(folder, &["--demo"], &variables);
    let ask = |method: &str, path: &str, body: Value| {
        let answer = http::call(server.address, method, path, Some(server.key()), &body.to_string()).unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    };
    ask("PUT", "/v1/items/film", json!({"title": "A film about tea"}));
    ask("PUT", "/v1/users/ann", json!({"attributes": {"likes": "tea"}}));
    ask("POST", "/v1/events", json!({"events": [{"type": "click", "user_id": "ann", "item_id": "film"}]}));
    let begun = Instant::now();
    while ask("GET", "/v1/items:search?q=tea", json!({}))["matches"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "the film is not found");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop();

    let (tenants, report) = block_on(async {
        let mut rows = PgConnection::connect(servers.relational()).await.unwrap();
        let tenants = sqlx::query("SELECT count(*) FROM tenants").fetch_one(&mut rows).await.unwrap();
        let report = sqlx::query("SELECT report FROM jobs WHERE kind = 'erase-tenant' AND state = 'done'");
        (tenants.get::<i64, _>(0), report.fetch_one(&mut rows).await.unwrap().get::<String, _>(0))
    });
    assert_eq!(tenants, 0);
    let report: Value = serde_json::from_str(&report).unwrap();
    let deleted = |what: &str| {
        let lines = report["stores"].as_array().unwrap().iter();
        lines.filter(|line| line["what"] == what).map(|line| line["deleted"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!([deleted("profiles"), deleted("items")], [1, 1], "{report}");
    assert!(deleted("records and dead letters") >= 1, "{report}");
}
