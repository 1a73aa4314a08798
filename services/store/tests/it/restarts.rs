//! Each server killed under writes and started again: what was acknowledged is there, and we go on by ourselves.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use attune_store::cache::Cache;
use attune_store::documents::{Collection, Documents, Put};
use attune_store::network::search::{ElasticsearchOptions, ElasticsearchSearch};
use attune_store::network::{self, cache::RedisCache, documents::MongoDocuments};
use attune_store::relational::{DefinitionKind, Definitions, Relational};
use attune_store::search::{Change, Search};
use attune_store::{Expect, StoreError, Tenant};
use bytes::Bytes;
use serde_json::json;

use crate::killed_server::KilledServer;
use crate::search;
use crate::servers::tenant;

const KILLS: usize = 3;
const WRITERS: usize = 4;
/// How many writes are acknowledged between two kills, at least.
const WRITES: usize = 200;
const LIMIT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(3_600);

/// Lets writers write while the server is killed again and again. The keys whose writes were
/// acknowledged, and the server, to be asked for them.
async fn kill_under_writes<W>(server: KilledServer, write: impl Fn(String) -> W) -> (Vec<String>, Arc<KilledServer>)
where
    W: Future<Output = Result<(), StoreError>>,
{
    let server = Arc::new(server);
    let (acknowledged, failed, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let writer = |number: usize| {
        let (write, acknowledged, failed, is_over) = (&write, &acknowledged, &failed, &is_over);
        async move {
            let mut keys = Vec::new();
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("{number}-{n}");
                match write(key.clone()).await {
                    Ok(()) => {
                        keys.push(key);
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            keys
        }
    };
    let killer = async {
        for _ in 0..KILLS {
            let before = acknowledged.load(Ordering::Relaxed);
            while acknowledged.load(Ordering::Relaxed) < before + WRITES {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let server = server.clone();
            tokio::task::spawn_blocking(move || server.kill_and_start()).await.unwrap();
        }
        let before = acknowledged.load(Ordering::Relaxed);
        while acknowledged.load(Ordering::Relaxed) < before + WRITES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (keys, ()) = futures::join!(futures::future::join_all((0..WRITERS).map(writer)), killer);
    let keys = keys.concat();
    let failed = failed.into_inner();
    let _unread = writeln!(std::io::stderr(), "{KILLS} kills: {} writes acknowledged, {failed} failed", keys.len());
    (keys, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_what_it_acknowledged() {
    let Some(server) = KilledServer::start("postgres", "ATTUNE_TEST_POSTGRES", ("PG_PORT", 15_499)) else { return };
    let store = network::relational::open(&server.url().parse().unwrap(), 4, LIMIT).await.unwrap();
    let tenant: &Tenant = &tenant();
    let (keys, _server) = kill_under_writes(server, |key| {
        let write = crate::relational::put(&key, json!(1), Expect::Any);
        let store = &store;
        async move { store.commit(tenant, vec![write]).await.map(drop) }
    })
    .await;
    for key in keys {
        let found = store.definition(tenant, DefinitionKind::Rule, &key).await.unwrap();
        assert!(found.is_some(), "{key} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_what_it_acknowledged() {
    let Some(server) = KilledServer::start("redis", "ATTUNE_TEST_REDIS", ("REDIS_PORT", 16_399)) else { return };
    let cache = &RedisCache::open(&server.url().parse().unwrap(), LIMIT, LIMIT).await.unwrap();
    let tenant: &Tenant = &tenant();
    let (keys, _server) =
        kill_under_writes(server, |key| async move { cache.set(tenant, &key, Bytes::from_static(b"1"), LONG).await })
            .await;
    for key in keys {
        assert!(cache.get(tenant, &[&key]).await.unwrap()[0].is_some(), "{key} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_keeps_what_it_acknowledged() {
    const COLLECTION: Collection = Collection { name: "restarts", lookups: &[] };
    let Some(server) = KilledServer::start("mongodb", "ATTUNE_TEST_MONGODB", ("MONGO_PORT", 17_099)) else { return };
    let documents = &MongoDocuments::open(&server.url().parse().unwrap(), 4, LIMIT).await.unwrap();
    let tenant: &Tenant = &tenant();
    let (keys, _server) = kill_under_writes(server, |id| async move {
        let put = Put { id, body: json!({"n": 1}), expect: Expect::Any };
        documents.put(tenant, COLLECTION, vec![put]).await?.remove(0).map(drop)
    })
    .await;
    for key in keys {
        assert!(documents.get(tenant, COLLECTION, &[&key]).await.unwrap()[0].is_some(), "{key} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elasticsearch_keeps_what_it_acknowledged() {
    let port = ("ELASTIC_PORT", 19_299);
    let Some(server) = KilledServer::start("elasticsearch", "ATTUNE_TEST_ELASTICSEARCH", port) else { return };
    let url = server.url().replacen("elasticsearch://", "http://", 1);
    let store = &ElasticsearchSearch::new(ElasticsearchOptions::new(url.parse().unwrap())).unwrap();
    let tenant: &Tenant = &search::begun(store, &search::schema()).await;
    let (keys, _server) = kill_under_writes(server, |id| async move {
        store.write(tenant, &[Change::Put(search::put(&id, "a title", "a text"))]).await.map(drop)
    })
    .await;
    store.refresh(tenant).await.unwrap();
    let mut found = std::collections::BTreeSet::new();
    let mut query = search::all();
    loop {
        let page = store.search(tenant, &query).await.unwrap();
        found.extend(page.hits.into_iter().map(|hit| hit.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    for key in keys {
        assert!(found.contains(&key), "{key} is lost");
    }
}
