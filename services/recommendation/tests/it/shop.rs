//! A shop of thirty films in two genres, people who keep to one of them, and a service over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use attune_api::catalogue::{AttributeKind, Catalogue, Entries, Entry};
use attune_api::log::{Event, Exposure, Recent, Record, item_subject, recent_list};
use attune_api::outside::SharedOutside;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse, TrendingRequest};
use attune_api::{ApiError, Call};
use attune_ranking::data::Worth;
use attune_recommendation::{Following, RecommendationConfig, Recommender, Seams};
use attune_store::cache::Cache;
use attune_store::embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock};
use attune_store::embedded::events::Log;
use attune_store::events::{EventLog, NewEvent, Position, Settings};
use attune_store::relational::{PersonId, Relational, Write};
use attune_store::{Expect, Tenant};
use serde_json::json;
use tempfile::TempDir;

pub const FILMS: usize = 30;
/// Far more than anything here takes: a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Items in memory.
#[derive(Default)]
pub struct Films(Mutex<BTreeMap<String, Entry>>);

#[async_trait::async_trait]
impl Catalogue for Films {
    async fn schema(&self, _: &Call) -> Result<Vec<(String, AttributeKind)>, ApiError> {
        let kinds = [
            ("genre", AttributeKind::Keyword),
            ("year", AttributeKind::Number),
            ("published", AttributeKind::Time),
            ("review_count", AttributeKind::Number),
            ("sentiment", AttributeKind::Number),
        ];
        Ok(kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect())
    }

    async fn entries(&self, _: &Call, ids: &[String]) -> Result<Vec<Option<Entry>>, ApiError> {
        let films = self.0.lock().unwrap();
        Ok(ids.iter().map(|id| films.get(id).cloned()).collect())
    }

    async fn scan(&self, _: &Call, from: Option<&str>, max: usize) -> Result<Entries, ApiError> {
        let films = self.0.lock().unwrap();
        let mut rest = films.values().filter(|film| from.is_none_or(|from| film.item_id.as_str() >= from));
        let entries: Vec<Entry> = rest.by_ref().take(max.min(7)).cloned().collect();
        Ok(Entries { entries, next: rest.next().map(|film| film.item_id.clone()) })
    }
}

/// Film `number`: even ones are of war, odd ones of love.
pub fn film(number: usize) -> Entry {
    let war = number.is_multiple_of(2);
    let angle = 0.02 * number as f32;
    let vector = if war { vec![angle.cos(), angle.sin(), 0.0] } else { vec![0.0, angle.sin(), angle.cos()] };
    let attributes = json!({
        "genre": if war { "war" } else { "love" },
        "year": 1970 + number,
        "published": format!("2020-01-{:02}T00:00:00Z", 1 + number % 28),
    });
    Entry {
        item_id: id(number),
        version: 1,
        title: format!("Film {number}"),
        attributes: attributes.as_object().unwrap().clone(),
        vector: Some(vector),
        is_hidden: false,
    }
}

pub fn id(number: usize) -> String {
    format!("film-{number}")
}

pub fn is_war(item_id: &str) -> bool {
    item_id.trim_start_matches("film-").parse::<usize>().unwrap().is_multiple_of(2)
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn config() -> RecommendationConfig {
    // Slow machines are slow, and not late.
    RecommendationConfig { sources_ms_max: 600_000, publish_ms: 20, ..RecommendationConfig::default() }
}

pub fn call() -> Call {
    Call { tenant: "shop".into(), caller: "test".into(), request_id: "r-1".into(), deadline: None, is_bulk: false }
}

pub struct Shop {
    pub log: Arc<Log>,
    pub cache: Arc<dyn Cache>,
    pub relational: Arc<dyn Relational>,
    pub films: Arc<Films>,
    pub outside: Option<SharedOutside>,
    pub service: Arc<Recommender>,
    following: Option<Following>,
    pub tenant: Tenant,
    pub folder: TempDir,
    events: Mutex<u64>,
}

impl Shop {
    /// With its films, and twenty people's clicks.
    pub async fn open() -> Self {
        Self::empty(config()).await.filled().await
    }

    /// The same, with services of its own.
    pub async fn with_services(outside: SharedOutside) -> Self {
        Self::of(config(), Some(outside)).await.filled().await
    }

    async fn filled(self) -> Self {
        let shop = self;
        for number in 0..FILMS {
            shop.put(film(number)).await;
        }
        for person in 0..20 {
            for step in 0..6 {
                let number = 2 * ((person * 7 + step * 3) % 15) + person % 2;
                shop.act(&format!("person-{person}"), "click", number).await;
            }
        }
        shop.until_consumed().await;
        shop
    }

    pub async fn empty(config: RecommendationConfig) -> Self {
        Self::of(config, None).await
    }

    async fn of(config: RecommendationConfig, outside: Option<SharedOutside>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(&folder.path().join("log"), Settings::default()).await.unwrap());
        let options = MemoryOptions::default();
        let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(options, Arc::new(MonotonicClock::default())));
        let rows = attune_store::embedded::relational::open(&folder.path().join("rows.db")).await.unwrap();
        let relational: Arc<dyn Relational> = Arc::new(rows);
        let tenant: Tenant = "shop".parse().unwrap();
        let ours = Write::PutTenant { title: "The shop".into(), settings: json!({}), expect: Expect::Absent };
        relational.commit(&tenant, vec![ours]).await.unwrap();
        let films = Arc::new(Films::default());
        let (service, following) =
            start(config, (&log, &cache, &relational), (&films, outside.as_ref()), folder.path());
        let following = Some(following);
        let events = Mutex::new(0);
        let shop = Self { log, cache, relational, films, outside, service, following, tenant, folder, events };
        shop.until_ready().await;
        shop
    }

    /// Stops the service and starts another over the same stores.
    pub async fn restart(&mut self, config: RecommendationConfig) {
        self.stop().await;
        self.start(config).await;
    }

    pub async fn stop(&mut self) {
        self.following.take().unwrap().stop().await;
    }

    pub async fn start(&mut self, config: RecommendationConfig) {
        let (service, following) = self.start_in(config, self.folder.path());
        (self.service, self.following) = (service, Some(following));
        self.until_ready().await;
    }

    /// Another replica over the same stores.
    pub fn replica(&self) -> (Arc<Recommender>, Following) {
        let folder = self.folder.path().join("another");
        self.start_in(config(), &folder)
    }

    fn start_in(&self, config: RecommendationConfig, folder: &Path) -> (Arc<Recommender>, Following) {
        let stores = (&self.log, &self.cache, &self.relational);
        start(config, stores, (&self.films, self.outside.as_ref()), folder)
    }

    async fn until_ready(&self) {
        let start = Instant::now();
        while let Err(error) = self.service.trending(&call(), TrendingRequest::default()).await {
            assert!(start.elapsed() < PATIENCE, "{error}");
        }
    }

    /// Waits until a question has another answer.
    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !is_so().await {
            assert!(start.elapsed() < PATIENCE, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until what is popular and rising has everything that was done so far.
    async fn until_consumed(&self) {
        self.put(Entry { item_id: "mark".into(), version: 1, ..Entry::default() }).await;
        let ask = RecommendRequest { k: Some(1_000), ..RecommendRequest::default() };
        self.until("the mark is seen", async || {
            let list = self.service.recommend(&call(), ask.clone()).await.unwrap();
            let related = self.similar_count(0).await;
            list.sources.contains_key("popular") && related > 0
        })
        .await;
        self.remove("mark").await;
    }

    async fn similar_count(&self, number: usize) -> usize {
        let ask = attune_api::rest::recommendation::SimilarRequest {
            item_id: id(number),
            explain: Some(true),
            ..Default::default()
        };
        let list = self.service.similar(&call(), ask).await.unwrap();
        let because = |item: &attune_api::rest::recommendation::RecommendedItem| {
            item.explain.iter().flat_map(|explain| &explain.sources).any(|said| said.reason == "because_of")
        };
        list.items.iter().filter(|item| because(item)).count()
    }

    pub async fn put(&self, entry: Entry) {
        let item_id = entry.item_id.clone();
        self.films.0.lock().unwrap().insert(item_id.clone(), entry);
        self.append(&item_subject(&item_id), Record::Item { item_id: item_id.clone() }).await;
    }

    pub async fn remove(&self, item_id: &str) {
        self.films.0.lock().unwrap().remove(item_id);
        self.append(&item_subject(item_id), Record::Item { item_id: item_id.to_owned() }).await;
    }

    /// As tracking does: the log, then the cache.
    pub async fn act(&self, user: &str, kind: &str, number: usize) {
        self.act_as(PersonId::User(user.to_owned()), kind, number).await;
    }

    pub async fn act_as(&self, id: PersonId, kind: &str, number: usize) {
        let event_id = {
            let mut events = self.events.lock().unwrap();
            *events += 1;
            events.to_string()
        };
        let event = Event {
            event_id,
            r#type: kind.to_owned(),
            item_id: Some(self::id(number)),
            time_ms: now_ms(),
            received_ms: now_ms(),
            ..Event::default()
        };
        let subject = self.subject(id).await;
        let at = self.append(&subject, Record::Event(event.clone())).await;
        let recent = Recent { partition: at.partition, offset: at.offset, event };
        let entry = serde_json::to_vec(&recent).unwrap().into();
        self.cache.push(&self.tenant, &recent_list(&subject), &[entry], 200, Duration::from_secs(600)).await.unwrap();
    }

    pub async fn subject(&self, id: PersonId) -> String {
        self.relational.resolve(&self.tenant, &[id]).await.unwrap()[0].subject.to_string()
    }

    pub async fn append(&self, subject: &str, record: Record) -> Position {
        let payload = serde_json::to_vec(&record).unwrap().into();
        self.log.append(&self.tenant, vec![NewEvent { subject: subject.to_owned(), payload }]).await.unwrap()[0]
    }

    /// A list of ten that says why.
    pub async fn list(&self, user: &str) -> RecommendResponse {
        let user_id = Some(user.to_owned());
        self.ask(RecommendRequest { user_id, explain: Some(true), ..RecommendRequest::default() }).await
    }

    pub async fn ask(&self, request: RecommendRequest) -> RecommendResponse {
        self.service.recommend(&call(), request).await.unwrap()
    }

    /// All that the log has of lists that were shown.
    pub async fn exposures(&self) -> Vec<(String, Exposure)> {
        let bounds = self.log.bounds(&self.tenant).await.unwrap();
        let from: Vec<Position> =
            bounds.iter().map(|bound| Position { partition: bound.partition, offset: 0 }).collect();
        let mut reader = self.log.read(&self.tenant, &from).await.unwrap();
        let mut found = Vec::new();
        loop {
            let events = reader.poll(10_000, Duration::ZERO).await.unwrap();
            if events.is_empty() {
                return found;
            }
            for event in events {
                if let Ok(Record::Exposure(exposure)) = serde_json::from_slice(&event.payload) {
                    found.push((event.subject, exposure));
                }
            }
        }
    }
}

fn start(
    config: RecommendationConfig,
    (log, cache, relational): (&Arc<Log>, &Arc<dyn Cache>, &Arc<dyn Relational>),
    (films, outside): (&Arc<Films>, Option<&SharedOutside>),
    folder: &Path,
) -> (Arc<Recommender>, Following) {
    let seams = Seams {
        log: log.clone(),
        cache: cache.clone(),
        relational: relational.clone(),
        catalogue: films.clone(),
        models: None,
        outside: outside.cloned(),
        folder: folder.join("recommendation"),
    };
    Recommender::start(config, Worth::default(), seams).unwrap()
}

pub fn ids(list: &RecommendResponse) -> Vec<&str> {
    list.items.iter().map(|item| item.item_id.as_str()).collect()
}

pub fn codes(list: &RecommendResponse) -> Vec<&str> {
    list.notes.iter().map(|note| note.code.as_str()).collect()
}
