//! A catalogue and a history that are made up, the same every time: what servers are filled with where only the size counts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attune_api::rest::recommendation::{RecommendResponse, SimilarRequest};
use attune_load::random::SplitMix64;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::client::Rest;

/// Items and events a call.
const BATCH: usize = 1_000;
/// Calls in flight while the server is filled.
const IN_FLIGHT: usize = 4;
/// Categories of items.
pub(super) const CATEGORIES: u64 = 20;
/// Items that are looked at to see whether all are embedded.
const LOOKED_AT: usize = 50;
const WORDS: [&str; 16] = [
    "quiet", "river", "winter", "letter", "garden", "stranger", "island", "night", "paper", "silver", "road", "music",
    "glass", "summer", "harbour", "clock",
];
/// Embedding all items takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(3_600);
const PAUSE: Duration = Duration::from_millis(200);

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub items: usize,
    pub users: usize,
}

impl Size {
    /// A user, each as likely as another.
    pub fn user(self, random: &mut SplitMix64) -> String {
        format!("user-{}", random.below(self.users as u64))
    }

    /// An item that something happens to. Small numbers are popular: the product of two even draws.
    pub fn popular(self, random: &mut SplitMix64) -> String {
        let items = self.items as u64;
        format!("item-{}", random.below(items) * random.below(items) / items)
    }

    /// A click that happens now.
    pub fn click(self, random: &mut SplitMix64) -> Value {
        json!({"type": "click", "user_id": self.user(random), "item_id": self.popular(random)})
    }
}

/// An item, by its number.
pub(super) fn item(number: u64) -> Value {
    let mut random = SplitMix64::new(number);
    let words: Vec<&str> = (0..3).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]).collect();
    json!({
        "id": format!("item-{number}"),
        "title": words.join(" "),
        "attributes": {"category": format!("c{}", random.below(CATEGORIES)), "price": random.below(100)},
    })
}

/// Sends the items.
pub(super) async fn send_items(rest: &Rest, items: usize) -> Result<()> {
    let numbers: Vec<u64> = (0..items as u64).collect();
    let bodies = numbers.chunks(BATCH).map(|some| {
        let items: Vec<Value> = some.iter().copied().map(item).collect();
        json!({ "items": items })
    });
    send(rest, "/v1/items:batch", bodies).await
}

/// Sends so many clicks.
pub(super) async fn send_clicks(rest: &Rest, size: Size, events: usize) -> Result<()> {
    let mut random = SplitMix64::new(3);
    let calls = (0..events).step_by(BATCH).map(|from| BATCH.min(events - from));
    let bodies = calls.map(|count| {
        let events: Vec<Value> = (0..count).map(|_| size.click(&mut random)).collect();
        json!({ "events": events })
    });
    send(rest, "/v1/events", bodies).await
}

/// Sends bodies, a few at once.
pub(super) async fn send(rest: &Rest, path: &'static str, bodies: impl Iterator<Item = Value>) -> Result<()> {
    let post = |body: Value| async move { rest.post::<Value, Value>(path, &body).await };
    stream::iter(bodies).map(post).buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
}

/// Waits until the items have neighbours by their text.
pub(super) async fn embedded(rest: &Rest, ids: impl ExactSizeIterator<Item = String>) -> Result<()> {
    let step = (ids.len() / LOOKED_AT).max(1);
    let start = Instant::now();
    for item_id in ids.step_by(step) {
        let ask = SimilarRequest { item_id, k: Some(10), filter: None, explain: None };
        loop {
            let list: Result<RecommendResponse> = rest.post("/v1/similar", &ask).await;
            if list.as_ref().is_ok_and(|list| list.sources.contains_key("semantic")) {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "the items were not embedded in time: {list:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
