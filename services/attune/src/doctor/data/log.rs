//! What only the log knows, and what a server knows that has it: events that were refused, and who is behind.

use anyhow::Result;
use attune_api::log::item_subject;
use attune_api::progress;
use attune_api::rest::Timestamp;
use attune_api::rest::operations::Readiness;
use attune_doctor::{Lag, LetterFacts};
use attune_gateway::Role;
use attune_lake::Manifest;
use attune_store::Tenant;
use attune_store::events::{Bounds, DeadLetter, EventLog, PAGE_MAX, Stretch};
use serde_json::Value;

use crate::client::Rest;
use crate::config::Config;
use crate::term;

/// What is said where another process has the log.
pub const IS_TAKEN: &str = "events of the last moments and dead letters, since the event log is open in another process: \
                            GET /v1/dead-letters has the latter, and with the server stopped both are looked at";
/// By how many seconds somebody may be behind who says so himself: everybody gives signs every few seconds.
const LAG_S_MAX: f64 = 30.0;
/// Dead letters of a page, and pages that are read.
const LETTERS: usize = 1_000;
const PAGES_MAX: usize = 20;

/// What the server of this configuration says of what it does in the background; or why nobody could ask.
pub async fn asked(config: &Config) -> Result<Vec<Lag>, String> {
    let listen = config.server.listen.replace("0.0.0.0", "127.0.0.1");
    let url = format!("http://{listen}");
    // Health needs no key.
    let ready: Result<Readiness> = Rest::new(&url, "none").get("/readyz").await;
    let ready = ready.map_err(|error| {
        let why = term::causes(&error);
        format!("what the server does in the background, since {url}/readyz does not tell ({why}): give its --listen")
    })?;
    let lag = |line: attune_api::rest::operations::ReadyBackground| Lag {
        role: role_of(&line.name),
        name: line.name,
        lag_s: line.lag_s,
        lag_s_max: LAG_S_MAX,
        place: format!("{url}/readyz"),
    };
    Ok(ready.background.into_iter().map(lag).collect())
}

/// The role whose processes do what says by this name how far behind it is.
fn role_of(name: &str) -> Option<String> {
    let role = match name {
        progress::LISTS => Role::Recommendation,
        progress::LAKE => Role::Tracking,
        progress::CONTENT => Role::Content,
        progress::ERASURES => Role::Users,
        progress::BANDITS => Role::Analytics,
        progress::TRAINER => Role::Trainer,
        _ => return None,
    };
    Some(role.name().to_owned())
}

/// For how long the oldest record has waited that should be in the lake and is not, where there is one.
pub async fn lake_lag(
    config: &Config,
    log: &dyn EventLog,
    manifest: &Manifest,
    tenant: &Tenant,
    now_ms: i64,
) -> Result<Option<Lag>> {
    let from = |bounds: &Bounds| manifest.next.get(&bounds.partition).copied().unwrap_or(0);
    let mut stretch = Stretch::open(log, tenant, from).await?;
    let first = stretch.next(PAGE_MAX).await?.unwrap_or_default();
    let of_items = item_subject("");
    let waiting = first.iter().filter(|event| !event.subject.starts_with(&of_items));
    Ok(waiting.map(|event| event.appended_ms).min().map(|oldest_ms| Lag {
        name: progress::LAKE.to_owned(),
        role: role_of(progress::LAKE),
        lag_s: (now_ms - oldest_ms) as f64 / 1e3,
        lag_s_max: LAG_S_MAX + config.lake.flush_s as f64,
        place: "the event log, beyond the lake".to_owned(),
    }))
}

/// Events that were refused.
pub async fn letters(log: &dyn EventLog, tenant: &Tenant) -> Result<LetterFacts> {
    let (mut facts, mut from) = (LetterFacts::default(), 0);
    for _ in 0..PAGES_MAX {
        let page = log.dead_letters(tenant, from, LETTERS).await?;
        for letter in &page.letters {
            let time = time_of(letter);
            facts.total += 1;
            // By the rules of who refused it, at the time.
            facts.future +=
                u64::from(time.is_some_and(|time| time > letter.buried_ms + attune_tracking::check::AHEAD_MS_MAX));
            facts.ancient += u64::from(time.is_some_and(|time| time < 0));
            facts.reason.clone_from(&letter.letter.reason);
        }
        let Some(next) = page.next else { break };
        from = next;
    }
    Ok(facts)
}

/// When the event of a letter happened, if it says so, in Unix milliseconds. Milliseconds where seconds belong are a time
/// that no calendar has any more.
fn time_of(letter: &DeadLetter) -> Option<i64> {
    let envelope: Value = serde_json::from_slice(&letter.letter.payload).ok()?;
    match envelope.get("event")?.get("timestamp")? {
        Value::String(text) => Timestamp::parse(text).map(|time| time.0),
        number => number.as_f64().map(|seconds| (seconds * 1e3) as i64),
    }
}
