//! Items that come, change and go.

use attune_api::catalogue::Entry;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::RecommendRequest;

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
