//! Documents in MongoDB.
//!
//! A collection of ours is one of MongoDB's; `_id` is `TENANT/KEY`, so that a tenant's documents are a range of the one
//! index that every collection has, in the order of their keys. What a document is found by stands beside it, in fields
//! of their own. The document itself is kept as JSON text: BSON would change it, having no unsigned integers, no NUL in
//! names, and meanings of its own for `$` and `.`. The cost is that MongoDB's own queries cannot look inside; ours never do.
//!
//! Only the atomicity of a single document is relied on: every write names the version that it replaces, or inserts.
//!
//! FerretDB, which speaks the same protocol, uses its index where one `_id` is asked for and nothing else (1.24 over SQLite
//! only as `docker/servers/mongodb` builds it), and reads the whole collection for anything more: there many documents are
//! as many questions, several at once, and what version a document has is looked at before it is written. Somebody may
//! come in between, as he may within FerretDB.

mod error;
mod write;

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, future, stream};
use mongodb::bson::{Document as Bson, doc};
use mongodb::options::{Acknowledgment, ClientOptions, IndexOptions, WriteConcern};
use mongodb::{Client, Database, IndexModel};
use serde_json::Value;
use url::Url;

use crate::documents::{
    Collection, Document, Documents, Put, absent, check_body, check_count, check_find, check_puts, conflict, fits,
    merge_patch,
};
use crate::{ErrorKind, Expect, Health, Page, PageRequest, StoreError, StoreKind, Tenant, Version, key};
use error::fail;

const STORE: StoreKind = StoreKind::Documents;

/// Used when the URI names none.
const DATABASE_DEFAULT: &str = "attune";

/// Questions for single documents under way at once, of one call.
const QUESTIONS_AT_ONCE: usize = 8;

/// How often a patch is tried whose document others write at the same time.
const TRIES_MAX: usize = 64;

/// Documents in one database.
#[derive(Clone, Debug)]
pub struct MongoDocuments {
    database: Database,
    is_ferret: bool,
    indexed: Arc<Mutex<HashSet<Collection>>>,
}

impl MongoDocuments {
    /// Connects to `mongodb://user:password@host:port/database`, or `mongodb+srv://`, with MongoDB's own parameters. A
    /// write is acknowledged by a majority, from their journals. `connections_max` is the size of the pool; a call waits
    /// `connect_max` for a server.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`], [`ErrorKind::Denied`], [`ErrorKind::Invalid`] for a URI that
    /// cannot be.
    pub async fn open(url: &Url, connections_max: u32, connect_max: Duration) -> Result<Self, StoreError> {
        let mut options = ClientOptions::parse(url.as_str()).await.map_err(fail("open"))?;
        options.app_name = Some("attune".to_owned());
        options.max_pool_size = Some(connections_max);
        options.connect_timeout = Some(connect_max);
        options.server_selection_timeout = Some(connect_max);
        options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE_DEFAULT.to_owned());
        let database = Client::with_options(options).map_err(fail("open"))?.database(&name);
        let info = database.run_command(doc! { "buildInfo": 1 }).await.map_err(fail("open"))?;
        let is_ferret = info.keys().any(|name| name.starts_with("ferret"));
        Ok(Self { database, is_ferret, indexed: Arc::default() })
    }

    /// Whether the server is one that changes single documents atomically, which FerretDB does not.
    pub fn is_atomic(&self) -> bool {
        !self.is_ferret
    }

    fn collection(&self, collection: Collection) -> mongodb::Collection<Bson> {
        self.database.collection(collection.name)
    }

    /// Makes the indices of a collection, once in the life of a program.
    async fn index(&self, call: &'static str, collection: Collection) -> Result<(), StoreError> {
        if self.indexed.lock().unwrap_or_else(PoisonError::into_inner).contains(&collection) {
            return Ok(());
        }
        for lookup in collection.lookups {
            let options = IndexOptions::builder().name(format!("by_{lookup}")).build();
            let keys = doc! { "tenant": 1, found_by(lookup): 1, "_id": 1 };
            let index = IndexModel::builder().keys(keys).options(options).build();
            self.collection(collection).create_index(index).await.map_err(fail(call))?;
        }
        self.indexed.lock().unwrap_or_else(PoisonError::into_inner).insert(collection);
        Ok(())
    }

    /// Those that there are of them, in any order.
    async fn rows(&self, collection: Collection, joints: Vec<String>) -> mongodb::error::Result<Vec<Bson>> {
        let documents = &self.collection(collection);
        if !self.is_ferret {
            return documents.find(doc! { "_id": { "$in": joints } }).await?.try_collect().await;
        }
        let found = stream::iter(joints).map(|joint| documents.find_one(doc! { "_id": joint }).into_future());
        found.buffer_unordered(QUESTIONS_AT_ONCE).try_filter_map(|row| future::ready(Ok(row))).try_collect().await
    }

    /// What finds a document as long as it is of a version; nothing where it is known not to be.
    async fn of_version(
        &self,
        call: &'static str,
        collection: Collection,
        joint: String,
        expected: Version,
    ) -> Result<Option<Bson>, StoreError> {
        if !self.is_ferret {
            return Ok(Some(doc! { "_id": joint, "version": expected.0 as i64 }));
        }
        let filter = doc! { "_id": joint };
        let found = self.collection(collection).find_one(filter.clone()).await.map_err(fail(call))?;
        let found = found.map(|row| version(call, &row)).transpose()?;
        Ok((found == Some(expected)).then_some(filter))
    }

    /// A page of what matches, of one tenant.
    async fn page(
        &self,
        call: &'static str,
        list: &[&str],
        tenant: &Tenant,
        collection: Collection,
        page: PageRequest,
        mut filter: Bson,
    ) -> Result<Page<Document>, StoreError> {
        let after = page.key::<String>(STORE, call, list)?;
        let (Bound::Excluded(first), Bound::Excluded(end)) = range(tenant, after.as_deref().unwrap_or_default()) else {
            unreachable!("both ends are outside")
        };
        filter.insert("_id", doc! { "$gt": first, "$lt": end });
        let documents = self.collection(collection);
        let found = documents.find(filter).sort(doc! { "_id": 1 }).limit(page.limit() as i64 + 1);
        let found = found.await.map_err(fail(call))?;
        let rows: Vec<Bson> = found.try_collect().await.map_err(fail(call))?;
        let rows = rows.iter().map(|row| document(call, row)).collect::<Result<_, _>>()?;
        Ok(Page::cut(list, rows, page.limit(), |document: &Document| document.id.clone()))
    }
}

/// The field that has the text a document is found by.
fn found_by(lookup: &str) -> String {
    format!("by_{lookup}")
}

fn joint(tenant: &Tenant, id: &str) -> String {
    format!("{tenant}/{id}")
}

/// Between which ids a tenant's documents behind `after` lie. `0` comes behind `/`, and a tenant's name has neither.
fn range(tenant: &Tenant, after: &str) -> (Bound<String>, Bound<String>) {
    (Bound::Excluded(joint(tenant, after)), Bound::Excluded(format!("{tenant}0")))
}

fn document(call: &'static str, row: &Bson) -> Result<Document, StoreError> {
    let damaged = |why: String| {
        let detail = format!("the document {:?} cannot be read: {why}", row.get("_id"));
        StoreError::new(STORE, call, ErrorKind::Corrupt, detail)
    };
    let text = |field| row.get_str(field).map_err(|error| damaged(error.to_string()));
    let (joint, body) = (text("_id")?, text("body")?);
    let (_, id) = joint.split_once('/').ok_or_else(|| damaged("it has no tenant".to_owned()))?;
    let body = serde_json::from_str(body).map_err(|error| damaged(error.to_string()))?;
    Ok(Document { id: id.to_owned(), version: version(call, row)?, body })
}

fn version(call: &'static str, row: &Bson) -> Result<Version, StoreError> {
    let damaged = |_| StoreError::new(STORE, call, ErrorKind::Corrupt, "a document has no version");
    row.get_i64("version").map(|version| Version(version as u64)).map_err(damaged)
}

#[async_trait]
impl Documents for MongoDocuments {
    async fn put(
        &self,
        tenant: &Tenant,
        collection: Collection,
        puts: Vec<Put>,
    ) -> Result<Vec<Result<Version, StoreError>>, StoreError> {
        check_puts(&puts)?;
        self.index("put", collection).await?;
        write::put_all(self, tenant, collection, &puts).await
    }

    async fn get(
        &self,
        tenant: &Tenant,
        collection: Collection,
        ids: &[&str],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        check_count("get", ids.len())?;
        let joints: Vec<String> = ids.iter().map(|id| joint(tenant, id)).collect();
        let rows = self.rows(collection, joints).await.map_err(fail("get"))?;
        let documents = rows.iter().map(|row| document("get", row).map(|document| (document.id.clone(), document)));
        let documents = documents.collect::<Result<HashMap<_, _>, _>>()?;
        Ok(ids.iter().map(|id| documents.get(*id).cloned()).collect())
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
        let documents = self.collection(collection);
        for _ in 0..TRIES_MAX {
            let found = documents.find_one(doc! { "_id": joint(tenant, id) }).await.map_err(fail("patch"))?;
            let mut found = document("patch", &found.ok_or_else(|| absent("patch", id))?)?;
            if !fits(expect, found.version) {
                return Err(conflict("patch", id, expect));
            }
            merge_patch(&mut found.body, patch);
            check_body("patch", id, &found.body)?;
            let put = Put { id: id.to_owned(), body: found.body, expect: Expect::Version(found.version) };
            match write::replace(self, "patch", tenant, collection, &put).await? {
                Some(version) => return Ok(Document { id: put.id, version, body: put.body }),
                None if expect == Expect::Any => continue,
                None => break,
            }
        }
        Err(conflict("patch", id, expect))
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        expect: Expect,
    ) -> Result<bool, StoreError> {
        let documents = self.collection(collection);
        let joint = joint(tenant, id);
        let filter = match expect {
            Expect::Any => Some(doc! { "_id": joint }),
            Expect::Version(version) => self.of_version("delete", collection, joint, version).await?,
            Expect::Absent => {
                let found = documents.find_one(doc! { "_id": joint }).await.map_err(fail("delete"))?;
                return if found.is_none() { Ok(false) } else { Err(conflict("delete", id, expect)) };
            }
        };
        let Some(filter) = filter else { return Err(conflict("delete", id, expect)) };
        let is_deleted = documents.delete_one(filter).await.map_err(fail("delete"))?.deleted_count > 0;
        if is_deleted || expect == Expect::Any { Ok(is_deleted) } else { Err(conflict("delete", id, expect)) }
    }

    async fn scan(
        &self,
        tenant: &Tenant,
        collection: Collection,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError> {
        self.page("scan", &["documents", collection.name], tenant, collection, page, doc! {}).await
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
        let filter = doc! { "tenant": tenant.as_str(), found_by(lookup): text };
        self.page("find", &["documents", collection.name, lookup, text], tenant, collection, page, filter).await
    }

    async fn clear(&self, tenant: &Tenant, collection: Collection) -> Result<u64, StoreError> {
        let deleted = self.collection(collection).delete_many(doc! { "tenant": tenant.as_str() }).await;
        deleted.map(|deleted| deleted.deleted_count).map_err(fail("clear"))
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let info = self.database.run_command(doc! { "buildInfo": 1 }).await.map_err(fail("health"))?;
        let version = info.get_str("version").unwrap_or_default();
        if self.is_atomic() {
            return Ok(Health::new("MongoDB", version));
        }
        let warning =
            "FerretDB does not change a document atomically: writers of one document at the same time lose writes";
        Ok(Health::new("FerretDB", version).warn(warning))
    }
}
