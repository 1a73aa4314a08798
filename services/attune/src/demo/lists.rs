//! The stops about lists: one person's list changes with her clicks and with what somebody says of a film, and is the
//! same over gRPC.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use attune_api::moment::now_ms;
use attune_api::rest::content::{Review, ReviewBody};
use attune_api::rest::definitions::Definition;
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse, RecommendedItem, SimilarRequest};
use attune_api::rest::tracking::{EventInput, Tracked};
use attune_api::v1;
use attune_api::v1::recommend_request::Who;
use attune_api::v1::recommendation_client::RecommendationClient;
use serde_json::{Value, json};

use super::crowd::{Crowd, Person, event};
use super::walk::{colour, millis, stop};
use crate::client::{Keyed, Rest};
use crate::term::{Style, styled};

/// People with a past, of whom others' lists are made.
const PEOPLE: usize = 160;
/// Whose list is shown.
const SHE: &str = "zoe";
const SHOWN: usize = 5;
const TITLE_CHARS: usize = 30;
/// Events of a call: the server takes 1,000.
const EVENTS_PER_REQUEST: usize = 500;
const OPINION: &str = "Wonderful. I laughed, I cried, and I want to see it again.";
/// One good review is enough for this rule.
const PRAISED: &str = "sentiment > 0.1";
const BOOST: f32 = 5.0;
/// Far more than any of this takes; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(300);
pub const PAUSE: Duration = Duration::from_millis(50);

/// Where it happens: the server, who comes, and what the server has acknowledged.
pub struct Shop {
    pub rest: Rest,
    pub crowd: Crowd,
    /// Events by type.
    pub sent: BTreeMap<String, u64>,
}

impl Shop {
    /// Sends events, every one of which has to be kept.
    ///
    /// # Errors
    /// The call failed, or one was not.
    pub async fn send(&mut self, events: &[EventInput]) -> Result<()> {
        for some in events.chunks(EVENTS_PER_REQUEST) {
            let tracked: Tracked = self.rest.post("/v1/events", &json!({ "events": some })).await?;
            ensure!(tracked.accepted as usize == some.len(), "not all of {} events were kept: {tracked:?}", some.len());
        }
        events.iter().for_each(|event| *self.sent.entry(event.r#type.clone()).or_default() += 1);
        Ok(())
    }

    /// Defines a pipeline, a rule or an experiment.
    ///
    /// # Errors
    /// The call failed.
    pub async fn define(&self, path: &str, spec: Value) -> Result<Definition> {
        self.rest.put(path, &json!({ "spec": spec })).await
    }
}

/// Shows it.
///
/// # Errors
/// A call failed, or a list is not what the walk says.
pub async fn run(shop: &mut Shop, grpc: Keyed) -> Result<()> {
    let list = follows(shop).await?;
    let list = is_moved(shop, &list).await?;
    over_grpc(shop, grpc, &list).await
}

async fn follows(shop: &mut Shop) -> Result<RecommendResponse> {
    stop(10, "A list that follows you", "POST /v1/events, /v1/recommend");
    let now_ms = now_ms();
    let past = |number| shop.crowd.past(&mut Person::new("person", number), now_ms);
    let events: Vec<EventInput> = (0..PEOPLE).flat_map(past).collect();
    shop.send(&events).await?;
    let hers = shop.crowd.hers().map(str::to_owned);
    counted(&shop.rest, &hers[0]).await?;
    let crowd = format!("{PEOPLE} people whom we made up have looked at films for the last minutes");
    say!("   {}", styled(Style::Dim, crowd));

    let (before, _) = list(&shop.rest).await?;
    show(shop, &format!("{SHE} is new here: what everybody likes"), &before);
    let clicks = hers.each_ref().map(|film| event("click", SHE, film));
    shop.send(&clicks).await?;
    let (after, took) = list(&shop.rest).await?;
    let clicked = hers.each_ref().map(|film| shop.crowd.title(film)).join(", ");
    show(shop, &format!("she clicks {clicked}, and asks again ({})", millis(took)), &after);
    ensure!(ids(&before) != ids(&after), "three clicks have changed nothing: {after:?}");
    let names = |item: &RecommendedItem| {
        let said = item.explain.iter().flat_map(|explain| &explain.sources);
        said.filter_map(|said| said.item_id.as_ref()).any(|film| hers.contains(film))
    };
    ensure!(after.items.iter().any(names), "no film is there because of what she clicked: {after:?}");
    ensure!(
        after.items.iter().all(|item| !hers.contains(&item.item_id)),
        "what she has seen is shown again: {after:?}"
    );
    Ok(after)
}

/// Waits until it is counted which films go together with this one, and the list has heard of its text.
async fn counted(rest: &Rest, film: &str) -> Result<()> {
    let ask = SimilarRequest { item_id: film.to_owned(), k: Some(100), filter: None, explain: Some(true) };
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

/// The last film of her list is praised, and goes up.
async fn is_moved(shop: &Shop, before: &RecommendResponse) -> Result<RecommendResponse> {
    stop(11, "A review moves a film", "PUT /v1/rules/{name}, POST /v1/items/{id}/reviews");
    shop.define("/v1/rules/praised", json!({"filter": PRAISED, "effect": {"boost": {"factor": BOOST}}})).await?;
    say!("   a rule: what fulfils `{PRAISED}` goes up");
    let film = before.items.last().context("her list is not empty")?;
    let path = format!("/v1/items/{}/reviews", film.item_id);
    let body = ReviewBody { user_id: None, rating: Some(5.0), text: OPINION.to_owned() };
    let start = Instant::now();
    let review: Review = shop.rest.post(&path, &body).await?;
    let sentiment = review.sentiment.context("a classifier is loaded")?;
    let label = styled(colour(&sentiment.label), &sentiment.label);
    say!("   {}: {OPINION:?} {label} {:.0}%", shop.crowd.title(&film.item_id), 100.0 * sentiment.score);
    let after = loop {
        let (after, _) = list(&shop.rest).await?;
        let now = after.items.iter().find(|item| item.item_id == film.item_id);
        let is_praised = now.and_then(|item| item.explain.as_ref()).is_some_and(|said| said.rules == ["praised"]);
        if is_praised && now.is_some_and(|item| item.rank < film.rank) {
            break after;
        }
        ensure!(start.elapsed() < PATIENCE, "the review has moved nothing: {after:?}");
        tokio::time::sleep(PAUSE).await;
    };
    show(shop, &format!("her list {} later", millis(start.elapsed())), &after);
    Ok(after)
}

async fn over_grpc(shop: &Shop, grpc: Keyed, seen: &RecommendResponse) -> Result<()> {
    stop(12, "The same list over gRPC", "attune.v1.Recommendation/Recommend");
    let mut client = RecommendationClient::new(grpc);
    let who = Some(Who::UserId(SHE.to_owned()));
    let request = v1::RecommendRequest { who, k: Some(SHOWN as u32), explain: true, ..Default::default() };
    let start = Instant::now();
    let answer = client.recommend(request).await?.into_inner();
    let took = start.elapsed();
    let over_grpc: Vec<&str> = answer.items.iter().map(|item| item.item_id.as_str()).collect();
    let over_rest = ids(seen);
    ensure!(over_grpc == over_rest, "gRPC answers with another list than REST: {over_grpc:?}, {over_rest:?}");
    let titles: Vec<&str> = over_grpc.iter().map(|film| shop.crowd.title(film)).collect();
    say!("   {} {}", styled(Style::Green, titles.join(", ")), styled(Style::Dim, format!("({})", millis(took))));
    Ok(())
}

fn ids(list: &RecommendResponse) -> Vec<&str> {
    list.items.iter().map(|item| item.item_id.as_str()).collect()
}

async fn list(rest: &Rest) -> Result<(RecommendResponse, Duration)> {
    let user_id = Some(SHE.to_owned());
    let ask = RecommendRequest { user_id, k: Some(SHOWN), explain: Some(true), ..RecommendRequest::default() };
    let start = Instant::now();
    let list: RecommendResponse = rest.post("/v1/recommend", &ask).await?;
    ensure!(list.items.len() == SHOWN, "a list of {} instead of {SHOWN}: {list:?}", list.items.len());
    Ok((list, start.elapsed()))
}

fn show(shop: &Shop, what: &str, list: &RecommendResponse) {
    say!("   {what}");
    for item in &list.items {
        let title: String = shop.crowd.title(&item.item_id).chars().take(TITLE_CHARS).collect();
        let why = styled(Style::Dim, why(&shop.crowd, item).unwrap_or_default());
        say!("   {}. {} {why}", item.rank, styled(Style::Green, format!("{title:<TITLE_CHARS$}")));
    }
}

/// The rule that moved it, or the reason of the source that added most.
fn why(crowd: &Crowd, item: &RecommendedItem) -> Option<String> {
    let explain = item.explain.as_ref()?;
    if let Some(rule) = explain.rules.first() {
        return Some(format!("moved by the rule {rule:?}"));
    }
    let added: HashMap<&str, f32> = explain.contributions.iter().map(|one| (one.name.as_str(), one.value)).collect();
    let most = explain.sources.iter().rev().max_by(|left, right| {
        let of = |source: &str| added.get(source).copied().unwrap_or(0.0);
        of(&left.source).total_cmp(&of(&right.source))
    })?;
    let of = most.item_id.as_deref().map(|film| crowd.title(film));
    Some(match (most.reason.as_str(), of) {
        ("because_of", Some(film)) => format!("those who liked {film} like it"),
        ("follows", Some(film)) => format!("what people go on to from {film}"),
        ("alike", Some(film)) => format!("reads like {film}"),
        ("trending", _) => "more and more people like it".to_owned(),
        ("latest", _) => "it is new".to_owned(),
        _ => "many people like it".to_owned(),
    })
}
