//! What an SQLite file of documents must survive.

use std::fs;

use attune_store::documents::Documents;
use attune_store::embedded::documents::SqliteDocuments;
use attune_store::{ErrorKind, Expect, PageRequest};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::{REVIEWS, ids, put};
use crate::servers::tenant;
use crate::small_disk::SmallDisk;

#[tokio::test]
async fn what_was_kept_is_there_after_opening_again_and_found_by_a_new_lookup() {
    use attune_store::documents::Collection;
    let folder = tempfile::tempdir().unwrap();
    let (path, tenant) = (folder.path().join("documents.db"), tenant());
    let before = Collection { name: "reviews", lookups: &[] };
    let first = SqliteDocuments::open(&path).await.unwrap();
    first.put(&tenant, before, vec![put("a", json!({"item_id": "i"}), Expect::Any)]).await.unwrap();
    drop(first);
    let second = SqliteDocuments::open(&path).await.unwrap();
    let found = second.find(&tenant, REVIEWS, "item_id", "i", PageRequest::first(9)).await.unwrap();
    assert_eq!(ids(&found), ["a"]);
}

#[tokio::test]
async fn it_shares_a_file_with_the_relational_store() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tenant) = (folder.path().join("attune.db"), tenant());
    let rows = attune_store::embedded::relational::open(&path).await.unwrap();
    let documents = SqliteDocuments::open(&path).await.unwrap();
    let write = |n: usize| {
        let (rows, documents, tenant) = (&rows, &documents, &tenant);
        async move {
            use attune_store::relational::{Relational, Write};
            let job = Write::PutJob { id: n.to_string(), kind: "k".into(), spec: json!({}) };
            rows.commit(tenant, vec![job]).await.unwrap();
            documents.put(tenant, REVIEWS, vec![put(&n.to_string(), json!({}), Expect::Absent)]).await.unwrap();
        }
    };
    futures::future::join_all((0..20).map(write)).await;
    assert_eq!(documents.scan(&tenant, REVIEWS, PageRequest::first(99)).await.unwrap().rows.len(), 20);
}

#[tokio::test]
async fn a_newer_or_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.db");
    drop(SqliteDocuments::open(&path).await.unwrap());
    let mut newer = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    newer.execute("INSERT INTO documents_format VALUES (99)").await.unwrap();
    drop(newer);
    assert_eq!(SqliteDocuments::open(&path).await.unwrap_err().kind, ErrorKind::TooNew);
    let damaged = folder.path().join("damaged.db");
    fs::write(&damaged, vec![7; 8_192]).unwrap();
    assert_eq!(SqliteDocuments::open(&damaged).await.unwrap_err().kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_full_disk_keeps_a_batch_whole_or_not_at_all() {
    let Some(disk) = SmallDisk::mount(4 << 20) else { return };
    let tenant = tenant();
    let store = SqliteDocuments::open(&disk.path().join("documents.db")).await.unwrap();
    let batch = |n: usize| {
        (0..10).map(|i| put(&format!("{n:04}-{i}"), json!({"v": "v".repeat(1_000)}), Expect::Any)).collect::<Vec<_>>()
    };
    store.put(&tenant, REVIEWS, batch(0)).await.unwrap();
    let filler = disk.fill();
    let mut acknowledged = 1;
    let error = loop {
        match store.put(&tenant, REVIEWS, batch(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    let page = store.scan(&tenant, REVIEWS, PageRequest::first(1_000)).await.unwrap();
    assert_eq!(page.rows.len(), 10 * acknowledged);
    fs::remove_file(filler).unwrap();
    store.put(&tenant, REVIEWS, batch(acknowledged)).await.unwrap();
    let page = store.scan(&tenant, REVIEWS, PageRequest::first(1_000)).await.unwrap();
    assert_eq!(page.rows.len(), 10 * (acknowledged + 1));
}
