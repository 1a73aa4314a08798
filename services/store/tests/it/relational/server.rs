//! What only a server can do to us.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attune_store::relational::{DefinitionKind, Definitions, Relational};
use attune_store::{ErrorKind, Expect, PageRequest, SCHEMA, SqlRelational, StoreError, network};
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use url::Url;

use super::put;
use crate::servers::{server, tenant};
use crate::silent::{absent, silent};

/// Enough on any machine where an answer is expected.
const PATIENT: Duration = Duration::from_secs(60);

async fn open(url: &Url, connect_max: Duration) -> Result<SqlRelational, StoreError> {
    network::relational::open(url, 4, connect_max).await
}

fn url() -> Option<Url> {
    server("ATTUNE_TEST_POSTGRES").map(|url| url.parse().unwrap())
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let Some(mut url) = url() else { return };
    url.set_password(Some("a-wrong-secret")).unwrap();
    let error = open(&url, PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("a-wrong-secret"), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let Some(mut url) = url() else { return };
    url.set_path("/no-such-database");
    let error = open(&url, PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("no-such-database"), "{error}");
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_a_silent_one_is_given_up() {
    let url = |port: u16| format!("postgres://attune:secret@127.0.0.1:{port}/attune").parse::<Url>().unwrap();
    let error = open(&url(absent().await), PATIENT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let (port, _task) = silent().await;
    let error = open(&url(port), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
}

/// A database of our own on the server.
async fn database(url: &Url) -> Url {
    let name = format!("test_{:016x}", rand::random::<u64>());
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let mut url = url.clone();
    url.set_path(&name);
    url
}

async fn drop_database(server: &Url, database: &Url) {
    let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
    let name = database.path().trim_start_matches('/');
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
}

#[tokio::test]
async fn many_that_start_at_once_migrate_once() {
    let Some(server) = url() else { return };
    let url = database(&server).await;
    let opened = futures::future::join_all((0..6).map(|_| open(&url, PATIENT))).await;
    let stores: Vec<SqlRelational> = opened.into_iter().map(Result::unwrap).collect();
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM schema_migrations");
    assert_eq!(count.fetch_one(&mut connection).await.unwrap(), SCHEMA);
    drop((connection, stores));
    drop_database(&server, &url).await;
}

#[tokio::test]
async fn a_schema_that_expanded_is_worked_with_and_one_that_contracted_refused() {
    let Some(server) = url() else { return };
    let url = database(&server).await;
    drop(open(&url, PATIENT).await.unwrap());
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    let expand = format!("INSERT INTO schema_migrations VALUES ({}, 1, 0)", SCHEMA + 1);
    connection.execute(AssertSqlSafe(expand)).await.unwrap();
    drop(open(&url, PATIENT).await.unwrap());
    let contract = format!("INSERT INTO schema_migrations VALUES ({0}, {0}, 0)", SCHEMA + 2);
    connection.execute(AssertSqlSafe(contract)).await.unwrap();
    assert_eq!(open(&url, PATIENT).await.unwrap_err().kind, ErrorKind::TooNew);
    drop(connection);
    drop_database(&server, &url).await;
}

/// Every connection is cut under writers, again and again, as a restart of the server does it.
#[tokio::test]
async fn cut_connections_come_back_and_lose_nothing() {
    let Some(server) = url() else { return };
    // Of its own, since others of this server do not expect to be cut.
    let url = database(&server).await;
    let (store, tenant) = (open(&url, PATIENT).await.unwrap(), tenant());
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    let acknowledged = AtomicUsize::new(0);
    let writer = |number: usize| {
        let (store, tenant, acknowledged) = (&store, &tenant, &acknowledged);
        async move {
            for n in 0..100 {
                let name = format!("{number}-{n:03}");
                while let Err(error) = store.commit(tenant, vec![put(&name, json!(n), Expect::Any)]).await {
                    assert!(error.is_retryable(), "{error}");
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let writers = futures::future::join_all((0..4).map(writer));
    let cutter = async {
        let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'attune' AND datname = current_database()";
        let mut cuts = 0;
        while acknowledged.load(Ordering::Relaxed) < 390 {
            cuts += sqlx::query_scalar::<_, i64>(cut).fetch_one(&mut connection).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cuts
    };
    let (_, cuts) = futures::join!(writers, cutter);
    assert!(cuts > 0);
    let page = store.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(1_000)).await.unwrap();
    assert_eq!(page.rows.len(), acknowledged.into_inner());
    drop((store, connection));
    drop_database(&server, &url).await;
}
