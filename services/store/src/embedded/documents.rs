//! Documents in an SQLite file.
//!
//! A document is a row with its JSON. What it is found by is an index over an expression on that JSON, one for each
//! lookup of a collection, made when the collection is first touched: there is no second table to keep in step, and a
//! lookup that is added later finds the documents that are there already.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, Row, Sqlite, SqliteConnection, SqlitePool, Transaction,
};
use tokio::sync::Semaphore;

use crate::documents::{
    Collection, Document, Documents, Put, absent, check_body, check_count, check_find, check_puts, conflict, fits,
    merge_patch,
};
use crate::key;
use crate::sql::{Dialect, SQLITE_PRAGMAS};
use crate::{ErrorKind, Expect, Health, Page, PageRequest, StoreError, StoreKind, Tenant, Version};

const STORE: StoreKind = StoreKind::Documents;

/// Raised when an older program can no longer read the file.
const FORMAT: i64 = 1;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS documents (tenant TEXT NOT NULL, collection TEXT NOT NULL, \
    id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (tenant, collection, id))";

/// Documents in one file.
#[derive(Debug)]
pub struct SqliteDocuments {
    pool: SqlitePool,
    /// SQLite has one writer at a time; here they queue, there they would try again and again.
    writer: Semaphore,
    indexed: Mutex<HashSet<Collection>>,
}

fn fail(call: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| Dialect::Sqlite.fail_of(STORE, call, error)
}

impl SqliteDocuments {
    /// Opens the file, and makes it and its folder where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::TooNew`], [`ErrorKind::Corrupt`], [`ErrorKind::Denied`], [`ErrorKind::Full`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        super::make_folder(STORE, path)?;
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        // One connection by itself, before the pool: a pool answers every fault with the same word, that it took too long.
        let mut first = options.connect().await.map_err(fail("open"))?;
        first.execute(SQLITE_PRAGMAS).await.map_err(fail("open"))?;
        Self::migrate(&mut first).await?;
        first.close().await.map_err(fail("open"))?;
        // SQLite ends a transaction by itself when the disk is full, the rollback behind it then fails, and sqlx believes for
        // good that the connection is in a transaction: such a connection is not used again.
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(|connection, _| Box::pin(async move { connection.execute(SQLITE_PRAGMAS).await.map(drop) }))
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_lazy_with(options);
        Ok(Self { pool, writer: Semaphore::new(1), indexed: Mutex::default() })
    }

    async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fail("open"))?;
        // A file may hold other stores' tables too, so that the format has a table and not SQLite's one number for all.
        let table = "CREATE TABLE IF NOT EXISTS documents_format (format INTEGER NOT NULL)";
        transaction.execute(table).await.map_err(fail("open"))?;
        let format = sqlx::query_scalar("SELECT COALESCE(MAX(format), 0) FROM documents_format");
        let format: i64 = format.fetch_one(&mut *transaction).await.map_err(fail("open"))?;
        if format > FORMAT {
            let detail = format!("the documents have format {format}, this program knows {FORMAT}: start a newer one");
            return Err(StoreError::new(STORE, "open", ErrorKind::TooNew, detail));
        }
        transaction.execute(TABLE).await.map_err(fail("open"))?;
        if format < FORMAT {
            let insert = sqlx::query("INSERT INTO documents_format VALUES ($1)").bind(FORMAT);
            insert.execute(&mut *transaction).await.map_err(fail("open"))?;
        }
        transaction.commit().await.map_err(fail("open"))
    }

    /// Makes the indices of a collection, once in the life of a program.
    async fn index(&self, call: &'static str, collection: Collection) -> Result<(), StoreError> {
        if self.indexed.lock().unwrap_or_else(PoisonError::into_inner).contains(&collection) {
            return Ok(());
        }
        for name in collection.lookups {
            let (of, text) = (collection.name, lookup_text(name));
            let sql = format!(
                "CREATE INDEX IF NOT EXISTS documents_{of}_by_{name} ON documents (tenant, {text}, id) \
                 WHERE collection = '{of}'"
            );
            let _turn = self.turn().await;
            self.pool.execute(AssertSqlSafe(sql)).await.map_err(fail(call))?;
        }
        self.indexed.lock().unwrap_or_else(PoisonError::into_inner).insert(collection);
        Ok(())
    }

    async fn turn(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.writer.acquire().await.expect("it is never closed")
    }

    async fn begin(&self, call: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(fail(call))
    }
}

/// The text of a field, and nothing when it is something else. The name is that of a constant.
fn lookup_text(name: &str) -> String {
    format!("CASE json_type(body, '$.\"{name}\"') WHEN 'text' THEN json_extract(body, '$.\"{name}\"') END")
}

/// It says what the index says, to the letter, and names it: between two indices that look alike to it, SQLite would take
/// that of the keys.
fn find_sql(collection: Collection, lookup: &str) -> String {
    let (of, field) = (collection.name, lookup_text(lookup));
    format!(
        "SELECT id, version, body FROM documents INDEXED BY documents_{of}_by_{lookup} \
         WHERE collection = '{of}' AND tenant = $1 AND {field} = $2 AND id > $3 ORDER BY id LIMIT $4"
    )
}

fn document(call: &'static str, row: &SqliteRow) -> Result<Document, StoreError> {
    let read = || Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get::<i64, _>(1)?, row.try_get::<&str, _>(2)?));
    let (id, version, body): (String, i64, &str) = read().map_err(fail(call))?;
    let damaged = |error: serde_json::Error| {
        let detail = format!("the document {id:?} cannot be read: {error}");
        StoreError::new(STORE, call, ErrorKind::Corrupt, detail)
    };
    let body = serde_json::from_str(body).map_err(damaged)?;
    Ok(Document { id, version: Version(version as u64), body })
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn put(
        &self,
        tenant: &Tenant,
        collection: Collection,
        puts: Vec<Put>,
    ) -> Result<Vec<Result<Version, StoreError>>, StoreError> {
        let bodies = check_puts(&puts)?;
        self.index("put", collection).await?;
        let _turn = self.turn().await;
        let mut transaction = self.begin("put").await?;
        let mut versions = Vec::with_capacity(puts.len());
        for (put, body) in puts.iter().zip(bodies) {
            let sql = match put.expect {
                Expect::Any => {
                    "INSERT INTO documents AS d (tenant, collection, id, version, body) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT DO UPDATE SET version = d.version + 1, body = excluded.body RETURNING version"
                }
                Expect::Absent => {
                    "INSERT INTO documents (tenant, collection, id, version, body) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT DO NOTHING RETURNING version"
                }
                Expect::Version(_) => {
                    "UPDATE documents SET version = version + 1, body = $5 \
                     WHERE tenant = $1 AND collection = $2 AND id = $3 AND version = $4 RETURNING version"
                }
            };
            let version = match put.expect {
                Expect::Version(version) => version,
                _ => Version::first(),
            };
            let query = sqlx::query_scalar::<_, i64>(sql).bind(tenant.as_str()).bind(collection.name);
            let query = query.bind(&put.id).bind(version.0 as i64).bind(body);
            let written = query.fetch_optional(&mut *transaction).await.map_err(fail("put"))?;
            let refused = || conflict("put", &put.id, put.expect);
            versions.push(written.map(|version| Version(version as u64)).ok_or_else(refused));
        }
        transaction.commit().await.map_err(fail("put"))?;
        Ok(versions)
    }

    async fn get(
        &self,
        tenant: &Tenant,
        collection: Collection,
        ids: &[&str],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        check_count("get", ids.len())?;
        let sql = "SELECT id, version, body FROM documents \
             WHERE tenant = $1 AND collection = $2 AND id IN (SELECT value FROM json_each($3))";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(collection.name).bind(Value::from(ids).to_string());
        let rows = query.fetch_all(&self.pool).await.map_err(fail("get"))?;
        let documents = rows.iter().map(|row| document("get", row).map(|document| (document.id.clone(), document)));
        let mut documents = documents.collect::<Result<HashMap<_, _>, _>>()?;
        // Nearly always each is asked for once, and need not be copied.
        let mut asked: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
        ids.iter().for_each(|id| *asked.entry(id).or_default() += 1);
        let take = |id: &&str| match asked.get_mut(*id) {
            Some(again) if *again > 1 => {
                *again -= 1;
                documents.get(*id).cloned()
            }
            _ => documents.remove(*id),
        };
        Ok(ids.iter().map(take).collect())
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        patch: &Value,
        expect: Expect,
    ) -> Result<Document, StoreError> {
        key::check(STORE, "patch", id)?;
        self.index("patch", collection).await?;
        let _turn = self.turn().await;
        let mut transaction = self.begin("patch").await?;
        let sql = "SELECT id, version, body FROM documents WHERE tenant = $1 AND collection = $2 AND id = $3";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(collection.name).bind(id);
        let row = query.fetch_optional(&mut *transaction).await.map_err(fail("patch"))?;
        let mut found = row.map(|row| document("patch", &row)).transpose()?.ok_or_else(|| absent("patch", id))?;
        if !fits(expect, found.version) {
            return Err(conflict("patch", id, expect));
        }
        merge_patch(&mut found.body, patch);
        let body = check_body("patch", id, &found.body)?;
        let sql = "UPDATE documents SET version = version + 1, body = $4 \
             WHERE tenant = $1 AND collection = $2 AND id = $3 RETURNING version";
        let query = sqlx::query_scalar::<_, i64>(sql).bind(tenant.as_str()).bind(collection.name).bind(id).bind(body);
        found.version = Version(query.fetch_one(&mut *transaction).await.map_err(fail("patch"))? as u64);
        transaction.commit().await.map_err(fail("patch"))?;
        Ok(found)
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        expect: Expect,
    ) -> Result<bool, StoreError> {
        let _turn = self.turn().await;
        let mut transaction = self.begin("delete").await?;
        let sql = "DELETE FROM documents WHERE tenant = $1 AND collection = $2 AND id = $3 RETURNING version";
        let query = sqlx::query_scalar::<_, i64>(sql).bind(tenant.as_str()).bind(collection.name).bind(id);
        let deleted = query.fetch_optional(&mut *transaction).await.map_err(fail("delete"))?;
        let version = deleted.map(|version| Version(version as u64));
        if !version.map_or(!matches!(expect, Expect::Version(_)), |version| fits(expect, version)) {
            return Err(conflict("delete", id, expect));
        }
        transaction.commit().await.map_err(fail("delete"))?;
        Ok(version.is_some())
    }

    async fn scan(
        &self,
        tenant: &Tenant,
        collection: Collection,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError> {
        let sql = "SELECT id, version, body FROM documents \
             WHERE tenant = $1 AND collection = $2 AND id > $3 ORDER BY id LIMIT $4";
        let list = ["documents", collection.name];
        let after = page.key::<String>(STORE, "scan", &list)?;
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(collection.name).bind(after.unwrap_or_default());
        let rows = query.bind(page.limit() as i64 + 1).fetch_all(&self.pool).await.map_err(fail("scan"))?;
        let documents = rows.iter().map(|row| document("scan", row)).collect::<Result<_, _>>()?;
        Ok(Page::cut(&list, documents, page.limit(), |document: &Document| document.id.clone()))
    }

    async fn find(
        &self,
        tenant: &Tenant,
        collection: Collection,
        lookup: &'static str,
        text: &str,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError> {
        check_find(collection, lookup, text)?;
        self.index("find", collection).await?;
        let sql = find_sql(collection, lookup);
        let list = ["documents", collection.name, lookup, text];
        let after = page.key::<String>(STORE, "find", &list)?;
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(text).bind(after.unwrap_or_default());
        let rows = query.bind(page.limit() as i64 + 1).fetch_all(&self.pool).await.map_err(fail("find"))?;
        let documents = rows.iter().map(|row| document("find", row)).collect::<Result<_, _>>()?;
        Ok(Page::cut(&list, documents, page.limit(), |document: &Document| document.id.clone()))
    }

    async fn clear(&self, tenant: &Tenant, collection: Collection) -> Result<u64, StoreError> {
        let _turn = self.turn().await;
        let query = sqlx::query("DELETE FROM documents WHERE tenant = $1 AND collection = $2");
        let done = query.bind(tenant.as_str()).bind(collection.name).execute(&self.pool).await;
        done.map(|done| done.rows_affected()).map_err(fail("clear"))
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let version = sqlx::query_scalar::<_, String>("SELECT sqlite_version()").fetch_one(&self.pool).await;
        version.map(|version| Health::new("SQLite", version)).map_err(fail("health"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lookup_reads_its_index_alone() {
        const REVIEWS: Collection = Collection { name: "reviews", lookups: &["item_id", "user_id"] };
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteDocuments::open(&folder.path().join("documents.db")).await.unwrap();
        store.index("find", REVIEWS).await.unwrap();
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", find_sql(REVIEWS, "user_id")));
        let plan = sqlx::query(explain).bind("t").bind("u").bind("").bind(9).fetch_all(&store.pool).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get(3)).collect();
        assert_eq!(steps.len(), 1, "nothing is sorted: {steps:?}");
        assert!(steps[0].contains("SEARCH documents USING INDEX documents_reviews_by_user_id"), "{steps:?}");
    }
}
