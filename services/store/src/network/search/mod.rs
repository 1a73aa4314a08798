//! Search on Elasticsearch.
//!
//! ```text
//! attune.TENANT.g3         an index: one for each tenant and schema
//! attune.TENANT.live       the alias that is searched
//! attune.TENANT.building   the alias of the new one, while there is one
//! ```
//!
//! A tenant has no `.` in its name, so no name of one is a name of another. Writes go through the aliases, and say that
//! these have to exist: an index that has just been removed is not made anew by a late write. Which index is the live one
//! is asked at each write, and for searches once a second: until then they find the one from before, which is a whole one.
//! An index that another one has taken the place of has no alias any more, and stays until the next one is begun: removed
//! in the same step, it failed the writes and searches that had just found it under its alias.

mod client;
mod filter;
mod mapping;
mod query;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use attune_ranking::attributes::Schema;
use elasticsearch::http::Method;
use moka::sync::Cache;
use serde_json::{Value, json};

use self::client::{Body, Client, refused};
pub use self::client::{ElasticsearchOptions, SignIn};
use crate::search::{Change, Indices, Page, Query, Search, Written, check_changes, check_query};
use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant};

/// How long a search may believe that the live index is the live one.
const LAYOUT_MAX: Duration = Duration::from_secs(1);
/// Of how many tenants that is remembered.
const LAYOUTS_MAX: u64 = 10_000;
/// The oldest server that is known to work.
const MAJOR_MIN: u32 = 8;

/// Search on an Elasticsearch server.
pub struct ElasticsearchSearch {
    client: Client,
    options: ElasticsearchOptions,
    live: Cache<Tenant, Named>,
}

/// An index and its schema.
#[derive(Clone)]
struct Named {
    index: String,
    schema: Schema,
}

/// What a tenant has on the server.
#[derive(Default)]
struct Layout {
    live: Option<Named>,
    building: Option<Named>,
    indices: Vec<String>,
}

impl Layout {
    /// Indices that another one has taken the place of.
    fn retired(&self) -> Vec<String> {
        let is_used = |name: &String| [&self.live, &self.building].into_iter().flatten().any(|one| one.index == *name);
        self.indices.iter().filter(|name| !is_used(name)).cloned().collect()
    }
}

impl ElasticsearchSearch {
    /// A client. The server is asked for the first time by the first call.
    ///
    /// # Errors
    /// `Invalid`: the options make no sense.
    pub fn new(options: ElasticsearchOptions) -> Result<Self, StoreError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_name = options.prefix.bytes().all(fits) && options.prefix.starts_with(|c: char| c.is_ascii_lowercase());
        if !is_name || options.prefix.len() > 64 {
            let detail =
                format!("no index can begin with {:?}: use up to 64 lower-case letters and digits", options.prefix);
            return Err(StoreError::new(StoreKind::Search, "open", ErrorKind::Invalid, detail));
        }
        let client = Client::new(&options)?;
        let live = Cache::builder().time_to_live(LAYOUT_MAX).max_capacity(LAYOUTS_MAX).build();
        Ok(Self { client, options, live })
    }

    fn name(&self, tenant: &Tenant, end: &str) -> String {
        format!("{}.{tenant}.{end}", self.options.prefix)
    }

    async fn layout(&self, call: &'static str, tenant: &Tenant) -> Result<Layout, StoreError> {
        let pattern = format!("/{}", self.name(tenant, "g*"));
        let answer =
            self.client.expect(call, Method::Get, &pattern, &[("expand_wildcards", "open,hidden")], Body::Nothing);
        let answer = answer.await?;
        let (live, building) = (self.name(tenant, "live"), self.name(tenant, "building"));
        let mut layout = Layout::default();
        for (name, index) in answer.as_object().into_iter().flatten() {
            layout.indices.push(name.clone());
            let place = if index["aliases"].get(&live).is_some() {
                &mut layout.live
            } else if index["aliases"].get(&building).is_some() {
                &mut layout.building
            } else {
                continue;
            };
            let schema = mapping::schema(index).ok_or_else(|| {
                let detail = format!("the index {name} was made by a newer Attune, or by something else");
                StoreError::new(StoreKind::Search, call, ErrorKind::TooNew, detail)
            })?;
            *place = Some(Named { index: name.clone(), schema });
        }
        Ok(layout)
    }

    /// The live index, as it was within the last second.
    async fn live(&self, tenant: &Tenant) -> Result<Named, StoreError> {
        if let Some(live) = self.live.get(tenant) {
            return Ok(live);
        }
        let live = self.layout("search", tenant).await?.live.ok_or_else(|| no_index("search", tenant))?;
        self.live.insert(tenant.clone(), live.clone());
        Ok(live)
    }

    async fn search_in(&self, live: &Named, tenant: &Tenant, query: &Query) -> Result<Page, StoreError> {
        let is_approximate = query.after.is_some_and(|cursor| cursor.is_approximate);
        let page = self.run(live, tenant, query, is_approximate).await?;
        if page.matches > 0 || is_approximate || query.text.trim().is_empty() {
            return Ok(Page { is_approximate, ..page });
        }
        let page = self.run(live, tenant, query, true).await?;
        Ok(Page { is_approximate: page.matches > 0, ..page })
    }

    async fn run(
        &self,
        live: &Named,
        tenant: &Tenant,
        query: &Query,
        is_approximate: bool,
    ) -> Result<Page, StoreError> {
        let body = query::body(query, &live.schema, is_approximate)?;
        let path = format!("/{}/_search", live.index);
        // The same copy for the same tenant: copies may differ in what they score by.
        let preference = [("preference", tenant.as_str())];
        let answer = self.client.expect("search", Method::Post, &path, &preference, Body::Json(body)).await?;
        query::page(query, &live.schema, &answer, is_approximate)
    }

    /// Writes to one alias after the other in one request.
    async fn bulk(&self, aliases: &[String], changes: &[Change]) -> Result<Value, StoreError> {
        let mut lines = Vec::new();
        for alias in aliases {
            for change in changes {
                let (id, version, document) = match change {
                    Change::Put(entry) => (&entry.id, entry.version, mapping::document(entry)),
                    Change::Delete { id, version } => (id, *version, mapping::tombstone()),
                };
                let action = json!({"index": {
                    "_index": alias, "_id": id, "version": version, "version_type": "external", "require_alias": true,
                }});
                lines.extend(format!("{action}\n{document}\n").into_bytes());
            }
        }
        self.client.expect("write", Method::Post, "/_bulk", &[], Body::Lines(lines)).await
    }

    async fn remove(&self, call: &'static str, indices: &[String]) -> Result<(), StoreError> {
        if indices.is_empty() {
            return Ok(());
        }
        let path = format!("/{}", indices.join(","));
        let removed = self.client.expect(call, Method::Delete, &path, &[("ignore_unavailable", "true")], Body::Nothing);
        removed.await.map(drop)
    }
}

fn no_index(call: &'static str, tenant: &Tenant) -> StoreError {
    let detail = format!("{tenant} has no index: begin one and publish it");
    StoreError::new(StoreKind::Search, call, ErrorKind::NotFound, detail)
}

/// What became of the changes, by the answers for one alias.
fn written(items: &[Value], may_be_gone: bool) -> Result<Written, StoreError> {
    let mut written = Written::default();
    for item in items {
        let item = &item["index"];
        match item["status"].as_u64().unwrap_or(500) {
            200 | 201 => written.applied += 1,
            409 => written.stale += 1,
            404 if may_be_gone => {}
            status => return Err(refused("write", u16::try_from(status).unwrap_or(500), &item["error"])),
        }
    }
    Ok(written)
}

#[async_trait]
impl Search for ElasticsearchSearch {
    async fn indices(&self, tenant: &Tenant) -> Result<Indices, StoreError> {
        let layout = self.layout("indices", tenant).await?;
        let schema = |named: Option<Named>| named.map(|named| named.schema);
        Ok(Indices { live: schema(layout.live), building: schema(layout.building) })
    }

    async fn begin(&self, tenant: &Tenant, schema: &Schema) -> Result<(), StoreError> {
        let layout = self.layout("begin", tenant).await?;
        self.remove("begin", &layout.retired()).await?;
        // Always the number behind the live one, so that of two who begin at once one finds it taken.
        let number = |index: &str| index.rsplit_once(".g")?.1.parse::<u64>().ok();
        let next = layout.live.as_ref().and_then(|live| number(&live.index)).unwrap_or(0) + 1;
        let path = format!("/{}", self.name(tenant, &format!("g{next}")));
        let body = mapping::index(schema, &self.name(tenant, "building"));
        match self.client.expect("begin", Method::Put, &path, &[], Body::Json(body)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::Conflict => {
                let detail = format!("{tenant} has a new index already: publish or abandon it first");
                Err(StoreError { detail, ..error })
            }
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let layout = self.layout("publish", tenant).await?;
        let Some(building) = layout.building else {
            let detail = format!("{tenant} has no new index to publish: begin one");
            return Err(StoreError::new(StoreKind::Search, "publish", ErrorKind::NotFound, detail));
        };
        let refresh = format!("/{}/_refresh", building.index);
        self.client.expect("publish", Method::Post, &refresh, &[], Body::Nothing).await?;
        let mut actions = vec![
            json!({"add": {"index": building.index, "alias": self.name(tenant, "live"), "is_write_index": true}}),
            json!({"remove": {"index": building.index, "alias": self.name(tenant, "building")}}),
        ];
        let alias = self.name(tenant, "live");
        actions.extend(layout.live.map(|live| json!({"remove": {"index": live.index, "alias": alias}})));
        let body = Body::Json(json!({"actions": actions}));
        self.client.expect("publish", Method::Post, "/_aliases", &[], body).await?;
        self.live.invalidate(tenant);
        Ok(())
    }

    async fn abandon(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let building = self.layout("abandon", tenant).await?.building.map(|named| named.index);
        self.remove("abandon", building.as_slice()).await
    }

    async fn write(&self, tenant: &Tenant, changes: &[Change]) -> Result<Written, StoreError> {
        check_changes(changes)?;
        let layout = self.layout("write", tenant).await?;
        let is_there = [("live", layout.live.is_some()), ("building", layout.building.is_some())];
        let aliases: Vec<String> =
            is_there.iter().filter(|(_, is_there)| *is_there).map(|(end, _)| self.name(tenant, end)).collect();
        if aliases.is_empty() {
            return Err(no_index("write", tenant));
        }
        if changes.is_empty() {
            return Ok(Written::default());
        }
        let answer = self.bulk(&aliases, changes).await?;
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if items.len() != aliases.len() * changes.len() {
            let detail = format!("the server answered {} of {} changes", items.len(), aliases.len() * changes.len());
            return Err(StoreError::new(StoreKind::Search, "write", ErrorKind::Internal, detail));
        }
        // The new index may have become the live one, or been abandoned, in between.
        let (first, others) = items.split_at(changes.len());
        written(others, true)?;
        written(first, layout.live.is_none() && layout.building.is_some())
    }

    async fn refresh(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let indices = self.layout("refresh", tenant).await?.indices;
        if indices.is_empty() {
            return Ok(());
        }
        let path = format!("/{}/_refresh", indices.join(","));
        let unavailable = [("ignore_unavailable", "true")];
        self.client.expect("refresh", Method::Post, &path, &unavailable, Body::Nothing).await.map(drop)
    }

    async fn search(&self, tenant: &Tenant, query: &Query) -> Result<Page, StoreError> {
        check_query(query)?;
        let live = self.live(tenant).await?;
        match self.search_in(&live, tenant, query).await {
            // It was retired within the last second, and the next one has been begun already.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => {
                self.live.invalidate(tenant);
                let live = self.live(tenant).await?;
                self.search_in(&live, tenant, query).await
            }
            result => result,
        }
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let indices = self.layout("erase", tenant).await?.indices;
        self.live.invalidate(tenant);
        self.remove("erase", &indices).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let about = self.client.expect("health", Method::Get, "/", &[], Body::Nothing).await?;
        let Some(version) = about["version"]["number"].as_str() else {
            let detail = "the answer is not that of an Elasticsearch: check the address";
            return Err(StoreError::new(StoreKind::Search, "health", ErrorKind::Internal, detail));
        };
        let mut health = Health::new("Elasticsearch", version);
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < MAJOR_MIN) {
            health = health.warn(format!("it is older than {MAJOR_MIN}.0, with which nothing was tested: upgrade it"));
        }
        let cluster = self.client.expect("health", Method::Get, "/_cluster/health", &[], Body::Nothing).await?;
        if cluster["status"] == "red" {
            health =
                health.warn("the cluster's state is red, some of its data cannot be searched: see /_cluster/health");
        }
        Ok(health)
    }
}

impl fmt::Debug for ElasticsearchSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.options.url.host_str().unwrap_or_default();
        f.debug_struct("ElasticsearchSearch").field("host", &host).finish_non_exhaustive()
    }
}
