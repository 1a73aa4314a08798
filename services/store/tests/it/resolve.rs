//! All stores at once, by their addresses.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use attune_store::resolve::{State, StoreUri, Stores, StoresConfig, explain};
use attune_store::{ErrorKind, StoreKind};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

/// Every store at one address of the network, where nothing good is.
fn everything_at(address: &str, open_s_max: u64) -> StoresConfig {
    let uri = |text: &str| StoreUri::new(text.replace("ADDRESS", address));
    StoresConfig {
        relational: uri("postgres://ann:hush@ADDRESS/db"),
        cache: uri("redis://ann:hush@ADDRESS"),
        search: uri("elasticsearch://ann:hush@ADDRESS"),
        documents: uri("mongodb://ann:hush@ADDRESS/db"),
        events: uri("kafka://ann:hush@ADDRESS"),
        objects: uri("s3://ann:hush@bucket?endpoint=http://ADDRESS&path_style=true"),
        open_s_max,
        ..StoresConfig::default()
    }
}

/// Every failure names its store, what to do, and no password.
async fn fails_six_times(config: &StoresConfig, data: &Path) -> String {
    let error = Stores::open(config, data).await.unwrap_err();
    let text = error.to_string();
    for store in StoreKind::ALL {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{store}: "))).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("cannot reach") && line.contains("make services"), "{line}");
    }
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(!text.contains("hush"), "{text}");
    let kinds: Vec<ErrorKind> = error.failures.iter().map(|(_, error)| error.kind).collect();
    assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout)), "{kinds:?}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_defaults_open_in_an_empty_folder_and_again() {
    let data = tempfile::tempdir().unwrap();
    let config = StoresConfig::default();
    for _ in 0..2 {
        let stores = Stores::open(&config, data.path()).await.unwrap();
        stores.relational.health().await.unwrap();
        stores.cache.health().await.unwrap();
        stores.search.health().await.unwrap();
        stores.documents.health().await.unwrap();
        stores.events.health().await.unwrap();
        stores.objects.health().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survey_makes_nothing_and_finds_what_is_there() {
    let data = tempfile::tempdir().unwrap();
    let config = StoresConfig::default();
    for one in Stores::survey(&config, data.path()).await {
        let expects_file = one.store != StoreKind::Cache;
        assert_eq!(matches!(one.state, State::Absent(_)), expects_file, "{one:?}");
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    drop(Stores::open(&config, data.path()).await.unwrap());
    for one in Stores::survey(&config, data.path()).await {
        assert!(matches!(one.state, State::Answers { .. }), "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survey_finds_a_damaged_page_where_the_store_still_answers() {
    let data = tempfile::tempdir().unwrap();
    let (config, path) = (StoresConfig::default(), data.path().join("stores/documents.db"));
    fs::create_dir(data.path().join("stores")).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let rows = "CREATE TABLE others AS WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count \
                WHERE n < 5000) SELECT n, hex(zeroblob(100)) AS text FROM count";
    connection.execute(rows).await.unwrap();
    connection.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[50 * 4_096..51 * 4_096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let surveyed = Stores::survey(&config, data.path()).await;
    let documents = surveyed.iter().find(|one| one.store == StoreKind::Documents).unwrap();
    let State::Fails(error) = &documents.state else { panic!("{documents:?}") };
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    Stores::documents(&config, data.path()).await.unwrap().health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_away_are_all_named_at_once() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = tempfile::tempdir().unwrap();
    let text = fails_six_times(&everything_at(&format!("127.0.0.1:{port}"), 5), data.path()).await;
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_never_answer_cost_the_time_limit_and_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let data = tempfile::tempdir().unwrap();
    fails_six_times(&everything_at(&address, 2), data.path()).await;
}

#[tokio::test]
async fn an_address_that_cannot_be_is_explained() {
    let data = tempfile::tempdir().unwrap();
    let of = |search: &str| StoresConfig { search: StoreUri::new(search), ..StoresConfig::default() };
    for (search, part) in [
        ("mysql://ann:hush@db", "it has to begin with tantivy:PATH or elasticsearch://"),
        ("tantivy:", "a path is missing"),
        ("elasticsearch://", "host"),
        ("elasticsearch://ann:hush@db:notaport", "no address"),
        ("elasticsearch://ann:hush@db?prefex=a", "\"prefex\" is unknown"),
        ("elasticsearch://ann:hush@db?prefix=A.B", "no index can begin with"),
        ("elasticsearchs://db?ca=/nowhere/ca.pem", "/nowhere/ca.pem cannot be read"),
        ("elasticsearch://ann:${ATTUNE_NO_SUCH_VARIABLE}@db", "ATTUNE_NO_SUCH_VARIABLE is not set"),
    ] {
        let config = of(search);
        let surveyed = Stores::survey(&config, data.path()).await;
        let one = surveyed.iter().find(|one| one.store == StoreKind::Search).unwrap();
        let State::Fails(error) = &one.state else { panic!("{search}: {one:?}") };
        let text = explain(&one.uri, error);
        assert_eq!(error.kind, ErrorKind::Invalid, "{text}");
        assert!(text.contains(part) && !text.contains("hush"), "{text}");
    }
}

/// All six real servers, opened by their addresses, each behind its guard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_real_servers_say_what_they_are() {
    let server = |name| crate::servers::server(name).map(StoreUri::new);
    let (Some(relational), Some(cache), Some(search), Some(documents), Some(events), Some(objects)) = (
        server("ATTUNE_TEST_POSTGRES"),
        server("ATTUNE_TEST_REDIS"),
        server("ATTUNE_TEST_ELASTICSEARCH"),
        server("ATTUNE_TEST_MONGODB"),
        server("ATTUNE_TEST_KAFKA"),
        server("ATTUNE_TEST_S3"),
    ) else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let config = StoresConfig { relational, cache, search, documents, events, objects, ..StoresConfig::default() };
    for one in Stores::survey(&config, data.path()).await {
        let State::Answers { health, .. } = &one.state else { panic!("{one:?}") };
        assert!(!health.server.is_empty() && !health.version.is_empty(), "{one:?}");
    }
    Stores::open(&config, data.path()).await.unwrap();
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}
