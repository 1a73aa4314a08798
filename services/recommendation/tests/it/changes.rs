//! Items that come, change and go.

use attune_api::catalogue::Entry;
use attune_api::definitions::Defined;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse};

use serde_json::json;

use crate::definitions::define;
use crate::shop::{Shop, call, codes, config, film, id, ids};

fn all() -> RecommendRequest {
    RecommendRequest { k: Some(1_000), ..RecommendRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_catalogue_is_an_answer() {
    let shop = Shop::empty(config()).await;
    shop.act("ada", "click", 1).await;
    let list = shop.list("ada").await;
    assert!(list.items.is_empty() && !list.degraded && list.next_cursor.is_none());
    assert!(codes(&list).contains(&"catalogue_empty"), "{:?}", codes(&list));
    let error = shop.service.recommend(&call(), RecommendRequest { k: Some(0), ..all() }).await.unwrap_err();
    assert_eq!(error.fields[0].pointer, "/k");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_shown_and_what_is_hidden_is_not() {
    let shop = Shop::open().await;
    shop.put(film(40)).await;
    let fresh = RecommendRequest { filter: Some("year == 2010".into()), ..all() };
    shop.until("film 40 comes", async || ids(&shop.ask(fresh.clone()).await) == ["film-40"]).await;

    shop.put(Entry { is_hidden: true, version: 2, ..film(40) }).await;
    shop.until("film 40 is hidden", async || shop.ask(fresh.clone()).await.items.is_empty()).await;
    shop.remove(&id(0)).await;
    shop.until("film 0 is gone", async || !ids(&shop.ask(all()).await).contains(&"film-0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_wait_for_their_vectors_and_get_them() {
    let shop = Shop::empty(config()).await;
    for number in 0..10 {
        shop.put(Entry { vector: None, ..film(number) }).await;
    }
    shop.until("films are there", async || shop.ask(all()).await.items.len() == 10).await;
    shop.act("ada", "click", 0).await;
    assert!(!shop.list("ada").await.sources.contains_key("semantic"));
    for number in 0..10 {
        shop.put(Entry { version: 2, ..film(number) }).await;
    }
    shop.until("vectors count", async || shop.list("ada").await.sources.contains_key("semantic")).await;
    assert_eq!(shop.ask(all()).await.items.len(), 10);
}

/// A film with ten reviews that say this.
fn reviewed(number: usize, version: u64, sentiment: f64) -> Entry {
    let mut entry = Entry { version, ..film(number) };
    entry.attributes.insert("review_count".into(), 10.into());
    entry.attributes.insert("sentiment".into(), sentiment.into());
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reviews_say_moves_an_item_is_explained_logged_and_filtered_by() {
    let shop = Shop::open().await;
    let ask = RecommendRequest { explain: Some(true), diversity: Some(0.0), ..all() };
    let before = shop.ask(ask.clone()).await;
    let said = |list: &RecommendResponse, item_id: &str| {
        let item = list.items.iter().find(|item| item.item_id == item_id).unwrap();
        let contributions = &item.explain.as_ref().unwrap().contributions;
        let share = contributions.iter().find(|share| share.name == "sentiment").map_or(0.0, |share| share.value);
        (item.rank, share)
    };
    let (praised, blamed) = (before.items[9].item_id.clone(), before.items[3].item_id.clone());
    assert_eq!(said(&before, &praised), (10, 0.0), "nobody has said anything");
    let number = |item_id: &str| item_id.trim_start_matches("film-").parse::<usize>().unwrap();
    shop.put(reviewed(number(&praised), 2, 0.9)).await;
    shop.put(reviewed(number(&blamed), 2, -0.9)).await;
    let with = |filter: &str| RecommendRequest { filter: Some(filter.into()), ..all() };
    let (liked, disliked) = (with("sentiment > 0.2 and review_count >= 10"), with("sentiment < -0.2"));
    shop.until("praise counts", async || ids(&shop.ask(liked.clone()).await) == [praised.as_str()]).await;
    shop.until("blame counts", async || ids(&shop.ask(disliked.clone()).await) == [blamed.as_str()]).await;
    let after = shop.ask(ask.clone()).await;
    let (up, down) = (said(&after, &praised), said(&after, &blamed));
    assert!(up.0 < 10 && down.0 > 4, "{up:?} {down:?}");
    assert!(up.1 > down.1 && down.1 > 0.0, "{up:?} {down:?}");

    let mut logged = Vec::new();
    shop.until("the list is logged", async || {
        let exposures = shop.exposures().await;
        let list = exposures.into_iter().map(|(_, list)| list).find(|list| list.request_id == after.request_id);
        let Some(list) = list else { return false };
        let place = |name: &str| list.feature_names.iter().position(|known| known == name).unwrap();
        let item = list.items.iter().find(|item| item.item_id == praised).unwrap();
        logged = ["sentiment", "review_count", "sentiment_trend"].map(|name| item.features[place(name)]).to_vec();
        true
    })
    .await;
    assert_eq!(logged, [Some(0.9), Some(11_f32.ln()), None]);

    // A pipeline of the tenant's own may weigh it as it likes, or not at all.
    let spec = json!({
        "sources": [{"source": "popular"}, {"source": "latest"}],
        "features": ["sentiment"],
        "blend": {"ranks": {"weights": {"popular": 0.01, "latest": 0.01, "sentiment": 1.0}}},
    });
    define(&shop, Defined::Pipeline, "praised", spec).await.unwrap();
    let own = RecommendRequest { pipeline: Some("praised".into()), ..ask };
    shop.until("it is served", async || shop.service.recommend(&call(), own.clone()).await.is_ok()).await;
    let list = shop.ask(own).await;
    assert_eq!((list.items[0].item_id.as_str(), &list.items.last().unwrap().item_id), (praised.as_str(), &blamed));
}
