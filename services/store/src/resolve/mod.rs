//! Opens the stores that a configuration names.
//!
//! The scheme of each address chooses a backend; nothing else in the program knows which it is. Servers stand behind a
//! guard with the limits of the configuration, and so do embedded ones, for their figures. All stores are opened at once,
//! each within a time limit, and whatever is wrong with any is said in one error.

mod config;
mod open;
mod uri;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use config::StoresConfig;
pub use uri::{StoreUri, UriError};

use crate::cache::Cache;
use crate::documents::Documents;
use crate::embedded::integrity;
use crate::events::EventLog;
use crate::objects::Objects;
use crate::relational::Relational;
use crate::search::Search;
use crate::{ErrorKind, Health, StoreError, StoreKind};
use open::Opener;

/// The stores of this process.
#[derive(Clone)]
pub struct Stores {
    /// Tenants, users, keys, rules, jobs.
    pub relational: Arc<dyn Relational>,
    /// What may be lost.
    pub cache: Arc<dyn Cache>,
    /// Full text and facets.
    pub search: Arc<dyn Search>,
    /// Documents of free shape.
    pub documents: Arc<dyn Documents>,
    /// Events.
    pub events: Arc<dyn EventLog>,
    /// Files.
    pub objects: Arc<dyn Objects>,
}

/// Stores that could not be opened.
#[derive(Debug, thiserror::Error)]
pub struct OpenError {
    /// What is wrong with each, with its address.
    pub failures: Vec<(StoreUri, StoreError)>,
}

/// What was found of one store.
#[derive(Debug)]
pub struct Surveyed {
    /// Which store.
    pub store: StoreKind,
    /// Its address.
    pub uri: StoreUri,
    /// How it is.
    pub state: State,
}

/// How a store is.
#[derive(Debug)]
pub enum State {
    /// There is none yet: a start would make it there.
    Absent(PathBuf),
    /// It answers.
    Answers {
        /// What it says of itself.
        health: Health,
        /// How long it took to say so.
        latency: Duration,
    },
    /// It does not.
    Fails(StoreError),
}

impl Stores {
    /// Opens every store. `data` is the folder in which paths begin.
    ///
    /// # Errors
    /// Everything that is wrong, with what to do about it.
    pub async fn open(config: &StoresConfig, data: &Path) -> Result<Self, OpenError> {
        let opener = Opener::new(config, data);
        let opened = tokio::join!(
            within(config, StoreKind::Relational, opener.relational()),
            within(config, StoreKind::Cache, opener.cache()),
            within(config, StoreKind::Search, opener.search()),
            within(config, StoreKind::Documents, opener.documents()),
            within(config, StoreKind::Events, opener.events()),
            within(config, StoreKind::Objects, opener.objects()),
        );
        match opened {
            (Ok(relational), Ok(cache), Ok(search), Ok(documents), Ok(events), Ok(objects)) => {
                Ok(Self { relational, cache, search, documents, events, objects })
            }
            (relational, cache, search, documents, events, objects) => {
                let errors =
                    [relational.err(), cache.err(), search.err(), documents.err(), events.err(), objects.err()];
                let failures = errors.into_iter().flatten();
                Err(OpenError { failures: failures.map(|error| (config.uri(error.store).clone(), error)).collect() })
            }
        }
    }

    /// Opens the relational store alone, beside whichever process has the others.
    ///
    /// # Errors
    /// What is wrong with it, with what to do about it.
    pub async fn relational(config: &StoresConfig, data: &Path) -> Result<Arc<dyn Relational>, OpenError> {
        let opened = within(config, StoreKind::Relational, Opener::new(config, data).relational()).await;
        opened.map_err(|error| OpenError::of(config, error))
    }

    /// Opens the files alone, beside whichever process has the other stores.
    ///
    /// # Errors
    /// What is wrong with them, with what to do about it.
    pub async fn objects(config: &StoresConfig, data: &Path) -> Result<Arc<dyn Objects>, OpenError> {
        let opened = within(config, StoreKind::Objects, Opener::new(config, data).objects()).await;
        opened.map_err(|error| OpenError::of(config, error))
    }

    /// Opens the documents alone, beside whichever process has the other stores.
    ///
    /// # Errors
    /// What is wrong with them, with what to do about it.
    pub async fn documents(config: &StoresConfig, data: &Path) -> Result<Arc<dyn Documents>, OpenError> {
        let opened = within(config, StoreKind::Documents, Opener::new(config, data).documents()).await;
        opened.map_err(|error| OpenError::of(config, error))
    }

    /// Opens the event log alone, to be read. An embedded one is one process's: `None` where another one has it, and where
    /// there is none yet.
    ///
    /// # Errors
    /// What is wrong with it, with what to do about it.
    pub async fn events(config: &StoresConfig, data: &Path) -> Result<Option<Arc<dyn EventLog>>, OpenError> {
        if Self::absent(config, data).iter().any(|(store, _)| *store == StoreKind::Events) {
            return Ok(None);
        }
        match within(config, StoreKind::Events, Opener::new(config, data).events()).await {
            Err(error) if error.kind == ErrorKind::Unavailable && !config.events.is_server() => Ok(None),
            opened => opened.map(Some).map_err(|error| OpenError::of(config, error)),
        }
    }

    /// The files and folders of stores that are not there yet: opening one makes it.
    pub fn absent(config: &StoresConfig, data: &Path) -> Vec<(StoreKind, PathBuf)> {
        let opener = Opener::new(config, data);
        let absent = |store| Some((store, opener.file(store).filter(|path| !path.exists())?));
        StoreKind::ALL.into_iter().filter_map(absent).collect()
    }

    /// Opens every store by itself and asks it how it is, whatever becomes of the others. Files of SQLite are looked
    /// through, for a time. Makes no file and no folder where there is none.
    pub async fn survey(config: &StoresConfig, data: &Path) -> Vec<Surveyed> {
        let opener = &Opener::new(config, data);
        let survey = StoreKind::ALL.map(|store| async move {
            let uri = config.uri(store).clone();
            if let Some(path) = opener.file(store).filter(|path| !path.exists()) {
                return Surveyed { store, uri, state: State::Absent(path) };
            }
            let state = match examined(config, opener, store).await {
                Ok((health, latency)) => State::Answers { health, latency },
                Err(error) => State::Fails(error),
            };
            Surveyed { store, uri, state }
        });
        futures::future::join_all(survey).await
    }
}

async fn examined(
    config: &StoresConfig,
    opener: &Opener<'_>,
    store: StoreKind,
) -> Result<(Health, Duration), StoreError> {
    let (health, latency) = within(config, store, health(opener, store)).await?;
    match opener.file(store).filter(|_| config.uri(store).scheme() == "sqlite") {
        Some(path) => Ok((integrity::examine(store, &path, health, integrity::LOOK_MAX).await?, latency)),
        None => Ok((health, latency)),
    }
}

async fn health(opener: &Opener<'_>, store: StoreKind) -> Result<(Health, Duration), StoreError> {
    match store {
        StoreKind::Relational => timed(opener.relational().await?.health()).await,
        StoreKind::Cache => timed(opener.cache().await?.health()).await,
        StoreKind::Search => timed(opener.search().await?.health()).await,
        StoreKind::Documents => timed(opener.documents().await?.health()).await,
        StoreKind::Events => timed(opener.events().await?.health()).await,
        StoreKind::Objects => timed(opener.objects().await?.health()).await,
    }
}

async fn timed(health: impl Future<Output = Result<Health, StoreError>>) -> Result<(Health, Duration), StoreError> {
    let begun = Instant::now();
    Ok((health.await?, begun.elapsed()))
}

/// The time that a start waits for a store.
async fn within<T>(
    config: &StoresConfig,
    store: StoreKind,
    opened: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let open_max = config.open_max();
    tokio::time::timeout(open_max, opened).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s", open_max.as_secs());
        Err(StoreError::new(store, "open", ErrorKind::Timeout, detail))
    })
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (uri, error)) in self.failures.iter().enumerate() {
            write!(f, "{}{}: {}", if place == 0 { "" } else { "\n" }, error.store, explain(uri, error))?;
        }
        Ok(())
    }
}

impl OpenError {
    fn of(config: &StoresConfig, error: StoreError) -> Self {
        Self { failures: vec![(config.uri(error.store).clone(), error)] }
    }
}

/// One sentence: where the store is, what is wrong, and what to do. Without secrets.
pub fn explain(uri: &StoreUri, error: &StoreError) -> String {
    let detail = &error.detail;
    match error.kind {
        ErrorKind::Unavailable | ErrorKind::Timeout if uri.is_server() => {
            format!("cannot reach {uri}: {detail}; is it started? (`make services` starts one to try with)")
        }
        ErrorKind::Denied if uri.is_server() => format!("{uri} does not let us in: {detail}"),
        _ => format!("cannot open {uri}: {detail}"),
    }
}
