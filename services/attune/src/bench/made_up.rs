//! A catalogue and a history that are made up, the same every time: what servers are filled with where only the size counts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attune_api::progress;
use attune_api::rest::operations::{Readiness, ReadyBackground};
use attune_load::random::SplitMix64;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::client::Rest;

/// Items and events a call.
pub(super) const BATCH: usize = 1_000;
/// Calls in flight while the server is filled.
const IN_FLIGHT: usize = 4;
/// Categories of items.
pub(super) const CATEGORIES: u64 = 20;
/// What goes on in the background and has to be done before anything is measured.
const WAITED_FOR: [&str; 2] = [progress::CONTENT, progress::LISTS];
/// Who looks for work twice a second is no further behind when there is none.
const LAG_S_MAX: f64 = 1.5;
const WORDS: [&str; 64] = [
    "quiet", "river", "winter", "letter", "garden", "stranger", "island", "night", "paper", "silver", "road", "music",
    "glass", "summer", "harbour", "clock", "amber", "bridge", "candle", "desert", "engine", "falcon", "forest",
    "ginger", "hollow", "iron", "jacket", "kettle", "lantern", "marble", "meadow", "mirror", "morning", "needle",
    "ocean", "orchard", "painter", "pebble", "pilot", "planet", "pocket", "prairie", "quarry", "rabbit", "ribbon",
    "salt", "shadow", "signal", "spring", "station", "stone", "storm", "table", "thunder", "tower", "train", "valley",
    "velvet", "violin", "village", "walnut", "window", "wolf", "yellow",
];
/// Titles of three of them.
const TITLES: u64 = 64 * 64 * 64;
/// By how many titles items that follow each other are apart: about the golden section of all, and odd, so that none
/// comes twice.
const TITLES_APART: u64 = 162_013;
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
    json!({
        "id": format!("item-{number}"),
        "title": title(number),
        "attributes": {"category": format!("c{}", random.below(CATEGORIES)), "price": random.below(100)},
    })
}

/// A title that no other item has: three words, and more of them once all of those are taken.
fn title(number: u64) -> String {
    let word = |number: u64| WORDS[(number % 64) as usize];
    let (place, mut rest) = (number.wrapping_mul(TITLES_APART) % TITLES, number / TITLES);
    let mut words = vec![word(place / (64 * 64)), word(place / 64), word(place)];
    while rest > 0 {
        words.push(word(rest));
        rest /= 64;
    }
    words.join(" ")
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

/// Waits until all that was sent is indexed, embedded and in the memory of those who make lists.
pub(super) async fn at_rest(rest: &Rest) -> Result<()> {
    let start = Instant::now();
    while let Some(ReadyBackground { name, lag_s, .. }) = behind(rest, &WAITED_FOR, LAG_S_MAX).await? {
        ensure!(start.elapsed() < PATIENCE, "{name} is still behind by {lag_s:.0} s");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The first of some that work in the background, by their names, that is further behind than so many seconds.
pub(super) async fn behind(rest: &Rest, names: &[&str], lag_s_max: f64) -> Result<Option<ReadyBackground>> {
    let is_behind = |line: &ReadyBackground| line.starting || line.lag_s > lag_s_max;
    Ok(background(rest, names).await?.into_iter().find(is_behind))
}

/// Some that work in the background, by their names.
pub(super) async fn background(rest: &Rest, names: &[&str]) -> Result<Vec<ReadyBackground>> {
    let ready: Readiness = rest.get("/readyz").await?;
    Ok(ready.background.into_iter().filter(|line| names.contains(&line.name.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_item_has_a_title_of_its_own() {
        let titles: HashSet<String> = (0..300_000).map(title).collect();
        assert_eq!(titles.len(), 300_000);
        assert_eq!([title(0), title(1)], ["quiet quiet quiet", "planet orchard marble"]);
        assert_eq!([title(99_999), title(TITLES)].map(|title| title.split(' ').count()), [3, 4]);
        assert_eq!(item(7), item(7));
    }
}
