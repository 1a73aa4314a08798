//! One backend for each address.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::{StoreUri, StoresConfig, UriError};
use crate::cache::Cache;
use crate::documents::Documents;
use crate::embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock};
use crate::embedded::documents::SqliteDocuments;
use crate::embedded::events::Log;
use crate::embedded::objects::LocalObjects;
use crate::embedded::search::TantivySearch;
use crate::events::EventLog;
use crate::guard::{Guard, Guarded, Settings};
use crate::network::cache::RedisCache;
use crate::network::documents::MongoDocuments;
use crate::network::events::{Kafka, KafkaOptions};
use crate::network::objects::{S3, S3Options};
use crate::network::search::{ElasticsearchOptions, ElasticsearchSearch, SignIn};
use crate::objects::Objects;
use crate::relational::Relational;
use crate::search::Search;
use crate::{ErrorKind, StoreError, StoreKind, embedded, network};

/// Opens single stores of a configuration.
pub(super) struct Opener<'c> {
    config: &'c StoresConfig,
    data: &'c Path,
}

impl<'c> Opener<'c> {
    pub(super) fn new(config: &'c StoresConfig, data: &'c Path) -> Self {
        // Whichever client comes first would choose one; where it is chosen already, that is fine.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        Self { config, data }
    }

    /// The file or folder of a store that is in one.
    pub(super) fn file(&self, store: StoreKind) -> Option<PathBuf> {
        let uri = self.uri(store).ok().filter(|uri| !uri.is_server() && uri.scheme() != "memory")?;
        uri.path(self.data).ok()
    }

    pub(super) async fn relational(&self) -> Result<Arc<dyn Relational>, StoreError> {
        const STORE: StoreKind = StoreKind::Relational;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "sqlite" {
            let inner: Arc<dyn Relational> = Arc::new(embedded::relational::open(&self.path(STORE, &uri)?).await?);
            return Ok(Arc::new(embedded_guard(STORE, "sqlite", inner)));
        }
        let (connections_max, connect_max) = (self.config.connections_max, self.config.open_max());
        let opened = network::relational::open(&server(STORE, &uri)?, connections_max, connect_max).await?;
        let inner: Arc<dyn Relational> = Arc::new(opened);
        Ok(Arc::new(self.guard(STORE, "postgres", inner)))
    }

    pub(super) async fn cache(&self) -> Result<Arc<dyn Cache>, StoreError> {
        const STORE: StoreKind = StoreKind::Cache;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "memory" {
            let clock = Arc::new(MonotonicClock::default());
            let inner: Arc<dyn Cache> = Arc::new(MemoryCache::new(MemoryOptions::default(), clock));
            return Ok(Arc::new(embedded_guard(STORE, "memory", inner)));
        }
        let (connect_max, answer_max) = (self.config.open_max(), self.config.attempt_max(STORE));
        let inner: Arc<dyn Cache> = Arc::new(RedisCache::open(&server(STORE, &uri)?, connect_max, answer_max).await?);
        Ok(Arc::new(self.guard(STORE, "redis", inner)))
    }

    pub(super) async fn search(&self) -> Result<Arc<dyn Search>, StoreError> {
        const STORE: StoreKind = StoreKind::Search;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "tantivy" {
            let inner: Arc<dyn Search> = Arc::new(TantivySearch::open(&self.path(STORE, &uri)?).await?);
            return Ok(Arc::new(embedded_guard(STORE, "tantivy", inner)));
        }
        let inner: Arc<dyn Search> = Arc::new(ElasticsearchSearch::new(elasticsearch(&uri)?)?);
        inner.health().await?;
        Ok(Arc::new(self.guard(STORE, "elasticsearch", inner)))
    }

    pub(super) async fn documents(&self) -> Result<Arc<dyn Documents>, StoreError> {
        const STORE: StoreKind = StoreKind::Documents;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "sqlite" {
            let inner: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(&self.path(STORE, &uri)?).await?);
            return Ok(Arc::new(embedded_guard(STORE, "sqlite", inner)));
        }
        let (connections_max, connect_max) = (self.config.connections_max, self.config.open_max());
        let opened = MongoDocuments::open(&server(STORE, &uri)?, connections_max, connect_max).await?;
        let inner: Arc<dyn Documents> = Arc::new(opened);
        Ok(Arc::new(self.guard(STORE, "mongodb", inner)))
    }

    pub(super) async fn events(&self) -> Result<Arc<dyn EventLog>, StoreError> {
        const STORE: StoreKind = StoreKind::Events;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "log" {
            let settings = crate::events::Settings::default();
            let inner: Arc<dyn EventLog> = Arc::new(Log::open(&self.path(STORE, &uri)?, settings).await?);
            return Ok(Arc::new(embedded_guard(STORE, "log", inner)));
        }
        let options = KafkaOptions::from_uri(uri.with_secrets())?;
        let timeout = self.config.attempt_max(STORE);
        let inner: Arc<dyn EventLog> = Arc::new(Kafka::open(KafkaOptions { timeout, ..options }).await?);
        Ok(Arc::new(self.guard(STORE, "kafka", inner)))
    }

    pub(super) async fn objects(&self) -> Result<Arc<dyn Objects>, StoreError> {
        const STORE: StoreKind = StoreKind::Objects;
        let uri = self.uri(STORE)?;
        if uri.scheme() == "file" {
            let opened = LocalObjects::open(&self.path(STORE, &uri)?, &self.config.public_url).await?;
            let inner: Arc<dyn Objects> = Arc::new(opened);
            return Ok(Arc::new(embedded_guard(STORE, "file", inner)));
        }
        let options = S3Options::from_uri(uri.with_secrets())?;
        // Retries are the guard's, which has a budget for them.
        let (timeout, attempts) = (self.config.attempt_max(STORE), 1);
        let inner: Arc<dyn Objects> = Arc::new(S3::open(S3Options { timeout, attempts, ..options }).await?);
        Ok(Arc::new(self.guard(STORE, "s3", inner)))
    }

    /// The address of a store with the environment's variables in it.
    fn uri(&self, store: StoreKind) -> Result<StoreUri, StoreError> {
        self.config.check().map_err(|detail| StoreError::new(store, "open", ErrorKind::Invalid, detail))?;
        let variable = |name: &str| std::env::var(name).ok();
        self.config.uri(store).expand(variable).map_err(|error| malformed(store, &error))
    }

    fn path(&self, store: StoreKind, uri: &StoreUri) -> Result<PathBuf, StoreError> {
        uri.path(self.data).map_err(|error| malformed(store, &error))
    }

    fn guard<T: ?Sized>(&self, store: StoreKind, backend: &'static str, inner: Arc<T>) -> Guarded<T> {
        Guarded::new(inner, Guard::new(store, backend, self.config.guard(store)))
    }
}

fn embedded_guard<T: ?Sized>(store: StoreKind, backend: &'static str, inner: Arc<T>) -> Guarded<T> {
    Guarded::new(inner, Guard::new(store, backend, Settings::embedded()))
}

/// `elasticsearch://name:password@host:port?prefix=attune&api_key=KEY&ca=FILE`.
fn elasticsearch(uri: &StoreUri) -> Result<ElasticsearchOptions, StoreError> {
    const STORE: StoreKind = StoreKind::Search;
    let given = server(STORE, uri)?;
    let scheme = if uri.scheme() == "elasticsearchs" { "https" } else { "http" };
    let address = format!("{scheme}://{}:{}", given.host_str().unwrap_or_default(), given.port().unwrap_or(9200));
    let address = Url::parse(&address).map_err(|error| malformed(STORE, &UriError::Malformed(error.to_string())))?;
    let mut options = ElasticsearchOptions::new(address);
    let plain = |part: &str| {
        let broken = || UriError::Malformed("name and password are no text".to_owned());
        network::unescaped(part).ok_or_else(|| malformed(STORE, &broken()))
    };
    if !given.username().is_empty() {
        let password = plain(given.password().unwrap_or_default())?;
        options.sign_in = SignIn::Password(plain(given.username())?, password);
    }
    for (name, value) in given.query_pairs() {
        match &*name {
            "prefix" => options.prefix = value.into_owned(),
            "api_key" => options.sign_in = SignIn::ApiKey(value.into_owned()),
            "ca" => options.authority_pem = Some(read(STORE, &value)?),
            _ => {
                let detail = format!("the parameter {name:?} is unknown: there are prefix, api_key and ca");
                return Err(malformed(STORE, &UriError::Malformed(detail)));
            }
        }
    }
    Ok(options)
}

fn server(store: StoreKind, uri: &StoreUri) -> Result<Url, StoreError> {
    uri.url().map_err(|error| malformed(store, &error))
}

fn read(store: StoreKind, path: &str) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| {
        let detail = format!("the file {path} cannot be read: {error}");
        StoreError::new(store, "open", ErrorKind::Invalid, detail).caused_by(error)
    })
}

fn malformed(store: StoreKind, error: &UriError) -> StoreError {
    StoreError::new(store, "open", ErrorKind::Invalid, error.to_string())
}
