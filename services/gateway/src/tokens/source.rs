//! Where keys of tokens come from: a file, or an address, read again now and then.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use tokio::sync::Mutex;

use super::{
    TokenError,
    keys::{KeySet, Origin},
};

/// A set is no larger, in bytes.
const BYTES_MAX: usize = 1 << 20;
/// How long an answer is waited for.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// A token with an unknown key makes the set be read again, no more often than this.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(60);
/// How soon a set that could not be read is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(10);

/// A file or an address.
#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Address(reqwest::Url, reqwest::Client),
}

/// The keys, as they were last read.
pub(super) struct Source {
    place: Place,
    algorithms: Vec<Algorithm>,
    current: RwLock<Arc<Read>>,
    /// When somebody last asked for a key that was not there. Whoever holds it is reading.
    asked: Mutex<Option<Instant>>,
}

/// What was read, and the how-manieth time.
#[derive(Default)]
pub(super) struct Read {
    pub set: KeySet,
    pub generation: u64,
}

impl Source {
    /// Reads the keys for `algorithms`, and again every `refresh` for as long as somebody has this. A file that cannot be read is a
    /// mistake; an address that does not answer may do so later.
    pub async fn open(place: &str, algorithms: Vec<Algorithm>, refresh: Duration) -> Result<Arc<Self>, TokenError> {
        let (source, missing) = Self::first(place, algorithms).await?;
        if let Some(error) = &missing {
            tracing::warn!(%error, "no token is valid until its keys are there");
        }
        let source = Arc::new(source);
        tokio::spawn(keep_reading(Arc::downgrade(&source), refresh, missing.is_none()));
        Ok(source)
    }

    /// Reads the keys for the first time; of an address, also why there are none yet.
    pub async fn first(place: &str, algorithms: Vec<Algorithm>) -> Result<(Self, Option<TokenError>), TokenError> {
        let place = Place::of(place)?;
        let source = Self { place, algorithms, current: RwLock::default(), asked: Mutex::default() };
        let Err(error) = source.read().await else { return Ok((source, None)) };
        match source.place {
            Place::File(_) => Err(error),
            Place::Address(..) => Ok((source, Some(error))),
        }
    }

    pub fn current(&self) -> Arc<Read> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads again since a token named a key that is not there, unless that was done a moment ago.
    pub async fn look_again(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < UNKNOWN_PAUSE) {
            return;
        }
        *asked = Some(Instant::now());
        self.read_or_warn().await;
    }

    async fn read_or_warn(&self) -> bool {
        let read = self.read().await;
        if let Err(error) = &read {
            tracing::warn!(%error, "the keys of tokens stay as they are");
        }
        read.is_ok()
    }

    async fn read(&self) -> Result<(), TokenError> {
        let (bytes, origin) = match &self.place {
            Place::File(path) => (tokio::fs::read(path).await.map_err(|error| error.to_string()), Origin::File),
            Place::Address(url, client) => (fetch(client, url).await, Origin::Network),
        };
        let set =
            bytes.and_then(|bytes| KeySet::read(&bytes, origin, &self.algorithms)).map_err(|why| self.failed(why))?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        *current = Arc::new(Read { set, generation });
        Ok(())
    }

    fn failed(&self, why: String) -> TokenError {
        let place = match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Address(url, _) => url.to_string(),
        };
        TokenError::Keys { place, why }
    }
}

impl Place {
    fn of(text: &str) -> Result<Self, TokenError> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let bad = |why: &str| TokenError::Keys { place: text.to_owned(), why: why.to_owned() };
        let url = reqwest::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        let is_near = url.host_str().is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].contains(&host));
        if url.scheme() != "https" && !(url.scheme() == "http" && is_near) {
            return Err(bad("keys are fetched by https, or from this machine"));
        }
        // Whoever could redirect could choose the keys.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(FETCH_MAX);
        Ok(Self::Address(url, client.build().map_err(|error| bad(&error.to_string()))?))
    }
}

async fn fetch(client: &reqwest::Client, url: &reqwest::Url) -> Result<Vec<u8>, String> {
    let said = |error: reqwest::Error| error.without_url().to_string();
    let mut answer = client.get(url.clone()).send().await.map_err(said)?;
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(said)? {
        if bytes.len() + chunk.len() > BYTES_MAX {
            return Err(format!("the answer has more than {BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn keep_reading(source: Weak<Source>, refresh: Duration, mut is_read: bool) {
    loop {
        tokio::time::sleep(if is_read { refresh } else { FAILED_PAUSE.min(refresh) }).await;
        let Some(source) = source.upgrade() else { return };
        is_read = source.read_or_warn().await;
    }
}
