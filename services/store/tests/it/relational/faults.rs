//! What an SQLite file must survive.

use std::fs;
use std::path::Path;

use attune_store::relational::{DefinitionKind, Definitions, Relational, Write};
use attune_store::{ErrorKind, Expect, PageRequest, SCHEMA, SqlRelational, embedded};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::put;
use crate::servers::tenant;
use crate::small_disk::SmallDisk;

async fn open(path: &Path) -> Result<SqlRelational, attune_store::StoreError> {
    embedded::relational::open(path).await
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tenant) = (folder.path().join("attune.db"), tenant());
    let first = open(&path).await.unwrap();
    first.commit(&tenant, vec![put("a", json!(1), Expect::Any)]).await.unwrap();
    let second = open(&path).await.unwrap();
    second.commit(&tenant, vec![put("b", json!(2), Expect::Any)]).await.unwrap();
    drop((first, second));
    let third = open(&path).await.unwrap();
    let page = third.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(9)).await.unwrap();
    assert_eq!(page.rows.len(), 2, "of two that had it open at once");
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attune.db");
    drop(open(&path).await.unwrap());
    let mut newer = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let migrated = format!("INSERT INTO schema_migrations VALUES ({}, 1, 0); DROP TABLE outbox", SCHEMA + 1);
    newer.execute(sqlx::AssertSqlSafe(migrated)).await.unwrap();
    drop(newer);
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooNew, "{error}");
    assert!(error.to_string().contains("start a newer one"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attune.db");
    fs::write(&path, vec![7; 8_192]).unwrap();
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert_eq!(fs::read(&path).unwrap(), vec![7; 8_192], "it is left as it is");
}

#[tokio::test]
async fn a_page_that_was_overwritten_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tenant) = (folder.path().join("attune.db"), tenant());
    let store = open(&path).await.unwrap();
    let rules = (0..500).map(|n| put(&format!("{n:04}"), json!("v".repeat(200)), Expect::Any));
    store.commit(&tenant, rules.collect()).await.unwrap();
    drop(store);
    let mut checkpoint = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    checkpoint.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    drop(checkpoint);
    let mut bytes = fs::read(&path).unwrap();
    // All but the first pages, which are the schema.
    let start = 20 * 4_096;
    assert!(bytes.len() > start + 40 * 4_096, "{}", bytes.len());
    bytes[start..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let read = match open(&path).await {
        Ok(store) => store.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(1_000)).await.map(drop),
        Err(error) => Err(error),
    };
    let error = read.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("attune.db")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    let error = open(folder.path()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "a folder is no file: {error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_gone_on_with_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(4 << 20) else { return };
    let tenant = tenant();
    let tenant = &tenant;
    let store = open(&disk.path().join("attune.db")).await.unwrap();
    let write = |n: usize| -> Vec<Write> { vec![put(&format!("{n:05}"), json!("v".repeat(2_000)), Expect::Any)] };
    store.commit(tenant, write(0)).await.unwrap();
    let filler = disk.fill();
    let mut acknowledged = 1;
    let error = loop {
        match store.commit(tenant, write(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    let there = |store: SqlRelational| async move {
        let page = store.definitions(tenant, DefinitionKind::Rule, PageRequest::first(1_000)).await.unwrap();
        (page.rows.len(), store)
    };
    let (rows, store) = there(store).await;
    assert_eq!(rows, acknowledged, "what was acknowledged and nothing else");
    fs::remove_file(filler).unwrap();
    store.commit(tenant, write(acknowledged)).await.unwrap();
    drop(store);
    let (rows, _store) = there(open(&disk.path().join("attune.db")).await.unwrap()).await;
    assert_eq!(rows, acknowledged + 1);
}
