//! Pages of a feed.

use std::collections::HashSet;

use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::RecommendRequest;

use crate::shop::{Shop, call, config, film};

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_never_repeats_itself_while_events_arrive() {
    let shop = Shop::empty(config()).await;
    for number in 0..250 {
        shop.put(film(number)).await;
    }
    let ask = RecommendRequest { k: Some(10), ..RecommendRequest::default() };
    shop.until("films are there", async || {
        let all = RecommendRequest { k: Some(1_000), ..ask.clone() };
        shop.service.recommend(&call(), all).await.unwrap().items.len() == 250
    })
    .await;
    for user in 0..8 {
        let name = format!("reader-{user}");
        let (mut seen, mut cursor) = (HashSet::new(), None);
        for page in 0..20 {
            let user_id = Some(name.clone());
            let list = shop.ask(RecommendRequest { user_id, cursor, ..ask.clone() }).await;
            assert_eq!(list.items.len(), 10, "page {page}: {:?}", list.notes);
            for (place, item) in list.items.iter().enumerate() {
                assert!(seen.insert(item.item_id.clone()), "{} comes again on page {page}", item.item_id);
                assert_eq!(item.rank, 10 * page + place + 1);
            }
            cursor = list.next_cursor;
            let number: usize = list.items[page % 10].item_id[5..].parse().unwrap();
            shop.act(&name, ["click", "like", "impression"][page % 3], number).await;
            shop.act(&format!("reader-{}", (user + 1) % 8), "view", number).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_ends_where_there_is_no_more() {
    let shop = Shop::open().await;
    let (mut cursor, mut sizes) = (None, Vec::new());
    loop {
        let list = shop.ask(RecommendRequest { k: Some(12), cursor, ..RecommendRequest::default() }).await;
        sizes.push(list.items.len());
        cursor = list.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [12, 12, 6]);
}
