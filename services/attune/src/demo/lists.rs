//! The stop about lists: films and what people made of them go in, and one person's list changes with his clicks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse, RecommendedItem, SimilarRequest};
use serde_json::{Value, json};

use super::films::{FILMS, Film};
use super::walk::{millis, stop};
use crate::client::Rest;
use crate::term::{Style, styled};

/// People that we made up, each fond of one genre and curious about another.
const PEOPLE: usize = 40;
const CLICKS: [&str; 3] = ["alien", "moon", "solaris"];
const SHOWN: usize = 5;
/// Everything is indexed and embedded long before.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Shows it.
///
/// # Errors
/// A call failed, or the list does not change.
pub async fn lists(rest: &Rest) -> Result<()> {
    stop(7, "A list that follows you", "POST /v1/items:batch, /v1/events, /v1/recommend");
    let film = |(id, title, genre, text): &Film| json!({"id": id, "title": title, "text": text, "attributes": {"genre": genre}});
    let items: Vec<Value> = FILMS.iter().map(film).collect();
    let _kept: Value = rest.post("/v1/items:batch", &json!({ "items": items })).await?;
    send(rest, (0..PEOPLE).flat_map(clicks).collect()).await?;
    ready(rest).await?;
    say!("   {} films, and {PEOPLE} people who clicked on some of them", FILMS.len());

    let (before, _) = list(rest).await?;
    show("zoe is new here: what everybody likes", &before);
    send(rest, CLICKS.iter().map(|item| click("zoe", item)).collect()).await?;
    let clicked: Vec<&str> = CLICKS.iter().map(|item| title(item)).collect();
    let (after, took) = list(rest).await?;
    show(&format!("she clicks {}, and asks again ({})", clicked.join(", "), millis(took)), &after);
    ensure!(before.items[0].item_id != after.items[0].item_id, "three clicks have changed nothing");
    Ok(())
}

/// Five clicks of a person, four of them in one genre.
fn clicks(person: usize) -> Vec<Value> {
    let name = format!("person-{person}");
    let of_genre = |genre: usize, step: usize| FILMS[6 * (genre % 4) + (person / 4 * 5 + step) % 6].0;
    let mut clicks: Vec<Value> = (0..4).map(|step| click(&name, of_genre(person, step))).collect();
    clicks.push(click(&name, of_genre(person + 1 + person / 8, person)));
    clicks
}

fn click(user: &str, item: &str) -> Value {
    json!({"type": "click", "user_id": user, "item_id": item})
}

async fn send(rest: &Rest, events: Vec<Value>) -> Result<()> {
    let count = events.len();
    let answer: Value = rest.post("/v1/events", &json!({ "events": events })).await?;
    ensure!(answer["accepted"] == json!(count), "not all events were accepted: {answer}");
    Ok(())
}

/// Waits until the films are embedded, and it is counted which of them go together.
async fn ready(rest: &Rest) -> Result<()> {
    let last = FILMS[FILMS.len() - 1].0.to_owned();
    let ask = SimilarRequest { item_id: last, k: Some(FILMS.len()), filter: None, explain: Some(true) };
    let start = Instant::now();
    loop {
        let similar: Result<RecommendResponse> = rest.post("/v1/similar", &ask).await;
        let has = |name: &str| similar.as_ref().is_ok_and(|list| list.sources.contains_key(name));
        if has("related") && has("semantic") {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "the films were not ready in time: {similar:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn list(rest: &Rest) -> Result<(RecommendResponse, Duration)> {
    let user_id = Some("zoe".to_owned());
    let ask = RecommendRequest { user_id, k: Some(SHOWN), explain: Some(true), ..RecommendRequest::default() };
    let start = Instant::now();
    let list: RecommendResponse = rest.post("/v1/recommend", &ask).await?;
    ensure!(list.items.len() == SHOWN, "a list of {} instead of {SHOWN}", list.items.len());
    Ok((list, start.elapsed()))
}

fn show(what: &str, list: &RecommendResponse) {
    say!("   {what}");
    for item in &list.items {
        let why = styled(Style::Dim, why(item).unwrap_or_default());
        say!("   {}. {} {why}", item.rank, styled(Style::Green, format!("{:<24}", title(&item.item_id))));
    }
}

/// The reason of the source that added most.
fn why(item: &RecommendedItem) -> Option<String> {
    let explain = item.explain.as_ref()?;
    let added: HashMap<&str, f32> = explain.contributions.iter().map(|one| (one.name.as_str(), one.value)).collect();
    let most = explain.sources.iter().rev().max_by(|left, right| {
        let of = |source: &str| added.get(source).copied().unwrap_or(0.0);
        of(&left.source).total_cmp(&of(&right.source))
    })?;
    let of = most.item_id.as_deref().map(title);
    Some(match (most.reason.as_str(), of) {
        ("because_of", Some(film)) => format!("those who liked {film} like it"),
        ("follows", Some(film)) => format!("what people go on to from {film}"),
        ("alike", Some(film)) => format!("reads like {film}"),
        ("trending", _) => "more and more people like it".to_owned(),
        ("latest", _) => "it is new".to_owned(),
        _ => "many people like it".to_owned(),
    })
}

fn title(id: &str) -> &str {
    FILMS.iter().find(|film| film.0 == id).map_or(id, |film| film.1)
}
